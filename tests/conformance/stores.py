"""The stores that test_store.py proves, and how each is opened, reopened and fed."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any

from footfall.event import Event, decode, encode, new_id
from footfall.store.base import Batch, Store, Written
from footfall.store.clickhouse.door import Door
from footfall.store.clickhouse.engine import ChdbEngine
from footfall.store.clickhouse.store import ClickHouseStore
from footfall.store.mongo.store import MongoStore
from tests.clickhouse_server import ServerStore, clickhouse
from tests.fakes_store import MemoryStore
from tests.servers import mongo

NOON = datetime(2024, 1, 15, 12, tzinfo=UTC)


def at_ms(instant: datetime) -> int:
    """Milliseconds since 1970."""
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def an_event(at: datetime = NOON, **changes: Any) -> Event:
    """A pageview of site "shop" by visitor 1, received when it occurred."""
    plain: dict[str, Any] = {
        "id": new_id(),
        "key": b"",
        "site_id": "shop",
        "name": "pageview",
        "occurred_at_ms": at_ms(at),
        "received_at_ms": at_ms(at),
        "visitor_id": 1,
    }
    return Event(**(plain | changes))


def encoded(*events: Event) -> list[bytes]:
    """Payloads as a queue hands them out."""
    return [encode(event) for event in events]


async def _memory(path: Path) -> Store:
    return MemoryStore()


async def open_chdb(path: Path) -> ClickHouseStore:
    """The embedded store. One folder per process: every other one must be closed first."""
    return await ClickHouseStore.open(ChdbEngine(path / "events", memory_bytes=1_000_000_000), fsync=False)


class KeptStore(ClickHouseStore):
    """The embedded store with spans of a few events, kept after some writes and not after others: so questions meet
    kept sessions, gaps between them, spans that late events have ended, and visitors who stand apart."""

    def __init__(self, door: Door) -> None:
        super().__init__(door)
        self._writes = 0

    async def write(self, batch: Batch) -> Written:
        assert self.keeper is not None
        written = await super().write(batch)
        self._writes += 1
        self.keeper.step_events = (1, 1_000)[self._writes % 2]
        for site_id in {decode(payload).site_id for payload in batch.payloads}:
            if self._writes % 4 < 3:
                await self.keeper.keep(site_id)
        return written


async def open_kept(path: Path) -> KeptStore:
    """As open_chdb, with sessions kept."""
    store = await KeptStore.open(ChdbEngine(path / "events", memory_bytes=1_000_000_000), fsync=False)
    assert isinstance(store, KeptStore)
    assert store.keeper is not None
    await store.keeper.stop()
    store.keeper.span_events = 2
    store.keeper.tails_ms = (900_000, 3_600_000)
    return store


async def open_clickhouse(path: Path) -> ServerStore:
    """The server store, on the endpoint that stands for a server; a database for each path."""
    database = f"t_{blake2b(bytes(path), digest_size=8).hexdigest()}"
    return await ServerStore.on(clickhouse().database(database), path / "registry.sqlite")


async def open_mongodb(path: Path) -> MongoStore:
    """The store on the MongoDB of these tests; a database for each path."""
    return await MongoStore.open(mongo().uri(f"t_{blake2b(bytes(path), digest_size=8).hexdigest()}"))


STORES: dict[str, Callable[[Path], Awaitable[Store]]] = {
    "memory": _memory,
    "chdb": open_chdb,
    "kept": open_kept,
    "clickhouse": open_clickhouse,
    "mongodb": open_mongodb,
}
DURABLE: dict[str, Callable[[Path], Awaitable[Store]]] = {
    name: open_store for name, open_store in STORES.items() if name != "memory"
}
