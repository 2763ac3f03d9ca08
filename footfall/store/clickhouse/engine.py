"""The in-process door: ClickHouse's engine inside this process, one folder, one writer and a few readers.

Nothing here knows of events. The statements come from the store; what comes back are rows, or a failure of our own.
"""

import asyncio
import ctypes
import fcntl
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

import msgspec

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

from footfall.errors import FootfallError, InUse, Misconfigured, Unavailable, Unstorable  # noqa: E402 - see above

READERS = 3
"""A slow question holds one of them; the others answer the quick ones."""
WAITING_MAX = 256
"""Questions under way or waiting; the next one is refused."""
QUERY_S_MAX = 20
REST_AFTER_S = 60.0
"""Without a question and a write for so long, memory is given back."""
QUERY_ROWS_MAX = 1_000_000
WRITE_S_MAX = 120

Params = Mapping[str, str | int]
Rows = Sequence[Sequence[Any]]
T = TypeVar("T")


class Door(Protocol):
    """The way to an engine that speaks ClickHouse's SQL. Every method raises Unavailable or Unstorable."""

    kind: str

    async def select(self, sql: str, params: Params | None = None, *, writer: bool = False) -> Rows:
        """The rows of a question. With *writer*, in turn with the writes, and seeing what they see."""
        ...

    async def encoded(self, sql: str, format_name: str, params: Params | None = None) -> bytes:
        """The answer to a question in ClickHouse's format of that name. Has a way of its own past the quick ones."""
        ...

    async def insert(self, sql: str, format_name: str, body: bytes) -> int:
        """Run `INSERT INTO ...` with *body* as its data in ClickHouse's format of that name; returns the rows."""
        ...

    async def command(self, sql: str, params: Params | None = None) -> None:
        """Run a statement without an answer, in turn with the other writes."""
        ...

    async def close(self) -> None:
        """Let go of everything held."""
        ...


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

_SESSION = {
    "max_threads": 2,
    "output_format_json_quote_64bit_integers": 0,
    "output_format_json_quote_decimals": 1,
    "log_queries": 0,
    "log_query_threads": 0,
    "max_bytes_before_external_group_by": 0,
    "join_use_nulls": 0,
}

_WRITING = {
    "max_execution_time": WRITE_S_MAX,
    "max_insert_threads": 1,
    # One insert is one block, and so one part per partition; a block is split by rows or bytes, whichever comes first.
    "max_block_size": 1_048_576,
    "max_insert_block_size": 1_048_576,
    "min_insert_block_size_rows": 1_048_576,
    "min_insert_block_size_bytes": 1_073_741_824,
    # A batch may hold events of any year.
    "max_partitions_per_insert_block": 0,
}
# Reading keeps the default size of a block, which fits the processor's cache.
_READING = {"max_execution_time": QUERY_S_MAX, "max_result_rows": QUERY_ROWS_MAX}
# Small blocks, for an event may be tens of kilobytes; one thread, for nobody waits at a screen.
_EXPORTING = {"max_execution_time": QUERY_S_MAX, "max_result_rows": QUERY_ROWS_MAX, "max_threads": 1}

# https://github.com/ClickHouse/ClickHouse/blob/master/src/Common/ErrorCodes.cpp
_DATA_CODES = frozenset(
    {6, 26, 27, 33, 38, 41, 44, 53, 69, 70, 72, 117, 131, 190, 321, 349, 376, 407, 434, 439, 467, 561, 636}
)
"""The data can not be read as what it should be: asking again changes nothing."""
_LIMIT_TEXT = {
    158: "the question would read too many rows",
    159: f"the question took longer than {QUERY_S_MAX} s",
    160: f"the question would take longer than {QUERY_S_MAX} s",
    241: "the question needs more memory than STORE_MEMORY_BYTES allows",
    243: "the disk of DATA_DIR is full",
    252: "too many parts wait to be merged",
    396: f"the answer has more than {QUERY_ROWS_MAX} rows",
}
_CODE = re.compile(r"Code: (\d+)")


def failure(error: Exception) -> FootfallError:
    """What the engine's *error* means to us."""
    text = str(error)
    found = _CODE.search(text)
    code = int(found[1]) if found else 0
    if code in _DATA_CODES:
        return Unstorable(f"the store refuses the data: {text[:500]}")
    return Unavailable(f"store: {_LIMIT_TEXT.get(code, text[:500])}")


_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\0": "\\0", "\b": "\\b", "\f": "\\f"})


def escaped(params: Params | None) -> dict[str, str]:
    """Values for `{name:Type}`, which the engine reads as a field of its tab-separated format."""
    return {name: str(value).translate(_ESCAPES) for name, value in (params or {}).items()}


class _Answer(msgspec.Struct):
    data: list[list[Any]]


_answers = msgspec.json.Decoder(_Answer)


class ChdbEngine:
    """The engine on the folder *path*, which it holds alone; every session lives on a thread of its own."""

    kind = "chdb"

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
            reading = _READING | {"max_bytes_before_external_group_by": memory_bytes // 4}
            for _ in range(READERS):
                session = self._open(reading)
                session.query("USE footfall")
                self._idle.put(session)
            self._export_session = self._open(_EXPORTING)
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
            raise failure(error) from error
        finally:
            self._waiting -= 1
            if self._waiting == 0 and not self._closed:
                self._rest_later(asyncio.get_running_loop())

    def _rest_later(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._rest is not None:
            self._rest.cancel()
        self._rest = loop.call_later(REST_AFTER_S, _drop_code_pages)

    async def select(self, sql: str, params: Params | None = None, *, writer: bool = False) -> Rows:
        """See Door."""
        values = escaped(params)
        run = self._run if writer else self._ask
        body = await self._on(self._writer if writer else self._readers, lambda: run(sql, values))
        return _answers.decode(body).data

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
