"""What only the embedded queue can do or suffer: a full disk, a locked file, a newer file, a clock set back."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from footfall.errors import Misconfigured, Unavailable
from footfall.queue.base import Delivery
from footfall.queue.sqlite import SqliteQueue


async def open_queue(
    path: Path,
    clock: list[int] | None = None,
    *,
    attempts: int = 5,
    backoff_ms: int = 1_000,
    max_bytes: int = 2**40,
    is_sole_worker: bool = False,
) -> SqliteQueue:
    clock = clock if clock is not None else [1_700_000_000_000]
    return await SqliteQueue.open(
        path,
        attempts=attempts,
        backoff_ms=backoff_ms,
        max_bytes=max_bytes,
        fsync=False,
        is_sole_worker=is_sole_worker,
        now_ms=lambda: clock[0],
    )


async def test_the_only_worker_there_can_be_does_not_wait_for_the_leases_of_a_dead_one(tmp_path: Path) -> None:
    first = await open_queue(tmp_path / "queue")
    await first.put([b"1"])
    assert len(await first.reserve(10, 3_600)) == 1
    await first.close()
    beside = await open_queue(tmp_path / "queue")
    assert await beside.reserve(10, 3_600) == []
    await beside.close()
    alone = await open_queue(tmp_path / "queue", is_sole_worker=True)
    (delivery,) = await alone.reserve(10, 3_600)
    assert (delivery.payloads, delivery.attempt) == ((b"1",), 2)
    await alone.close()


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[SqliteQueue]:
    made = await open_queue(tmp_path / "queue")
    yield made
    await made.close()


async def until_it_is_small(path: Path, size_bytes: int) -> None:
    async with asyncio.timeout(60):
        while os.stat(path).st_size > size_bytes:  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(0.05)


async def test_small_jobs_are_leased_together_and_answered_together(queue: SqliteQueue) -> None:
    for number in range(30):
        await queue.put([b"%d" % number])
    (delivery,) = await queue.reserve(10, 60)
    assert delivery.payloads == tuple(b"%d" % number for number in range(30))
    assert (await queue.depth()).active == 30
    await queue.retry(delivery, "later")
    assert (await queue.depth()).delayed == 30


async def test_jobs_with_different_tries_are_not_leased_together(tmp_path: Path) -> None:
    clock = [1_700_000_000_000]
    queue = await open_queue(tmp_path / "queue", clock)
    await queue.put([b"old"])
    (delivery,) = await queue.reserve(1, 60)
    await queue.retry(delivery, "later")
    await queue.put([b"new"])
    clock[0] += 2_000
    deliveries = await queue.reserve(10, 60)
    assert [(delivery.payloads, delivery.attempt) for delivery in deliveries] == [((b"old",), 2), ((b"new",), 1)]
    await queue.close()


async def test_a_part_is_not_buried_when_somebody_else_has_some_of_the_jobs(tmp_path: Path) -> None:
    clock = [1_700_000_000_000]
    queue = await open_queue(tmp_path / "queue", clock)
    await queue.put([b"1"])
    (first,) = await queue.reserve(1, 60)
    await queue.retry(first, "once")
    clock[0] += 2_000
    await queue.put([b"x" * 9_000_000])
    (one, two) = await queue.reserve(2, 60)
    both = Delivery(f"{one.id.split('-')[0]}-{two.id.split('-')[1]}", one.token, one.payloads + two.payloads, 2)
    await queue.bury(both, "poison", [b"1"])
    assert (await queue.depth()).failed == 0
    assert (await queue.depth()).active == 2
    await queue.close()


async def test_another_process_that_holds_the_file_makes_it_unavailable_until_it_lets_go(
    queue: SqliteQueue, tmp_path: Path
) -> None:
    program = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.readline()
"""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(tmp_path / "queue"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert await child.stdout.readline() == b"locked\n"
    with pytest.raises(Unavailable, match="locked"):
        await queue.put([b"1"])
    assert (await queue.depth()).received_events == 0, "reading goes on meanwhile"
    await child.communicate(b"\n")
    await queue.put([b"2"])
    (delivery,) = await queue.reserve(1, 60)
    assert delivery.payloads == (b"2",)


async def test_a_full_disk_refuses_puts_and_loses_nothing_and_passes(tmp_path: Path) -> None:
    # A limit on the size of files fails a write in the middle, as a full disk does. It is a process's own, so not ours.
    program = """
import asyncio, resource, signal, sys
from pathlib import Path
from footfall.errors import Unavailable
from footfall.queue.sqlite import SqliteQueue

async def main():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    queue = await SqliteQueue.open(Path(sys.argv[1]), attempts=5, backoff_ms=1, max_bytes=2**40, fsync=True)
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, most))
    accepted, refused = [], 0
    for number in range(100):
        payloads = [b"%d:" % number + bytes(50_000)]
        try:
            await queue.put(payloads)
            accepted.append(number)
        except Unavailable as error:
            refused += 1
    assert accepted and refused > 50, (accepted, refused)
    assert (await queue.depth()).received_events == len(accepted)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    await queue.put([b"after:"])
    found = []
    while deliveries := await queue.reserve(1, 60):
        found += [payload.split(b":")[0] for payload in deliveries[0].payloads]
        await queue.ack(deliveries)
    assert found == [b"%d" % number for number in accepted] + [b"after"], found
    depth = await queue.depth()
    assert (depth.unfinished_events, depth.received_events) == (0, len(accepted) + 1), depth
    await queue.close()
    print("good")

asyncio.run(main())
"""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(tmp_path / "queue"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    output, errors = await child.communicate()
    assert (output, errors) == (b"good\n", b"")


async def test_a_clock_that_is_set_back_holds_no_lease_and_no_back_off(tmp_path: Path) -> None:
    clock = [1_700_000_000_000]
    queue = await open_queue(tmp_path / "queue", clock)
    await queue.put([b"delayed"])
    (delivery,) = await queue.reserve(1, 60)
    await queue.retry(delivery, "later")
    await queue.put([b"leased"])
    await queue.reserve(1, 60)
    clock[0] -= 5_000
    assert await queue.reserve(10, 60) == [], "a small correction takes no lease away"
    clock[0] -= 3_600_000
    payloads = {payload for delivery in await queue.reserve(10, 60) for payload in delivery.payloads}
    assert payloads == {b"delayed", b"leased"}
    assert (await queue.depth()).oldest_s == 0
    await queue.close()


async def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "queue"
    await (await open_queue(path)).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 2")
    db.close()
    with pytest.raises(Misconfigured, match="newer Footfall"):
        await open_queue(path)


async def test_a_file_that_is_no_queue_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "queue"
    path.write_bytes(b"a shopping list\n" * 1_000)
    with pytest.raises(Misconfigured, match="is not a queue"):
        await open_queue(path)


async def test_a_folder_that_can_not_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="can not be made"):
        await open_queue(tmp_path / "file" / "queue")


async def test_only_the_owner_can_read_the_file(queue: SqliteQueue, tmp_path: Path) -> None:
    await queue.put([b"1"])
    assert {os.stat(tmp_path / name).st_mode & 0o077 for name in os.listdir(tmp_path)} == {0}


async def test_space_is_given_back_when_nothing_happens(queue: SqliteQueue, tmp_path: Path) -> None:
    path = tmp_path / "queue"
    for _ in range(30):
        await queue.put([bytes(1_000_000)])
    while deliveries := await queue.reserve(10, 60):
        await queue.ack(deliveries)
    await until_it_is_small(tmp_path / "queue-wal", 0)
    await until_it_is_small(path, 6_000_000)


async def test_the_log_stays_short_while_puts_follow_each_other(queue: SqliteQueue, tmp_path: Path) -> None:
    for _ in range(400):
        await queue.put([bytes(1_000_000)])
        await queue.ack(await queue.reserve(10, 60))
    assert (tmp_path / "queue-wal").stat().st_size < 200_000_000  # half of what was written


async def test_bytes_are_given_back_exactly(tmp_path: Path) -> None:
    path = tmp_path / "queue"
    queue = await open_queue(path, attempts=1)
    for payloads in ([b"a" * 10, b"b" * 20], [b"c" * 30], [b"d" * 40]):
        await queue.put(payloads)
        (delivery,) = await queue.reserve(1, 60)
        if payloads[0][:1] == b"a":
            await queue.bury(delivery, "poison", [b"b" * 20])
        elif payloads[0][:1] == b"c":
            await queue.retry(delivery, "the only try")
        else:
            await queue.ack([delivery])
    db = sqlite3.connect(path)
    assert db.execute("SELECT bytes FROM ledger").fetchone() == (50,)
    await queue.failed.purge([job.id for job in await queue.failed.list(10)])
    assert db.execute("SELECT bytes FROM ledger").fetchone() == (0,)
    assert db.execute("SELECT count(*) FROM body").fetchone() == (0,)
    db.close()
    await queue.close()


async def test_a_call_that_was_given_up_does_not_disturb_the_next(queue: SqliteQueue) -> None:
    for number in range(50):
        task = asyncio.create_task(queue.put([b"%d" % number]))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await queue.put([b"last"])
    (delivery,) = await queue.reserve(1, 60)
    assert delivery.payloads[-1] == b"last"
