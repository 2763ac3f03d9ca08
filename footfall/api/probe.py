"""Asking a backend how it is, in bounded time and never twice at once, however many people want to know."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, Generic, TypeVar

from footfall.errors import Unavailable

T = TypeVar("T")

TIMEOUT_S: Final = 1.0


class Probe(Generic[T]):
    """One question. While a backend hangs, one call of ours hangs with it; who asks is told after *timeout_s*."""

    def __init__(self, ask: Callable[[], Awaitable[T]], timeout_s: float = TIMEOUT_S) -> None:
        self._ask = ask
        self._timeout_s = timeout_s
        self._asking: asyncio.Task[T] | None = None

    async def __call__(self) -> T:
        """The answer. Raises what the question raises, and Unavailable when it takes too long."""
        if self._asking is None:
            self._asking = asyncio.create_task(self._asked())
            self._asking.add_done_callback(_note_failure)
        task = self._asking
        await asyncio.wait({task}, timeout=self._timeout_s)
        if not task.done():
            raise Unavailable(f"no answer within {self._timeout_s:g} s")
        return task.result()

    async def _asked(self) -> T:
        try:
            return await self._ask()
        finally:
            self._asking = None


def _note_failure(task: asyncio.Task[Any]) -> None:
    """Take note of a failure whose waiters have all gone; those who still wait are told by the task itself."""
    if not task.cancelled():
        task.exception()
