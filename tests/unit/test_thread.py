"""The thread that owns something for the event loop."""

import asyncio
import sys
import threading

import pytest

from footfall.errors import Unavailable
from footfall.queue.thread import CALLS_MAX, SWITCH_INTERVAL_S, OwnerThread


class Notebook:
    """Something that may only be touched by one thread, and writes down by which it was."""

    def __init__(self) -> None:
        self.owner = threading.get_ident()
        self.lines: list[str] = []
        self.gate = threading.Event()
        self.turns = 0
        self.is_closed = False

    def write(self, line: str) -> int:
        assert threading.get_ident() == self.owner
        self.lines.append(line)
        return len(self.lines)

    def hold(self) -> None:
        self.gate.wait(30)

    def idle(self) -> float | None:
        assert threading.get_ident() == self.owner
        self.turns += 1
        return 0.001 if self.turns < 5 else None

    def close(self) -> None:
        assert threading.get_ident() == self.owner
        self.is_closed = True


async def test_calls_are_done_in_the_thread_that_made_the_thing_and_urgent_ones_go_first() -> None:
    thread = OwnerThread("test", Notebook)
    await thread.start()
    notebook = await thread.call(lambda owned: owned)
    held = asyncio.create_task(thread.call(Notebook.hold))
    await asyncio.sleep(0)
    patient = [asyncio.create_task(thread.call(lambda owned, line=line: owned.write(line))) for line in "ab"]  # type: ignore[misc]
    await asyncio.sleep(0)
    urgent = asyncio.create_task(thread.call(lambda owned: owned.write("urgent"), urgent=True))
    await asyncio.sleep(0)
    notebook.gate.set()
    assert await asyncio.gather(held, *patient, urgent) == [None, 2, 3, 1]
    await thread.close()
    assert notebook.lines == ["urgent", "a", "b"]


async def test_what_a_call_raises_is_raised_to_the_caller_and_ends_nothing() -> None:
    thread = OwnerThread("test", Notebook)
    await thread.start()
    with pytest.raises(ZeroDivisionError):
        await thread.call(lambda owned: 1 // len(owned.lines))
    assert await thread.call(lambda owned: owned.write("still here")) == 1
    await thread.close()


async def test_what_can_not_be_made_is_raised_by_start() -> None:
    def make() -> Notebook:
        raise ValueError("no paper")

    thread = OwnerThread("test", make)
    with pytest.raises(ValueError, match="no paper"):
        await thread.start()


async def test_too_many_calls_are_refused_and_the_others_are_done() -> None:
    thread = OwnerThread("test", Notebook)
    await thread.start()
    notebook = await thread.call(lambda owned: owned)
    held = asyncio.create_task(thread.call(Notebook.hold))
    calls = [asyncio.create_task(thread.call(lambda owned: owned.write(""))) for _ in range(CALLS_MAX + 100)]
    await asyncio.sleep(0)
    notebook.gate.set()
    results = await asyncio.gather(held, *calls, return_exceptions=True)
    refused = [result for result in results if isinstance(result, Unavailable)]
    assert 99 <= len(refused) <= 101
    assert len(notebook.lines) == CALLS_MAX + 100 - len(refused)
    await thread.close()


async def test_close_does_what_was_asked_before_and_refuses_what_comes_after() -> None:
    thread = OwnerThread("test", Notebook)
    await thread.start()
    notebook = await thread.call(lambda owned: owned)
    calls = [asyncio.create_task(thread.call(lambda owned: owned.write(""))) for _ in range(10)]
    await asyncio.sleep(0)
    await thread.close()
    assert await asyncio.gather(*calls) == list(range(1, 11))
    assert notebook.is_closed
    with pytest.raises(Unavailable, match="closed"):
        await thread.call(lambda owned: owned.write("late"))
    await thread.close()


async def test_housekeeping_is_done_until_it_says_that_it_is_done() -> None:
    thread = OwnerThread("test", Notebook)
    await thread.start()
    async with asyncio.timeout(30):
        while await thread.call(lambda owned: owned.turns) < 5:  # noqa: ASYNC110 - a thread tells nobody
            await asyncio.sleep(0.002)
    await thread.close()


async def test_a_busy_event_loop_does_not_starve_the_thread() -> None:
    thread = OwnerThread("test", Notebook)
    await thread.start()
    assert sys.getswitchinterval() <= SWITCH_INTERVAL_S * 1.01
    await thread.close()
