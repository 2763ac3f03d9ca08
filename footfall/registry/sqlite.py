"""SqliteRegistry: sites, keys and salts in one SQLite file that any number of processes may share."""

import asyncio
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import structlog

from footfall.errors import Misconfigured, Unavailable
from footfall.registry.base import SALT_BYTES, SITES_MAX, Key, Scope, Site

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
)
"""PRAGMA user_version says how many of these a file has had. A new version is a new member; no member ever changes."""

CALLS_MAX: Final = 1_000
"""Calls that may wait for the thread; the next one is answered with Unavailable instead of filling the memory."""
LOOK_EVERY_S: Final = 30.0
"""How often the idle thread looks for salts that are due. An hour's grace needs no better clock."""
LIVE_GRACE: Final = timedelta(hours=1)
PAST_LIFE_MS: Final = 24 * 3600 * 1000

log = structlog.stdlib.get_logger(__name__)


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class SqliteRegistry:
    """The Registry port on the standard library's SQLite: one connection, on one thread, so that the loop never waits.

    Opens, creates and migrates the file at once. Raises Misconfigured for a file of a newer version, Unavailable where
    the file can not be opened. A call waits at most *busy_timeout_s* for another process's write, then is Unavailable.
    """

    kind = "sqlite"

    def __init__(self, path: Path, *, now: Callable[[], int] = _wall_ms, busy_timeout_s: float = 5.0) -> None:
        self._path = path
        self._now_ms = now
        self._sites: tuple[Site, ...] | None = None
        self._keys: tuple[Key, ...] | None = None
        self._seen_version = -1
        self._wal_is_dirty = True
        self._waiting = 0
        self._busy_timeout_s = busy_timeout_s
        _translating(self._open)()
        self._closed = threading.Event()
        self._thread = ThreadPoolExecutor(1, "footfall-registry")
        self._clock = threading.Thread(target=self._keep_time, name="footfall-registry-clock", daemon=True)
        self._clock.start()

    @classmethod
    async def open(cls, path: Path, *, now: Callable[[], int] = _wall_ms) -> "SqliteRegistry":
        """The same, without holding up the loop."""
        return await asyncio.to_thread(cls, path, now=now)

    # -- the port

    async def ensure_site(self, site_id: str) -> Site | None:
        return await self._run(lambda: self._ensure_site(site_id))

    async def sites(self) -> Sequence[Site]:
        return await self._run(self._all_sites)

    async def save_site(self, site: Site) -> None:
        await self._run(lambda: self._save_site(site))

    async def keys(self) -> Sequence[Key]:
        return await self._run(self._all_keys)

    async def save_key(self, key: Key) -> None:
        await self._run(lambda: self._save_key(key))

    async def note_use(self, key_id: str, used_at_ms: int) -> None:
        await self._run(lambda: self._write("UPDATE keys SET last_used_at_ms = ? WHERE id = ?", (used_at_ms, key_id)))

    async def delete_key(self, key_id: str) -> bool:
        return await self._run(lambda: self._write("DELETE FROM keys WHERE id = ?", (key_id,)) > 0)

    async def salt(self, day: date) -> bytes:
        return await self._run(lambda: self._salt(day))

    async def close(self) -> None:
        if self._closed.is_set():
            return
        self._closed.set()
        await asyncio.to_thread(self._clock.join)
        await asyncio.get_running_loop().run_in_executor(self._thread, self._db.close)
        self._thread.shutdown()

    # -- the thread

    async def _run(self, job: Callable[[], T]) -> T:
        if self._closed.is_set():
            raise Unavailable("the registry is closed")
        if self._waiting >= CALLS_MAX:
            raise Unavailable("the registry is overloaded")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, _translating(job))
        finally:
            self._waiting -= 1

    def _keep_time(self) -> None:
        """Have salts destroyed when they are due though nobody asks: a quiet site keeps its promise too."""
        while not self._closed.wait(LOOK_EVERY_S):
            self._thread.submit(self._look)

    def _look(self) -> None:
        try:
            _translating(self._destroy_due_salts)()
        except Unavailable as error:
            log.warning("salts that are due could not be destroyed yet; trying again", error=str(error))

    # -- the file

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(
            self._path, timeout=self._busy_timeout_s, isolation_level=None, check_same_thread=False
        )
        try:
            self._prepare()
            self._destroy_due_salts()
        except BaseException:
            self._db.close()
            raise

    def _prepare(self) -> None:
        self._turn_on_wal()
        # A site or a key that a command has reported as saved survives a power cut; there are few of these writes.
        self._db.execute("PRAGMA synchronous = FULL")
        # What is deleted is overwritten with zeros in its page, so that a destroyed salt is not left in a free block.
        self._db.execute("PRAGMA secure_delete = ON")
        self._db.execute("PRAGMA cache_size = -2000")
        with self._transaction():
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

    @contextmanager
    def _transaction(self) -> Iterator[None]:
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

    def _write(self, statement: str, values: Sequence[object], *, quiet: bool = False) -> int:
        """Run one statement by itself; returns how many rows it changed. *quiet*: what is cached stays good enough."""
        changed = self._db.execute(statement, values).rowcount
        if not quiet:
            self._sites = self._keys = None
        return changed

    def _is_fresh(self) -> bool:
        """True while no other connection has committed anything since the last look: a few microseconds."""
        version: int = self._db.execute("PRAGMA data_version").fetchone()[0]
        if version == self._seen_version:
            return True
        self._seen_version = version
        self._sites = self._keys = None
        return False

    # -- sites

    def _all_sites(self) -> tuple[Site, ...]:
        self._is_fresh()
        if self._sites is None:
            self._sites = tuple(_site(row) for row in self._db.execute("SELECT * FROM sites ORDER BY id"))
        return self._sites

    def _ensure_site(self, site_id: str) -> Site | None:
        found = self._site(site_id)
        if found is not None:
            return found
        with self._transaction():
            found = self._site(site_id)
            if found is not None:
                return found
            count: int = self._db.execute("SELECT count(*) FROM sites").fetchone()[0]
            if count >= SITES_MAX:
                return None
            site = Site(id=site_id, created_at_ms=self._now_ms())
            self._save_site(site)
        return site

    def _site(self, site_id: str) -> Site | None:
        row = self._db.execute("SELECT * FROM sites WHERE id = ?", (site_id,)).fetchone()
        return None if row is None else _site(row)

    def _save_site(self, site: Site) -> None:
        self._write(
            "INSERT OR REPLACE INTO sites (id, created_at_ms, timezone, requires_key, allowed_origins, rate_per_minute)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (
                site.id,
                site.created_at_ms,
                site.timezone,
                int(site.requires_key),
                _pack(site.allowed_origins),
                site.rate_per_minute,
            ),
        )

    # -- keys

    def _all_keys(self) -> tuple[Key, ...]:
        self._is_fresh()
        if self._keys is None:
            rows = self._db.execute("SELECT * FROM keys ORDER BY created_at_ms DESC, id")
            self._keys = tuple(_key(row) for row in rows)
        return self._keys

    def _save_key(self, key: Key) -> None:
        self._write(
            "INSERT OR REPLACE INTO keys (id, name, scopes, site_ids, created_at_ms, expires_at_ms, last_used_at_ms,"
            " secret_hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                key.id,
                key.name,
                _pack(key.scopes),
                _pack(key.site_ids),
                key.created_at_ms,
                key.expires_at_ms,
                key.last_used_at_ms,
                key.secret_hash,
            ),
        )

    # -- salts

    def _salt(self, day: date) -> bytes:
        self._destroy_due_salts()
        select = "SELECT salt FROM salts WHERE day = ?"
        row = self._db.execute(select, (day.isoformat(),)).fetchone()
        if row is None:
            # The first to insert wins, and everybody, the loser included, reads what the winner wrote.
            self._write(
                "INSERT OR IGNORE INTO salts (day, salt, destroy_at_ms) VALUES (?, ?, ?)",
                (day.isoformat(), secrets.token_bytes(SALT_BYTES), self._destroy_at_ms(day)),
                quiet=True,
            )
            row = self._db.execute(select, (day.isoformat(),)).fetchone()
        salt: bytes = row[0]
        return salt

    def _destroy_at_ms(self, day: date) -> int:
        now_ms = self._now_ms()
        today = datetime.fromtimestamp(now_ms / 1000, UTC).date()
        if day in (today, today + timedelta(days=1)):
            end = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1) + LIVE_GRACE
            return int(end.timestamp() * 1000)
        return now_ms + PAST_LIFE_MS

    def _destroy_due_salts(self) -> None:
        """Delete the salts that are due, and see to it that no file of ours still holds them.

        secure_delete zeroes the row in its page, but with a write-ahead log that zeroed page is appended to the log:
        the old page stays in the database file until a checkpoint writes over it, and in the log, from when the salt
        was made, until the log is cut. So a checkpoint in TRUNCATE mode follows, which does both; where a reader in
        another process holds it up, it is tried again at the next occasion. (What a file system or an SSD keeps of
        blocks that a file gave back is beyond a program's reach; full-disk encryption is the remedy for that.)
        """
        due = self._db.execute("SELECT 1 FROM salts WHERE destroy_at_ms <= ? LIMIT 1", (self._now_ms(),)).fetchone()
        if due is not None:
            self._write("DELETE FROM salts WHERE destroy_at_ms <= ?", (self._now_ms(),), quiet=True)
            self._wal_is_dirty = True
        if self._wal_is_dirty:
            is_blocked: int = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            self._wal_is_dirty = bool(is_blocked)


