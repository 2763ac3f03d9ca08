"""OwnerThread: one thread that owns something only one thread may touch, and does what the event loop asks, in turn."""

import asyncio
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from footfall.errors import Unavailable

CALLS_MAX = 1_024
"""Calls that may wait for one thread; past that it is too slow to be asked more."""
SWITCH_INTERVAL_S = 0.000_05
"""How long a thread waits before it demands the interpreter's lock, for the whole process.

Measured on CPython 3.11: an event loop that is busy, and gives the lock up for a moment at each poll, starves every
other thread, for each such moment starts the default wait of 5 ms anew. Beside a loop at its limit a put took 3.7 s at
the 99th percentile with 5 ms or with 1 ms, 19 ms with 0.2 ms, and 5 ms with this; at half load nothing changes.
"""


class Owned(Protocol):
    """What an OwnerThread can own."""

    def idle(self) -> float | None:
        """Do a little housekeeping, now that nobody asks for anything; seconds until the next turn, None: no need."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


T = TypeVar("T", bound=Owned)
R = TypeVar("R")


class _Call:
    __slots__ = ("future", "loop", "work")

    def __init__(self, work: Callable[[Any], Any], loop: asyncio.AbstractEventLoop) -> None:
        self.work = work
        self.loop = loop
        self.future: asyncio.Future[Any] = loop.create_future()

    def answer(self, result: object, error: BaseException | None) -> None:
        """Hand the outcome to the loop that asked; a loop that is gone needs none."""
        try:
            self.loop.call_soon_threadsafe(self._settle, result, error)
        except RuntimeError:  # the loop is closed
            return

    def _settle(self, result: object, error: BaseException | None) -> None:
        if self.future.done():  # the caller was cancelled
            return
        if error is None:
            self.future.set_result(result)
        else:
            self.future.set_exception(error)


class OwnerThread(Generic[T]):
    """Owns one T: made, used and closed in its own thread.

    Urgent calls go before the others, each kind in its order. Between calls, and at the time that `idle` named, the
    owned thing does its housekeeping.
    """

    def __init__(self, name: str, make: Callable[[], T]) -> None:
        self._make = make
        self._urgent: deque[_Call] = deque()
        self._calls: deque[_Call] = deque()
        self._turn = threading.Condition()
        self._closing = False
        # A daemon: an interpreter that ends without close() must not hang; files survive that as they do a kill.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    async def start(self) -> None:
        """Make the owned thing; raises what making it raises, and then the thread is over."""
        if sys.getswitchinterval() > SWITCH_INTERVAL_S:
            sys.setswitchinterval(SWITCH_INTERVAL_S)
        opened = _Call(lambda owned: None, asyncio.get_running_loop())
        self._urgent.append(opened)
        self._thread.start()
        try:
            await opened.future
        except BaseException:
            await self.close()
            raise

    async def call(self, work: Callable[[T], R], *, urgent: bool = False) -> R:
        """What *work* returns or raises. Raises Unavailable when closed, or when CALLS_MAX calls wait already."""
        call = _Call(work, asyncio.get_running_loop())
        with self._turn:
            if self._closing:
                raise Unavailable("the queue is closed")
            if len(self._urgent) + len(self._calls) >= CALLS_MAX:
                raise Unavailable("the queue is too slow: too many calls are waiting for it")
            (self._urgent if urgent else self._calls).append(call)
            self._turn.notify()
        result: R = await call.future
        return result

    async def close(self) -> None:
        """Do what was asked before, close the owned thing, end the thread. Again: no effect."""
        with self._turn:
            self._closing = True
            self._turn.notify()
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        first = self._urgent.popleft()
        try:
            owned = self._make()
        except BaseException as error:  # noqa: BLE001 - it is raised where start() was called
            first.answer(None, error)
            return
        first.answer(None, None)
        try:
            self._serve(owned)
        finally:
            owned.close()

    def _serve(self, owned: T) -> None:
        idle_at: float | None = time.monotonic()
        while True:
            call = self._next(idle_at)
            if call is None and self._closing:
                return
            if call is not None:
                try:
                    result = call.work(owned)
                except BaseException as error:  # noqa: BLE001 - it is raised where call() was called
                    call.answer(None, error)
                else:
                    call.answer(result, None)
                idle_at = idle_at or time.monotonic()
            # Calls come several times a second even when nothing happens, so housekeeping cannot wait for a silence.
            if idle_at is not None and time.monotonic() >= idle_at and not self._urgent and not self._calls:
                pause_s = owned.idle()
                idle_at = None if pause_s is None else time.monotonic() + pause_s

    def _next(self, idle_at: float | None) -> _Call | None:
        """The next call; None when it is time for housekeeping, or to end."""
        with self._turn:
            while not self._urgent and not self._calls and not self._closing:
                pause_s = None if idle_at is None else idle_at - time.monotonic()
                if pause_s is not None and pause_s <= 0:
                    return None
                self._turn.wait(pause_s)
            if self._urgent:
                return self._urgent.popleft()
            return self._calls.popleft() if self._calls else None
