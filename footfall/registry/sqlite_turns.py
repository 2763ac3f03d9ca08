"""SqliteTurns: who does what only one process may do at a time, in the registry's file, by the machine's clock."""

import time
from collections.abc import Callable

from footfall.registry.sqlite_file import SqliteFile


class SqliteTurns:
    """The Turns port."""

    def __init__(self, file: SqliteFile, now_ms: Callable[[], int]) -> None:
        self._file = file
        self._now_ms = now_ms

    async def take(self, name: str, holder: str, lease_s: float) -> float | None:
        asked_at_s = time.monotonic()
        is_taken = await self._file.run(lambda: self._take(name, holder, lease_s))
        return asked_at_s + lease_s if is_taken else None

    async def give_back(self, name: str, holder: str) -> None:
        statement = "DELETE FROM turns WHERE name = ? AND holder = ?"
        await self._file.run(lambda: self._file.write(statement, (name, holder), quiet=True))

    def _take(self, name: str, holder: str, lease_s: float) -> bool:
        now_ms = self._now_ms()
        changed = self._file.write(
            "INSERT INTO turns (name, holder, ends_at_ms) VALUES (?, ?, ?)"
            " ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, ends_at_ms = excluded.ends_at_ms"
            " WHERE holder = excluded.holder OR ends_at_ms <= ?",
            (name, holder, now_ms + round(lease_s * 1000), now_ms),
            quiet=True,
        )
        return changed > 0
