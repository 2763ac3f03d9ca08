"""A whole Footfall in the test's own loop: collector, worker and API on a real socket, on the verified fakes."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import msgspec
import uvicorn

from footfall.api.app import ApiContext, build_api
from footfall.collect.app import build_collector
from footfall.collect.serve_options import serve_options
from footfall.door import Door, create_key
from footfall.queue.base import Queue
from footfall.queue.intake import Intake
from footfall.registry.base import Registry, Scope
from footfall.registry.sqlite import SqliteRegistry
from footfall.settings import Settings
from footfall.sites import Sites
from footfall.store.base import Store
from footfall.worker import Worker
from tests.fakes_queue import MemoryQueue
from tests.fakes_store import MemoryStore

WAIT_S = 30.0


class Running(msgspec.Struct, frozen=True):
    """What a test holds in its hands."""

    url: str
    http: httpx.AsyncClient
    settings: Settings
    registry: Registry
    queue: Queue
    store: Store

    async def key(self, *scopes: Scope, site_ids: tuple[str, ...] = ()) -> dict[str, str]:
        """The header of a new key."""
        _, token = await create_key(self.registry, "test", scopes, site_ids)
        return {"authorization": f"Bearer {token}"}

    async def send(self, **event: object) -> None:
        """Send one pageview, and wait until it is stored."""
        before = (await self.store.ledger()).stored
        body = {"site_id": "shop", "event_type": "pageview", "user_id": "anna", **event}
        response = await self.http.post("/api/event", json=body)
        assert response.status_code == 202, response.text
        await self.until(lambda: self._stored_more_than(before))

    async def _stored_more_than(self, count: int) -> bool:
        return (await self.store.ledger()).stored > count

    async def until(self, claim: Callable[[], Awaitable[bool]]) -> None:
        """Wait until *claim* holds, and fail the test if it never does."""
        async with asyncio.timeout(WAIT_S):
            while not await claim():  # noqa: ASYNC110 - what is waited for sends no event
                await asyncio.sleep(0.01)


class _Server(uvicorn.Server):
    """uvicorn that leaves signals to the test run."""

    def install_signal_handlers(self) -> None:
        """None."""


@asynccontextmanager
async def running(
    folder: Path, settings: Settings | None = None, *, queue: Queue | None = None, store: Store | None = None
) -> AsyncIterator[Running]:
    """Everything started on an ephemeral port, and stopped again."""
    settings = settings or Settings()
    queue = queue or MemoryQueue(attempts=5, backoff_ms=10, max_bytes=10_000_000)
    store = store or MemoryStore()
    registry = await SqliteRegistry.open(folder / "registry.sqlite")
    sites = Sites(registry, settings.auto_create_sites)
    door = Door(settings, registry)
    worker = Worker(queue, store, concurrency=settings.queue_concurrency)
    intake = Intake(queue)
    api = build_api(
        ApiContext(
            settings=settings,
            store=store,
            queue=queue,
            intake=intake,
            registry=registry,
            door=door,
            sites=sites,
            worker_status=lambda: worker.status,
            started_at=time.monotonic(),
        )
    )
    app = build_collector(settings, intake, registry, sites, door, inner=api)
    options = {**serve_options(), "loop": "none"}
    server = _Server(uvicorn.Config(app, host="127.0.0.1", port=0, **options))
    working, serving = asyncio.create_task(worker.run()), asyncio.create_task(server.serve())
    try:
        while not server.started:
            assert not serving.done(), "the server did not start"
            await asyncio.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=url, timeout=WAIT_S, trust_env=False) as http:
            yield Running(url, http, settings, registry, queue, store)
    finally:
        server.should_exit = True
        await serving
        await app.close()
        await worker.stop()
        await working
        await door.close()
        await sites.close()
        await registry.close()
