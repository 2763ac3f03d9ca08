"""What SQS does not count: events. A small SQLite file in DATA_DIR, for all processes on this machine.

It is written after SQS has answered, so a process that is killed in between leaves it wrong by that one call; and with
workers on several machines each file knows only its own part. Jobs are counted by SQS itself.
"""

import sqlite3
from pathlib import Path
from typing import NamedTuple

from footfall.errors import Unavailable

_SCHEMA = """
CREATE TABLE IF NOT EXISTS ledger (
    queue TEXT PRIMARY KEY,
    received INTEGER NOT NULL DEFAULT 0,
    done INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    purged INTEGER NOT NULL DEFAULT 0
)"""
BUSY_TIMEOUT_S = 5.0


class Sums(NamedTuple):
    """Events."""

    received: int
    done: int
    failed: int
    purged: int


class SqsLedger:
    """The sums of one queue."""

    def __init__(self, path: Path, queue: str) -> None:
        self._queue = queue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL").fetchall()
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute(_SCHEMA)
            self._db.execute("INSERT INTO ledger (queue) VALUES (?) ON CONFLICT DO NOTHING", (queue,))
        except (sqlite3.DatabaseError, OSError) as error:
            raise Unavailable(f"the ledger of the SQS queue, {path}, can not be used: {error}") from error

    def add(self, *, received: int = 0, done: int = 0, failed: int = 0, purged: int = 0) -> None:
        """Change the sums. One short transaction without waiting for a disk."""
        try:
            self._db.execute(
                "UPDATE ledger SET received = received + ?, done = done + ?, failed = failed + ?, purged = purged + ?"
                " WHERE queue = ?",
                (received, done, failed, purged, self._queue),
            )
        except sqlite3.DatabaseError as error:
            raise Unavailable(f"the ledger of the SQS queue can not be written: {error}") from error

    def sums(self) -> Sums:
        """The sums."""
        try:
            row = self._db.execute(
                "SELECT received, done, failed, purged FROM ledger WHERE queue = ?", (self._queue,)
            ).fetchone()
        except sqlite3.DatabaseError as error:
            raise Unavailable(f"the ledger of the SQS queue can not be read: {error}") from error
        return Sums(*row)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()
