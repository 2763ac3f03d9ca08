"""SqliteSalts: the salts of days in the registry's file, and their end."""

import secrets
import threading
from collections.abc import Callable
from datetime import date
from typing import Final

import structlog

from footfall.errors import Unavailable
from footfall.registry.base import SALT_BYTES
from footfall.registry.salts import destroy_at_ms
from footfall.registry.sqlite_file import SqliteFile, translating

LOOK_EVERY_S: Final = 30.0
"""How often the idle thread looks for salts that are due. An hour's grace needs no better clock."""

log = structlog.stdlib.get_logger(__name__)


class SqliteSalts:
    """Makes and destroys them; a clock of its own sees to it though nobody asks: a quiet site keeps its promise too."""

    def __init__(self, file: SqliteFile, now_ms: Callable[[], int]) -> None:
        self._file = file
        self._now_ms = now_ms
        self._wal_is_dirty = True
        self._is_over = threading.Event()
        self._clock = threading.Thread(target=self._keep_time, name="footfall-registry-clock", daemon=True)

    def start(self) -> None:
        """Destroy what is due, and go on doing so. Raises Unavailable."""
        translating(self._destroy_due)()
        self._clock.start()

    def stop(self) -> None:
        """Let the clock run out."""
        self._is_over.set()
        self._clock.join()

    async def of(self, day: date) -> bytes:
        """The salt of *day*, made if need be."""
        return await self._file.run(lambda: self._of(day.isoformat(), destroy_at_ms(day, self._now_ms())))

    def _of(self, day: str, end_ms: int) -> bytes:
        self._destroy_due()
        select = "SELECT salt FROM salts WHERE day = ?"
        row = self._file.ask(select, (day,)).fetchone()
        if row is None:
            # The first to insert wins, and everybody, the loser included, reads what the winner wrote.
            self._file.write(
                "INSERT OR IGNORE INTO salts (day, salt, destroy_at_ms) VALUES (?, ?, ?)",
                (day, secrets.token_bytes(SALT_BYTES), end_ms),
                quiet=True,
            )
            row = self._file.ask(select, (day,)).fetchone()
        salt: bytes = row[0]
        return salt

    def _keep_time(self) -> None:
        while not self._is_over.wait(LOOK_EVERY_S):
            self._file.submit(self._look)

    def _look(self) -> None:
        try:
            translating(self._destroy_due)()
        except Unavailable as error:
            log.warning("salts that are due could not be destroyed yet; trying again", error=str(error))

    def _destroy_due(self) -> None:
        """Delete the salts that are due, and see to it that no file of ours still holds them.

        secure_delete zeroes the row in its page, but with a write-ahead log that zeroed page is appended to the log:
        the old page stays in the database file until a checkpoint writes over it, and in the log, from when the salt
        was made, until the log is cut. So a checkpoint in TRUNCATE mode follows, which does both; where a reader in
        another process holds it up, it is tried again at the next occasion. (What a file system or an SSD keeps of
        blocks that a file gave back is beyond a program's reach; full-disk encryption is the remedy for that.)
        """
        now_ms = self._now_ms()
        due = self._file.ask("SELECT 1 FROM salts WHERE destroy_at_ms <= ? LIMIT 1", (now_ms,)).fetchone()
        if due is not None:
            self._file.write("DELETE FROM salts WHERE destroy_at_ms <= ?", (now_ms,), quiet=True)
            self._wal_is_dirty = True
        if self._wal_is_dirty:
            is_blocked: int = self._file.ask("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            self._wal_is_dirty = bool(is_blocked)
