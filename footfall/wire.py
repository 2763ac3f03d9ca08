"""Settings -> queue, store, registry, and what stands on them: the only file that knows every adapter.

Refuses by name what can not work: a server half on an embedded part, a backend that this version has no adapter for.
"""

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from enum import StrEnum
from pathlib import Path

import msgspec
import structlog

from footfall.door import Door
from footfall.errors import FootfallError, Misconfigured
from footfall.queue.base import Queue
from footfall.queue.sqlite import SqliteQueue
from footfall.registry.base import Registry
from footfall.registry.sqlite import SqliteRegistry
from footfall.settings import Settings
from footfall.sites import Sites
from footfall.store.base import Store
from footfall.store.clickhouse.engine import ChdbEngine
from footfall.store.clickhouse.store import ClickHouseStore

QUEUE_FILE = "queue.sqlite"
SQS_LEDGER_FILE = "sqs-ledger.sqlite"
REGISTRY_FILE = "registry.sqlite"
STORE_FOLDER = "store"

log = structlog.stdlib.get_logger(__name__)


class Half(StrEnum):
    """Which part of Footfall a process is."""

    BOTH = "up"
    API = "api"
    WORKER = "worker"


class Parts(msgspec.Struct, frozen=True):
    """The opened backends that a process works with."""

    settings: Settings
    queue: Queue
    store: Store
    registry: Registry
    sites: Sites
    door: Door


def check(settings: Settings, half: Half) -> None:
    """Raise Misconfigured, with every reason, if *half* can not run on these settings."""
    problems = [
        f"{name} is set, but this version of Footfall has no {what} yet: unset it"
        for name, is_set, what in (
            ("MONGODB_URI", settings.mongodb_uri, "MongoDB store"),
            ("CLICKHOUSE_URL", settings.clickhouse_url, "ClickHouse server store"),
            ("ENABLE_CLOUDWATCH", settings.enable_cloudwatch, "CloudWatch log handler"),
        )
        if is_set
    ]
    if half is not Half.BOTH and not problems:
        embedded = "the store is" if settings.redis_host or settings.use_sqs else "both are"
        problems.append(
            f"`footfall {half}` needs a queue and a store on servers, and {embedded} embedded in DATA_DIR here: "
            "run `footfall up`, which is everything in one process"
        )
    if problems:
        raise Misconfigured(*problems)


def _folder(settings: Settings) -> Path:
    """DATA_DIR, made if need be. What is ours in it is readable by its owner alone, also where DATA_DIR is not.

    From here on the whole process makes its files so: the engine and SQLite have no other way to be told.
    """
    os.umask(0o077)
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in (QUEUE_FILE, SQS_LEDGER_FILE, REGISTRY_FILE, STORE_FOLDER):
            for path in settings.data_dir.glob(name + "*"):  # a file has its -wal and -shm beside it
                _close_to_others(path)
    except OSError as error:
        raise Misconfigured(f"DATA_DIR: {str(settings.data_dir)!r} can not be used: {error.strerror}") from error
    return settings.data_dir


def _close_to_others(path: Path) -> None:
    """Take from all but the owner what an earlier version, or a copy, has given them. (A -shm may go meanwhile.)"""
    with suppress(FileNotFoundError):
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            try:
                path.chmod(mode & 0o700)
            except PermissionError:
                log.warning("this is not ours to close, and others may read it", path=str(path))


async def open_registry(settings: Settings) -> Registry:
    """The registry these settings name."""
    return await SqliteRegistry.open(_folder(settings) / REGISTRY_FILE)


async def open_queue(settings: Settings, *, is_sole_worker: bool = False) -> Queue:
    """The queue these settings name; SQS before Redis. *is_sole_worker*: nobody else reserves from an embedded one."""
    if settings.use_sqs:
        return await _open_sqs(settings)
    if settings.redis_host:
        return await _open_bullmq(settings, settings.redis_host)
    return await SqliteQueue.open(
        _folder(settings) / QUEUE_FILE,
        attempts=settings.queue_attempts,
        backoff_ms=settings.queue_backoff_ms,
        max_bytes=settings.queue_max_bytes,
        fsync=settings.fsync,
        is_sole_worker=is_sole_worker,
    )


async def _open_bullmq(settings: Settings, host: str) -> Queue:
    with _extra("redis", "REDIS_HOST"):
        from footfall.queue.bullmq import BullmqQueue  # noqa: PLC0415 - only who asks for Redis needs its packages
        from footfall.queue.bullmq_connection import RedisAddress  # noqa: PLC0415
    address = RedisAddress(
        host, settings.redis_port, settings.redis_password, tls=settings.redis_tls, cluster=settings.redis_cluster
    )
    return await BullmqQueue.open(
        address, settings.queue_name, attempts=settings.queue_attempts, backoff_ms=settings.queue_backoff_ms
    )


async def _open_sqs(settings: Settings) -> Queue:
    with _extra("aws", "USE_SQS"):
        from footfall.queue.sqs import SqsQueue  # noqa: PLC0415 - only who asks for SQS needs its packages
    return await SqsQueue.open(
        settings.queue_name,
        url=settings.sqs_queue_url,
        region=settings.aws_region,
        endpoint_url=settings.aws_endpoint_url,
        ledger_path=_folder(settings) / SQS_LEDGER_FILE,
        attempts=settings.queue_attempts,
        backoff_ms=settings.queue_backoff_ms,
    )


@contextmanager
def _extra(name: str, variable: str) -> Iterator[None]:
    """Around imports that only the extra *name* brings: says how to get it where it is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == __package__:
            raise
        raise Misconfigured(
            f"{variable} is set, but the package {error.name} is not installed: run `pip install 'footfall[{name}]'`"
        ) from error


async def open_store(settings: Settings) -> Store:
    """The store these settings name. Raises InUse if another process holds the embedded one."""
    path = _folder(settings) / STORE_FOLDER
    engine = await asyncio.to_thread(ChdbEngine, path, settings.store_memory_bytes)
    try:
        return await ClickHouseStore.open(engine, fsync=settings.fsync)
    except FootfallError:
        await engine.close()
        raise


@asynccontextmanager
async def open_parts(settings: Settings) -> AsyncIterator[Parts]:
    """Everything opened, and closed again in the opposite order, whatever happens."""
    async with AsyncExitStack() as stack:
        store = await open_store(settings)
        stack.push_async_callback(store.close)
        # The store's folder is ours alone now, so no other worker can be at the embedded queue.
        queue = await open_queue(settings, is_sole_worker=True)
        stack.push_async_callback(queue.close)
        registry = await open_registry(settings)
        stack.push_async_callback(registry.close)
        sites = Sites(registry, auto_create=settings.auto_create_sites)
        stack.push_async_callback(sites.close)
        door = Door(settings, registry)
        stack.push_async_callback(door.close)
        yield Parts(settings, queue, store, registry, sites, door)


@asynccontextmanager
async def opened_intake(settings: Settings) -> AsyncIterator[tuple[Queue, Registry, Sites]]:
    """What a command needs that brings events in, beside a running server or without one."""
    async with AsyncExitStack() as stack:
        queue = await open_queue(settings)
        stack.push_async_callback(queue.close)
        registry = await open_registry(settings)
        stack.push_async_callback(registry.close)
        sites = Sites(registry, auto_create=settings.auto_create_sites)
        stack.push_async_callback(sites.close)
        yield queue, registry, sites
