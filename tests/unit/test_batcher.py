"""Group commit: one put for all that came meanwhile, and each request hears of its own put alone."""

import asyncio
from collections.abc import Sequence

import pytest

from footfall.collect import batcher as batching
from footfall.collect.batcher import Batcher
from footfall.errors import Unavailable
from footfall.queue.base import Lane
from tests.fakes_queue import MemoryQueue


class HeldQueue(MemoryQueue):
    """A queue whose puts wait until they are let through, one `release` each."""

    def __init__(self) -> None:
        super().__init__()
        self.release = asyncio.Semaphore(0)
        self.began = asyncio.Semaphore(0)
        self.sizes: list[int] = []
        self.bug: Exception | None = None

    async def put(self, payloads: Sequence[bytes], lane: Lane = Lane.LIVE) -> None:
        self.sizes.append(len(payloads))
        self.began.release()
        await self.release.acquire()
        if self.bug is not None:
            raise self.bug
        await super().put(payloads, lane)

    def payloads(self) -> list[bytes]:
        return [payload for job in self.jobs.values() for payload in job.payloads]


async def settle(task: "asyncio.Task[None]") -> None:
    await asyncio.wait([task])


async def test_a_put_returns_only_when_the_queue_has_it() -> None:
    queue = HeldQueue()
    batcher = Batcher(queue)
    task = asyncio.create_task(batcher.put([b"a"]))
    await queue.began.acquire()
    assert not task.done()
    assert queue.payloads() == []
    queue.release.release()
    await task
    assert queue.payloads() == [b"a"]


async def test_what_arrives_while_a_put_is_under_way_goes_into_the_next_one() -> None:
    queue = HeldQueue()
    batcher = Batcher(queue)
    first = asyncio.create_task(batcher.put([b"a"]))
    await queue.began.acquire()
    later = [asyncio.create_task(batcher.put([b"b%d" % n, b"c%d" % n])) for n in range(10)]
    await asyncio.sleep(0)
    queue.release.release()
    await first
    await queue.began.acquire()
    assert queue.sizes == [1, 20]
    assert not any(task.done() for task in later)
    queue.release.release()
    await asyncio.gather(*later)
    assert len(queue.payloads()) == 21


async def test_requests_of_one_moment_share_the_first_put() -> None:
    queue = HeldQueue()
    batcher = Batcher(queue)
    queue.release.release()
    await asyncio.gather(*(batcher.put([b"x"]) for _ in range(5)))
    assert queue.sizes == [5]


async def test_a_failing_put_fails_exactly_the_requests_that_were_in_it() -> None:
    queue = HeldQueue()
    batcher = Batcher(queue)
    doomed = [asyncio.create_task(batcher.put([b"doomed"])) for _ in range(2)]
    await queue.began.acquire()
    fine = asyncio.create_task(batcher.put([b"fine"]))
    await asyncio.sleep(0)
    queue.is_down = True
    queue.release.release()
    for task in doomed:
        with pytest.raises(Unavailable, match="the queue is down"):
            await task
    queue.is_down = False
    queue.release.release()
    await fine
    assert queue.payloads() == [b"fine"]


async def test_a_bug_in_a_queue_reaches_its_requests_and_the_next_put_goes_on() -> None:
    queue = HeldQueue()
    batcher = Batcher(queue)
    queue.bug = ZeroDivisionError("a bug")
    queue.release.release()
    with pytest.raises(ZeroDivisionError):
        await batcher.put([b"a"])
    queue.bug = None
    queue.release.release()
    await batcher.put([b"b"])
    assert queue.payloads() == [b"b"]


async def test_a_client_that_hangs_up_takes_nothing_from_the_others() -> None:
    queue = HeldQueue()
    batcher = Batcher(queue)
    hangs_up, stays = asyncio.create_task(batcher.put([b"a"])), asyncio.create_task(batcher.put([b"b"]))
    await queue.began.acquire()
    hangs_up.cancel()
    await settle(hangs_up)
    queue.release.release()
    await stays
    assert queue.payloads() == [b"a", b"b"]


async def test_over_the_limit_of_events_or_bytes_a_put_is_refused_and_room_comes_back() -> None:
    queue = HeldQueue()
    batcher = Batcher(queue, events_max=3, bytes_max=10)
    waiting = asyncio.create_task(batcher.put([b"12", b"34"]))
    await queue.began.acquire()
    with pytest.raises(Unavailable, match="too many events are waiting"):
        await batcher.put([b"", b""])
    with pytest.raises(Unavailable, match="too many events are waiting"):
        await batcher.put([b"1234567"])
    queue.release.release()
    await waiting
    queue.release.release()
    await batcher.put([b"12", b"34", b"56"])
    assert queue.payloads() == [b"12", b"34", b"12", b"34", b"56"]


async def test_a_group_is_bounded_and_a_request_is_never_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "GROUP_EVENTS_MAX", 5)
    queue = HeldQueue()
    batcher = Batcher(queue)
    for _ in range(4):
        queue.release.release()
    await asyncio.gather(*(batcher.put([b"x"] * size) for size in (3, 3, 2, 7)))
    assert queue.sizes == [3, 5, 7]


async def test_closing_drains_and_then_takes_nothing_more() -> None:
    queue = HeldQueue()
    batcher = Batcher(queue)
    first = asyncio.create_task(batcher.put([b"a"]))
    await queue.began.acquire()
    second = asyncio.create_task(batcher.put([b"b"]))
    await asyncio.sleep(0)
    closing = asyncio.create_task(batcher.close())
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="stopping"):
        await batcher.put([b"c"])
    assert not closing.done()
    queue.release.release()
    queue.release.release()
    await closing
    await asyncio.gather(first, second)
    assert queue.payloads() == [b"a", b"b"]
    await batcher.close()
