"""Fills a DATA_DIR with millions of events by the quickest honest road: the store's own adapter, without HTTP or queue.

Run as a process of its own (`python -m bench.fill FOLDER EVENTS`), so that the engine it needs is not a part of the
process that measures. The folder is kept under bench/out and used again as long as the tables are made by the same
statements.
"""

import asyncio
import hashlib
import shutil
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from bench.rows import NotMeasured
from bench.run import OUT, Run
from bench.world import payloads
from footfall.settings import Settings
from footfall.store.base import Batch
from footfall.store.clickhouse.engine import ChdbEngine
from footfall.store.clickhouse.statements import migrations
from footfall.store.clickhouse.store import SLICE_EVENTS, ClickHouseStore
from footfall.wire import STORE_FOLDER

WORLD_VERSION = 2
"""Of bench/world.py: another world is another folder."""
SETTLE_S = 900.0
"""The engine looks for replaced parts ever more seldom while nothing is written: they were seen to go after 280 s."""
TELL_S = 60
QUIET_S = 15.0
"""So long without a merge, and without a part that a merge has replaced: then they have settled."""
FILL_S_MAX = 3_600.0
MARK = "filled.json"

_UNSETTLED = """
SELECT (SELECT count() FROM system.merges), countIf(NOT active), countIf(active AND table = 'events')
FROM system.parts WHERE database = 'footfall'
"""
_COLUMNS = """
SELECT name, data_compressed_bytes FROM system.columns
WHERE database = 'footfall' AND table = 'events' ORDER BY data_compressed_bytes DESC
"""


class Filled(msgspec.Struct, frozen=True):
    """What is in a filled folder."""

    events: int
    seconds: float
    """Of writing, drawing included."""
    has_settled: bool
    parts: int
    column_bytes: dict[str, int]
    """Of the parts that are large enough to keep their columns apart."""


def filled(run: Run) -> tuple[Path, Filled]:
    """A DATA_DIR with the plan's number of events, made now if there is none."""
    count = run.plan.filled_events
    folder = OUT / f"filled-{_schema()}-{count}"
    mark = folder / MARK
    if not mark.exists():
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        _fill_in_a_process(run, folder, count)
    return folder / "data", msgspec.json.decode(mark.read_bytes(), type=Filled)


def _schema() -> str:
    """The number of the newest migration and what all of them say, for an unreleased one may still change."""
    found = migrations()
    digest = hashlib.sha256(repr((WORLD_VERSION, found)).encode()).hexdigest()
    return f"v{found[-1][0]}-{digest[:8]}"


def _fill_in_a_process(run: Run, folder: Path, count: int) -> None:
    run.say(f"filling a store with {count:,} events, once for this schema (minutes)")
    command = [sys.executable, "-m", "bench.fill", str(folder), str(count)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                run.say(line.strip())
            status = process.wait(FILL_S_MAX)
        finally:
            process.kill()
    if status != 0:
        raise NotMeasured(f"the store could not be filled: the process ended with status {status}")


async def _fill(folder: Path, count: int) -> Filled:
    began_s = time.perf_counter()
    path = folder / "data" / STORE_FOLDER
    engine = ChdbEngine(path, Settings().store_memory_bytes)
    store = await ClickHouseStore.open(engine, fsync=False)  # the page cache is flushed by the time it is asked
    try:
        written = 0
        for part in payloads(count, SLICE_EVENTS):
            written += (await store.write(Batch(part, redelivered=False))).stored
            if written % 1_000_000 < SLICE_EVENTS:
                _tell(f"{written:,} of {count:,} events written")
        seconds = time.perf_counter() - began_s
        if written != count:
            raise NotMeasured(f"{count:,} events were to be written, and {written:,} were")
        has_settled, parts = await _settle(engine)
        columns = {str(name): int(size) for name, size in await engine.select(_COLUMNS)}
        return Filled(count, seconds, has_settled, parts, columns)
    finally:
        await store.close()


async def _settle(engine: ChdbEngine) -> tuple[bool, int]:
    """Wait for the merges; whether they came to rest, and how many parts there are then."""
    began_s = busy_s = told_s = time.monotonic()
    while True:
        ((merges, inactive, parts),) = await engine.select(_UNSETTLED)
        now_s = time.monotonic()
        if merges or inactive:
            busy_s = now_s
        if now_s - busy_s >= QUIET_S:
            return True, int(parts)
        if now_s - began_s > SETTLE_S:
            return False, int(parts)
        if now_s - told_s >= TELL_S:
            told_s = now_s
            _tell(f"waiting for merges: {merges} under way, {inactive} replaced parts, {parts} parts")
        await asyncio.sleep(1)


def _tell(line: str) -> None:
    print(line, flush=True)


def main() -> None:
    """Fill the folder that is named on the command line."""
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    (folder / "data").mkdir()
    found = asyncio.run(_fill(folder, count))
    (folder / MARK).write_bytes(msgspec.json.encode(found))


if __name__ == "__main__":
    main()
