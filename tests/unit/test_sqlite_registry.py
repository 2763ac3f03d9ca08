"""SqliteRegistry: what is true of a file: its versions, its bytes, and processes that share it."""

import asyncio
import sqlite3
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from footfall.errors import Misconfigured, Unavailable
from footfall.query.definitions import Definitions, WeekStart
from footfall.registry import sqlite_file, sqlite_salts
from footfall.registry.base import Site
from footfall.registry.sqlite import SqliteRegistry
from tests.conformance.registries import TODAY, Clock, SharedFile


@pytest.fixture
async def shared(tmp_path: Path) -> AsyncIterator[SharedFile]:
    place = SharedFile(tmp_path / "registry.sqlite", Clock())
    yield place
    await place.close()


def _bytes_of(path: Path) -> bytes:
    return b"".join(part.read_bytes() for part in path.parent.iterdir())


@pytest.mark.parametrize("days", [1, 300])
async def test_a_destroyed_salt_is_in_no_file_any_more(shared: SharedFile, days: int) -> None:
    one, two = await shared.open(), await shared.open()
    salts = [await one.salt(TODAY - timedelta(days=1 + i * 37 % days)) for i in range(days)]
    assert all(salt in _bytes_of(shared.path) for salt in salts)
    shared.clock.at += timedelta(hours=24)
    living = await two.salt(TODAY)
    left = _bytes_of(shared.path)
    assert not any(salt in left for salt in salts)
    assert living in left


async def test_due_salts_are_destroyed_without_anybody_asking(
    shared: SharedFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_salts, "LOOK_EVERY_S", 0.01)
    registry = await shared.open()
    salt = await registry.salt(TODAY)
    shared.clock.at += timedelta(days=2)
    async with asyncio.timeout(30):
        while salt in _bytes_of(shared.path):  # noqa: ASYNC110 - a file's bytes send no event
            await asyncio.sleep(0.01)


async def test_opening_destroys_what_fell_due_while_nothing_ran(shared: SharedFile) -> None:
    first = await shared.open()
    salt = await first.salt(TODAY)
    await first.close()
    shared.clock.at += timedelta(days=2)
    await shared.open()
    assert salt not in _bytes_of(shared.path)


async def test_a_file_of_the_first_version_is_brought_up_to_date_with_all_that_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "registry.sqlite"
    with sqlite3.connect(path) as db:
        db.executescript(sqlite_file.MIGRATIONS[0])
        db.execute("INSERT INTO sites VALUES ('shop', 5, 'Asia/Tehran', 1, '[\"https://a.example\"]', 7)")
        db.execute("PRAGMA user_version = 1")
    db.close()
    registry = SqliteRegistry(path)
    (site,) = await registry.sites()
    assert site == Site("shop", 5, "Asia/Tehran", True, ("https://a.example",), 7, WeekStart.MONDAY)
    assert await registry.save_definitions("shop", Definitions(), 0) == 1
    await registry.close()


async def test_a_newer_file_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "registry.sqlite"
    await SqliteRegistry(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(Misconfigured, match="newer Footfall"):
        SqliteRegistry(path)


async def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "registry.sqlite"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(Unavailable):
        SqliteRegistry(path)


async def test_a_long_write_elsewhere_is_unavailable_and_passes(tmp_path: Path) -> None:
    path = tmp_path / "registry.sqlite"
    registry = SqliteRegistry(path, busy_timeout_s=0.05)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable):
        await registry.ensure_site("shop")
    other.execute("ROLLBACK")
    other.close()
    assert await registry.ensure_site("shop") is not None
    await registry.close()


MANY = """
import asyncio, sys
from datetime import date
from pathlib import Path
from footfall.registry.sqlite import SqliteRegistry

async def main() -> None:
    registry = SqliteRegistry(Path(sys.argv[1]))
    for number in range(40):
        await registry.ensure_site(f"site-{number}")
        await registry.ensure_site(f"own-{sys.argv[2]}-{number}")
    print((await registry.salt(date.fromisoformat(sys.argv[3]))).hex())
    await registry.close()

asyncio.run(main())
"""


async def test_several_processes_open_and_write_one_new_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "registry.sqlite"
    day = (datetime.now(UTC).date() + timedelta(days=1)).isoformat()
    children = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", MANY, str(path), str(number), day, stdout=asyncio.subprocess.PIPE
        )
        for number in range(4)
    ]
    outputs = [(await child.communicate())[0] for child in children]
    assert [child.returncode for child in children] == [0, 0, 0, 0]
    assert len(set(outputs)) == 1
    registry = SqliteRegistry(path)
    assert len(await registry.sites()) == 40 + 4 * 40
    await registry.close()
