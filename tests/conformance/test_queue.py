"""What every queue must prove. The same functions for each adapter; queues.py says which there are."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import pytest

from footfall.errors import Unavailable
from footfall.queue.base import Delivery, Lane, Queue
from tests.conformance.queues import DURABLE, HARNESSES, LIMITED, Harness, line_of, start

LEASE_S = 60.0


@pytest.fixture(params=HARNESSES)
async def harness(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Harness]:
    made = HARNESSES[request.param](tmp_path)
    yield made
    await made.close()


@pytest.fixture(params=DURABLE)
async def durable(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Harness]:
    made = HARNESSES[request.param](tmp_path)
    yield made
    await made.close()


@pytest.fixture(params=LIMITED)
async def limited(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Harness]:
    made = HARNESSES[request.param](tmp_path)
    yield made
    await made.close()


@pytest.fixture
async def queue(harness: Harness) -> Queue:
    return await harness.open()


def payloads_of(deliveries: Sequence[Delivery]) -> list[bytes]:
    return [payload for delivery in deliveries for payload in delivery.payloads]


async def reserve_one(queue: Queue) -> Delivery:
    (delivery,) = await queue.reserve(1, LEASE_S)
    return delivery


async def test_what_is_put_is_reserved_in_its_order_and_gone_after_the_ack(queue: Queue) -> None:
    await queue.put([b"1", b"2"])
    await queue.put([b"3"])
    deliveries = await queue.reserve(10, LEASE_S)
    assert payloads_of(deliveries) == [b"1", b"2", b"3"]
    assert {delivery.attempt for delivery in deliveries} == {1}
    await queue.ack(deliveries)
    depth = await queue.depth()
    assert (depth.unfinished_events, depth.received_events, depth.oldest_s) == (0, 3, 0)
    assert await queue.reserve(10, LEASE_S) == []


async def test_a_put_of_nothing_is_nothing(queue: Queue) -> None:
    await queue.put([])
    depth = await queue.depth()
    assert (depth.waiting, depth.received_events) == (0, 0)
    await queue.ack([])


async def test_reserve_hides(queue: Queue) -> None:
    await queue.put([b"1"])
    await reserve_one(queue)
    assert await queue.reserve(10, LEASE_S) == []


async def test_reserve_gives_no_more_than_it_was_asked_for(queue: Queue) -> None:
    for number in range(5):
        await queue.put([b"%d" % number])
        await queue.put([b"import"], Lane.IMPORT)
    assert len(await queue.reserve(1, LEASE_S)) == 1


async def test_live_events_go_before_an_import_however_old_it_is(queue: Queue) -> None:
    await queue.put([b"import"], Lane.IMPORT)
    await queue.put([b"live"])
    deliveries = await queue.reserve(10, LEASE_S)
    assert payloads_of(deliveries) == [b"live", b"import"]
    assert len(deliveries) == 2, "the lanes are never in one delivery"


async def test_a_lease_that_ran_out_comes_back_with_another_attempt(harness: Harness, queue: Queue) -> None:
    await queue.put([b"1"])
    first = await reserve_one(queue)
    await harness.pass_time(LEASE_S - 1)
    assert await queue.reserve(10, LEASE_S) == []
    await harness.pass_time(2)
    second = await reserve_one(queue)
    assert (second.payloads, second.attempt) == ((b"1",), 2)
    assert second.token != first.token


async def test_a_lease_that_is_extended_runs_from_then_on_and_keeps_its_token(harness: Harness, queue: Queue) -> None:
    await queue.put([b"1", b"2"])
    await queue.put([b"import"], Lane.IMPORT)
    held = await queue.reserve(10, LEASE_S)
    for _ in range(3):
        await harness.pass_time(LEASE_S - 1)
        await queue.extend(held, LEASE_S)
    await harness.pass_time(LEASE_S - 1)
    other = await harness.open()
    assert await other.reserve(10, LEASE_S) == []
    await queue.ack(held)
    await harness.pass_time(LEASE_S + 1)
    assert await queue.reserve(10, LEASE_S) == []
    assert (await queue.depth()).unfinished_events == 0


async def test_an_extended_lease_ends_too(harness: Harness, queue: Queue) -> None:
    await queue.put([b"1"])
    first = await reserve_one(queue)
    await queue.extend([first], 2 * LEASE_S)
    await harness.pass_time(2 * LEASE_S - 1)
    assert await queue.reserve(1, LEASE_S) == []
    await harness.pass_time(2)
    second = await reserve_one(queue)
    assert (second.attempt, second.token == first.token) == (2, False)
    await queue.extend([first], 10 * LEASE_S)
    await queue.ack([first])
    await harness.pass_time(LEASE_S + 1)
    assert (await reserve_one(queue)).attempt == 3, "a stale token made somebody else's lease longer"


async def test_answers_after_the_lease_change_nothing(harness: Harness, queue: Queue) -> None:
    await queue.put([b"1", b"2"])
    stale = await reserve_one(queue)
    await harness.pass_time(LEASE_S + 1)
    held = await reserve_one(queue)
    await queue.ack([stale])
    await queue.retry(stale, "late")
    await queue.bury(stale, "late")
    await queue.bury(stale, "late", [b"1"])
    depth = await queue.depth()
    assert (depth.waiting, depth.active, depth.delayed, depth.failed) == (0, 1, 0, 0)
    await queue.ack([held])
    await queue.ack([held])
    assert (await queue.depth()).unfinished_events == 0


async def test_a_lease_that_runs_out_on_the_last_attempt_sets_the_job_aside(harness: Harness) -> None:
    queue = await harness.open(attempts=2)
    await queue.put([b"1"])
    for _ in range(2):
        await reserve_one(queue)
        await harness.pass_time(LEASE_S + 1)
    assert await queue.reserve(10, LEASE_S) == []
    (job,) = await queue.failed.list(10)
    assert (job.payloads, job.attempts) == ((b"1",), 2)
    assert "lease ran out" in job.error


async def test_retry_waits_its_back_off_which_doubles_and_the_last_attempt_buries(
    harness: Harness, queue: Queue
) -> None:
    await queue.put([b"1"])
    for attempt, backoff_s in enumerate([1, 2, 4, 8], start=1):
        delivery = await reserve_one(queue)
        assert delivery.attempt == attempt
        await queue.retry(delivery, f"failure {attempt}")
        depth = await queue.depth()
        assert (depth.waiting, depth.active, depth.delayed) == (0, 0, 1)
        await harness.pass_time(backoff_s - 0.1)
        assert await queue.reserve(1, LEASE_S) == []
        await harness.pass_time(0.2)
        assert (await queue.depth()).waiting == 1
    await queue.retry(await reserve_one(queue), "the fifth")
    depth = await queue.depth()
    assert (depth.unfinished_events, depth.failed, depth.failed_events) == (0, 1, 1)
    (job,) = await queue.failed.list(10)
    assert (job.payloads, job.events, job.attempts, job.error) == ((b"1",), 1, 5, "the fifth")


async def test_buried_events_are_counted_readable_and_purged(queue: Queue) -> None:
    await queue.put([b"1", b"2"])
    await queue.bury(await reserve_one(queue), "poison")
    depth = await queue.depth()
    assert (depth.unfinished_events, depth.failed_events, depth.received_events) == (0, 2, 2)
    jobs = await queue.failed.list(10)
    assert sorted(payload for job in jobs for payload in job.payloads) == [b"1", b"2"]
    assert {job.error for job in jobs} == {"poison"}
    assert await queue.failed.purge(["no such id", "999999"]) == 0
    assert await queue.failed.purge([job.id for job in jobs]) == 2
    depth = await queue.depth()
    assert (depth.failed, depth.failed_events, depth.purged_events, depth.received_events) == (0, 0, 2, 2)


async def test_a_part_can_be_buried_and_the_rest_is_done(queue: Queue) -> None:
    await queue.put([b"1", b"2", b"3"])
    await queue.bury(await reserve_one(queue), "poison", [b"2"])
    depth = await queue.depth()
    assert (depth.unfinished_events, depth.failed_events) == (0, 1)
    (job,) = await queue.failed.list(10)
    assert (job.payloads, job.events) == ((b"2",), 1)
    await queue.put([b"4"])
    await queue.bury(await reserve_one(queue), "nothing of it", [])
    depth = await queue.depth()
    assert (depth.unfinished_events, depth.failed_events) == (0, 1)


async def test_the_newest_failed_job_is_listed_first(harness: Harness, queue: Queue) -> None:
    for number in range(3):
        await queue.put([b"%d" % number])
        await queue.bury(await reserve_one(queue), "poison")
        await harness.pass_time(1)
    assert [job.payloads for job in await queue.failed.list(2)] == [(b"2",), (b"1",)]


async def test_a_replayed_job_has_all_its_tries_again_and_is_known_as_redelivered(harness: Harness) -> None:
    queue = await harness.open(attempts=2, backoff_ms=1_000)
    await queue.put([b"1"])
    await queue.bury(await reserve_one(queue), "poison")
    assert await queue.failed.replay(None) == 1
    assert (await queue.depth()).failed == 0
    delivery = await reserve_one(queue)
    assert delivery.attempt > 1
    await queue.retry(delivery, "again")
    await harness.pass_time(1.1)
    await queue.retry(await reserve_one(queue), "and again")
    (job,) = await queue.failed.list(10)
    assert (job.payloads, job.error) == ((b"1",), "and again")


async def test_only_the_jobs_that_are_named_are_replayed(queue: Queue) -> None:
    for number in range(3):
        await queue.put([b"%d" % number])
        await queue.bury(await reserve_one(queue), "poison")
    (job,) = [job for job in await queue.failed.list(10) if job.payloads == (b"1",)]
    assert await queue.failed.replay([job.id, "no such id"]) == 1
    assert payloads_of(await queue.reserve(10, LEASE_S)) == [b"1"]
    assert (await queue.depth()).failed == 2


async def test_depth_is_exact(harness: Harness, queue: Queue) -> None:
    await queue.put([b"delayed"])
    await queue.retry(await reserve_one(queue), "later")
    await queue.put([b"active", b"active"])
    active = await reserve_one(queue)
    await queue.put([b"waiting"] * 3)
    await harness.pass_time(0.5)
    depth = await queue.depth()
    assert (depth.waiting, depth.active, depth.delayed, depth.failed) == (1, 1, 1, 0)
    assert (depth.unfinished_events, depth.received_events) == (6, 6)
    assert depth.oldest_s == pytest.approx(0.5, abs=0.1)
    await queue.ack([active])
    assert (await queue.depth()).unfinished_events == 4


async def test_a_megabyte_and_odd_bytes_come_out_as_they_went_in(queue: Queue) -> None:
    odd = [
        b"",
        b"\0",
        b"\0\0,\0",
        bytes(range(256)),
        b"\xff" * 70_000,
        b"'; DROP TABLE job; --",
        b"\xc0\x80\xed\xa0\x80",
        bytes(range(256)) * 4096,
    ]
    await queue.put(odd)
    await queue.put([b""])
    assert payloads_of(await queue.reserve(10, LEASE_S)) == [*odd, b""]


async def test_a_large_put_is_all_there(queue: Queue) -> None:
    payloads = [b"%d" % number * 50 for number in range(25_000)]
    await queue.put(payloads)
    got: list[bytes] = []
    while deliveries := await queue.reserve(2, LEASE_S):
        got += payloads_of(deliveries)
        await queue.ack(deliveries)
    assert got == payloads
    depth = await queue.depth()
    assert (depth.unfinished_events, depth.received_events) == (0, 25_000)


async def test_over_the_size_limit_nothing_is_accepted_until_there_is_room(limited: Harness) -> None:
    queue = await limited.open(max_bytes=1_000)
    await queue.put([b"x" * 600])
    with pytest.raises(Unavailable, match="QUEUE_MAX_BYTES"):
        await queue.put([b"y" * 300, b"z" * 101])
    depth = await queue.depth()
    assert (depth.unfinished_events, depth.received_events) == (1, 1)
    await queue.put([b"y" * 400])
    deliveries = await queue.reserve(10, LEASE_S)
    assert payloads_of(deliveries) == [b"x" * 600, b"y" * 400]
    await queue.ack(deliveries)
    await queue.put([b"z" * 1_000])
    await queue.bury(await reserve_one(queue), "poison")
    with pytest.raises(Unavailable):
        await queue.put([b"the failed set counts as well"])
    await queue.failed.purge([job.id for job in await queue.failed.list(10)])
    await queue.put([b"room again"])


async def test_wait_returns_for_a_job_that_is_ready(queue: Queue) -> None:
    await queue.put([b"1"])
    async with asyncio.timeout(20):
        await queue.wait(3_600)


async def test_wait_is_woken_by_a_put(queue: Queue) -> None:
    assert await queue.reserve(1, LEASE_S) == []
    async with asyncio.timeout(20):
        waiting = asyncio.create_task(queue.wait(3_600))
        await asyncio.sleep(0.01)
        await queue.put([b"1"])
        await waiting
    assert payloads_of(await queue.reserve(1, LEASE_S)) == [b"1"]


async def test_wait_ends_when_a_back_off_does(harness: Harness, queue: Queue) -> None:
    await queue.put([b"1"])
    await queue.retry(await reserve_one(queue), "later")
    assert await queue.reserve(1, LEASE_S) == []
    async with asyncio.timeout(20):
        waiting = asyncio.create_task(queue.wait(3_600))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        await harness.pass_time(1.1)
        await waiting
    assert payloads_of(await queue.reserve(1, LEASE_S)) == [b"1"]


async def test_wait_returns_after_its_time_even_for_nothing(queue: Queue) -> None:
    await queue.reserve(1, LEASE_S)
    async with asyncio.timeout(20):
        await queue.wait(0.05)


async def test_workers_on_one_queue_never_hold_the_same_job(harness: Harness) -> None:
    queues = [await harness.open() for _ in range(3)]
    total = 200
    seen: Counter[bytes] = Counter()

    async def work(queue: Queue) -> None:
        while seen.total() < total:
            await queue.wait(0.05)
            deliveries = await queue.reserve(1, LEASE_S)
            seen.update(payloads_of(deliveries))
            await asyncio.sleep(0)
            await queue.ack(deliveries)

    async def put() -> None:
        for number in range(total):
            await queues[number % 3].put([b"%d" % number])

    async with asyncio.timeout(60):
        await asyncio.gather(put(), *map(work, queues))
    assert seen == Counter({b"%d" % number: 1 for number in range(total)})
    assert (await queues[0].depth()).unfinished_events == 0


# --- what outlives a process ---


async def test_everything_survives_reopening(durable: Harness) -> None:
    queue = await durable.open()
    await queue.put([b"failed"])
    await queue.bury(await reserve_one(queue), "poison")
    await queue.put([b"delayed"])
    await queue.retry(await reserve_one(queue), "later")
    await queue.put([b"active"])
    held = await reserve_one(queue)
    await queue.put([b"waiting", b"waiting"])
    before = await queue.depth()
    await queue.close()
    queue = await durable.open()
    after = await queue.depth()
    if not durable.tells_delayed:
        after = msgspec.structs.replace(after, active=after.active - before.delayed, delayed=before.delayed)
    assert after == before
    assert (before.waiting, before.active, before.delayed, before.failed, before.received_events) == (1, 1, 1, 1, 5)
    await queue.ack([held])
    assert (await queue.depth()).active == after.active - 1 + (0 if durable.tells_delayed else before.delayed)


async def test_a_closed_queue_says_so(durable: Harness) -> None:
    queue = await durable.open()
    await queue.close()
    await queue.close()
    with pytest.raises(Unavailable):
        await queue.put([b"1"])


async def test_what_was_put_survives_kill_9(durable: Harness) -> None:
    body = """
