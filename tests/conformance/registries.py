"""The registries that the suite runs on, each as a place that can be opened again and again, as by many processes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import pytest

from footfall.registry import mongo as mongo_module
from footfall.registry import sqlite as sqlite_module
from footfall.registry.base import Key, Registry, Scope
from footfall.registry.mongo import MongoRegistry
from footfall.registry.sqlite import SqliteRegistry
from tests.servers import mongo

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
TODAY = NOON.date()


class Clock:
    """A wall clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.at = NOON

    def __call__(self) -> int:
        return int(self.at.timestamp() * 1000)


class Shared(Protocol):
    """One registry's place."""

    clock: Clock

    async def open(self) -> Registry:
        """One more process's registry on it; the place closes it at the end."""
        ...

    async def pass_ms(self, ms: int) -> None:
        """Let time go by, on the clock that judges turns."""
        ...


class SharedFile:
    """A file."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self.clock = clock
        self._opened: list[Registry] = []

    async def open(self) -> Registry:
        registry = await SqliteRegistry.open(self.path, now=self.clock)
        self._opened.append(registry)
        return registry

    async def pass_ms(self, ms: int) -> None:
        self.clock.at += timedelta(milliseconds=ms)

    async def close(self) -> None:
        for registry in self._opened:
            await registry.close()


class SharedDatabase:
    """A database of a MongoDB server, whose clock nobody can move."""

    def __init__(self, uri: str, clock: Clock) -> None:
        self.uri = uri
        self.clock = clock
        self._opened: list[Registry] = []

    async def open(self) -> Registry:
        registry = await MongoRegistry.open(self.uri, now=self.clock)
        self._opened.append(registry)
        return registry

    async def pass_ms(self, ms: int) -> None:
        await asyncio.sleep(ms / 1000)

    async def close(self) -> None:
        for registry in self._opened:
            await registry.close()


KINDS = ("sqlite", "mongodb")


@asynccontextmanager
async def shared_place(kind: str, folder: Path) -> AsyncIterator[Shared]:
    """A new and empty place of that kind."""
    place: SharedFile | SharedDatabase
    if kind == "sqlite":
        place = SharedFile(folder / "registry.sqlite", Clock())
    else:
        place = SharedDatabase(mongo().uri(f"registry_{uuid4().hex}"), Clock())
    try:
        yield place
    finally:
        await place.close()


def set_sites_max(monkeypatch: pytest.MonkeyPatch, sites_max: int) -> None:
    """Let there be room for no more sites."""
    for module in (sqlite_module, mongo_module):
        monkeypatch.setattr(module, "SITES_MAX", sites_max)


def a_key(**changes: object) -> Key:
    values: dict[str, object] = {
        "id": "abc",
        "name": "for the shop",
        "scopes": (Scope.READ,),
        "site_ids": ("shop",),
        "created_at_ms": 1,
        "secret_hash": b"\0\xff" * 16,
    }
    return Key(**{**values, **changes})  # type: ignore[arg-type]
