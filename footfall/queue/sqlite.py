"""SqliteQueue: the embedded queue, one SQLite file that any number of processes may share.

One thread owns the connection that writes, so the event loop never waits for a disk; another reads and copies the
log to the file beside it. Where a job stands is in the file alone: a process can be killed at any instruction.

Time is the wall clock, the only one that processes share. Set forward, it ends leases and back-offs early, which
redelivery makes harmless. Set back by more than CLOCK_SLACK_MS, it puts their beginning into the future, by which they
are known and count as over.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from footfall.errors import Unavailable
from footfall.queue.base import Delivery, Depth, FailedJob, FailedJobs, Lane
from footfall.queue.sqlite_connection import LOG_BYTES_MAX
from footfall.queue.sqlite_file import CHUNK_JOBS, DELIVERY_EVENTS_MAX, QueueFile
from footfall.queue.sqlite_reader import QueueReader
from footfall.queue.thread import Owned, OwnerThread

LOOK_EVERY_S = 0.5
"""How often a waiting worker looks whether another process changed the file: about 0.1 % of a core."""

Thing = TypeVar("Thing", bound=Owned)
R = TypeVar("R")


def wall_ms() -> int:
    """Milliseconds since 1970-01-01 UTC, by the wall clock."""
    return time.time_ns() // 1_000_000


class SqliteQueue:
    """Queue in a SQLite file. Made by `open`."""

    kind = "sqlite"
    advice: Sequence[str] = ()

    def __init__(
        self,
        writer: OwnerThread[QueueFile],
        reader: OwnerThread[QueueReader],
        file: QueueFile,
        now_ms: Callable[[], int],
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._file = file
        self._now_ms = now_ms
        self._woken = asyncio.Event()
        self._copying: asyncio.Task[None] | None = None
        self.failed: FailedJobs = SqliteFailedJobs(self)

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        attempts: int,
        backoff_ms: int,
        max_bytes: int,
        fsync: bool,
        is_sole_worker: bool = False,
        now_ms: Callable[[], int] = wall_ms,
    ) -> "SqliteQueue":
        """The queue in the file *path*, which is made with its folder if need be, readable by its owner alone.

        *fsync*: what was put also survives a power cut, not only a kill. *is_sole_worker*: nobody else reserves from
        this file, so the leases of a process that was killed end now and not after their time. Raises Misconfigured
        for a file that this version can not use, Unavailable for one that can not be opened now.
        """
        try:
            await asyncio.to_thread(_make_file, path)
        except OSError as error:
            raise Unavailable(f"the queue's file {path} can not be made: {error}") from error

        def file() -> QueueFile:
            return QueueFile(
                path, attempts=attempts, backoff_ms=backoff_ms, max_bytes=max_bytes, fsync=fsync, now_ms=now_ms
            )

        writer = OwnerThread("queue-writer", file)
        reader = OwnerThread("queue-reader", lambda: QueueReader(path, now_ms=now_ms))
        try:
            await writer.start()
            try:
                await reader.start()
            except BaseException:
                await writer.close()
                raise
        except sqlite3.DatabaseError as error:
            raise _translated(error) from error.__cause__
        queue = cls(writer, reader, await writer.call(lambda made: made), now_ms)
        if is_sole_worker:
            try:
                await queue.write(lambda file: file.end_leases())
            except Unavailable:
                await queue.close()
                raise
        return queue

    async def write(self, work: Callable[[QueueFile], R], *, urgent: bool = False) -> R:
        """What *work* answers, done by the thread that writes. Raises Unavailable for what SQLite can not do now."""
        return await _ask(self._writer, work, urgent=urgent)

    async def read(self, work: Callable[[QueueReader], R]) -> R:
        """What *work* answers, done by the thread that reads. Raises Unavailable for what SQLite can not do now."""
        return await _ask(self._reader, work, urgent=False)

    async def put(self, payloads: Sequence[bytes], lane: Lane = Lane.LIVE) -> None:
        """Queue.put: one transaction, which also counts the events as received."""
        if not payloads:
            return
        await self.write(lambda file: file.put(payloads, lane), urgent=True)
        self.wake()
        if self._file.log_bytes > LOG_BYTES_MAX and (self._copying is None or self._copying.done()):
            self._copying = asyncio.create_task(self._copy_log())

    async def check(self) -> None:
        """Checkable.check."""
        await self.write(QueueFile.check, urgent=True)

    async def _copy_log(self) -> None:
        """Keep the log short. Its tail is copied by the writer, for while others write it never ends for the reader."""
        self._file.log_bytes = 0
        try:
            await self.read(QueueReader.copy_log)
            await self.write(QueueFile.copy_log)
        except Unavailable:  # closed, or the disk is full, which the next put will say; the log is as good as the file
            return

    def wake(self) -> None:
        """Have everybody who waits look again."""
        self._woken.set()
        self._woken = asyncio.Event()

    async def wait(self, timeout_s: float) -> None:
        """Queue.wait."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while True:
            due_s = (self._file.next_ready_ms - self._now_ms()) / 1000
            left_s = deadline - loop.time()
            if due_s <= 0 or left_s <= 0:
                return
            woken = self._woken
            try:
                async with asyncio.timeout(min(left_s, due_s, LOOK_EVERY_S)):
                    await woken.wait()
            except TimeoutError:
                await self.write(QueueFile.look)

    async def reserve(self, limit: int, lease_s: float) -> Sequence[Delivery]:
        """Queue.reserve. A delivery may hold many small jobs; each is a transaction, so that puts get their turn.

        Jobs that are put meanwhile are left for the next call: taken up as they come, a steady stream would fill every
        reserve with crumbs. Cancelled, it leaves what was leased already to the lease.
        """
        deliveries: list[Delivery] = []
        newest = await self.write(QueueFile.newest)
        while len(deliveries) < limit:
            try:
                delivery = await self.write(partial(QueueFile.lease, lease_ms=round(lease_s * 1000), newest=newest))
            except Unavailable:
                if deliveries:  # these are leased; the next call will meet the failure again
                    break
                raise
            if delivery is None:
                break
            deliveries.append(delivery)
        return deliveries

    async def extend(self, deliveries: Sequence[Delivery], lease_s: float) -> None:
        """Queue.extend."""
        await self.write(partial(QueueFile.extend, deliveries=deliveries, lease_ms=round(lease_s * 1000)))

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Queue.ack, in transactions of limited size, so that puts get their turn; after a failure, ack all again."""
        part: list[Delivery] = []
        events = 0
        for delivery in deliveries:
            part.append(delivery)
            events += len(delivery.payloads)
            if events >= DELIVERY_EVENTS_MAX:
                await self.write(partial(QueueFile.ack, deliveries=part))
                part, events = [], 0
        if part:
            await self.write(partial(QueueFile.ack, deliveries=part))

    async def retry(self, delivery: Delivery, error: str) -> None:
        """Queue.retry."""
        await self.write(lambda file: file.retry(delivery, error))
        self.wake()

    async def bury(self, delivery: Delivery, error: str, payloads: Sequence[bytes] | None = None) -> None:
        """Queue.bury."""
        await self.write(lambda file: file.bury(delivery, error, payloads))

    async def depth(self) -> Depth:
        """Queue.depth."""
        return await self.read(QueueReader.depth)

    async def close(self) -> None:
        """Queue.close. Again: no effect."""
        if self._copying is not None:
            await self._copying
        await self._reader.close()
        await self._writer.close()


class SqliteFailedJobs:
    """FailedJobs of a SqliteQueue."""

    def __init__(self, queue: SqliteQueue) -> None:
        self._queue = queue

    async def list(self, limit: int) -> Sequence[FailedJob]:
        """FailedJobs.list."""
        return await self._queue.read(lambda reader: reader.failed(limit))

    async def replay(self, ids: Sequence[str] | None) -> int:
        """FailedJobs.replay. The tries begin anew; the attempt goes on counting, so that its events are looked up."""
        chosen = await self._queue.write(QueueFile.failed_ids) if ids is None else _numbers(ids)
        count = 0
        for start in range(0, len(chosen), CHUNK_JOBS):
            part = chosen[start : start + CHUNK_JOBS]
            count += await self._queue.write(partial(QueueFile.replay, ids=part))
        self._queue.wake()
        return count

    async def purge(self, ids: Sequence[str]) -> int:
        """FailedJobs.purge."""
        chosen = _numbers(ids)
        events = 0
        for start in range(0, len(chosen), CHUNK_JOBS):
            part = chosen[start : start + CHUNK_JOBS]
            events += await self._queue.write(partial(QueueFile.purge, ids=part))
        return events


def _numbers(ids: Sequence[str]) -> list[int]:
    """The ids that can be ours; what else somebody types names no job."""
    return [int(text) for text in ids if text.isascii() and text.isdecimal() and len(text) < 19]


def _make_file(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600, exist_ok=True)


async def _ask(thread: OwnerThread[Thing], work: Callable[[Thing], R], *, urgent: bool) -> R:
    try:
        return await thread.call(work, urgent=urgent)
    except sqlite3.DatabaseError as error:
        raise _translated(error) from error.__cause__


def _translated(error: sqlite3.DatabaseError) -> Exception:
    """The one place where SQLite's failures become ours: what the disk, the file or another process is to blame for
    is Unavailable; a wrong statement stays the bug that it is."""
    if type(error) not in (sqlite3.OperationalError, sqlite3.DatabaseError):
        return error
    unavailable = Unavailable(f"the queue's file can not be used now: {error}")
    unavailable.__cause__ = error
    return unavailable
