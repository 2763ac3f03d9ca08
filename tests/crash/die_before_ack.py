"""Puts 200 events, has the worker write them, and dies by SIGKILL where it would tell the queue. See test_kill.py."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence

from footfall.event import Event, encode, new_id
from footfall.queue.base import Delivery, Queue
from footfall.settings import load
from footfall.wire import open_parts
from footfall.worker import Worker

NOON_MS = 1_773_489_600_000
EVENTS = 200


class DeadBeforeAck:
    """The real queue but for one method, in which the process dies."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def __getattr__(self, name: str) -> object:
        return getattr(self._queue, name)

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        sys.stdout.write(f"written {sum(len(delivery.payloads) for delivery in deliveries)}\n")
        sys.stdout.flush()
        os.kill(os.getpid(), signal.SIGKILL)


def an_event(number: int) -> Event:
    return Event(
        id=new_id(),
        key=b"",
        site_id="crash",
        name="pageview",
        occurred_at_ms=NOON_MS,
        received_at_ms=NOON_MS,
        visitor_id=number,
        path=f"/{number}",
    )


async def main() -> None:
    settings = load({"DATA_DIR": sys.argv[1]}, None).settings
    async with open_parts(settings) as parts:
        await parts.queue.put([encode(an_event(number)) for number in range(EVENTS)])
        await Worker(DeadBeforeAck(parts.queue), parts.store, concurrency=10).run()  # type: ignore[arg-type]


asyncio.run(main())
