"""What every route of the API works with."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from footfall.address import sender_of
from footfall.door import Caller, Door
from footfall.queue.base import Queue
from footfall.queue.intake import Intake
from footfall.registry.base import Registry
from footfall.settings import Settings
from footfall.sites import Sites
from footfall.store.base import Store


class WorkerStatus(Protocol):
    """What health says of the worker in this process."""

    @property
    def state(self) -> str:
        """Is it "running", "stopped" or "failing"?"""
        ...


class ApiContext(msgspec.Struct, frozen=True, kw_only=True):
    """The parts behind the API."""

    settings: Settings
    store: Store
    queue: Queue
    intake: Intake
    """The way into *queue*, which knows whether events can be accepted."""
    registry: Registry
    door: Door
    sites: Sites
    worker_status: Callable[[], WorkerStatus | None]
    """None where no worker runs in this process."""
    started_at: float
    """On the monotonic clock, in seconds."""

    async def caller(self, scope: Mapping[str, Any]) -> Caller:
        """Who sends the request of this ASGI *scope*. Raises Unauthorized."""
        found: dict[bytes, str] = {}
        for name, value in scope["headers"]:
            if name in (b"authorization", b"host", b"origin"):
                found[name] = value.decode("latin-1")
        return await self.door.caller(
            found.get(b"authorization"),
            sender_of(scope, self.settings.trusted_proxies),
            host=found.get(b"host", ""),
            origin=found.get(b"origin"),
        )
