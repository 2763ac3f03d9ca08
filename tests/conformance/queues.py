"""The queues that have to prove themselves. A new adapter adds its harness to HARNESSES, and changes no test."""

import asyncio
import secrets
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

from footfall.queue.base import Queue
from footfall.queue.bullmq import BullmqQueue
from footfall.queue.bullmq_connection import RedisAddress, connect
from footfall.queue.sqlite import SqliteQueue, wall_ms
from footfall.queue.sqs import SqsQueue
from tests.fakes_queue import MemoryQueue
from tests.servers import aws, valkey, valkey_cluster

LIMITLESS = 2**40


class Harness(Protocol):
    """One kind of queue, in a place of its own, with a clock that the tests move."""

    tells_delayed: bool
    """False where a job in its back-off counts as active for every process but the one that put it off."""
    counts_through_kills: bool
    """False where the queue can not count for us, and a kill may come between a put and its count."""

    async def open(self, *, attempts: int = 5, backoff_ms: int = 1_000, max_bytes: int = LIMITLESS) -> Queue:
        """The queue; once more: the same one, as another process would open it."""
        ...

    async def pass_time(self, duration_s: float) -> None:
        """Let this much time pass for the queue."""
        ...

    def code(self) -> str:
        """Python that sets `queue` to the same queue, inside of an async function of another process."""
        ...

    async def close(self) -> None:
        """Close every queue that was opened, and clear the place."""
        ...


class MemoryHarness:
    """The fake of the tests."""

    tells_delayed = True
    counts_through_kills = True

    def __init__(self, folder: Path) -> None:
        self.now_ms = 1_700_000_000_000
        self.queue: MemoryQueue | None = None

    async def open(self, *, attempts: int = 5, backoff_ms: int = 1_000, max_bytes: int = LIMITLESS) -> Queue:
        if self.queue is None:
            self.queue = MemoryQueue(attempts, backoff_ms, max_bytes, lambda: self.now_ms)
        return self.queue

    async def pass_time(self, duration_s: float) -> None:
        self.now_ms += round(duration_s * 1000)

    def code(self) -> str:
        raise NotImplementedError("no other process can open it")

    async def close(self) -> None:
        """Nothing is held."""


class SqliteHarness:
    """The embedded queue."""

    tells_delayed = True
    counts_through_kills = True

    def __init__(self, folder: Path) -> None:
        self.path = folder / "queue.sqlite"
        self.now_ms = wall_ms()  # it stands still, but where the clock of another process is
        self.queues: list[Queue] = []

    async def open(self, *, attempts: int = 5, backoff_ms: int = 1_000, max_bytes: int = LIMITLESS) -> Queue:
        queue = await SqliteQueue.open(
            self.path,
            attempts=attempts,
            backoff_ms=backoff_ms,
            max_bytes=max_bytes,
            fsync=False,
            now_ms=lambda: self.now_ms,
        )
        self.queues.append(queue)
        return queue

    async def pass_time(self, duration_s: float) -> None:
        self.now_ms += round(duration_s * 1000)

    def code(self) -> str:
        return f"""
from pathlib import Path
from footfall.queue.sqlite import SqliteQueue
queue = await SqliteQueue.open(
    Path({str(self.path)!r}), attempts=5, backoff_ms=1_000, max_bytes=2**40, fsync=True
)
"""

    async def close(self) -> None:
        for queue in self.queues:
            await queue.close()


_SHORTEN = """
for _, key in ipairs(redis.call("KEYS", ARGV[1])) do
  local left_ms = redis.call("PTTL", key)
  if left_ms > tonumber(ARGV[2]) then
    redis.call("PEXPIRE", key, left_ms - ARGV[2])
  elseif left_ms >= 0 then
    redis.call("DEL", key)
  end
end"""
"""Time for what a Redis server itself forgets: the locks of leases."""


