"""Group commit: what arrives while a put is under way goes into the next put.

One fsync then pays for all requests of that moment, and a lone request waits for nobody.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from footfall.errors import Unavailable
from footfall.metrics import PUT_EVENTS, PUT_SECONDS
from footfall.queue.base import Lane, Queue
from footfall.queue.intake import Intake

WAITING_EVENTS_MAX = 100_000
WAITING_BYTES_MAX = 64 * 1024 * 1024
GROUP_EVENTS_MAX = 10_000
GROUP_BYTES_MAX = 8 * 1024 * 1024
"""A group ends before the entry that would take it over one of these, so that one put stays short."""


class _Entry(NamedTuple):
    """What one request put."""

    payloads: Sequence[bytes]
    size_bytes: int
    done: "Done"


Done = Callable[[BaseException | None], None]
"""Told once how the put of an entry went: None, or what failed."""


class Batcher:
    """Stands before a queue. An entry is never split over two puts: all of a request is accepted, or nothing of it."""

    def __init__(
        self, queue: Queue | Intake, *, events_max: int = WAITING_EVENTS_MAX, bytes_max: int = WAITING_BYTES_MAX
    ) -> None:
        self._queue = queue
        self._events_max = events_max
        self._bytes_max = bytes_max
        self._waiting: deque[_Entry] = deque()
        self._events = 0
        """Waiting or under way, like *_bytes*."""
        self._bytes = 0
        self._putting: asyncio.Task[None] | None = None
        self._is_scheduled = False
        self._is_closed = False

    async def put(self, payloads: Sequence[bytes]) -> None:
        """Return when all *payloads* would survive a crash.

        Raises Unavailable when the queue is down, or when too much waits already: then none was accepted. Whoever is
        cancelled while it waits takes nothing from the others; its own events are accepted or not.
        """
        done = asyncio.get_running_loop().create_future()

        def tell(error: BaseException | None) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

        self.add(payloads, tell)
        await done

    def add(self, payloads: Sequence[bytes], done: Done) -> None:
        """The same without a coroutine: *done* is called, in a turn of the loop of its own, when `put` would end.

        Raises Unavailable when too much waits already; then *done* is never called.
        """
        size_bytes = sum(map(len, payloads))
        if self._is_closed:
            raise Unavailable("this server is stopping", retry_after_s=5)
        if self._events + len(payloads) > self._events_max or self._bytes + size_bytes > self._bytes_max:
            raise Unavailable("too many events are waiting for the queue")
        self._waiting.append(_Entry(payloads, size_bytes, done))
        self._events += len(payloads)
        self._bytes += size_bytes
        if self._putting is None and not self._is_scheduled:
            # Not at once: requests that were read in the same turn of the loop join the first group.
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._start)

    async def close(self) -> None:
        """Take nothing more; return when all that was taken is answered for."""
        self._is_closed = True
        while self._is_scheduled or self._putting is not None:
            await (asyncio.sleep(0) if self._putting is None else asyncio.wait([self._putting]))

    def _start(self) -> None:
        self._is_scheduled = False
        group = self._next_group()
        if not group:
            return
        payloads = group[0].payloads if len(group) == 1 else [one for entry in group for one in entry.payloads]
        started_s = time.perf_counter()
        task = self._putting = asyncio.create_task(self._queue.put(payloads, Lane.LIVE))
        task.add_done_callback(lambda task: self._finish(task, group, len(payloads), started_s))

    def _next_group(self) -> list[_Entry]:
        group: list[_Entry] = []
        events = size_bytes = 0
        while self._waiting:
            entry = self._waiting[0]
            events += len(entry.payloads)
            size_bytes += entry.size_bytes
            if group and (events > GROUP_EVENTS_MAX or size_bytes > GROUP_BYTES_MAX):
                break
            group.append(self._waiting.popleft())
        return group

    def _finish(self, task: asyncio.Task[None], group: list[_Entry], events: int, started_s: float) -> None:
        """Tell exactly the requests of this group how their put went, then see to what came meanwhile."""
        PUT_SECONDS.observe(time.perf_counter() - started_s)
        PUT_EVENTS.observe(events)
        self._putting = None
        self._events -= events
        self._bytes -= sum(entry.size_bytes for entry in group)
        error = Unavailable("this server is stopping") if task.cancelled() else task.exception()
        # Each in a turn of its own, so that one that fails takes nothing from the others.
        call_soon = asyncio.get_running_loop().call_soon
        for entry in group:
            call_soon(entry.done, None if error is None else _own(error))
        if self._waiting:
            self._start()


def _own(error: BaseException) -> BaseException:
    """An exception for one waiter: raised in many tasks, one object would collect the traceback of all of them."""
    return Unavailable(str(error), error.retry_after_s) if isinstance(error, Unavailable) else error
