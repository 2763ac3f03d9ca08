"""The queue's port: what the collector and the worker may ask of any queue, and what it promises.

Bytes cross the queue; it knows nothing of events but how many there are. A job holds the payloads of one `put` (or a
part of them); it is leased as one Delivery, tried QUEUE_ATTEMPTS times with exponential back-off, and then set aside as
failed, where it stays until somebody replays or purges it. An adapter turns its driver's failures into Unavailable.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Protocol

import msgspec


class Lane(IntEnum):
    """Who goes first: live events never wait behind an import."""

    LIVE = 0
    IMPORT = 1


class Delivery(msgspec.Struct, frozen=True):
    """A job leased to one worker."""

    id: str
    token: str
    """Names the lease: an answer that comes after the lease ran out is known by its old token, and has no effect."""
    payloads: tuple[bytes, ...]
    attempt: int
    """1 the first time. Over 1, an earlier worker may have written some or all of it."""


class Depth(msgspec.Struct, frozen=True):
    """How much there is in the queue. Jobs, but where the name says events."""

    waiting: int
    active: int
    delayed: int
    failed: int
    unfinished_events: int
    """In jobs that are waiting, active or delayed."""
    failed_events: int
    purged_events: int
    """Given up for good, by a person."""
    received_events: int
    """Every event that was ever put: the left side of the ledger."""
    oldest_s: float
    """Age of the oldest unfinished job, in seconds; 0 when there is none."""


class FailedJob(msgspec.Struct, frozen=True):
    """A job that was set aside, for a person to look at."""

    id: str
    events: int
    attempts: int
    error: str
    failed_at_ms: int
    payloads: tuple[bytes, ...]


class FailedJobs(Protocol):
    """The failed set of a queue."""

    async def list(self, limit: int) -> Sequence[FailedJob]:
        """The newest *limit* failed jobs, newest first."""
        ...

    async def replay(self, ids: Sequence[str] | None) -> int:
        """Put these jobs (None: all) back to wait, for the full number of attempts; returns how many there were.

        A replayed job is delivered with attempt > 1, for a part of it may be in the store.
        """
        ...

    async def purge(self, ids: Sequence[str]) -> int:
        """Forget these jobs for good; returns how many events that were. Their events are lost on purpose."""
        ...


class Queue(Protocol):
    """A durable queue of jobs."""

    kind: str
    """What health and the start line call it: "sqlite", "bullmq", "sqs"."""
    failed: FailedJobs
    advice: Sequence[str]
    """What a person should change at the queue's server, lest events get lost: sentences, none when all is well."""

    async def put(self, payloads: Sequence[bytes], lane: Lane = Lane.LIVE) -> None:
        """Return only when every payload would survive a crash of all our processes; all of them or none.

        Raises Unavailable when the queue is down or over its size limit: then none was accepted.
        """
        ...

    async def wait(self, timeout_s: float) -> None:
        """Return when a job may be ready, at the latest after *timeout_s*. May wake for nothing; never spins."""
        ...

    async def reserve(self, limit: int, lease_s: float) -> Sequence[Delivery]:
        """Lease up to *limit* ready jobs at once, live lane first, oldest first; an empty list when none is ready.

        Nobody else holds these until the lease ends; then they come back with attempt + 1. A job whose lease ran out
        on its last attempt is set aside as failed.
        """
        ...

    async def extend(self, deliveries: Sequence[Delivery], lease_s: float) -> None:
        """Let these leases end *lease_s* seconds from now, and keep their tokens. What somebody else has by now is left
        alone, and whether a lease that is over can be had again is left open."""
        ...

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Forget these jobs. One whose lease is over is left alone: somebody else has it."""
        ...

    async def retry(self, delivery: Delivery, error: str) -> None:
        """Give the job back. It comes again after the back-off, or is set aside if this was its last attempt."""
        ...

    async def bury(self, delivery: Delivery, error: str, payloads: Sequence[bytes] | None = None) -> None:
        """Set the job aside as failed now. With *payloads*, only these; the others of the job are done, as if acked."""
        ...

    async def depth(self) -> Depth:
        """How much there is; exact when idle."""
        ...

    async def close(self) -> None:
        """Let go of everything held. Leases run out by themselves."""
        ...
