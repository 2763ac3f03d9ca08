"""The stores that test_store.py proves, and how each is opened, reopened and fed."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any

from footfall.event import Event, encode, new_id
from footfall.store.base import Store
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
    "clickhouse": open_clickhouse,
    "mongodb": open_mongodb,
}
DURABLE: dict[str, Callable[[Path], Awaitable[Store]]] = {
    name: open_store for name, open_store in STORES.items() if name != "memory"
}
