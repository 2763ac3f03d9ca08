"""Every queue against a plain model of itself: any order of put, reserve, ack, retry, bury, replay, purge and time."""

import asyncio
import itertools
import tempfile
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from footfall.queue.base import Delivery, Lane, Queue
from tests.conformance.queues import HARNESSES

ATTEMPTS = 3
BACKOFF_S = 1
LEASE_S = 30
T = TypeVar("T")


@dataclass
class Known:
    """What the model knows of one event that is in the queue."""

    lane: Lane
    state: str = "ready"
    """ready, leased, delayed or failed"""
    token: str = ""
    until_s: int = 0
    tries: int = 0
    earlier: int = 0


class QueueModel(RuleBasedStateMachine):
    """The model keeps one entry for each event; which events share a job is the queue's own affair."""

    harness_name = ""
    takes_late_answers = True
    """Whether an answer after the lease has an effect as long as nobody else has the job. The port leaves it open."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.harness = HARNESSES[self.harness_name](Path(self.folder.name))
        self.queue = self.open()
        self.now_s = 0
        self.received = 0
        self.known: dict[bytes, Known] = {}
        self.held: list[Delivery] = []
        """Every delivery that was not answered yet, also those whose lease is over."""
        self.numbers = itertools.count()

    def open(self) -> Queue:
        return self.run(self.harness.open(attempts=ATTEMPTS, backoff_ms=1_000 * BACKOFF_S))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def teardown(self) -> None:
        self.run(self.harness.close())
        self.runner.close()
        self.folder.cleanup()

    # --- the model ---

    def is_ready(self, event: Known) -> bool:
        return event.state == "ready" or (event.state in {"leased", "delayed"} and event.until_s <= self.now_s)

    def is_spent(self, event: Known) -> bool:
        """Had its last attempt, and the lease ran out."""
        return event.state == "leased" and event.until_s <= self.now_s and event.tries >= ATTEMPTS

    def fail(self, event: Known) -> None:
        event.state, event.token = "failed", ""

    def take_held(self, index: int) -> tuple[Delivery, list[Known]]:
        """A held delivery, and what the model knows of those of its events that nobody else has by now."""
        delivery = self.held.pop(index % len(self.held))
        mine = [self.known[payload] for payload in delivery.payloads if payload in self.known]
        mine = [event for event in mine if event.state == "leased" and event.token == delivery.token]
        if not self.takes_late_answers:
            mine = [event for event in mine if event.until_s > self.now_s]
        return delivery, mine

    @precondition(lambda self: self.held)
    @rule(index=st.integers(0, 9))
    def extend(self, index: int) -> None:
        delivery, mine = self.take_held(index)
        self.held.append(delivery)
        self.run(self.queue.extend([delivery], LEASE_S))
        for event in mine:
            event.until_s = self.now_s + LEASE_S

    def forget(self, events: Sequence[Known]) -> None:
        gone = {id(event) for event in events}
        self.known = {payload: event for payload, event in self.known.items() if id(event) not in gone}

    # --- what may happen ---

    @rule(sizes=st.lists(st.integers(1, 3), min_size=1, max_size=3), lane=st.sampled_from(Lane))
    def put(self, sizes: list[int], lane: Lane) -> None:
        for size in sizes:
            payloads = [b"%d" % next(self.numbers) for _ in range(size)]
            self.run(self.queue.put(payloads, lane))
            self.received += size
            self.known.update({payload: Known(lane) for payload in payloads})

    @rule(limit=st.sampled_from([1, 2, 1_000]))
    def reserve(self, limit: int) -> None:
        deliveries = self.run(self.queue.reserve(limit, LEASE_S))
        assert len(deliveries) <= limit
        lanes = []
        for delivery in deliveries:
            assert delivery.payloads
            for payload in delivery.payloads:
                event = self.known[payload]
                assert self.is_ready(event)
                assert not self.is_spent(event)
                lanes.append(event.lane)
                event.state, event.token, event.until_s = "leased", delivery.token, self.now_s + LEASE_S
                event.tries += 1
                assert delivery.attempt == event.earlier + event.tries
        assert lanes == sorted(lanes)
        if len(deliveries) < limit:
            for event in self.known.values():
                if self.is_spent(event):
                    self.fail(event)
            assert not any(self.is_ready(event) for event in self.known.values())
        self.held += deliveries

    @precondition(lambda self: self.held)
    @rule(index=st.integers(0, 99))
    def ack(self, index: int) -> None:
        delivery, mine = self.take_held(index)
        self.run(self.queue.ack([delivery]))
        self.forget(mine)

    @precondition(lambda self: self.held)
    @rule(index=st.integers(0, 99))
    def retry(self, index: int) -> None:
        delivery, mine = self.take_held(index)
        self.run(self.queue.retry(delivery, "retried"))
        for event in mine:
            if event.tries >= ATTEMPTS:
                self.fail(event)
            else:
                event.state, event.token = "delayed", ""
                event.until_s = self.now_s + BACKOFF_S * 2 ** (event.tries - 1)

    @precondition(lambda self: self.held)
    @rule(index=st.integers(0, 99))
    def bury(self, index: int) -> None:
        delivery, mine = self.take_held(index)
        self.run(self.queue.bury(delivery, "buried"))
        for event in mine:
            self.fail(event)

    @precondition(lambda self: self.held)
    @rule(index=st.integers(0, 99), step=st.integers(1, 3))
    def bury_a_part(self, index: int, step: int) -> None:
        delivery, mine = self.take_held(index)
        poison = delivery.payloads[::step]
        self.run(self.queue.bury(delivery, "poison", poison))
        if len(mine) == len(delivery.payloads):
            buried = [self.known[payload] for payload in poison]
            for event in buried:
                self.fail(event)
            self.forget([event for event in mine if event.state != "failed"])

    @rule(duration_s=st.sampled_from([1, 2, 4, LEASE_S]))
    def pass_time(self, duration_s: int) -> None:
        self.run(self.harness.pass_time(duration_s))
        self.now_s += duration_s

    @rule()
    def replay(self) -> None:
        self.reserve(1_000)  # what is spent is set aside first, by the queue and by the model
        self.run(self.queue.failed.replay(None))
        for event in self.known.values():
            if event.state == "failed":
                event.state, event.earlier, event.tries = "ready", event.earlier + event.tries, 0

    @rule(limit=st.integers(1, 3))
    def purge(self, limit: int) -> None:
        self.reserve(1_000)
        jobs = self.run(self.queue.failed.list(limit))
        lost = [payload for job in jobs for payload in job.payloads]
        assert all(self.known[payload].state == "failed" for payload in lost)
        assert self.run(self.queue.failed.purge([job.id for job in jobs])) == len(lost)
        for payload in lost:
            del self.known[payload]

    @rule()
    def reopen(self) -> None:
        self.run(self.queue.close())
        self.queue = self.open()

    @invariant()
    def the_ledger_holds(self) -> None:
        depth = self.run(self.queue.depth())
        failed = sum(event.state == "failed" for event in self.known.values())
        spent = sum(self.is_spent(event) for event in self.known.values())
        assert depth.received_events == self.received
        assert depth.failed_events + depth.unfinished_events == len(self.known)
        assert failed <= depth.failed_events <= failed + spent  # what is spent is set aside when somebody comes by it


class MemoryModel(QueueModel):
    harness_name = "memory"


class SqliteModel(QueueModel):
    harness_name = "sqlite"


class BullmqModel(QueueModel):
    harness_name = "bullmq"
    takes_late_answers = False


class SqsModel(QueueModel):
    harness_name = "sqs"
    takes_late_answers = False


LIMITS = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)
MemoryModel.TestCase.settings = LIMITS
SqliteModel.TestCase.settings = LIMITS
BullmqModel.TestCase.settings = settings(
    LIMITS, max_examples=15
)  # a server answers a thousand times slower than memory
# It costs HTTP for each step; a failure is shown as it was found, for making it smaller would take minutes.
SqsModel.TestCase.settings = settings(LIMITS, max_examples=4, stateful_step_count=20, phases=[Phase.generate])
TestTheMemoryQueueAgainstTheModel = MemoryModel.TestCase
TestTheSqliteQueueAgainstTheModel = SqliteModel.TestCase
TestTheBullmqQueueAgainstTheModel = BullmqModel.TestCase
TestTheSqsQueueAgainstTheModel = SqsModel.TestCase
