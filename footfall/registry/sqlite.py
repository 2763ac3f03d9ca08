"""SqliteRegistry: sites, definitions, keys, salts and turns in one SQLite file that many processes may share."""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import msgspec

from footfall.errors import Conflict
from footfall.query.definitions import Definitions, WeekStart
from footfall.registry.base import SITES_MAX, Site
from footfall.registry.sqlite_file import SqliteFile
from footfall.registry.sqlite_keys import SqliteKeys
from footfall.registry.sqlite_salts import SqliteSalts
from footfall.registry.sqlite_turns import SqliteTurns
from footfall.registry.texts import pack, unpack


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class SqliteRegistry:
    """The Registry port on the standard library's SQLite.

    Opens, creates and migrates the file at once. Raises Misconfigured for a file of a newer version, Unavailable where
    the file can not be opened. A call waits at most *busy_timeout_s* for another process's write, then is Unavailable.
    """

    kind = "sqlite"

    def __init__(self, path: Path, *, now: Callable[[], int] = _wall_ms, busy_timeout_s: float = 5.0) -> None:
        self._now_ms = now
        self._file = SqliteFile(path, busy_timeout_s)
        self._salts = SqliteSalts(self._file, now)
        self._salts.start()
        self.keys = SqliteKeys(self._file)
        self.turns = SqliteTurns(self._file, now)
        self._sites: tuple[Site, ...] = ()
        self._sites_age = -1
        self._is_closed = False

    @classmethod
    async def open(cls, path: Path, *, now: Callable[[], int] = _wall_ms) -> "SqliteRegistry":
        """The same, without holding up the loop."""
        return await asyncio.to_thread(cls, path, now=now)

    async def ensure_site(self, site_id: str) -> Site | None:
        return await self._file.run(lambda: self._ensure_site(site_id))

    async def sites(self) -> Sequence[Site]:
        return await self._file.run(self._all_sites)

    async def save_site(self, site: Site) -> None:
        await self._file.run(lambda: self._save_site(site))

    async def definitions(self, site_id: str) -> Definitions:
        return await self._file.run(lambda: self._definitions(site_id))

    async def save_definitions(self, site_id: str, definitions: Definitions, based_on: int) -> int:
        return await self._file.run(lambda: self._save_definitions(site_id, definitions, based_on))

    async def salt(self, day: date) -> bytes:
        return await self._salts.of(day)

    async def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        await asyncio.to_thread(self._salts.stop)
        await self._file.close()

    # -- sites, on the thread

    def _all_sites(self) -> tuple[Site, ...]:
        age = self._file.age()
        if age != self._sites_age:
            self._sites = tuple(_site(row) for row in self._file.ask("SELECT * FROM sites ORDER BY id"))
            self._sites_age = age
        return self._sites

    def _ensure_site(self, site_id: str) -> Site | None:
        found = self._site(site_id)
        if found is not None:
            return found
        with self._file.transaction():
            found = self._site(site_id)
            if found is not None:
                return found
            count: int = self._file.ask("SELECT count(*) FROM sites").fetchone()[0]
            if count >= SITES_MAX:
                return None
            site = Site(id=site_id, created_at_ms=self._now_ms())
            self._save_site(site)
        return site

    def _site(self, site_id: str) -> Site | None:
        row = self._file.ask("SELECT * FROM sites WHERE id = ?", (site_id,)).fetchone()
        return None if row is None else _site(row)

    def _save_site(self, site: Site) -> None:
        self._file.write(
            "INSERT OR REPLACE INTO sites"
            " (id, created_at_ms, timezone, requires_key, allowed_origins, rate_per_minute, week_start)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                site.id,
                site.created_at_ms,
                site.timezone,
                int(site.requires_key),
                pack(site.allowed_origins),
                site.rate_per_minute,
                site.week_start,
            ),
        )

    # -- definitions, on the thread

    def _definitions(self, site_id: str) -> Definitions:
        row = self._file.ask("SELECT version, body FROM definitions WHERE site_id = ?", (site_id,)).fetchone()
        if row is None:
            return Definitions()
        version, body = row
        return msgspec.structs.replace(msgspec.json.decode(body, type=Definitions), version=version)

    def _save_definitions(self, site_id: str, definitions: Definitions, based_on: int) -> int:
        body = msgspec.json.encode(msgspec.structs.replace(definitions, version=0)).decode()
        if based_on == 0:
            statement = "INSERT OR IGNORE INTO definitions (body, version, site_id) VALUES (?, ?, ?)"
            changed = self._file.write(statement, (body, 1, site_id), quiet=True)
        else:
            statement = "UPDATE definitions SET body = ?, version = ? WHERE site_id = ? AND version = ?"
            changed = self._file.write(statement, (body, based_on + 1, site_id, based_on), quiet=True)
        if changed == 0:
            raise Conflict(f"the definitions of site {site_id} were changed meanwhile")
        return based_on + 1


def _site(row: tuple[str, int, str, int, str, int | None, str]) -> Site:
    site_id, created_at_ms, timezone, requires_key, origins, rate_per_minute, week_start = row
    return Site(
        id=site_id,
        created_at_ms=created_at_ms,
        timezone=timezone,
        requires_key=bool(requires_key),
        allowed_origins=unpack(origins),
        rate_per_minute=rate_per_minute,
        week_start=WeekStart(week_start),
    )
