"""The worker, against a real queue, a fake one, and a store that can be told to fail."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from footfall.errors import Unavailable, Unstorable
from footfall.event import Event, encode, key_of, new_id
from footfall.metrics import REGISTRY
from footfall.query.events import EventsQuery, Page
from footfall.query.query import Query
from footfall.query.sequence import Sequence as SequenceQuestion
from footfall.queue.base import Delivery, Lane, Queue
from footfall.queue.sqlite import SqliteQueue
from footfall.store.base import Batch, Check, Ledger, Store, Table, Written
from footfall.worker import Worker, WorkerState
from tests.fakes_queue import MemoryQueue


class ListStore:
    """A store in memory that keeps the port's promises about writes, and fails when told to."""

    kind = "list"

    def __init__(self) -> None:
        self.events: dict[bytes, Event] = {}
        self.batches: list[tuple[int, bool]] = []
        """Length and redelivered of every write that was tried."""
        self.doubled = 0
        """Events that were written twice because a batch was not said to be redelivered."""
        self.is_down = False
        self.admits_being_down = True
        self.checks = 0
        self.poison: set[bytes] = set()
        self.half_writes = 0
        """So many writes fail after half of the batch was written."""
        self.bugs = 0
        """So many writes raise what no store may raise."""
        self.gate: asyncio.Event | None = None
        self.begun = asyncio.Event()

    async def write(self, batch: Batch) -> Written:
        self.batches.append((len(batch.payloads), batch.redelivered))
        self.begun.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.bugs:
            self.bugs -= 1
            raise ZeroDivisionError("a bug")
        if self.is_down:
            raise Unavailable("the store is down")
        try:
            events = [msgspec.msgpack.decode(payload, type=Event) for payload in batch.payloads]
        except msgspec.DecodeError as error:
            raise Unstorable(f"not an event: {error}") from error
        half = len(events) // 2
        for index, event in enumerate(events):
            if self.half_writes and index == half:
                self.half_writes -= 1
                raise Unavailable("the connection broke")
            if event.id in self.poison:
                raise Unstorable("the store can not take this")
            if event.id in self.events and not batch.redelivered:
                self.doubled += 1
            self.events[event.id] = event
        return Written(len(events), 0, 0, 0)

    async def check(self) -> Check:
        self.checks += 1
        return Check(not (self.is_down and self.admits_being_down), 0.1, "down" if self.is_down else "")

    async def rows(self, query: Query) -> Table:
        raise Unavailable("this store answers no questions")

    async def sequences(self, question: SequenceQuestion) -> Table:
        raise Unavailable("this store answers no questions")

    async def page(self, query: EventsQuery) -> Page:
        raise Unavailable("this store answers no questions")

    async def ledger(self, site_id: str | None = None, import_id: str | None = None) -> Ledger:
        return Ledger(len(self.events), {})

    async def sites(self) -> dict[str, int]:
        return {}

    async def close(self) -> None:
        """Nothing is held."""


def an_event(number: int = 0) -> Event:
    return Event(new_id(), key_of("site", str(number)), "site", "pageview", 1_700_000_000_000 + number, 1, number)


@pytest.fixture(params=["memory", "sqlite"])
async def queue(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Queue]:
    if request.param == "memory":
        yield MemoryQueue(attempts=3, backoff_ms=1)
        return
    sqlite = await SqliteQueue.open(tmp_path / "queue", attempts=3, backoff_ms=1, max_bytes=10**9, fsync=False)
    yield sqlite
    await sqlite.close()


@pytest.fixture
def store() -> ListStore:
    return ListStore()


@asynccontextmanager
async def working(queue: Queue, store: Store, *, lease_s: float = 60) -> AsyncIterator[Worker]:
    worker = Worker(queue, store, concurrency=4, lease_s=lease_s)
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        await worker.stop()
        await task


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    """Return when it is so; the test's own time limit ends what never comes."""
    async with asyncio.timeout(30):
        while not await is_so():  # noqa: ASYNC110 - what is awaited tells nobody
            await asyncio.sleep(0.005)


async def until_empty(queue: Queue) -> None:
    async def is_empty() -> bool:
        return (await queue.depth()).unfinished_events == 0

    await until(is_empty)


def state_of(worker: Worker) -> WorkerState:
    return worker.status.state