class BullmqHarness:
    """BullMQ, on a queue name of its own on the server that all tests share."""

    tells_delayed = True
    counts_through_kills = True

    def __init__(self, folder: Path, *, cluster: bool = False) -> None:
        server = valkey_cluster() if cluster else valkey()
        self.address = RedisAddress("127.0.0.1", server.port, cluster=cluster)
        self.name = f"test-{secrets.token_hex(6)}"
        self.now_ms = wall_ms()
        self.queues: list[Queue] = []

    async def open(self, *, attempts: int = 5, backoff_ms: int = 1_000, max_bytes: int = LIMITLESS) -> BullmqQueue:
        queue = await BullmqQueue.open(
            self.address, self.name, attempts=attempts, backoff_ms=backoff_ms, now_ms=lambda: self.now_ms
        )
        self.queues.append(queue)
        return queue

    async def pass_time(self, duration_s: float) -> None:
        self.now_ms += round(duration_s * 1000)
        prefix = "{bull}" if self.address.cluster else "bull"
        client = connect(self.address)
        await client.register_script(_SHORTEN)(
            [f"{prefix}:{self.name}:"], [f"{prefix}:{self.name}:*", round(duration_s * 1000)]
        )
        await client.aclose()

    def code(self) -> str:
        return f"""
from footfall.queue.bullmq import BullmqQueue
from footfall.queue.bullmq_connection import RedisAddress
queue = await BullmqQueue.open(
    RedisAddress("127.0.0.1", {self.address.port}, cluster={self.address.cluster}), {self.name!r},
    attempts=5, backoff_ms=1_000
)
"""

    async def close(self) -> None:
        for queue in self.queues:
            await queue.close()


class SqsHarness:
    """SQS as moto plays it, on queue names of its own."""

    tells_delayed = False
    """For SQS a back-off is a longer visibility, like a lease."""
    counts_through_kills = False
    """SQS does not tell how many events its messages hold; that is kept beside it, after the put."""

    def __init__(self, folder: Path) -> None:
        self.server = aws()
        self.folder = folder
        self.name = f"test-{secrets.token_hex(6)}"
        self.queues: list[Queue] = []

    async def open(self, *, attempts: int = 5, backoff_ms: int = 1_000, max_bytes: int = LIMITLESS) -> SqsQueue:
        queue = await SqsQueue.open(
            self.name,
            url=None,
            region=self.server.region,
            endpoint_url=self.server.url,
            ledger_path=self.folder / "ledger.sqlite",
            attempts=attempts,
            backoff_ms=backoff_ms,
            now_ms=lambda: round(self.server.now_ms),
            poll_s=1,
        )
        self.queues.append(queue)
        return queue

    async def pass_time(self, duration_s: float) -> None:
        self.server.now_ms += duration_s * 1000

    def code(self) -> str:
        return f"""
from pathlib import Path
from footfall.queue.sqs import SqsQueue
queue = await SqsQueue.open(
    {self.name!r}, url=None, region={self.server.region!r}, endpoint_url={self.server.url!r},
    ledger_path=Path({str(self.folder / "ledger.sqlite")!r}), attempts=5, backoff_ms=1_000
)
"""

    async def close(self) -> None:
        for queue in self.queues:
            await queue.close()


HARNESSES: dict[str, Callable[[Path], Harness]] = {
    "memory": MemoryHarness,
    "sqlite": SqliteHarness,
    "bullmq": BullmqHarness,
    "bullmq-cluster": partial(BullmqHarness, cluster=True),
    "sqs": SqsHarness,
}
DURABLE = ("sqlite", "bullmq", "bullmq-cluster", "sqs")
"""Those that outlive a process which is killed."""
LIMITED = ("memory", "sqlite")
"""Those that refuse what is over max_bytes."""


async def start(harness: Harness, body: str) -> asyncio.subprocess.Process:
    """Another process that opens the queue of *harness* as `queue` and runs *body*; its output can be read."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", script(harness, body), stdout=asyncio.subprocess.PIPE
    )


async def line_of(child: asyncio.subprocess.Process) -> str:
    """The next line that *child* writes; empty when it has ended."""
    assert child.stdout is not None
    return (await child.stdout.readline()).decode()


def script(harness: Harness, body: str) -> str:
    """A program that opens the queue of *harness* as `queue` and runs *body*."""
    lines = [*harness.code().splitlines(), *body.splitlines()]
    return "\n".join(
        ["import asyncio, sys", "async def main():", *(f"    {line}" for line in lines), "asyncio.run(main())"]
    )
