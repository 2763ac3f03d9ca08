"""MemoryQueue: an honest queue without a file. It proves itself by the same conformance suite as the real ones."""

import asyncio
import itertools
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from footfall.errors import Unavailable
from footfall.queue.base import Delivery, Depth, FailedJob, FailedJobs, Lane


def wall_ms() -> int:
    """Milliseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1_000_000


@dataclass
class _Job:
    id: str
    order: tuple[int, int]
    payloads: tuple[bytes, ...]
    put_at_ms: int
    ready_at_ms: int = 0
    tries: int = 0
    earlier: int = 0
    token: str = ""
    error: str = ""
    failed_at_ms: int = 0


@dataclass
class MemoryQueue:
    """Queue in memory, for one process."""

    attempts: int = 5
    backoff_ms: int = 1_000
    max_bytes: int = 2**31
    now_ms: Callable[[], int] = wall_ms
    kind: str = "memory"
    advice: Sequence[str] = ()
    jobs: dict[str, _Job] = field(default_factory=dict)
    set_aside: dict[str, _Job] = field(default_factory=dict)
    received_events: int = 0
    purged_events: int = 0
    is_down: bool = False
    """While true, every call raises Unavailable, as that of a queue whose server is gone."""

    def __post_init__(self) -> None:
        self.failed: FailedJobs = MemoryFailedJobs(self)
        self._numbers = itertools.count(1)
        self._woken = asyncio.Event()

    def _check(self) -> None:
        if self.is_down:
            raise Unavailable("the queue is down")

    def _wake(self) -> None:
        self._woken.set()
        self._woken = asyncio.Event()

    async def put(self, payloads: Sequence[bytes], lane: Lane = Lane.LIVE) -> None:
        self._check()
        if not payloads:
            return
        everything = itertools.chain(self.jobs.values(), self.set_aside.values())
        if sum(_size(job.payloads) for job in everything) + _size(payloads) > self.max_bytes:
            raise Unavailable(f"the queue is full: QUEUE_MAX_BYTES is {self.max_bytes} bytes")
        number = next(self._numbers)
        self.jobs[str(number)] = _Job(str(number), (lane, number), tuple(payloads), self.now_ms())
        self.received_events += len(payloads)
        self._wake()

    def _ready(self) -> list[_Job]:
        now = self.now_ms()
        return sorted((job for job in self.jobs.values() if job.ready_at_ms <= now), key=lambda job: job.order)

    async def wait(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not self._ready() and (left_s := deadline - time.monotonic()) > 0:
            self._check()
            woken = self._woken
            try:
                async with asyncio.timeout(min(left_s, 0.05)):
                    await woken.wait()
            except TimeoutError:
                continue

    async def reserve(self, limit: int, lease_s: float) -> Sequence[Delivery]:
        self._check()
        deliveries: list[Delivery] = []
        for job in self._ready():
            if len(deliveries) == limit:
                break
            if job.token and job.tries >= self.attempts:
                self._fail(job, "the lease ran out on the last attempt")
                continue
            job.token = secrets.token_hex(8)
            job.tries += 1
            job.ready_at_ms = self.now_ms() + round(lease_s * 1000)
            deliveries.append(Delivery(job.id, job.token, job.payloads, job.earlier + job.tries))
        return deliveries

    def _leased(self, delivery: Delivery) -> _Job | None:
        job = self.jobs.get(delivery.id)
        return job if job is not None and job.token == delivery.token else None

    def _fail(self, job: _Job, error: str) -> None:
        del self.jobs[job.id]
        job.error, job.failed_at_ms = error, self.now_ms()
        self.set_aside[job.id] = job

    async def extend(self, deliveries: Sequence[Delivery], lease_s: float) -> None:
        self._check()
        for delivery in deliveries:
            job = self._leased(delivery)
            if job is not None:
                job.ready_at_ms = self.now_ms() + round(lease_s * 1000)

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        self._check()
        for delivery in deliveries:
            if self._leased(delivery):
                del self.jobs[delivery.id]

    async def retry(self, delivery: Delivery, error: str) -> None:
        self._check()
        job = self._leased(delivery)
        if job is None:
            return
        if job.tries >= self.attempts:
            self._fail(job, error)
            return
        job.token = ""
        job.ready_at_ms = self.now_ms() + self.backoff_ms * 2 ** (job.tries - 1)
        self._wake()

    async def bury(self, delivery: Delivery, error: str, payloads: Sequence[bytes] | None = None) -> None:
        self._check()
        job = self._leased(delivery)
        if job is None:
            return
        if payloads is not None and not payloads:
            del self.jobs[job.id]
            return
        job.payloads = job.payloads if payloads is None else tuple(payloads)
        self._fail(job, error)

    async def depth(self) -> Depth:
        self._check()
        now = self.now_ms()
        held = [job for job in self.jobs.values() if job.ready_at_ms > now]
        active = sum(1 for job in held if job.token)
        return Depth(
            waiting=len(self.jobs) - len(held),
            active=active,
            delayed=len(held) - active,
            failed=len(self.set_aside),
            unfinished_events=_events(self.jobs.values()),
            failed_events=_events(self.set_aside.values()),
            purged_events=self.purged_events,
            received_events=self.received_events,
            oldest_s=max((now - job.put_at_ms for job in self.jobs.values()), default=0) / 1000,
        )

    async def close(self) -> None:
        """Nothing is held."""


class MemoryFailedJobs:
    """FailedJobs of a MemoryQueue."""

    def __init__(self, queue: MemoryQueue) -> None:
        self._queue = queue

    async def list(self, limit: int) -> Sequence[FailedJob]:
        newest = sorted(self._queue.set_aside.values(), key=lambda job: (job.failed_at_ms, job.order), reverse=True)
        return [
            FailedJob(job.id, len(job.payloads), job.earlier + job.tries, job.error, job.failed_at_ms, job.payloads)
            for job in newest[:limit]
        ]

    async def replay(self, ids: Sequence[str] | None) -> int:
        queue = self._queue
        chosen = [queue.set_aside.pop(job_id) for job_id in list(queue.set_aside) if ids is None or job_id in ids]
        for job in chosen:
            job.earlier, job.tries, job.token, job.ready_at_ms = job.earlier + job.tries, 0, "", 0
            queue.jobs[job.id] = job
        queue._wake()
        return len(chosen)

    async def purge(self, ids: Sequence[str]) -> int:
        aside = self._queue.set_aside
        events = _events([aside.pop(job_id) for job_id in set(ids) if job_id in aside])
        self._queue.purged_events += events
        return events


def _size(payloads: Sequence[bytes]) -> int:
    return sum(map(len, payloads))


def _events(jobs: Iterable[_Job]) -> int:
    return sum(len(job.payloads) for job in jobs)