def ids(events: Sequence[Event]) -> set[bytes]:
    return {event.id for event in events}


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_what_is_put_is_written_once_and_then_forgotten(queue: Queue, store: ListStore) -> None:
    events = [an_event(number) for number in range(100)]
    before = metric("footfall_events_stored_total", outcome="stored")
    async with working(queue, store) as worker:
        for start in range(0, 100, 10):
            await queue.put([encode(event) for event in events[start : start + 10]])
        await until_empty(queue)
        assert worker.status.state is WorkerState.RUNNING
        assert worker.status.last_write_at_ms is not None
    assert set(store.events) == ids(events)
    assert store.doubled == 0
    assert not any(redelivered for _, redelivered in store.batches)
    assert metric("footfall_events_stored_total", outcome="stored") - before == 100


async def test_jobs_that_wait_together_are_written_together(queue: Queue, store: ListStore) -> None:
    for number in range(4):
        await queue.put([encode(an_event(number))])
    async with working(queue, store):
        await until_empty(queue)
    assert store.batches == [(4, False)]


async def test_a_stream_of_single_events_is_written_in_far_fewer_writes(queue: Queue, store: ListStore) -> None:
    async with working(queue, store):
        for number in range(200):
            await queue.put([encode(an_event(number))])
            await asyncio.sleep(0.001)
        await until_empty(queue)
    assert len(store.events) == 200
    assert len(store.batches) <= 100


async def test_fresh_and_redelivered_jobs_are_never_in_one_batch(queue: Queue, store: ListStore) -> None:
    await queue.put([encode(an_event(1))])
    (first,) = await queue.reserve(1, 60)
    await queue.retry(first, "once")
    await queue.put([encode(an_event(2)), encode(an_event(3))])
    await asyncio.sleep(0.01)
    async with working(queue, store):
        await until_empty(queue)
    assert sorted(store.batches) == [(1, True), (2, False)]


async def test_a_store_that_is_down_for_a_while_costs_no_attempt(queue: Queue, store: ListStore) -> None:
    store.is_down = True
    retried = metric("footfall_jobs_retried_total")
    events = [an_event(number) for number in range(5)]
    await queue.put([encode(event) for event in events])
    async with working(queue, store) as worker:

        async def was_asked_often() -> bool:
            return store.checks >= 3

        await until(was_asked_often)
        assert worker.status.state is WorkerState.FAILING
        assert "down" in worker.status.last_error
        assert len(store.batches) == 1
        store.is_down = False
        await until_empty(queue)
        assert state_of(worker) is WorkerState.RUNNING
    assert set(store.events) == ids(events)
    assert store.batches[1:] == [(5, True)]
    assert metric("footfall_jobs_retried_total") == retried
    assert (await queue.depth()).failed == 0


async def test_an_outage_longer_than_many_leases_puts_no_job_into_the_failed_set(
    queue: Queue, store: ListStore
) -> None:
    store.is_down = True
    events = [an_event(number) for number in range(50)]
    for event in events:
        await queue.put([encode(event)])
    async with working(queue, store, lease_s=0.1) as worker:
        # Ten leases: were an attempt spent on each, all three would be gone.
        await asyncio.sleep(1)
        assert worker.status.state is WorkerState.FAILING
        assert len(store.batches) == 1, "nothing is reserved for a store that says that it is down"
        assert (await queue.depth()).failed == 0
        store.is_down = False
        await until_empty(queue)
    assert set(store.events) == ids(events)
    assert (await queue.depth()).failed == 0


