"""QueueReader: what is asked of the file of SqliteQueue beside the puts, and never holds one up."""

# ruff: noqa: S608 - the statement is made of constants of ours

from collections.abc import Callable
from pathlib import Path

from footfall.queue.base import Depth, FailedJob
from footfall.queue.sqlite_connection import connect
from footfall.queue.sqlite_file import CLOCK_SLACK_MS, READY, decode_body

_DEPTH = f"""
    SELECT count(*), coalesce(sum(events), 0),
           coalesce(sum(token IS NOT NULL AND NOT {READY}), 0),
           coalesce(sum(token IS NULL AND NOT {READY}), 0),
           min(put_at_ms)
    FROM job"""


class QueueReader:
    """The reading side, which never holds a put up: a connection of its own, owned by another thread."""

    def __init__(self, path: Path, *, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._db = connect(path, fsync=False)

    def depth(self) -> Depth:
        """Queue.depth."""
        now = self._now_ms()
        self._db.execute("BEGIN")
        try:
            jobs, events, active, delayed, oldest_ms = self._db.execute(
                _DEPTH, {"now": now, "slack": CLOCK_SLACK_MS}
            ).fetchone()
            failed, failed_events = self._db.execute("SELECT count(*), coalesce(sum(events), 0) FROM failed").fetchone()
            received, purged = self._db.execute("SELECT received_events, purged_events FROM ledger").fetchone()
        finally:
            self._db.rollback()
        age_s = 0.0 if oldest_ms is None else max(0, now - oldest_ms) / 1000
        return Depth(jobs - active - delayed, active, delayed, failed, events, failed_events, purged, received, age_s)

    def failed(self, limit: int) -> list[FailedJob]:
        """FailedJobs.list."""
        rows = self._db.execute(
            "SELECT id, events, attempts, error, failed_at_ms, payloads FROM failed JOIN body USING (id)"
            " ORDER BY failed_at_ms DESC, id DESC LIMIT ?",
            (limit,),
        )
        return [
            FailedJob(str(job_id), events, attempts, error, failed_at_ms, decode_body(body))
            for job_id, events, attempts, error, failed_at_ms, body in rows
        ]

    def copy_log(self) -> None:
        """Copy the log to the file, beside the puts: twice, for the second time finds only what the first let in."""
        for _ in range(2):
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def idle(self) -> None:
        """Nothing to do. See thread.Owned."""

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()
