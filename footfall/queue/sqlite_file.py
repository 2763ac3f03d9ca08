"""QueueFile: the file behind SqliteQueue and every transaction on it, for the one thread that owns the connection.

Each change is one transaction that begins by taking the write lock, so that any number of processes may share a file.
"""

# ruff: noqa: S608 - the statements are made of this module's own constants

import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from footfall.metrics import JOBS_FAILED
from footfall.queue.base import Delivery, Lane
from footfall.queue.sqlite_connection import PAGE_BYTES, connect, full
from footfall.queue.sqlite_lease import Lease

LANE_BITS = 56

JOB_EVENTS_MAX = 10_000
JOB_BYTES_MAX = 4 * 1024**2
"""A put over either of these becomes several jobs, so that no lease or ack holds the thread for long."""
DELIVERY_JOBS_MAX = 1_000
DELIVERY_EVENTS_MAX = 10_000
DELIVERY_BYTES_MAX = 16 * 1024**2
"""Jobs are leased together up to the first of these that is met; one job alone may be over it."""
CHUNK_JOBS = 500
"""Failed jobs replayed or purged in one transaction, so that puts get their turn in between."""

CLOCK_SLACK_MS = 10_000
"""A clock that is set back by more than this frees the leases and back-offs that it would else prolong."""
IDLE_AFTER_S = 1.0
VACUUM_PAGES = 256
"""Free pages given back per turn when idle: a few milliseconds."""
FREE_PAGES_KEPT = 512

LEASE_RAN_OUT = "the lease ran out on the last attempt: the worker died, or its write took longer than the lease"

READY = "(ready_at_ms <= :now OR ready_at_ms > :now + wait_ms + :slack)"
_LEASED = "id BETWEEN :first AND :last AND token = :token"
_PUT = "INSERT INTO incoming (lane, events, bytes, put_at_ms, bytes_max, payloads) VALUES (?, ?, ?, ?, ?, ?)"
# Each row that is fetched hands the interpreter's lock back and forth, and while the event loop is busy each time can
# cost a switch interval: a lease of 300 jobs, row by row, took 20 s beside a busy loop. So each of these is one row.
_FIND = f"""
    SELECT group_concat(
        id || ' ' || events || ' ' || bytes || ' ' || tries || ' ' || earlier || ' ' || coalesce(token, -1)
    )
    FROM (SELECT * FROM job WHERE id BETWEEN :low AND :high AND {READY} ORDER BY id LIMIT {DELIVERY_JOBS_MAX})"""
_BODIES = f"""
    SELECT group_concat(length(payloads)), CAST(group_concat(payloads, '') AS BLOB)
    FROM (SELECT payloads FROM job JOIN body USING (id) WHERE {_LEASED} ORDER BY id)"""
_LEASE = f"""
    UPDATE job SET token = :token, tries = tries + 1, ready_at_ms = :now + :lease_ms, wait_ms = :lease_ms
    WHERE id BETWEEN :first AND :last AND tries = :tries AND earlier = :earlier AND {READY}"""
_EXTEND = f"UPDATE job SET ready_at_ms = :now + :lease_ms, wait_ms = :lease_ms WHERE {_LEASED}"
_LEASED_SUMS = f"""
    SELECT coalesce(sum(events), 0), coalesce(sum(bytes), 0), min(tries), min(earlier), min(put_at_ms)
    FROM job WHERE {_LEASED}"""
_DELETE_BODIES = f"DELETE FROM body WHERE id IN (SELECT id FROM job WHERE {_LEASED})"
_DELETE_JOBS = f"DELETE FROM job WHERE {_LEASED}"
_DELAY = f"UPDATE job SET token = NULL, ready_at_ms = :now + :wait_ms, wait_ms = :wait_ms WHERE {_LEASED}"
_SET_ASIDE = f"""
    INSERT INTO failed (id, events, bytes, put_at_ms, attempts, error, failed_at_ms)
    SELECT id, events, bytes, put_at_ms, earlier + tries, :error, :now FROM job WHERE {_LEASED}"""
_CHANGE_BYTES = "UPDATE ledger SET bytes = bytes + ?"

_encode = msgspec.msgpack.Encoder().encode
decode_body = msgspec.msgpack.Decoder(tuple[bytes, ...]).decode


