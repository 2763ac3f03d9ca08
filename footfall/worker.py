"""Worker: takes jobs from the queue, writes their events to the store, and only then has the queue forget them.

An event is acked only after the store has said that it is there, so no crash loses one; and whatever may have been
written before is written again as redelivered, which the store answers by looking every id up, so none counts twice.

A store that is down costs no attempts: what is held is tried again in place, nothing more is reserved before
store.check() says that the store is up, and then one delivery alone goes first. Only when as much time as a lease lasts
has passed in vain are the deliveries given back, for one attempt.

While events are written their lease is made longer again and again, so a slow write is not begun by another worker as
well. One whose queue can not be told stays correct: its deliveries come back with another attempt, and the store, which
looks every id up, knows those of the first. The late ack has no effect.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from enum import StrEnum
from functools import partial

import msgspec
import structlog

from footfall.errors import Unavailable, Unstorable
from footfall.metrics import EVENTS_STORED, JOBS_RETRIED, WRITE_EVENTS, WRITE_SECONDS
from footfall.queue.base import Delivery, Queue
from footfall.store.base import Batch, Store, Written

WAIT_S = 5.0
"""How long one call of queue.wait may last."""
PACE_S = 0.2
"""From one write to the next while there is little to write: no store likes hundreds of small writes a second."""
PACE_EVENTS = 20_000
"""A round of this many events is followed by the next at once: there is a backlog."""
EMPTY_S = 0.01
"""After a round that found nothing, for a queue may wake its workers for nothing."""
WRITE_EVENTS_MAX = 100_000
WRITE_BYTES_MAX = 64 * 1024**2
PAUSE_FIRST_S = 0.1
PAUSE_MAX_S = 5.0
"""Pauses after failures: doubled from the first to the longest."""
STOP_S = 8.0
"""How long stop() lets the write under way finish, and then how long it gives the queue to take the rest back."""
GIVE_BACK_S = 1.5
LEASE_S = 30.0
"""So long the events of a worker that died wait for another; who lives makes the lease longer."""
EXTEND_AFTER = 1 / 3
"""After this part of the lease it is made longer: two calls may fail before it ends."""
SLOW_WRITE_S = 1.0
ERROR_CHARS_MAX = 1_000

log = structlog.stdlib.get_logger(__name__)


class WorkerState(StrEnum):
    """What health says of the worker."""

    STOPPED = "stopped"
    RUNNING = "running"
    FAILING = "failing"


class WorkerStatus(msgspec.Struct, frozen=True):
    """How the worker is."""

    state: WorkerState
    last_error: str = ""
    """Of the newest failure, also after it has passed."""
    last_write_at_ms: int | None = None
    """When it last wrote something, milliseconds since 1970; None: never."""


class Worker:
    """Moves events from *queue* to *store*: at most *concurrency* deliveries at once, leased for *lease_s* seconds."""

    def __init__(self, queue: Queue, store: Store, *, concurrency: int, lease_s: float = LEASE_S) -> None:
        self._queue = queue
        self._store = store
        self._concurrency = concurrency
        self._lease_s = lease_s
        self._status = WorkerStatus(WorkerState.STOPPED)
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._held: dict[str, Delivery] = {}
        """What is leased and not settled, by token."""
        self._reserved_at = 0.0
        self._leased_at = 0.0
        """When the lease of what is held began, or was last made longer."""
        self._wrote_at = float("-inf")
        self._pause_s = PAUSE_FIRST_S
        self._is_trying = False
        """After a failure, until a write succeeds: one delivery at a time, and the store is asked first."""

    @property
    def status(self) -> WorkerStatus:
        """How the worker is, now."""
        return self._status

    async def run(self) -> None:
        """Work until stop() is called. No failure ends it. Cancelled, it leaves what it holds to the lease."""
        self._task = asyncio.current_task()
        self._set(WorkerState.RUNNING)
        has_failed = False
        try:
            while not self._stopping.is_set():
                try:
                    if has_failed:
                        await self._give_back(self._status.last_error)
                        await self._pause()
                    await self._round()
                    has_failed = False
                except Unavailable as error:
                    has_failed = True
                    self._failing(error)
                except Exception as error:
                    has_failed = True
                    log.exception("the worker met an error that is a bug; what it held will be tried again")
                    self._failing(error)
        finally:
            self._set(WorkerState.STOPPED)

    async def stop(self) -> None:
        """End run() within ten seconds: the write under way is finished; what could not be written goes back.

        Whatever is reserved is written in the same round, so a stop in good health gives nothing back. What is given
        back after a failure has cost an attempt and comes after the back-off.
        """
        self._stopping.set()
        task = self._task
        if task is None:
            return
        _, pending = await asyncio.wait({task}, timeout=STOP_S)
        if pending:
            task.cancel()
            await asyncio.wait({task}, timeout=GIVE_BACK_S / 3)
        try:
            async with asyncio.timeout(GIVE_BACK_S):
                await self._give_back("the worker was stopped before this was written")
        except TimeoutError:
            log.warning("the queue took nothing back in time; the leases will run out")

    # --- one round ---

    async def _round(self) -> None:
        """Wait for events, and move up to *concurrency* deliveries of them."""
        if self._is_trying and not await self._is_store_up():
            await self._pause()
            return
        await self._until_stopped(self._queue.wait(WAIT_S))
        pace_s = self._wrote_at + PACE_S - time.monotonic()
        if pace_s > 0:
            await self._sleep(pace_s)
        if self._stopping.is_set():
            return
        self._reserved_at = self._leased_at = time.monotonic()
        deliveries = await self._queue.reserve(1 if self._is_trying else self._concurrency, self._lease_s)
        self._held = {delivery.token: delivery for delivery in deliveries}
        async with self._leases_kept():
            for redelivered in (True, False):  # the older ones first
                for group in _groups([delivery for delivery in deliveries if (delivery.attempt > 1) is redelivered]):
                    await self._move(group, redelivered=redelivered)
        if deliveries:
            self._is_trying = False
        else:
            await self._sleep(EMPTY_S)
        if self._status.state is not WorkerState.RUNNING:
            self._set(WorkerState.RUNNING)
        self._pause_s = PAUSE_FIRST_S
        events = sum(len(delivery.payloads) for delivery in deliveries)
        if events >= PACE_EVENTS or len(deliveries) >= self._concurrency > 1:
            self._wrote_at = float("-inf")  # a backlog: no pause before the next round

    async def _move(self, deliveries: Sequence[Delivery], *, redelivered: bool) -> None:
        """Write the events of *deliveries* and settle them."""
        payloads = [payload for delivery in deliveries for payload in delivery.payloads]
        try:
            await self._write(payloads, redelivered=redelivered)
        except Unstorable as error:
            log.warning("the store refused a batch; looking for the event that it can not take", error=str(error))
            await self._isolate(deliveries)
            return
        await self._settle(partial(self._queue.ack, deliveries))
        self._let_go(deliveries)

    async def _write(self, payloads: Sequence[bytes], *, redelivered: bool) -> Written:
        """Write *payloads*; while the store is down, again and again, for as long as a lease lasts.

        Raises Unstorable, and Unavailable when that time is over or the worker is to stop.
        """
        while True:
            if self._patience_passed() > 1:
                raise Unavailable("the store was not up in the time for which the events were leased")
            try:
                return await self._write_once(Batch(payloads, redelivered))
            except Unavailable as error:
                self._failing(error)
                redelivered = True  # a part of it may be there
                await self._pause()
                while not await self._is_store_up() and self._patience_passed() <= 1 and not self._stopping.is_set():
                    await self._pause()
                if self._stopping.is_set():
                    raise

    async def _write_once(self, batch: Batch) -> Written:
        started = time.monotonic()
        written = await self._store.write(batch)
        took_s = time.monotonic() - started
        self._wrote_at = time.monotonic()
        self._set(WorkerState.RUNNING, last_write_at_ms=time.time_ns() // 1_000_000)
        WRITE_SECONDS.observe(took_s)
        WRITE_EVENTS.observe(len(batch.payloads))
        for outcome, count in msgspec.structs.asdict(written).items():
            EVENTS_STORED.labels(outcome).inc(count)
        say = log.info if took_s >= SLOW_WRITE_S else log.debug
        say(
            "wrote events", events=len(batch.payloads), processing_time_ms=round(took_s * 1000), again=batch.redelivered
        )
        return written

    # --- poison ---

    async def _isolate(self, deliveries: Sequence[Delivery]) -> None:
        """Find by halves what the store can not take, write all else, and bury only the poison.

        It ends when as much time as a lease lasts has passed; deliveries not decided by then are tried again later.
        """
        places = [(delivery.token, index) for delivery in deliveries for index in range(len(delivery.payloads))]
        poison: dict[str, list[int]] = {}
        errors: dict[str, str] = {}
        undecided: set[str] = set()
        parts = [places]
        while parts:
            part = parts.pop()
            if self._since(self._reserved_at) > 1:
                undecided.update(token for token, _ in part)
                continue
            try:
                await self._write([self._held[token].payloads[index] for token, index in part], redelivered=True)
            except Unstorable as error:
                if len(part) > 1:
                    middle = len(part) // 2
                    parts += [part[middle:], part[:middle]]
                    continue
                token, index = part[0]
                poison.setdefault(token, []).append(index)
                errors[token] = str(error)
        for delivery in deliveries:
            if delivery.token in undecided:
                await self._retry(delivery, errors.get(delivery.token, "the store refuses something that is near it"))
            elif delivery.token in poison:
                await self._bury(delivery, errors[delivery.token], poison[delivery.token])
            else:
                await self._settle(partial(self._queue.ack, [delivery]))
            self._let_go([delivery])

    async def _bury(self, delivery: Delivery, error: str, indexes: Sequence[int]) -> None:
        payloads = [delivery.payloads[index] for index in indexes]
        log.error("events that the store can not take are set aside as failed", events=len(payloads), error=error)
        await self._settle(partial(self._queue.bury, delivery, error[:ERROR_CHARS_MAX], payloads))

    # --- settling with the queue ---

    async def _settle(self, tell: Callable[[], Awaitable[None]]) -> None:
        """Tell the queue what became of something; while it is down, again, until the lease is over.

        Then the lease runs out, the events come back as redelivered, and the store knows them: nothing doubles.
        """
        while True:
            try:
                await tell()
            except Unavailable as error:
                self._failing(error)
                if self._since(self._leased_at) >= 1 or self._stopping.is_set():
                    log.warning("the queue could not be told; the lease will run out", error=str(error))
                    return
                await self._pause()
            else:
                return

    async def _retry(self, delivery: Delivery, error: str) -> None:
        JOBS_RETRIED.inc()
        await self._settle(partial(self._queue.retry, delivery, error[:ERROR_CHARS_MAX]))

    async def _give_back(self, error: str) -> None:
        """Return everything that is held. What the queue does not take is left to the lease."""
        held, self._held = self._held, {}
        for delivery in held.values():
            await self._retry(delivery, error)

    def _let_go(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            self._held.pop(delivery.token, None)

    # --- time and state ---

    @asynccontextmanager
    async def _leases_kept(self) -> AsyncIterator[None]:
        """Meanwhile, have the leases of what is held end later and later."""
        keeping = asyncio.create_task(self._keep_leases())
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.wait({keeping})
        if not keeping.cancelled():
            keeping.result()

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(self._lease_s * EXTEND_AFTER)
            began_at = time.monotonic()
            try:
                await self._queue.extend(tuple(self._held.values()), self._lease_s)
            except Unavailable as error:
                log.warning("the leases could not be made longer", error=str(error))
            else:
                self._leased_at = began_at

    def _patience_passed(self) -> float:
        """How long nothing could be written, in leases."""
        return self._since(max(self._reserved_at, self._wrote_at))

    def _since(self, at: float) -> float:
        """How much of a lease has passed since then: 0 none, 1 all."""
        return (time.monotonic() - at) / self._lease_s

    async def _is_store_up(self) -> bool:
        check = await self._store.check()
        if not check.ok:
            self._failing(Unavailable(check.message or "the store is down"))
        return check.ok

    async def _pause(self) -> None:
        """Sleep after a failure: each time longer, never longer than PAUSE_MAX_S, and not when it is time to stop."""
        await self._sleep(self._pause_s)
        self._pause_s = min(2 * self._pause_s, PAUSE_MAX_S)

    async def _sleep(self, duration_s: float) -> None:
        try:
            async with asyncio.timeout(duration_s):
                await self._stopping.wait()
        except TimeoutError:
            return

    async def _until_stopped(self, work: Awaitable[None]) -> None:
        """Await *work*, or give it up when it is time to stop."""
        tasks = {asyncio.ensure_future(work), asyncio.ensure_future(self._stopping.wait())}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                if not task.done():
                    task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    def _failing(self, error: Exception) -> None:
        self._is_trying = True
        message = str(error) or repr(error)
        if self._status.state is not WorkerState.FAILING:
            log.warning("the worker is failing and tries again", error=message)
        self._set(WorkerState.FAILING, last_error=message)

    def _set(self, state: WorkerState, **changes: object) -> None:
        self._status = msgspec.structs.replace(self._status, state=state, **changes)


def _groups(deliveries: Sequence[Delivery]) -> Iterator[list[Delivery]]:
    """*deliveries* in order, in groups that may be written at once."""
    group: list[Delivery] = []
    events = size = 0
    for delivery in deliveries:
        delivery_bytes = sum(map(len, delivery.payloads))
        if group and (events + len(delivery.payloads) > WRITE_EVENTS_MAX or size + delivery_bytes > WRITE_BYTES_MAX):
            yield group
            group, events, size = [], 0, 0
        group.append(delivery)
        events += len(delivery.payloads)
        size += delivery_bytes
    if group:
        yield group
