"""BullmqQueue: the queue in Redis or Valkey, as BullMQ keeps it, so that its dashboards show what is true.

A job is a BullMQ job that holds many events. Its attempts, its exponential back-off, its place in the failed set, its
priority and what happens when its worker dies are BullMQ's; see bullmq_scripts.py. Completed jobs are removed.

The ledger is exact: events received, done, unfinished and failed are counted by the same scripts that move the jobs.
Where a person retries or removes jobs by other means, the next depth() finds it out by the number of jobs and counts
anew; events that are then nowhere are purged ones.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from footfall.errors import Unavailable
from footfall.metrics import JOBS_FAILED
from footfall.queue.base import Delivery, Depth, FailedJob, FailedJobs, Lane
from footfall.queue.bullmq_connection import Client, RedisAddress, advice, check, connect, translated
from footfall.queue.bullmq_jobs import (
    JOB_BYTES_MAX,
    JOB_EVENTS_MAX,
    NAMES,
    Leased,
    data_as_json,
    data_of,
    delivery,
    new_job_id,
    payloads_of,
    tries_and_ids,
)
from footfall.queue.bullmq_scripts import Argument, Calls, check_package, lua, pack
from footfall.queue.split import split

DELIVERY_JOBS_MAX = 200
DELIVERY_EVENTS_MAX = 10_000
DELIVERY_BYTES_MAX = 16 * 1024**2
"""Fresh jobs are leased together up to the first of these that is met; one job alone may be over it."""
CHUNK_JOBS = 200
"""Failed jobs read, replayed or purged by one call, so that others get their turn in between."""
CHECK_KEPT_MS = 60_000
"""How long what a check wrote stays, a few bytes."""
LOOK_EVERY_S = 1.0
"""How long wait() may block before it looks for leases that ran out."""


def wall_ms() -> int:
    """Milliseconds since 1970-01-01 UTC, by the wall clock."""
    return time.time_ns() // 1_000_000


class BullmqQueue:
    """Queue in Redis or Valkey. Made by `open`."""

    kind = "bullmq"

    def __init__(self, client: Client, calls: Calls, *, attempts: int, now_ms: Callable[[], int]) -> None:
        self._client = client
        self._calls = calls
        self._attempts = attempts
        self._now_ms = now_ms
        self._is_closed = False
        self._ledger = calls.prefix + "footfall:ledger"
        self._ages = calls.prefix + "footfall:ages"
        self._scripts = {
            name: client.register_script(lua(name))
            for name in ("look", "reserve", "extend", "settle", "replay", "purge", "depth")
        }
        self._put = {
            Lane.LIVE: client.register_script(lua("put", "addStandardJob")),
            Lane.IMPORT: client.register_script(lua("put", "addPrioritizedJob")),
        }
        self.advice: Sequence[str] = ()
        self.failed: FailedJobs = BullmqFailedJobs(self)

    @classmethod
    async def open(
        cls,
        address: RedisAddress,
        name: str,
        *,
        attempts: int,
        backoff_ms: int,
        now_ms: Callable[[], int] = wall_ms,
    ) -> "BullmqQueue":
        """The BullMQ queue *name*, under BullMQ's usual prefix "bull"; in a cluster under "{bull}", so that all its
        keys are on one node.

        Raises Misconfigured for a server that refuses us, Unavailable for one that is not there.
        """
        check_package()
        client = connect(address)
        try:
            await check(client, address)
            prefix = "{bull}" if address.cluster else "bull"
            calls = Calls(client, prefix, name, attempts=attempts, backoff_ms=backoff_ms)
            queue = cls(client, calls, attempts=attempts, now_ms=now_ms)
            with translated():
                queue.advice = await advice(client, queue._ledger)
        except BaseException:
            await client.aclose()
            raise
        return queue

    async def run(self, name: str, *args: Argument) -> Any:  # noqa: ANN401 - each script answers in its own shape
        """What the script lua/*name*.lua answers. Raises Unavailable for what the server can not do now."""
        return await self._ask(partial(self._scripts[name], [self._ledger, self._ages], [self._calls.prefix, *args]))

    async def _ask(self, command: Callable[[], Any]) -> Any:  # noqa: ANN401
        if self._is_closed:
            raise Unavailable("the queue is closed")
        with translated():
            return await command()

    async def put(self, payloads: Sequence[bytes], lane: Lane = Lane.LIVE) -> None:
        """Queue.put: one script, so all of it or nothing, and known by its ids when it is repeated.

        It survives a crash of the server as its append-only file does: see `advice`. Where the connection breaks twice
        while the server answers, Unavailable is raised though it may have been put.
        """
        if not payloads:
            return
        now_ms = self._now_ms()
        args: list[Argument] = [self._calls.prefix, self._calls.add_keys(lane)]
        for part in split(payloads, JOB_EVENTS_MAX, JOB_BYTES_MAX):
            job_id = new_job_id()
            args += [job_id, len(part), now_ms]
            args += self._calls.add_args(job_id, NAMES[lane], data_of(part), lane, now_ms)
        await self._ask(partial(self._put[lane], [self._ledger, self._ages], args))

    async def check(self) -> None:
        """Checkable.check: a write, which a server that is out of memory, read-only or without its disk refuses."""
        key = self._calls.prefix + "footfall:check"
        await self._ask(partial(self._client.set, key, self._now_ms(), px=CHECK_KEPT_MS))

    async def wait(self, timeout_s: float) -> None:
        """Queue.wait, on BullMQ's marker. It also gives back what the leases of dead workers held."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while True:
            is_ready, due_ms = await self.run("look", self._attempts, self._calls.recover(self._now_ms()))
            due_s = (due_ms - self._now_ms()) / 1000 if due_ms >= 0 else LOOK_EVERY_S
            left_s = min(deadline - loop.time(), due_s)
            if is_ready or left_s <= 0:
                return
            block_s = max(0.01, min(left_s, LOOK_EVERY_S))  # 0 would be for ever
            await self._ask(partial(self._client.bzpopmin, self._calls.prefix + "marker", block_s))

    async def reserve(self, limit: int, lease_s: float) -> Sequence[Delivery]:
        """Queue.reserve. A delivery may hold many small jobs that were never tried; others come alone.

        Cancelled, or cut off from the server, it leaves what was leased already to the lease.
        """
        deliveries: list[Delivery] = []
        while len(deliveries) < limit:
            token = secrets.token_hex(8)
            try:
                jobs = await self._lease(token, lease_s)
            except Unavailable:
                if deliveries:  # these are leased; the next call will meet the failure again
                    break
                raise
            if not jobs:
                break
            good = []
            for job in jobs:
                found = job.read()
                if isinstance(found, str):
                    await self._fail([job.id], token, found, job.tries)
                else:
                    good.append((job, found))
            if good:
                deliveries.append(delivery(good, token))
        return deliveries

    async def _lease(self, token: str, lease_s: float) -> list[Leased]:
        now_ms = self._now_ms()
        keys, args = self._calls.activate(token, now_ms, round(lease_s * 1000))
        limits = (DELIVERY_JOBS_MAX, DELIVERY_EVENTS_MAX, DELIVERY_BYTES_MAX * 4 // 3)
        found = await self.run("reserve", self._attempts, self._calls.recover(now_ms), keys, args, *limits)
        return [Leased(*job) for job in found]

    async def extend(self, deliveries: Sequence[Delivery], lease_s: float) -> None:
        """Queue.extend."""
        args: list[Argument] = []
        for one in deliveries:
            _, ids = tries_and_ids(one)
            args += [one.token, round(lease_s * 1000), len(ids), *ids]
        await self.run("extend", *args)

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Queue.ack, a delivery at a time; after a failure, ack all again."""
        for one in deliveries:
            _, ids = tries_and_ids(one)
            await self._settle(one.token, self._calls.done(one.token, self._now_ms()) | {"ids": ids})

    async def retry(self, delivery: Delivery, error: str) -> None:
        """Queue.retry. The attempts and the back-off that count are those of this process."""
        tries, ids = tries_and_ids(delivery)
        if tries >= self._attempts:
            await self._fail(ids, delivery.token, error, tries)
        else:
            operation = self._calls.delay(delivery.token, self._now_ms(), error, tries)
            await self._settle(delivery.token, operation | {"ids": ids})

    async def bury(self, delivery: Delivery, error: str, payloads: Sequence[bytes] | None = None) -> None:
        """Queue.bury. What is buried of a delivery of many jobs is gathered in the first of them."""
        tries, ids = tries_and_ids(delivery)
        if payloads is None:
            await self._fail(ids, delivery.token, error, tries)
        elif not payloads:
            await self.ack([delivery])
        else:
            done = self._calls.done(delivery.token, self._now_ms())
            failed = self._calls.fail(delivery.token, self._now_ms(), error, tries)
            failed |= {"ids": ids[:1], "data": data_as_json(payloads), "events": len(payloads)}
            if await self._settle(delivery.token, failed, done | {"ids": ids[1:]}):
                JOBS_FAILED.inc()

    async def _fail(self, ids: Sequence[str], token: str, error: str, tries: int) -> None:
        failed = self._calls.fail(token, self._now_ms(), error, tries)
        JOBS_FAILED.inc(await self._settle(token, failed | {"ids": ids}))

    async def _settle(self, token: str, *operations: dict[str, Any]) -> int:
        settled: int = await self.run("settle", token, pack(operations))
        return settled

    async def depth(self) -> Depth:
        """Queue.depth."""
        now_ms = self._now_ms()
        ready, active, delayed, failed, unfinished, in_failed, done, received, oldest_ms = await self.run(
            "depth", now_ms
        )
        purged = received - done - unfinished - in_failed
        age_s = 0.0 if oldest_ms < 0 else max(0, now_ms - oldest_ms) / 1000
        return Depth(ready, active, delayed, failed, unfinished, in_failed, purged, received, age_s)

    async def close(self) -> None:
        """Queue.close. Again: no effect."""
        self._is_closed = True
        await self._client.aclose()

    # --- the failed set ---

    async def failed_ids(self, limit: int | None) -> list[str]:
        """The newest *limit* jobs of the failed set (None: all), newest first."""
        last = -1 if limit is None else limit - 1
        if last < -1 or limit == 0:
            return []
        ids: list[str] = await self._ask(partial(self._client.zrevrange, self._calls.prefix + "failed", 0, last))
        return ids

    async def failed_job(self, job_id: str) -> FailedJob | None:
        """One of them; None when it is there no more."""
        fields = ["data", "ats", "failedReason", "finishedOn"]
        data, started, reason, failed_at_ms = await self._ask(
            partial(self._client.hmget, self._calls.prefix + job_id, fields)
        )
        if data is None:
            return None
        payloads = payloads_of(data) or ()
        return FailedJob(job_id, len(payloads), int(started or 0), reason or "", int(failed_at_ms or 0), payloads)

    async def replay(self, ids: Sequence[str]) -> int:
        """FailedJobs.replay of these."""
        replayed: int = await self.run("replay", self._calls.reprocess(), *ids)
        return replayed

    async def purge(self, ids: Sequence[str]) -> int:
        """FailedJobs.purge of these."""
        purged: int = await self.run("purge", self._calls.remove(), *ids)
        return purged


class BullmqFailedJobs:
    """FailedJobs of a BullmqQueue."""

    def __init__(self, queue: BullmqQueue) -> None:
        self._queue = queue

    async def list(self, limit: int) -> Sequence[FailedJob]:
        """FailedJobs.list."""
        found = [await self._queue.failed_job(job_id) for job_id in await self._queue.failed_ids(limit)]
        return [job for job in found if job is not None]

    async def replay(self, ids: Sequence[str] | None) -> int:
        """FailedJobs.replay, in parts."""
        chosen = await self._queue.failed_ids(None) if ids is None else list(dict.fromkeys(ids))
        return sum([await self._queue.replay(part) for part in _parts(chosen)])

    async def purge(self, ids: Sequence[str]) -> int:
        """FailedJobs.purge, in parts."""
        return sum([await self._queue.purge(part) for part in _parts(list(dict.fromkeys(ids)))])


def _parts(ids: Sequence[str]) -> Sequence[Sequence[str]]:
    return [ids[start : start + CHUNK_JOBS] for start in range(0, len(ids), CHUNK_JOBS)]
