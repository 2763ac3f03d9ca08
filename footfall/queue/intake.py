"""Intake: a queue as the collector puts into it, which knows whether it takes anything just now.

A queue can answer how much there is in it and still accept nothing: its disk is full, its server refuses writes. Then
the newest put tells; and where nobody puts, because a load balancer heard of it, the queue is asked.
"""

import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol, runtime_checkable

from footfall.errors import Unavailable
from footfall.queue.base import Lane, Queue

CHECK_EVERY_S: Final = 1.0
"""A check writes, so however many people ask, the queue is asked only so often."""
BELIEVED_AGAIN_S: Final = 10.0
"""So long after its last failure a queue that can not be checked is sent events again, which will tell."""


@runtime_checkable
class Checkable(Protocol):
    """A queue that can tell whether a put would succeed."""

    async def check(self) -> None:
        """Write as a put does, and leave nothing of it behind. Raises Unavailable where a put would fail now."""
        ...


class Intake:
    """Stands before *queue* for those who put."""

    def __init__(self, queue: Queue, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._queue = queue
        self._clock_s = clock_s
        self._failure: Unavailable | None = None
        """Of the newest put or check; None once one succeeded."""
        self._failed_at_s = float("-inf")

    async def put(self, payloads: Sequence[bytes], lane: Lane = Lane.LIVE) -> None:
        """Queue.put."""
        try:
            await self._queue.put(payloads, lane)
        except Unavailable as error:
            self._fail(error)
            raise
        self._failure = None

    async def check(self) -> None:
        """Raise Unavailable while the newest put failed, nothing succeeded since, and the queue can not be written."""
        failure = self._failure
        if failure is None:
            return
        since_s = self._clock_s() - self._failed_at_s
        queue = self._queue
        if since_s < (CHECK_EVERY_S if isinstance(queue, Checkable) else BELIEVED_AGAIN_S):
            raise Unavailable(str(failure))
        if isinstance(queue, Checkable):
            try:
                await queue.check()
            except Unavailable as error:
                self._fail(error)
                raise
        if self._failure is failure:  # a put may have failed meanwhile
            self._failure = None

    def _fail(self, error: Unavailable) -> None:
        self._failure = error
        self._failed_at_s = self._clock_s()
