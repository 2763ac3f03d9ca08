"""BullmqQueue where it differs from other queues: its server may be gone, full, wrongly set or in other hands."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import bullmq
import pytest
import redis.asyncio as redis

from footfall.errors import Misconfigured, Unavailable
from footfall.queue.base import Lane
from footfall.queue.bullmq import BullmqQueue
from footfall.queue.bullmq_connection import RedisAddress
from footfall.queue.bullmq_jobs import NOT_OURS
from tests.conformance.queues import BullmqHarness
from tests.servers import Valkey, valkey, valkey_cluster

LEASE_S = 60.0


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[BullmqHarness]:
    made = BullmqHarness(tmp_path)
    yield made
    await made.close()


@pytest.fixture
async def queue(harness: BullmqHarness) -> BullmqQueue:
    return await harness.open()


@pytest.fixture
async def client(harness: BullmqHarness) -> AsyncIterator["redis.Redis"]:
    made = redis.Redis(port=harness.address.port, decode_responses=True)
    yield made
    await made.aclose()


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[Valkey]:
    """A server of the test's own, with the options of the test's `server` parameter."""
    made = Valkey(*getattr(request, "param", ("--appendonly", "yes", "--appendfsync", "always")))
    made.start()
    yield made
    made.close()


async def opened(server: Valkey, **changes: object) -> BullmqQueue:
    address = RedisAddress("127.0.0.1", server.port, **changes)  # type: ignore[arg-type]
    return await BullmqQueue.open(address, "test", attempts=5, backoff_ms=1_000)


async def test_a_server_that_is_killed_is_unavailable_and_loses_nothing(server: Valkey) -> None:
    queue = await opened(server)
    await queue.put([b"1", b"2"])
    server.kill()
    with pytest.raises(Unavailable, match="can not be reached"):
        await queue.put([b"3"])
    with pytest.raises(Unavailable):
        await queue.reserve(1, LEASE_S)
    with pytest.raises(Unavailable):
        await queue.wait(1)
    with pytest.raises(Unavailable):
        await queue.depth()
    server.start()
    (delivery,) = await queue.reserve(10, LEASE_S)
    assert delivery.payloads == (b"1", b"2")
    await queue.put([b"3"])
    assert (await queue.depth()).received_events == 3
    await queue.close()


@pytest.mark.parametrize("server", [("--maxmemory", "8mb", "--maxmemory-policy", "noeviction")], indirect=True)
async def test_a_full_server_accepts_nothing_and_says_so(server: Valkey) -> None:
    queue = await opened(server)
    payload, accepted = b"x" * 500_000, 0

    async def fill() -> None:
        nonlocal accepted
        while accepted < 100:
            await queue.put([payload])
            accepted += 1

    with pytest.raises(Unavailable, match="can not be used now"):
        await fill()
    assert 0 < accepted < 100
    assert (await queue.depth()).received_events == accepted
    await queue.close()


@pytest.mark.parametrize("server", [("--maxmemory-policy", "allkeys-lru")], indirect=True)
async def test_settings_that_lose_events_are_pointed_out(server: Valkey) -> None:
    queue = await opened(server)
    policy, file = queue.advice
    assert "noeviction" in policy
    assert "appendonly" in file
    await queue.close()


async def test_a_server_that_is_set_well_needs_no_advice(server: Valkey) -> None:
    queue = await opened(server)
    assert queue.advice == ()
    await queue.close()


async def test_a_cluster_is_advised_as_well() -> None:
    server = valkey_cluster()
    queue = await opened(server, cluster=True)
    assert len(queue.advice) == 1
    await queue.close()


@pytest.mark.parametrize("server", [("--requirepass", "right")], indirect=True)
@pytest.mark.parametrize("password", [None, "wrong"])
async def test_a_wrong_password_is_a_wrong_setting(server: Valkey, password: str | None) -> None:
    with pytest.raises(Misconfigured, match="REDIS_PASSWORD"):
        await opened(server, password=password)
    queue = await opened(server, password="right")
    await queue.close()


async def test_a_server_that_is_no_cluster_is_a_wrong_setting() -> None:
    with pytest.raises(Misconfigured, match="REDIS_CLUSTER"):
        await opened(valkey(), cluster=True)


async def test_no_server_at_all_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        await BullmqQueue.open(RedisAddress("127.0.0.1", 1), "test", attempts=5, backoff_ms=1_000)


async def test_small_jobs_are_leased_together_and_end_each_for_itself(queue: BullmqQueue) -> None:
    for number in range(50):
        await queue.put([b"%d" % number])
    (delivery,) = await queue.reserve(10, LEASE_S)
    assert delivery.payloads == tuple(b"%d" % number for number in range(50))
    await queue.retry(delivery, "the store is down")
    assert (await queue.depth()).delayed == 50


async def test_what_is_buried_of_many_jobs_is_one_failed_job(queue: BullmqQueue) -> None:
    for number in range(5):
        await queue.put([b"%d" % number, b"good"])
    (delivery,) = await queue.reserve(10, LEASE_S)
    await queue.bury(delivery, "poison", [b"1", b"3"])
    (job,) = await queue.failed.list(10)
    assert (job.payloads, job.events) == ((b"1", b"3"), 2)
    depth = await queue.depth()
    assert (depth.unfinished_events, depth.failed_events, depth.purged_events, depth.received_events) == (0, 2, 0, 10)


async def test_an_import_that_stalled_does_not_jump_before_live_events(
    harness: BullmqHarness, queue: BullmqQueue
) -> None:
    await queue.put([b"import"], Lane.IMPORT)
    assert len(await queue.reserve(1, LEASE_S)) == 1
    await queue.put([b"another import"], Lane.IMPORT)
    await queue.put([b"live"])
    await harness.pass_time(LEASE_S + 1)
    got = [delivery.payloads for delivery in await queue.reserve(10, LEASE_S)]
    assert got == [(b"live",), (b"import",), (b"another import",)]


async def test_an_answer_after_the_lease_changes_nothing_even_when_nobody_has_the_job_yet(
    harness: BullmqHarness, queue: BullmqQueue
) -> None:
    await queue.put([b"1"])
    deliveries = await queue.reserve(1, LEASE_S)
    await harness.pass_time(LEASE_S + 1)
    await queue.ack(deliveries)
    await queue.retry(deliveries[0], "late")
    await queue.bury(deliveries[0], "late")
    depth = await queue.depth()
    assert (depth.unfinished_events, depth.failed, depth.delayed) == (1, 0, 0)
    assert (await queue.reserve(1, LEASE_S))[0].attempt == 2


async def test_a_job_that_somebody_else_added_is_set_aside(harness: BullmqHarness, queue: BullmqQueue) -> None:
    theirs = bullmq.Queue(harness.name, {"connection": {"port": harness.address.port}})
    await theirs.add("theirs", {"hello": 1})
    await theirs.close()
    await queue.put([b"ours"])
    (delivery,) = await queue.reserve(10, LEASE_S)
    assert delivery.payloads == (b"ours",)
    (job,) = await queue.failed.list(10)
    assert (job.error, job.payloads) == (NOT_OURS, ())
    assert (await queue.depth()).failed == 1
    assert len(await queue.failed.list(0)) == 0


async def test_a_queue_that_a_person_pauses_gives_nothing_out_until_it_is_resumed(
    harness: BullmqHarness, queue: BullmqQueue
) -> None:
    theirs = bullmq.Queue(harness.name, {"connection": {"port": harness.address.port}})
    await theirs.pause()
    await queue.put([b"1"])
    assert await queue.reserve(1, LEASE_S) == []
    waiting = asyncio.create_task(queue.wait(3_600))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    assert (await queue.depth()).waiting == 1
    await theirs.resume()
    await theirs.close()
    async with asyncio.timeout(20):
        await waiting
    assert len(await queue.reserve(1, LEASE_S)) == 1


async def test_a_put_that_is_sent_twice_is_there_once(queue: BullmqQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    twin = "f" + secrets.token_hex(9)
    monkeypatch.setattr("footfall.queue.bullmq.new_job_id", lambda: twin)
    await queue.put([b"1"])
    await queue.put([b"1"])
    depth = await queue.depth()
    assert (depth.waiting, depth.unfinished_events, depth.received_events) == (1, 1, 1)


async def test_a_job_whose_hash_is_gone_holds_nothing_up(
    harness: BullmqHarness, queue: BullmqQueue, client: "redis.Redis"
) -> None:
    await queue.put([b"1"])
    (job_id,) = await client.lrange(f"bull:{harness.name}:wait", 0, -1)
    await client.delete(f"bull:{harness.name}:" + str(job_id))
    await queue.put([b"2"])
    (delivery,) = await queue.reserve(10, LEASE_S)
    assert delivery.payloads == (b"2",)
    await queue.ack([delivery])
    depth = await queue.depth()
    assert (depth.active, depth.unfinished_events) == (0, 0)
