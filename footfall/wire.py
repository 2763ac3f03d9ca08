"""Settings -> queue, store, registry, and what stands on them: the only file that knows every adapter.

Refuses by name what can not work: one half of several on an embedded part.
"""

import asyncio
import logging
import os
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec
import structlog

from footfall.door import Door
from footfall.errors import FootfallError, Misconfigured, Unavailable
from footfall.queue.base import Queue
from footfall.queue.sqlite import SqliteQueue
from footfall.registry.base import Registry
from footfall.registry.sqlite import SqliteRegistry
from footfall.settings import Settings, place_of
from footfall.sites import Sites
from footfall.store.base import Store
from footfall.store.clickhouse.store import ClickHouseStore

QUEUE_FILE = "queue.sqlite"
SQS_LEDGER_FILE = "sqs-ledger.sqlite"
REGISTRY_FILE = "registry.sqlite"
STORE_FOLDER = "store"
WAIT_FIRST_S = 0.25
WAIT_MAX_S = 2.0
"""Pauses between looks for a server that is not there yet: doubled from the first to the longest."""

OnWait = Callable[[str, Unavailable], None]
"""Told which part is waited for, and why."""
T = TypeVar("T")

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
    if half is Half.BOTH:
        return
    problems = [
        f"`footfall {half}` is one of several processes, and the {part} would be embedded in DATA_DIR, for one process "
        f"alone: set {setting}, or run `footfall up`, which is everything in one process"
        for part, setting, is_embedded in (
            ("queue", "REDIS_HOST or USE_SQS", not _has_queue_server(settings)),
            ("store", "CLICKHOUSE_URL or MONGODB_URI", not _has_store_server(settings)),
        )
        if is_embedded
    ]
    if problems:
        raise Misconfigured(*problems)


def _has_queue_server(settings: Settings) -> bool:
    return settings.use_sqs or settings.redis_host is not None


def _has_store_server(settings: Settings) -> bool:
    return settings.clickhouse_url is not None or settings.mongodb_uri is not None


def chosen(settings: Settings, half: Half) -> dict[str, str]:
    """What these settings choose, as words for the start line: queue, store and registry, without secrets."""
    embedded = f"embedded in {settings.data_dir}"
    queue = store = registry = embedded
    if settings.use_sqs:
        queue = f"SQS, {settings.sqs_queue_url or settings.queue_name}"
        if settings.redis_host:
            queue += "; USE_SQS wins over REDIS_HOST, which is not used"
    elif settings.redis_host:
        kind = "Redis Cluster" if settings.redis_cluster else "Redis"
        with_tls = " with TLS" if settings.redis_tls else ""
        queue = f"BullMQ {settings.queue_name} on {kind} at {settings.redis_host}:{settings.redis_port}{with_tls}"
    if settings.clickhouse_url:
        cluster = f", cluster {settings.clickhouse_cluster}" if settings.clickhouse_cluster else ""
        store = f"ClickHouse at {place_of(settings.clickhouse_url)}{cluster}"
    elif settings.mongodb_uri:
        store = f"MongoDB at {place_of(settings.mongodb_uri)}"
    if settings.mongodb_uri:
        registry = f"MongoDB at {place_of(settings.mongodb_uri)}"
    elif half is not Half.BOTH:
        registry += ", for the processes of this machine; set MONGODB_URI to share it between machines"
    return {"queue": queue, "store": store, "registry": registry}


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
    if settings.mongodb_uri:
        return await _open_mongo_registry(settings.mongodb_uri)
    return await SqliteRegistry.open(_folder(settings) / REGISTRY_FILE)


async def _open_mongo_registry(uri: str) -> Registry:
    with _extra("mongo", "MONGODB_URI"):
        from footfall.registry.mongo import MongoRegistry  # noqa: PLC0415 - only who asks for MongoDB needs its package
    return await MongoRegistry.open(uri)


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


