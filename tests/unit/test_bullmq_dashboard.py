"""What a BullMQ dashboard sees and does, by the official Node package, on a queue of ours."""

import asyncio
import functools
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from footfall.queue.base import Lane
from footfall.queue.bullmq import BullmqQueue
from tests.conformance.queues import BullmqHarness
from tests.servers import missing

NODE = Path(__file__).parents[1] / "node"


@functools.cache
def node() -> str:
    """The Node program, with the package installed beside the script."""
    found, npm = shutil.which("node"), shutil.which("npm")
    if found is None or npm is None:
        missing("Node and npm are not installed: what a BullMQ dashboard sees is not checked")
    return found


async def command(*arguments: str | Path) -> str:
    child = await asyncio.create_subprocess_exec(
        *arguments, cwd=NODE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output = (await child.communicate())[0].decode()
    assert child.returncode == 0, output
    return output


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[BullmqHarness]:
    node()
    if not all((NODE / "node_modules" / name).is_dir() for name in ("bullmq", "ioredis")):
        await command("npm", "install", "--ignore-scripts", "--no-progress")
    made = BullmqHarness(tmp_path)
    yield made
    await made.close()


@pytest.fixture
async def queue(harness: BullmqHarness) -> BullmqQueue:
    return await harness.open()


async def dashboard(harness: BullmqHarness, *action: str) -> dict[str, Any]:
    seen: dict[str, Any] = json.loads(
        await command(node(), NODE / "dashboard.mjs", str(harness.address.port), harness.name, *(action or ("look",)))
    )
    return seen


async def test_a_dashboard_counts_the_jobs_in_every_state(harness: BullmqHarness, queue: BullmqQueue) -> None:
    await queue.put([b"failed", b"failed"])
    await queue.bury((await queue.reserve(1, 60))[0], "poison")
    await queue.put([b"delayed"])
    await queue.retry((await queue.reserve(1, 60))[0], "the store is down")
    await queue.put([b"active"])
    await queue.reserve(1, 60)
    await queue.put([b"imported"], Lane.IMPORT)
    await queue.put([b"waiting"])
    seen = await dashboard(harness)
    assert seen["counts"] == {"wait": 1, "prioritized": 1, "active": 1, "delayed": 1, "failed": 1, "completed": 0}
    (failed,) = seen["jobs"]["failed"]
    assert (failed["reason"], failed["events"], failed["stacktrace"]) == ("poison", 2, ["poison"])
    (delayed,) = seen["jobs"]["delayed"]
    assert (delayed["reason"], delayed["attemptsMade"], delayed["attempts"]) == ("the store is down", 1, 5)
    assert delayed["backoff"] == {"type": "exponential", "delay": 1_000}
    (imported,) = seen["jobs"]["prioritized"]
    assert (imported["name"], imported["priority"]) == ("import", 10)


async def test_a_job_that_a_dashboard_retries_is_delivered_again_as_a_redelivery(
    harness: BullmqHarness, queue: BullmqQueue
) -> None:
    await queue.put([b"1", b"2"])
    await queue.bury((await queue.reserve(1, 60))[0], "poison")
    (failed,) = (await dashboard(harness))["jobs"]["failed"]
    after = await dashboard(harness, "retry", failed["id"])
    assert (after["counts"]["failed"], after["counts"]["wait"]) == (0, 1)
    depth = await queue.depth()
    assert (depth.failed_events, depth.unfinished_events, depth.purged_events) == (0, 2, 0)
    (again,) = await queue.reserve(1, 60)
    assert again.payloads == (b"1", b"2")
    assert again.attempt > 1
    await queue.ack([again])
    assert (await dashboard(harness))["counts"] == dict.fromkeys(after["counts"], 0)


async def test_a_job_that_a_dashboard_removes_is_counted_as_purged(harness: BullmqHarness, queue: BullmqQueue) -> None:
    await queue.put([b"1", b"2"])
    await queue.bury((await queue.reserve(1, 60))[0], "poison")
    await queue.put([b"3"])
    (failed,) = (await dashboard(harness))["jobs"]["failed"]
    await dashboard(harness, "remove", failed["id"])
    depth = await queue.depth()
    assert (depth.failed, depth.failed_events, depth.unfinished_events) == (0, 0, 1)
    assert (depth.purged_events, depth.received_events) == (2, 3)