for number in range(10_000):
    await queue.put([b"%d" % number, b"and its twin"])
    print(number, flush=True)
"""
    child = await start(durable, body)
    accepted = -1
    while accepted < 40:
        accepted = int(await line_of(child))
    child.kill()
    while (line := await line_of(child)).endswith("\n"):
        accepted = int(line)
    await child.wait()
    queue = await durable.open()
    got = payloads_of(await queue.reserve(100, LEASE_S))
    numbers = [int(payload) for payload in got if payload != b"and its twin"]
    assert numbers == list(range(len(numbers)))
    assert accepted < len(numbers) <= accepted + 2
    assert len(got) == 2 * len(numbers)
    counted = (await queue.depth()).received_events
    assert counted == len(got) if durable.counts_through_kills else 0 <= len(got) - counted <= 2


async def test_a_worker_killed_between_reserve_and_ack_loses_nothing(durable: Harness) -> None:
    queue = await durable.open()
    await queue.put([b"1"])
    body = """
(delivery,) = await queue.reserve(1, 60)
print(delivery.attempt, flush=True)
await asyncio.sleep(600)
"""
    child = await start(durable, body)
    assert await line_of(child) == "1\n"
    child.kill()
    await child.wait()
    assert await queue.reserve(1, LEASE_S) == []
    await durable.pass_time(LEASE_S + 30)
    again = await reserve_one(queue)
    assert (again.payloads, again.attempt) == ((b"1",), 2)


async def test_workers_in_two_processes_never_hold_the_same_job(durable: Harness) -> None:
    queue = await durable.open()
    total = 200
    body = f"""
