"""The in-process door: ClickHouse's engine inside this process, one folder, one writer and a few readers.

Nothing here knows of events. The statements come from the store; what comes back are rows, or a failure of our own.
"""

import asyncio
import ctypes
import fcntl
import re
import sys
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

# The engine's Python package imports pyarrow, if there is one, for formats that are not used here: 35 MB and 0.6 s.
_absent = object()
_pyarrow = sys.modules.get("pyarrow", _absent)
if _pyarrow is _absent:
    sys.modules["pyarrow"] = None  # type: ignore[assignment]
try:
    from chdb.state.sqlitelike import Connection
finally:
    if _pyarrow is _absent:
        del sys.modules["pyarrow"]

from footfall.errors import FootfallError, InUse, Misconfigured, Unavailable  # noqa: E402 - see above
from footfall.store.clickhouse.door import (  # noqa: E402
    EXPORTING,
    READING,
    SESSION,
    WAITING_MAX,
    WRITING,
    Params,
    Rows,
    failure,
    rows_of,
)

READERS = 3
"""A slow question holds one of them; the others answer the quick ones."""
REST_AFTER_S = 60.0
"""Without a question and a write for so long, memory is given back."""
WRITE_S_MAX = 120
FOREVER_MS = 2**43
"""In the year 2248."""

T = TypeVar("T")


# The defaults are multiples, made for servers with many cores. With these: 0.3 % of a core idle, 26 threads.
_SERVER = {
    "background_pool_size": 2,
    "background_merges_mutations_concurrency_ratio": 2,
    "background_move_pool_size": 1,
    "background_fetches_pool_size": 1,
    "background_common_pool_size": 2,
    "background_schedule_pool_size": 4,
    "max_thread_pool_size": 100,
    "max_thread_pool_free_size": 4,
    "tables_loader_foreground_pool_size": 2,
    "tables_loader_background_pool_size": 1,
    "mark_cache_size": 32 * 1024**2,
    "index_mark_cache_size": 4 * 1024**2,
    "primary_index_cache_size": 32 * 1024**2,
    "uncompressed_cache_size": 0,
    "mmap_cache_size": 100,
    "compiled_expression_cache_size": 4 * 1024**2,
    "asynchronous_metrics_update_period_s": 60,
    "asynchronous_heavy_metrics_update_period_s": 3_600,
}

_SESSION = SESSION | {
    "max_threads": 2,
    "log_queries": 0,
    "log_query_threads": 0,
    "max_bytes_before_external_group_by": 0,
}
_WRITING = WRITING | {"max_execution_time": WRITE_S_MAX}
_CODE = re.compile(r"Code: (\d+)")


def _failure(error: Exception) -> FootfallError:
    text = str(error)
    found = _CODE.search(text)
    return failure(int(found[1]) if found else 0, text)


_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\0": "\\0", "\b": "\\b", "\f": "\\f"})


def escaped(params: Params | None) -> dict[str, str]:
    """Values for `{name:Type}`, which the engine reads as a field of its tab-separated format."""
    return {name: str(value).translate(_ESCAPES) for name, value in (params or {}).items()}