def split(payloads: Sequence[bytes]) -> Iterator[tuple[Sequence[bytes], int]]:
    """*payloads* in jobs of at most JOB_EVENTS_MAX and JOB_BYTES_MAX (or one payload), each with its bytes."""
    total = sum(map(len, payloads))
    if len(payloads) <= JOB_EVENTS_MAX and total <= JOB_BYTES_MAX:
        yield payloads, total
        return
    start = size = 0
    for index, payload in enumerate(payloads):
        if index > start and (index - start == JOB_EVENTS_MAX or size + len(payload) > JOB_BYTES_MAX):
            yield payloads[start:index], size
            start, size = index, 0
        size += len(payload)
    yield payloads[start:], size


class _Job(NamedTuple):
    """A ready job, as far as leasing it is concerned."""

    id: int
    events: int
    bytes: int
    tries: int
    earlier: int
    token: int
    """-1 for none."""


def _jobs(text: str | None) -> list[_Job]:
    """The rows that _FIND has made into one text."""
    return [_Job(*map(int, row.split(" "))) for row in text.split(",")] if text else []


def _alike(jobs: Sequence[_Job]) -> list[_Job]:
    """The first of *jobs* and the ones after it that may go into the same delivery."""
    first = jobs[0]
    events = size = 0
    for index, job in enumerate(jobs):
        events += job.events
        size += job.bytes
        is_alike = (job.tries, job.earlier) == (first.tries, first.earlier)
        if index and (not is_alike or events > DELIVERY_EVENTS_MAX or size > DELIVERY_BYTES_MAX):
            return list(jobs[:index])
    return list(jobs)


def _unpack(lengths: str, bodies: bytes) -> Iterator[bytes]:
    """The payloads of every body; *lengths* are those of the bodies, with commas."""
    start = 0
    for length in map(int, lengths.split(",")):
        yield from decode_body(memoryview(bodies)[start : start + length])
        start += length