async def test_a_store_that_denies_its_outage_is_tried_with_one_delivery_at_a_time(
    store: ListStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("footfall.worker.PAUSE_MAX_S", 0.1)
    queue = MemoryQueue(attempts=3, backoff_ms=1)
    store.is_down, store.admits_being_down = True, False
    for number in range(100):
        await queue.put([encode(an_event(number))])
    async with working(queue, store, lease_s=0.2):

        async def was_tried_often() -> bool:
            return len(store.batches) >= 6

        await until(was_tried_often)
        assert {length for length, _ in store.batches[4:]} == {1}
        depth = await queue.depth()
        assert depth.failed_events <= 4
        store.is_down = False
        await until_empty(queue)
    assert len(store.events) + (await queue.depth()).failed_events == 100


async def test_a_write_that_breaks_in_the_middle_is_completed_and_nothing_doubles(
    queue: Queue, store: ListStore
) -> None:
    store.half_writes = 2
    events = [an_event(number) for number in range(11)]
    await queue.put([encode(event) for event in events])
    async with working(queue, store):
        await until_empty(queue)
    assert set(store.events) == ids(events)
    assert store.doubled == 0


async def test_poison_is_isolated_and_only_it_is_buried(queue: Queue, store: ListStore) -> None:
    jobs = [[an_event(10 * job + number) for number in range(10)] for job in range(4)]
    bad = [jobs[0][0], jobs[1][4], jobs[1][9], jobs[3][9]]
    store.poison = ids(bad)
    for job in jobs:
        await queue.put([encode(event) for event in job])
    garbage = b"\xff not an event"
    await queue.put([garbage])
    async with working(queue, store):
        await until_empty(queue)
    assert set(store.events) == ids([event for job in jobs for event in job]) - store.poison
    assert store.doubled == 0
    failed = await queue.failed.list(100)
    buried = [payload for job in failed for payload in job.payloads]
    assert sorted(buried) == sorted([*map(encode, bad), garbage])
    assert all("store can not take this" in job.error or "not an event" in job.error for job in failed)
    assert (await queue.depth()).failed_events == 5


async def test_a_batch_that_is_all_poison_is_buried_whole(queue: Queue, store: ListStore) -> None:
    await queue.put([b"\xff", b"\xff", b""])
    async with working(queue, store):
        await until_empty(queue)
    (job,) = await queue.failed.list(10)
    assert sorted(job.payloads) == [b"", b"\xff", b"\xff"]


async def test_a_replayed_job_is_written_as_redelivered(queue: Queue, store: ListStore) -> None:
    event = an_event()
    store.poison = {event.id}
    async with working(queue, store):
        await queue.put([encode(event)])
        await until_empty(queue)
        store.poison = set()
        store.batches.clear()
        assert await queue.failed.replay(None) == 1
        await until_empty(queue)
    assert set(store.events) == {event.id}
    assert store.batches == [(1, True)]


async def test_a_bug_in_the_store_does_not_end_the_worker(queue: Queue, store: ListStore) -> None:
    store.bugs = 2
    events = [an_event(number) for number in range(3)]
    await queue.put([encode(event) for event in events])
    async with working(queue, store) as worker:
        await until_empty(queue)
        assert "a bug" in worker.status.last_error
    assert set(store.events) == ids(events)
    assert store.batches == [(3, False), (3, True), (3, True)]


async def test_a_queue_that_goes_down_between_write_and_ack_doubles_nothing(store: ListStore) -> None:
    queue = MemoryQueue(attempts=3, backoff_ms=1)
    store.gate = asyncio.Event()
    await queue.put([encode(an_event(1))])
    async with working(queue, store, lease_s=0.3) as worker:
        await store.begun.wait()
        queue.is_down = True
        store.gate.set()

        async def has_noticed() -> bool:
            return worker.status.state is WorkerState.FAILING

        await until(has_noticed)
        await asyncio.sleep(0.4)
        queue.is_down = False
        await until_empty(queue)
    assert len(store.events) == 1
    assert store.doubled == 0


async def test_stop_lets_the_write_under_way_finish_and_leaves_nothing_leased(queue: Queue, store: ListStore) -> None:
    store.gate = asyncio.Event()
    await queue.put([encode(an_event(1))])
    worker = Worker(queue, store, concurrency=4)
    task = asyncio.create_task(worker.run())
    await store.begun.wait()
    await queue.put([encode(an_event(2))])
    stopping = asyncio.create_task(worker.stop())
    await asyncio.sleep(0.01)
    assert not stopping.done()
    store.gate.set()
    await stopping
    await task
    depth = await queue.depth()
    assert (depth.waiting, depth.active) == (1, 0)
    assert len(store.events) == 1
    assert worker.status.state is WorkerState.STOPPED


async def test_stop_gives_back_what_a_store_that_hangs_does_not_take(
    queue: Queue, store: ListStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("footfall.worker.STOP_S", 0.05)
    store.gate = asyncio.Event()
    event = an_event()
    await queue.put([encode(event)])
    worker = Worker(queue, store, concurrency=4)
    task = asyncio.create_task(worker.run())
    await store.begun.wait()
    await worker.stop()
    with pytest.raises(asyncio.CancelledError):
        await task
    depth = await queue.depth()
    assert (depth.active, depth.waiting + depth.delayed) == (0, 1)
    store.gate = None
    async with working(queue, store):
        await until_empty(queue)
    assert set(store.events) == {event.id}
    assert store.doubled == 0


async def test_stop_during_an_outage_gives_everything_back(queue: Queue, store: ListStore) -> None:
    store.is_down = True
    await queue.put([encode(an_event(1))])
    async with working(queue, store):
        await store.begun.wait()
    depth = await queue.depth()
    assert (depth.active, depth.waiting + depth.delayed, depth.failed) == (0, 1, 0)


async def test_live_events_are_written_before_an_import(queue: Queue, store: ListStore) -> None:
    imported, live = an_event(1), an_event(2)
    await queue.put([encode(imported)], Lane.IMPORT)
    await queue.put([encode(live)])
    worker = Worker(queue, store, concurrency=1)
    task = asyncio.create_task(worker.run())
    await until_empty(queue)
    await worker.stop()
    await task
    assert list(store.events) == [live.id, imported.id]


async def test_a_write_that_outlasts_its_lease_is_not_counted_twice(store: ListStore) -> None:
    clock = [1_000_000]
    queue = MemoryQueue(attempts=5, backoff_ms=1, now_ms=lambda: clock[0])
    store.gate = asyncio.Event()
    await queue.put([encode(an_event(1))])
    async with working(queue, store, lease_s=60):
        await store.begun.wait()
        clock[0] += 61_000
        (again,) = await queue.reserve(10, 60)
        assert again.attempt == 2
        store.gate.set()
        await asyncio.sleep(0.05)
        depth = await queue.depth()
        assert depth.active == 1, "the late ack took the job of another worker away"
        await store.write(Batch(again.payloads, redelivered=again.attempt > 1))
        await queue.ack([again])
    assert len(store.events) == 1
    assert store.doubled == 0


class BusyQueue(MemoryQueue):
    """A queue that wakes its workers for nothing, and counts how often they ask."""

    asked = 0

    async def wait(self, timeout_s: float) -> None:
        return

    async def reserve(self, limit: int, lease_s: float) -> Sequence[Delivery]:
        self.asked += 1
        return await super().reserve(limit, lease_s)


async def test_a_queue_that_wakes_for_nothing_does_not_make_the_worker_spin(store: ListStore) -> None:
    queue = BusyQueue()
    async with working(queue, store):
        await asyncio.sleep(0.2)
    assert 1 <= queue.asked <= 30


class HurriedQueue(MemoryQueue):
    """A queue for which half a lease passes with every extension."""

    def __init__(self) -> None:
        self.clock_ms = 1_700_000_000_000
        self.extensions = 0
        super().__init__(now_ms=lambda: self.clock_ms)

    async def extend(self, deliveries: Sequence[Delivery], lease_s: float) -> None:
        await super().extend(deliveries, lease_s)
        self.clock_ms += round(lease_s * 500)
        self.extensions += 1


async def test_a_write_that_takes_several_leases_is_not_delivered_to_anybody_else(store: ListStore) -> None:
    queue = HurriedQueue()
    await queue.put([encode(an_event())])
    store.gate = asyncio.Event()
    async with working(queue, store, lease_s=0.1):

        async def has_taken_three_leases() -> bool:
            return queue.extensions >= 6

        await until(has_taken_three_leases)
        assert await queue.reserve(10, 60) == []
        store.gate.set()
        await until_empty(queue)
    assert store.batches == [(1, False)]
    extensions = queue.extensions
    await asyncio.sleep(0.1)
    assert queue.extensions == extensions, "it goes on for what is done"


class DeafQueue(MemoryQueue):
    """A queue that can not be told to make a lease longer."""

    asked = 0

    async def extend(self, deliveries: Sequence[Delivery], lease_s: float) -> None:
        self.asked += 1
        raise Unavailable("not now")


async def test_a_lease_that_can_not_be_made_longer_does_not_end_the_write(store: ListStore) -> None:
    queue = DeafQueue()
    await queue.put([encode(an_event())])
    store.gate = asyncio.Event()
    async with working(queue, store, lease_s=0.3) as worker:

        async def has_asked_twice() -> bool:
            return queue.asked >= 2

        await until(has_asked_twice)
        store.gate.set()
        await until_empty(queue)
        assert state_of(worker) is WorkerState.RUNNING
    assert len(store.events) == 1