def _translating(job: Callable[[], T]) -> Callable[[], T]:
    """*job*, with the driver's failures turned into ours: the one place where that is done."""

    def run() -> T:
        try:
            return job()
        except (sqlite3.ProgrammingError, sqlite3.IntegrityError):
            raise  # a fault of this file's, not of the disk's
        except (sqlite3.DatabaseError, OSError) as error:
            raise Unavailable(f"the registry does not answer: {error}") from error

    return run


def _pack(texts: Sequence[str]) -> str:
    return msgspec.json.encode(texts).decode()


def _unpack(text: str) -> tuple[str, ...]:
    return msgspec.json.decode(text, type=tuple[str, ...])


def _site(row: tuple[str, int, str, int, str, int | None]) -> Site:
    site_id, created_at_ms, timezone, requires_key, origins, rate_per_minute = row
    return Site(site_id, created_at_ms, timezone, bool(requires_key), _unpack(origins), rate_per_minute)


def _key(row: tuple[str, str, str, str, int, int | None, int | None, bytes]) -> Key:
    key_id, name, scopes, site_ids, created_at_ms, expires_at_ms, last_used_at_ms, secret_hash = row
    return Key(
        id=key_id,
        name=name,
        scopes=tuple(Scope(scope) for scope in _unpack(scopes)),
        site_ids=_unpack(site_ids),
        created_at_ms=created_at_ms,
        expires_at_ms=expires_at_ms,
        last_used_at_ms=last_used_at_ms,
        secret_hash=secret_hash,
    )