class QueueFile:
    """The writing side: one connection, owned by one thread."""

    def __init__(
        self, path: Path, *, attempts: int, backoff_ms: int, max_bytes: int, fsync: bool, now_ms: Callable[[], int]
    ) -> None:
        self._path = path
        self._attempts = attempts
        self._backoff_ms = backoff_ms
        self._max_bytes = max_bytes
        self._fsync = fsync
        self._now_ms = now_ms
        self._db = connect(path, fsync=fsync)
        self._data_version = 0
        self._wrote_at = 0.0
        self._is_tidy = False
        self.log_bytes = 0
        """Written to the log since it was last copied to the file, about."""
        self.next_ready_ms: float = 0
        """When the next job may be ready: 0 for now, inf for none. Read by the event loop's thread as well."""

    # --- transactions ---

    @contextmanager
    def _transaction(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """A transaction that writes. One that is not *durable* may be undone by a power cut, which must do no harm."""
        lazy = self._fsync and not durable
        changes = self._db.total_changes
        if lazy:
            # Not execute(): this takes effect when it is compiled, and execute() would reuse a compiled statement.
            self._db.executescript("PRAGMA synchronous = NORMAL")
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield self._db
            self._db.execute("COMMIT")
        except BaseException:
            self._recover()
            raise
        finally:
            if lazy:
                self._db.executescript("PRAGMA synchronous = FULL")
        if self._db.total_changes != changes:
            self._wrote(4 * PAGE_BYTES)

    def _recover(self) -> None:
        """Have no transaction open after a failure; a connection that cannot even roll back is replaced."""
        try:
            if self._db.in_transaction:
                self._db.rollback()
        except sqlite3.Error:
            self._db.close()
            self._db = connect(self._path, fsync=self._fsync)

    def _wrote(self, size_bytes: int) -> None:
        self.log_bytes += size_bytes
        self._wrote_at = time.monotonic()
        self._is_tidy = False

    def put(self, payloads: Sequence[bytes], lane: Lane) -> None:
        """Queue.put."""
        now = self._now_ms()
        jobs = [(int(lane), len(part), size, now, self._max_bytes, _encode(part)) for part, size in split(payloads)]
        try:
            if len(jobs) == 1:
                self._db.execute(_PUT, jobs[0])
            else:
                with self._transaction() as db:
                    db.executemany(_PUT, jobs)
        except sqlite3.IntegrityError as error:
            raise full(self._max_bytes) from error
        self._wrote(4 * PAGE_BYTES + sum(job[2] for job in jobs))
        self.next_ready_ms = 0

    def check(self) -> None:
        """SqliteQueue.check: the whole way of a put, taken back within its transaction, so that nobody sees it."""
        try:
            with self._transaction() as db:
                db.execute(_PUT, (int(Lane.LIVE), 0, 1, self._now_ms(), self._max_bytes, b""))
                db.execute("DELETE FROM body WHERE id = (SELECT last_number FROM ledger)")
                db.execute("DELETE FROM job WHERE id = (SELECT last_number FROM ledger)")
                db.execute(_CHANGE_BYTES, (-1,))
        except sqlite3.IntegrityError as error:
            raise full(self._max_bytes) from error

    def newest(self) -> int:
        """The number of the newest job. Jobs put after it can wait for the next round."""
        (number,) = self._db.execute("SELECT last_number FROM ledger").fetchone()
        return int(number)

    def lease(self, lease_ms: int, newest: int) -> Delivery | None:
        """Lease the next ready jobs, up to number *newest*, as one delivery; None when none of them is ready."""
        token = secrets.randbits(63)
        now = self._now_ms()
        with self._transaction() as db:
            found = self._find(db, now, newest)
            if not found:
                (next_ready,) = db.execute("SELECT min(ready_at_ms) FROM job").fetchone()
                self.next_ready_ms = float("inf") if next_ready is None else next_ready
                return None
            first = found[0]
            lease = Lease(first.id, found[-1].id, token)
            clock = {"now": now, "slack": CLOCK_SLACK_MS, "lease_ms": lease_ms}
            db.execute(_LEASE, {**lease.named(), **clock, "tries": first.tries, "earlier": first.earlier})
        lengths, bodies = self._db.execute(_BODIES, lease.named()).fetchone()
        return lease.delivery(tuple(_unpack(lengths, bodies)), first.earlier + first.tries + 1)

    def _find(self, db: sqlite3.Connection, now: int, newest: int) -> list["_Job"]:
        """The jobs to lease together: neighbours of one lane and as many tries, within the limits of a delivery.

        Those that had their last attempt and let the lease run out are set aside on the way.
        """
        for lane in Lane:
            low = lane << LANE_BITS
            span = {"low": low, "high": low + newest, "now": now, "slack": CLOCK_SLACK_MS}
            while ready := _jobs(db.execute(_FIND, span).fetchone()[0]):
                spent = [job for job in ready if job.token >= 0 and job.tries >= self._attempts]
                for job in spent:
                    self._set_aside(db, Lease(job.id, job.id, job.token), LEASE_RAN_OUT)
                if not spent:
                    return _alike(ready)
        return []

    def extend(self, deliveries: Sequence[Delivery], lease_ms: int) -> None:
        """Queue.extend. Undone by a power cut, the leases end when they would have ended."""
        with self._transaction(durable=False) as db:
            clock = {"now": self._now_ms(), "lease_ms": lease_ms}
            for delivery in deliveries:
                db.execute(_EXTEND, {**Lease.of(delivery).named(), **clock})

    def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Queue.ack. Undone by a power cut, the jobs come back with attempt + 1, and the store knows their events."""
        with self._transaction(durable=False) as db:
            for delivery in deliveries:
                self._forget(db, Lease.of(delivery))

    def _forget(self, db: sqlite3.Connection, lease: Lease) -> None:
        _, size, *_ = db.execute(_LEASED_SUMS, lease.named()).fetchone()
        db.execute(_DELETE_BODIES, lease.named())
        db.execute(_DELETE_JOBS, lease.named())
        db.execute(_CHANGE_BYTES, (-size,))

    def retry(self, delivery: Delivery, error: str) -> None:
        """Queue.retry. Undone by a power cut, the jobs come back when their lease ends."""
        lease = Lease.of(delivery)
        with self._transaction(durable=False) as db:
            events, _, tries, *_ = db.execute(_LEASED_SUMS, lease.named()).fetchone()
            if not events:
                return
            if tries >= self._attempts:
                self._set_aside(db, lease, error)
                return
            wait_ms = self._backoff_ms * 2 ** (tries - 1)
            db.execute(_DELAY, {**lease.named(), "now": self._now_ms(), "wait_ms": wait_ms})
            self.next_ready_ms = 0

    def _set_aside(self, db: sqlite3.Connection, lease: Lease, error: str) -> None:
        moved = db.execute(_SET_ASIDE, {**lease.named(), "error": error, "now": self._now_ms()}).rowcount
        db.execute(_DELETE_JOBS, lease.named())
        JOBS_FAILED.inc(moved)

    def bury(self, delivery: Delivery, error: str, payloads: Sequence[bytes] | None) -> None:
        """Queue.bury. With *payloads*, the failed job has the id of the delivery's first."""
        lease = Lease.of(delivery)
        with self._transaction() as db:
            if payloads is None:
                self._set_aside(db, lease, error)
                return
            events, _, tries, earlier, put_at_ms = db.execute(_LEASED_SUMS, lease.named()).fetchone()
            # After the lease, somebody else may have a part of the jobs, and with it the payloads to bury.
            if events != len(delivery.payloads):
                return
            self._forget(db, lease)
            if not payloads:
                return
            size = sum(map(len, payloads))
            row = (lease.first, len(payloads), size, put_at_ms, earlier + tries, error, self._now_ms())
            db.execute("INSERT INTO failed VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            db.execute("INSERT INTO body VALUES (?, ?)", (lease.first, _encode(payloads)))
            db.execute(_CHANGE_BYTES, (size,))
            JOBS_FAILED.inc()

    # --- the failed set ---

    def failed_ids(self) -> list[int]:
        """Every failed job, oldest first."""
        return [job_id for (job_id,) in self._db.execute("SELECT id FROM failed ORDER BY id")]

    def replay(self, ids: Sequence[int]) -> int:
        """Put these failed jobs back; how many there were."""
        count = 0
        with self._transaction() as db:
            for job_id in ids:
                count += db.execute(
                    "INSERT INTO job (id, events, bytes, put_at_ms, ready_at_ms, wait_ms, tries, earlier)"
                    " SELECT id, events, bytes, put_at_ms, 0, 0, 0, attempts FROM failed WHERE id = ?",
                    (job_id,),
                ).rowcount
                db.execute("DELETE FROM failed WHERE id = ?", (job_id,))
        self.next_ready_ms = 0
        return count

    def purge(self, ids: Sequence[int]) -> int:
        """Forget these failed jobs; how many events that were."""
        events = 0
        with self._transaction() as db:
            for job_id in ids:
                row = db.execute("SELECT events, bytes FROM failed WHERE id = ?", (job_id,)).fetchone()
                if row is None:
                    continue
                events += row[0]
                db.execute("DELETE FROM failed WHERE id = ?", (job_id,))
                db.execute("DELETE FROM body WHERE id = ?", (job_id,))
                db.execute(_CHANGE_BYTES, (-row[1],))
            db.execute("UPDATE ledger SET purged_events = purged_events + ?", (events,))
        return events

    # --- housekeeping ---

    def end_leases(self) -> None:
        """Make every leased job ready at once: for an opener who knows that whoever leased them is dead."""
        with self._transaction() as db:
            db.execute("UPDATE job SET ready_at_ms = 0, wait_ms = 0 WHERE token IS NOT NULL")
        self.next_ready_ms = 0

    def look(self) -> None:
        """Notice what other processes did to the file: then a job may be ready."""
        (version,) = self._db.execute("PRAGMA data_version").fetchone()
        if version != self._data_version:
            self._data_version = version
            self.next_ready_ms = 0

    def copy_log(self) -> None:
        """Copy what little of the log the keeper has left to the file, so that the log can begin anew."""
        self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def idle(self) -> float | None:
        """Give free space back, a little at a time, once nothing was written for a while. See thread.Owned."""
        if self._is_tidy:
            return None
        quiet_s = time.monotonic() - self._wrote_at
        if quiet_s < IDLE_AFTER_S:
            return IDLE_AFTER_S - quiet_s
        try:
            (free_pages,) = self._db.execute("PRAGMA freelist_count").fetchone()
            if free_pages > FREE_PAGES_KEPT:
                # Not execute(), which gives back one page: it steps but once where a row has no columns.
                self._db.executescript(f"PRAGMA incremental_vacuum({VACUUM_PAGES})")
                return 0.02
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            self.log_bytes = 0
        except sqlite3.OperationalError:  # busy or full: whoever needs the file now will say so; tidying can wait
            return 10 * IDLE_AFTER_S
        self._is_tidy = True
        return None

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()