def open_log_handler(settings: Settings, half: Half) -> logging.Handler | None:
    """Where the log lines of a process go besides the console; None: nowhere."""
    if not settings.enable_cloudwatch:
        return None
    with _extra("aws", "ENABLE_CLOUDWATCH"):
        from footfall.cloudwatch import CloudWatchHandler  # noqa: PLC0415 - only who asks for it needs its packages
    return CloudWatchHandler.open(
        settings.cloudwatch_log_group,
        region=settings.aws_region,
        endpoint_url=settings.aws_endpoint_url,
        process=half.value,
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


async def open_store(settings: Settings, registry: Registry) -> Store:
    """The store these settings name; several writers take turns by the *registry*.

    Raises InUse if another process holds the embedded one.
    """
    if settings.clickhouse_url:
        return await _open_clickhouse(settings, settings.clickhouse_url, registry)
    if settings.mongodb_uri:
        return await _open_mongo_store(settings, settings.mongodb_uri)
    path = _folder(settings) / STORE_FOLDER
    from footfall.store.clickhouse.engine import ChdbEngine  # noqa: PLC0415 - 150 MB that a server store can do without

    engine = await asyncio.to_thread(ChdbEngine, path, settings.store_memory_bytes)
    try:
        return await ClickHouseStore.open(engine, fsync=settings.fsync)
    except FootfallError:
        await engine.close()
        raise


async def _open_mongo_store(settings: Settings, uri: str) -> Store:
    with _extra("mongo", "MONGODB_URI"):
        from footfall.store.mongo.store import MongoStore  # noqa: PLC0415 - only who asks for MongoDB needs its package
    return await MongoStore.open(uri, memory_bytes=settings.store_memory_bytes)


async def _open_clickhouse(settings: Settings, url: str, registry: Registry) -> Store:
    with _extra("clickhouse", "CLICKHOUSE_URL"):
        from footfall.store.clickhouse.server import open_server_store  # noqa: PLC0415 - only who asks for a server
    return await open_server_store(
        url,
        registry.turns,
        memory_bytes=settings.store_memory_bytes,
        fsync=settings.fsync,
        cluster=settings.clickhouse_cluster,
    )


@asynccontextmanager
async def open_parts(
    settings: Settings, half: Half = Half.BOTH, *, on_wait: OnWait | None = None
) -> AsyncIterator[Parts]:
    """Everything opened, and closed again in the opposite order, whatever happens.

    With *on_wait*, a server that is down is waited for, and *on_wait* told of it; what is embedded is not, for no
    time mends it.
    """
    async with AsyncExitStack() as stack:
        wait = on_wait if settings.mongodb_uri else None
        registry = await _waited_for("registry", partial(open_registry, settings), wait)
        stack.push_async_callback(registry.close)
        wait = on_wait if _has_store_server(settings) else None
        store = await _waited_for("store", partial(open_store, settings, registry), wait)
        stack.push_async_callback(store.close)
        # The embedded store's folder is ours alone now, so no other worker can be at the embedded queue.
        is_sole_worker = half is Half.BOTH and not _has_store_server(settings)
        wait = on_wait if _has_queue_server(settings) else None
        queue = await _waited_for("queue", partial(open_queue, settings, is_sole_worker=is_sole_worker), wait)
        stack.push_async_callback(queue.close)
        sites = Sites(registry, auto_create=settings.auto_create_sites)
        stack.push_async_callback(sites.close)
        door = Door(settings, registry)
        stack.push_async_callback(door.close)
        yield Parts(settings, queue, store, registry, sites, door)


async def _waited_for(what: str, open_it: Callable[[], Awaitable[T]], on_wait: OnWait | None) -> T:
    """What *open_it* opens; with *on_wait*, once its server is there."""
    pause_s = WAIT_FIRST_S
    while True:
        try:
            return await open_it()
        except Unavailable as error:
            if on_wait is None:
                raise
            on_wait(what, error)
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, WAIT_MAX_S)


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
