"""What every command shares: the two consoles, the settings, opening and closing a backend, how a time looks."""

import os
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
import uvloop
from rich.console import Console

from footfall import logs, wire
from footfall.queue.base import Queue
from footfall.registry.base import Registry
from footfall.settings import Loaded, Settings, load

T = TypeVar("T")

PIPE_COLUMNS = 240
"""How wide a table may be where nobody looks at a terminal: nothing is cut short for a script."""

out = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPE_COLUMNS)
err = Console(stderr=True)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run *work* to its end on the loop that the server uses too."""
    return uvloop.run(work)


def loaded_settings() -> Loaded:
    """The settings, with logging set up by them."""
    loaded = load()
    logs.configure(loaded.settings)
    return loaded


def settings() -> Settings:
    """The values alone."""
    return loaded_settings().settings


def server_url(url: str | None) -> str:
    """*url*, or where the settings say that the server listens."""
    here = load().settings
    return (url or f"http://{here.host}:{here.port}").rstrip("/")


@asynccontextmanager
async def opened_queue() -> AsyncIterator[Queue]:
    """The queue of the settings, closed again."""
    queue = await wire.open_queue(settings())
    try:
        yield queue
    finally:
        await queue.close()


@asynccontextmanager
async def opened_registry() -> AsyncIterator[Registry]:
    """The registry of the settings, closed again."""
    registry = await wire.open_registry(settings())
    try:
        yield registry
    finally:
        await registry.close()


def when(at_ms: int | None) -> str:
    """An instant as a person reads it, or a dash."""
    return "-" if at_ms is None else f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}Z"


def print_json(value: object) -> None:
    """Any msgspec-encodable value, coloured on a terminal and plain in a pipe."""
    out.print_json(msgspec.json.encode(value).decode())
