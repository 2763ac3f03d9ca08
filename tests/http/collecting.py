"""A collector on a port of its own: real uvicorn, real registry, and the in-memory queue of the conformance suite."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec
import uvicorn

from footfall.collect.app import Collector, build_collector
from footfall.collect.serve_options import serve_options
from footfall.door import Door, create_key
from footfall.event import Event, decode
from footfall.queue.base import Queue
from footfall.registry.base import Scope, Site
from footfall.registry.sqlite import SqliteRegistry
from footfall.settings import Settings
from footfall.sites import Sites
from tests.fakes_queue import MemoryQueue

BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
EVENT = {"site_id": "my-website", "event_type": "pageview", "path": "/products", "user_id": "user-123"}


async def elsewhere(scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
    """What stands behind the collector: says which path it was asked for."""
    body = msgspec.json.encode({"behind": scope["path"]})
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@dataclass
class Collecting:
    """One running collector and what it stands on."""

    http: httpx.AsyncClient
    queue: Queue
    registry: SqliteRegistry
    collector: Collector
    port: int
    sites: Sites
    put: list[Event] = field(default_factory=list)

    async def post(self, body: object = None, path: str = "/api/event", **options: Any) -> httpx.Response:
        """POST *body* as JSON, or as it is where it is bytes."""
        content = body if isinstance(body, bytes) else msgspec.json.encode(EVENT if body is None else body)
        headers = {"user-agent": BROWSER, "content-type": "application/json", **options.pop("headers", {})}
        return await self.http.post(path, content=content, headers=headers, **options)

    def events(self) -> list[Event]:
        """Everything in the queue, oldest first."""
        assert isinstance(self.queue, MemoryQueue)
        return [decode(payload) for job in self.queue.jobs.values() for payload in job.payloads]

    async def event_of(self, body: dict[str, object], **options: Any) -> Event:
        """The event that *body* becomes."""
        answer = await self.post({**EVENT, **body}, **options)
        assert answer.status_code == 202, answer.text
        return self.events()[-1]

    async def faults_of(self, body: object, **options: Any) -> dict[str, str]:
        """The faults of a body that is refused as invalid."""
        answer = await self.post(body, **options)
        assert answer.status_code == 400, answer.text
        told = answer.json()
        assert told["success"] is False
        assert told["error"] == "Validation failed"
        return {fault["field"]: fault["message"] for fault in told["details"]}

    async def token(self, *scopes: Scope, site_ids: tuple[str, ...] = ()) -> dict[str, str]:
        """The header of a new key with *scopes*."""
        _, token = await create_key(self.registry, "a key", scopes, site_ids)
        return {"authorization": f"Bearer {token}"}

    async def save_site(self, **changes: Any) -> None:
        """The site my-website with *changes*, and known to be so."""
        await self.registry.save_site(Site(id="my-website", created_at_ms=1, **changes))
        await self.sites.find("my-website")


@asynccontextmanager
async def collecting(
    tmp_path: Path, queue: Queue | None = None, *, http: str | None = None, **settings: Any
) -> AsyncIterator[Collecting]:
    """Run a collector. *http* names another uvicorn protocol than our own."""
    options = serve_options() | ({"http": http} if http else {}) | {"loop": "none"}
    made = Settings(data_dir=tmp_path, **settings)
    queue = queue or MemoryQueue()
    registry = await SqliteRegistry.open(tmp_path / "registry.sqlite")
    sites = Sites(registry, auto_create=made.auto_create_sites)
    door = Door(made, registry)
    collector = build_collector(made, queue, registry, sites, door, inner=elsewhere)
    server = uvicorn.Server(uvicorn.Config(collector, host="127.0.0.1", port=0, **options))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield Collecting(client, queue, registry, collector, port, sites)
    finally:
        server.should_exit = True
        await serving
        await collector.close()
        await sites.close()
        await door.close()
        await registry.close()