print("ready", flush=True)
while (depth := await queue.depth()).received_events < {total} or depth.unfinished_events:
    await queue.wait(0.05)
    for delivery in (deliveries := await queue.reserve(2, 60)):
        print(*(payload.decode() for payload in delivery.payloads), sep="\\n", flush=True)
    await queue.ack(deliveries)
"""
    children = [await start(durable, body) for _ in range(2)]
    for child in children:
        assert await line_of(child) == "ready\n"
    for number in range(total):
        await queue.put([b"%d" % number])
    async with asyncio.timeout(60):
        outputs = await asyncio.gather(*(child.communicate() for child in children))
    assert [child.returncode for child in children] == [0, 0]
    seen = Counter(line for output, _ in outputs for line in output.split())
    assert seen == Counter({b"%d" % number: 1 for number in range(total)})
    depth = await queue.depth()
    assert (depth.unfinished_events, depth.received_events) == (0, total)


async def test_a_put_of_another_process_wakes_those_who_wait(durable: Harness) -> None:
    queue = await durable.open()
    await queue.put([b"mine"])
    await queue.ack([await reserve_one(queue)])
    assert await queue.reserve(1, LEASE_S) == []
    async with asyncio.timeout(60):
        waiting = asyncio.create_task(queue.wait(3_600))
        child = await start(durable, 'await queue.put([b"theirs"])')
        assert await child.wait() == 0
        await waiting
    assert payloads_of(await queue.reserve(1, LEASE_S)) == [b"theirs"]
