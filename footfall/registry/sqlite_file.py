"""SqliteFile: the registry's one file, its version, and the one thread that works on it."""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from footfall.errors import Misconfigured, Unavailable

T = TypeVar("T")

MIGRATIONS: Final = (
    """
    CREATE TABLE sites (
        id TEXT PRIMARY KEY,
        created_at_ms INTEGER NOT NULL,
        timezone TEXT NOT NULL,
        requires_key INTEGER NOT NULL,
        allowed_origins TEXT NOT NULL,
        rate_per_minute INTEGER
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE keys (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        scopes TEXT NOT NULL,
        site_ids TEXT NOT NULL,
        created_at_ms INTEGER NOT NULL,
        expires_at_ms INTEGER,
        last_used_at_ms INTEGER,
        secret_hash BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE salts (
        day TEXT PRIMARY KEY,
        salt BLOB NOT NULL,
        destroy_at_ms INTEGER NOT NULL
    ) STRICT;
    """,
    """
    ALTER TABLE sites ADD COLUMN week_start TEXT NOT NULL DEFAULT 'monday';
    CREATE TABLE definitions (
        site_id TEXT PRIMARY KEY,
        version INTEGER NOT NULL,
        body TEXT NOT NULL
    ) STRICT;
    CREATE TABLE turns (
        name TEXT PRIMARY KEY,
        holder TEXT NOT NULL,
        ends_at_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    """,
)
"""PRAGMA user_version says how many of these a file has had. A new version is a new member; no member ever changes."""

CALLS_MAX: Final = 1_000
"""Calls that may wait for the thread; the next one is answered with Unavailable instead of filling the memory."""


class SqliteFile:
    """One connection, on one thread, so that the loop never waits.

    Opens, creates and migrates the file at once. Raises Misconfigured for a file of a newer version, Unavailable where
    the file can not be opened. A call waits at most *busy_timeout_s* for another process's write, then is Unavailable.
    """

    def __init__(self, path: Path, busy_timeout_s: float) -> None:
        self._path = path
        self._busy_timeout_s = busy_timeout_s
        self._waiting = 0
        self._is_closed = False
        self._seen_version = -1
        self._age = 0
        self._db = translating(self._opened)()
        self._thread = ThreadPoolExecutor(1, "footfall-registry")

    # -- from the loop

    async def run(self, job: Callable[[], T]) -> T:
        """What *job* returns, done on the thread. Raises Unavailable when the file does not answer, or is closed."""
        if self._is_closed:
            raise Unavailable("the registry is closed")
        if self._waiting >= CALLS_MAX:
            raise Unavailable("the registry is overloaded")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, translating(job))
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        """Finish what waits, and close the file."""
        self._is_closed = True
        await asyncio.get_running_loop().run_in_executor(self._thread, self._db.close)
        self._thread.shutdown()

    # -- from any thread

    def submit(self, job: Callable[[], None]) -> Future[None]:
        """Have *job* done on the thread; its failures are its own."""
        return self._thread.submit(job)

    # -- on the thread

    def ask(self, statement: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        """The rows that *statement* selects."""
        return self._db.execute(statement, values)

    def write(self, statement: str, values: Sequence[object], *, quiet: bool = False) -> int:
        """Run one statement by itself; returns how many rows it changed. *quiet*: what is cached stays good enough."""
        changed = self._db.execute(statement, values).rowcount
        if not quiet:
            self._age += 1
        return changed

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it, or nothing."""
        # IMMEDIATE: a deferred transaction that reads first and then wants to write fails at once, however long the
        # busy timeout is, when another process wrote in between.
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def age(self) -> int:
        """Counts the changes by anybody: what was read at the same age is still true. A few microseconds."""
        version: int = self._db.execute("PRAGMA data_version").fetchone()[0]
        if version != self._seen_version:
            self._seen_version = version
            self._age += 1
        return self._age

    # -- opening

    def _opened(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(
            self._path, timeout=self._busy_timeout_s, isolation_level=None, check_same_thread=False
        )
        try:
            self._prepare()
        except BaseException:
            self._db.close()
            raise
        return self._db

    def _prepare(self) -> None:
        self._turn_on_wal()
        # A site or a key that a command has reported as saved survives a power cut; there are few of these writes.
        self._db.execute("PRAGMA synchronous = FULL")
        # What is deleted is overwritten with zeros in its page, so that a destroyed salt is not left in a free block.
        self._db.execute("PRAGMA secure_delete = ON")
        self._db.execute("PRAGMA cache_size = -2000")
        with self.transaction():
            version: int = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version > len(MIGRATIONS):
                raise Misconfigured(
                    f"DATA_DIR: {str(self._path)!r} was written by a newer Footfall "
                    f"(registry version {version}, this one knows {len(MIGRATIONS)}); upgrade, or choose another folder"
                )
            for migration in MIGRATIONS[version:]:
                for statement in migration.split(";"):
                    self._db.execute(statement)
            self._db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")

    def _turn_on_wal(self) -> None:
        """SQLite does not wait its busy timeout where several processes make the file's log at once, so we do."""
        deadline_s = time.monotonic() + self._busy_timeout_s
        while True:
            try:
                self._db.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError:
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(0.01)
            else:
                return


def translating(job: Callable[[], T]) -> Callable[[], T]:
    """*job*, with the driver's failures turned into ours: the one place where that is done."""

    def run() -> T:
        try:
            return job()
        except (sqlite3.ProgrammingError, sqlite3.IntegrityError):
            raise  # a fault of this file's, not of the disk's
        except (sqlite3.DatabaseError, OSError) as error:
            raise Unavailable(f"the registry does not answer: {error}") from error

    return run
