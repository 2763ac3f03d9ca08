"""Whether a queue takes events: told by the newest put, and asked of the queue where nobody puts."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis.asyncio as redis

from footfall.errors import Unavailable
from footfall.queue.bullmq import BullmqQueue
from footfall.queue.bullmq_connection import RedisAddress
from footfall.queue.intake import BELIEVED_AGAIN_S, CHECK_EVERY_S, Checkable, Intake
from footfall.queue.sqlite import SqliteQueue
from tests.fakes_queue import MemoryQueue
from tests.servers import Valkey


class Clock:
    """Seconds that pass when told to."""

    s = 1_000.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[SqliteQueue]:
    made = await SqliteQueue.open(tmp_path / "queue", attempts=5, backoff_ms=1_000, max_bytes=10, fsync=False)
    yield made
    await made.close()


async def test_a_failed_put_counts_until_one_succeeds(clock: Clock) -> None:
    queue = MemoryQueue()
    intake = Intake(queue, clock_s=clock)
    await intake.check()
    queue.is_down = True
    with pytest.raises(Unavailable):
        await intake.put([b"1"])
    queue.is_down = False
    with pytest.raises(Unavailable):
        await intake.check()
    await intake.put([b"1"])
    await intake.check()


async def test_a_queue_that_can_not_be_checked_is_believed_again_after_a_while(clock: Clock) -> None:
    queue = MemoryQueue()
    assert not isinstance(queue, Checkable)
    intake = Intake(queue, clock_s=clock)
    queue.is_down = True
    with pytest.raises(Unavailable):
        await intake.put([b"1"])
    clock.s += BELIEVED_AGAIN_S - 0.1
    with pytest.raises(Unavailable):
        await intake.check()
    clock.s += 0.1
    await intake.check()


async def test_a_full_queue_takes_events_again_once_there_is_room_without_a_put(
    queue: SqliteQueue, clock: Clock
) -> None:
    intake = Intake(queue, clock_s=clock)
    await intake.put([b"0123456789"])
    with pytest.raises(Unavailable, match="full"):
        await intake.put([b"x"])
    clock.s += CHECK_EVERY_S
    with pytest.raises(Unavailable, match="full"):
        await intake.check()
    await queue.ack(await queue.reserve(1, 60))
    with pytest.raises(Unavailable, match="full"):
        await intake.check()
    clock.s += CHECK_EVERY_S
    await intake.check()


async def test_a_check_leaves_nothing_in_the_queue(queue: SqliteQueue) -> None:
    await queue.put([b"1"])
    before = await queue.depth()
    await queue.check()
    after = await queue.depth()
    assert (
        (after.waiting, after.received_events, after.unfinished_events)
        == (1, 1, 1)
        == (
            before.waiting,
            before.received_events,
            before.unfinished_events,
        )
    )
    (delivery,) = await queue.reserve(10, 60)
    assert delivery.payloads == (b"1",)
    await queue.ack([delivery])
    for _ in range(20):
        await queue.check()
    await queue.put([b"0123456789"])


async def test_a_redis_that_is_out_of_memory_fails_the_check_until_it_has_some() -> None:
    server = Valkey()
    server.start()
    client = redis.Redis(port=server.port)
    queue = await BullmqQueue.open(RedisAddress("127.0.0.1", server.port), "test", attempts=5, backoff_ms=1_000)
    try:
        await queue.check()
        await client.config_set("maxmemory", "1")
        with pytest.raises(Unavailable):
            await queue.put([b"1"])
        with pytest.raises(Unavailable):
            await queue.check()
        await client.config_set("maxmemory", "0")
        await queue.check()
        assert (await queue.depth()).received_events == 0
    finally:
        await queue.close()
        await client.aclose()
        server.close()