class ChdbEngine:
    """The engine on the folder *path*, which it holds alone; every session lives on a thread of its own."""

    kind = "chdb"
    setting = "DATA_DIR"
    is_alone = True

    def __init__(self, path: Path, memory_bytes: int) -> None:
        """Open, or create. Raises Misconfigured when another process, or another engine in this one, has the door."""
        if "?" in str(path):
            raise Misconfigured(
                f"DATA_DIR: {str(path.parent)!r} holds a question mark, after which the engine reads settings"
            )
        path.mkdir(parents=True, exist_ok=True)
        self._lock_file = (path / "lock").open("w")
        self._waiting = 0
        self._closed = False
        self._rest: asyncio.TimerHandle | None = None
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock_file.close()
            raise InUse(
                f"DATA_DIR: {str(path.parent)!r} is in use by another process; the embedded store serves one process. "
                "Stop that one first, or give this one a DATA_DIR of its own"
            ) from None
        server = _SERVER | {"max_server_memory_usage": memory_bytes, "max_concurrent_queries": 0}
        self._address = f"{path / 'data'}?" + "&".join(f"{name}={value}" for name, value in server.items())
        self._memory_bytes = memory_bytes
        self._opened: list[Connection] = []
        self._writer = ThreadPoolExecutor(1, "store-writer")
        self._readers = ThreadPoolExecutor(READERS, "store-reader")
        # Exports: a page takes a good part of a second, and no report shall wait for one.
        self._exporter = ThreadPoolExecutor(1, "store-exporter")
        self._idle: SimpleQueue[Connection] = SimpleQueue()
        try:
            self._write_session = self._open(_WRITING)
            self._write_session.query("CREATE DATABASE IF NOT EXISTS footfall ENGINE = Atomic")
            self._write_session.query("USE footfall")
            # Sessions of millions of visitors go by way of the disk, three times slower, before they reach the limit.
            reading = READING | {"max_bytes_before_external_group_by": memory_bytes * 3 // 8}
            for _ in range(READERS):
                session = self._open(reading)
                session.query("USE footfall")
                self._idle.put(session)
            self._export_session = self._open(EXPORTING)
            self._export_session.query("USE footfall")
        except RuntimeError as error:  # all that the engine ever raises
            self._shut()
            raise Misconfigured(f"DATA_DIR: the store in {str(path)!r} can not be opened: {error}") from error
        _drop_code_pages()

    def _open(self, limits: dict[str, int]) -> Connection:
        session = Connection(self._address)
        self._opened.append(session)
        settings = _SESSION | limits | {"max_memory_usage": self._memory_bytes // 2}
        session.query("SET " + ", ".join(f"{name} = {value}" for name, value in settings.items()))
        return session

    def _ask(self, sql: str, params: dict[str, str]) -> bytes:
        session = self._idle.get()
        try:
            result: bytes = session.query(sql, "JSONCompact", params=params).bytes()
        except RuntimeError:
            # What a question had said before it failed would stand before the answer of the session's next one.
            session.query("SELECT 1", "JSONCompact")
            raise
        finally:
            self._idle.put(session)
        return result

    def _encode(self, sql: str, format_name: str, params: dict[str, str]) -> bytes:
        try:
            result: bytes = self._export_session.query(sql, format_name, params=params).bytes()
        except RuntimeError:
            self._export_session.query("SELECT 1", "JSONCompact")  # as above
            raise
        return result

    def _run(self, sql: str, params: dict[str, str]) -> bytes:
        result: bytes = self._write_session.query(sql, "JSONCompact", params=params).bytes()
        return result

    def _stream(self, sql: str, format_name: str, body: bytes) -> int:
        inserter: Any = self._write_session.send_insert(sql, format_name)
        try:
            inserter.append(body)
        except RuntimeError:
            inserter.cancel()
            raise
        rows: int = inserter.finish().rows_written
        return rows

    async def _on(self, pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        if self._closed:
            raise Unavailable("store: closed")
        if self._waiting >= WAITING_MAX:
            raise Unavailable(f"store: {WAITING_MAX} questions are waiting already")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, work)
        except RuntimeError as error:  # all that the engine ever raises
            raise _failure(error) from error
        finally:
            self._waiting -= 1
            if self._waiting == 0 and not self._closed:
                self._rest_later(asyncio.get_running_loop())

    def _rest_later(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._rest is not None:
            self._rest.cancel()
        self._rest = loop.call_later(REST_AFTER_S, _drop_code_pages)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[int]:
        """See Door. The folder is this process's alone, so nobody else can write and no turn ends."""
        yield FOREVER_MS

    async def define(self, sql: str) -> None:
        """See Door."""
        await self.command(sql)

    async def select(self, sql: str, params: Params | None = None, *, writer: bool = False) -> Rows:
        """See Door."""
        values = escaped(params)
        run = self._run if writer else self._ask
        body = await self._on(self._writer if writer else self._readers, lambda: run(sql, values))
        return rows_of(body)

    async def encoded(self, sql: str, format_name: str, params: Params | None = None) -> bytes:
        """See Door."""
        values = escaped(params)
        return await self._on(self._exporter, lambda: self._encode(sql, format_name, values))

    async def insert(self, sql: str, format_name: str, body: bytes) -> int:
        """See Door."""
        return await self._on(self._writer, lambda: self._stream(sql, format_name, body))

    async def command(self, sql: str, params: Params | None = None) -> None:
        """See Door."""
        values = escaped(params)
        await self._on(self._writer, lambda: self._run(sql, values))

    async def close(self) -> None:
        """Let what is under way end, then close every session and unlock the folder."""
        if not self._closed:
            self._closed = True
            if self._rest is not None:
                self._rest.cancel()
            await asyncio.to_thread(self._shut)

    def _shut(self) -> None:
        for pool in (self._writer, self._readers, self._exporter):
            pool.shutdown(wait=True)
        for session in self._opened:
            session.close()
        self._opened.clear()
        self._lock_file.close()


def _drop_code_pages() -> None:
    """Give back the engine's code pages, of which most were needed once: by its start, or by work that is over.

    245 MB resident after the start become 175, 250 after work 150; the first question afterwards takes 0.1 s.

    Program text is never written, so the kernel reads a page again from the file when it is called again.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None)
    with Path("/proc/self/maps").open(encoding="utf-8") as maps:
        for line in maps:
            span, mode, *rest = line.split(maxsplit=5)
            if mode == "r-xp" and rest[-1].strip().endswith("_chdb.abi3.so"):
                start, end = (int(part, 16) for part in span.split("-"))
                libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), 4)  # MADV_DONTNEED
