"""What every registry must prove: the port's promises, with the same functions for every adapter."""

import asyncio
import sqlite3
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from footfall.errors import Misconfigured, Unavailable
from footfall.registry import sqlite as sqlite_module
from footfall.registry.base import SALT_BYTES, Key, Registry, Scope, Site
from footfall.registry.sqlite import SqliteRegistry

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
TODAY = NOON.date()
HOUR = timedelta(hours=1)


class Clock:
    """A wall clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.at = NOON

    def __call__(self) -> int:
        return int(self.at.timestamp() * 1000)


class Shared:
    """One registry's place, which can be opened again and again, as by several processes."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self.clock = clock
        self._opened: list[SqliteRegistry] = []

    def open(self) -> Registry:
        registry = SqliteRegistry(self.path, now=self.clock)
        self._opened.append(registry)
        return registry

    async def close(self) -> None:
        for registry in self._opened:
            await registry.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite"])
async def shared(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[Shared]:
    place = Shared(tmp_path / "registry.sqlite", clock)
    yield place
    await place.close()


@pytest.fixture
def registry(shared: Shared) -> Registry:
    return shared.open()


def a_key(**changes: object) -> Key:
    values: dict[str, object] = {
        "id": "abc",
        "name": "for the shop",
        "scopes": (Scope.READ,),
        "site_ids": ("shop",),
        "created_at_ms": 1,
        "secret_hash": b"\0\xff" * 16,
    }
    return Key(**{**values, **changes})  # type: ignore[arg-type]


async def test_a_new_site_comes_into_being_once(registry: Registry, clock: Clock) -> None:
    first = await registry.ensure_site("shop")
    assert first == Site(id="shop", created_at_ms=clock())
    clock.at += HOUR
    assert await registry.ensure_site("shop") == first
    assert list(await registry.sites()) == [first]


async def test_many_askers_at_once_make_one_site(shared: Shared) -> None:
    one, two = shared.open(), shared.open()
    made = await asyncio.gather(*(each.ensure_site("shop") for _ in range(20) for each in (one, two)))
    assert len({site.created_at_ms for site in made if site is not None}) == 1
    assert [site.id for site in await two.sites()] == ["shop"]


async def test_a_saved_site_replaces_what_was_there(registry: Registry) -> None:
    await registry.ensure_site("shop")
    changed = Site(
        id="shop",
        created_at_ms=7,
        timezone="Asia/Tehran",
        requires_key=True,
        allowed_origins=("https://*.example.org", 'https://"quoted".example'),
        rate_per_minute=0,
    )
    await registry.save_site(changed)
    assert await registry.ensure_site("shop") == changed
    assert list(await registry.sites()) == [changed]


async def test_sites_come_by_id(registry: Registry) -> None:
    for site_id in ("b", "a", "C", "a.b"):
        await registry.ensure_site(site_id)
    assert [site.id for site in await registry.sites()] == ["C", "a", "a.b", "b"]


async def test_beyond_the_limit_no_site_comes_by_itself(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_module, "SITES_MAX", 2)
    await registry.ensure_site("one")
    await registry.ensure_site("two")
    assert await registry.ensure_site("three") is None
    assert await registry.ensure_site("two") is not None
    await registry.save_site(Site(id="three", created_at_ms=1))
    assert await registry.ensure_site("three") is not None, "an administrator may go beyond it"


async def test_a_change_by_one_process_is_seen_by_another(shared: Shared) -> None:
    one, two = shared.open(), shared.open()
    assert list(await two.sites()) == []
    assert list(await two.keys()) == []
    await one.ensure_site("shop")
    await one.save_key(a_key())
    assert [site.id for site in await two.sites()] == ["shop"]
    assert list(await two.keys()) == [a_key()]
    assert await one.delete_key("abc")
    assert list(await two.keys()) == []


async def test_keys_come_newest_first_and_as_they_were_saved(registry: Registry) -> None:
    old = a_key(id="old", created_at_ms=1, expires_at_ms=5, last_used_at_ms=3, site_ids=())
    new = a_key(id="new", created_at_ms=2, name="ключ ✓ 'quoted'", scopes=(Scope.ADMIN, Scope.INGEST))
    await registry.save_key(old)
    await registry.save_key(new)
    assert list(await registry.keys()) == [new, old]


async def test_a_deleted_key_is_gone_and_deleting_it_again_says_so(registry: Registry) -> None:
    await registry.save_key(a_key())
    assert await registry.delete_key("abc") is True
    assert await registry.delete_key("abc") is False
    assert list(await registry.keys()) == []


async def test_noting_its_use_does_not_bring_a_revoked_key_back(shared: Shared) -> None:
    one, two = shared.open(), shared.open()
    await one.save_key(a_key())
    await one.note_use("abc", 99)
    assert [key.last_used_at_ms for key in await two.keys()] == [99]
    await two.delete_key("abc")
    await one.note_use("abc", 100)
    assert list(await one.keys()) == []


async def test_what_was_saved_is_there_after_reopening(shared: Shared) -> None:
    first = shared.open()
    await first.ensure_site("shop")
    await first.save_key(a_key())
    salt = await first.salt(TODAY)
    await first.close()
    again = shared.open()
    assert [site.id for site in await again.sites()] == ["shop"]
    assert list(await again.keys()) == [a_key()]
    assert await again.salt(TODAY) == salt


async def test_a_day_has_one_salt_whoever_asks(shared: Shared) -> None:
    one, two = shared.open(), shared.open()
    salts = await asyncio.gather(*(each.salt(TODAY) for _ in range(10) for each in (one, two)))
    assert len(set(salts)) == 1
    assert len(salts[0]) == SALT_BYTES
    assert await one.salt(TODAY - timedelta(days=1)) != salts[0]


@pytest.mark.parametrize("days_ahead", [0, 1])
async def test_a_live_salt_lasts_until_an_hour_after_its_day(shared: Shared, clock: Clock, days_ahead: int) -> None:
    registry = shared.open()
    day = TODAY + timedelta(days=days_ahead)
    end = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
    salt = await registry.salt(day)
    clock.at = end + HOUR - timedelta(seconds=1)
    assert await registry.salt(day) == salt
    clock.at = end + HOUR
    assert await registry.salt(day) != salt


async def test_the_salt_of_a_past_day_lasts_24_hours(registry: Registry, clock: Clock) -> None:
    day = TODAY - timedelta(days=400)
    salt = await registry.salt(day)
    clock.at += timedelta(hours=24) - timedelta(seconds=1)
    assert await registry.salt(day) == salt
    clock.at += timedelta(seconds=1)
    assert await registry.salt(day) != salt


def _bytes_of(path: Path) -> bytes:
    return b"".join(part.read_bytes() for part in path.parent.iterdir())


@pytest.mark.parametrize("days", [1, 300])
async def test_a_destroyed_salt_is_in_no_file_any_more(shared: Shared, clock: Clock, days: int) -> None:
    one, two = shared.open(), shared.open()
    salts = [await one.salt(TODAY - timedelta(days=1 + i * 37 % days)) for i in range(days)]
    assert all(salt in _bytes_of(shared.path) for salt in salts)
    clock.at += timedelta(hours=24)
    living = await two.salt(TODAY)
    left = _bytes_of(shared.path)
    assert not any(salt in left for salt in salts)
    assert living in left


async def test_due_salts_are_destroyed_without_anybody_asking(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_module, "LOOK_EVERY_S", 0.01)
    path = tmp_path / "registry.sqlite"
    registry = SqliteRegistry(path, now=clock)
    salt = await registry.salt(TODAY)
    clock.at += timedelta(days=2)
    async with asyncio.timeout(30):
        while salt in _bytes_of(path):  # noqa: ASYNC110 - a file's bytes send no event
            await asyncio.sleep(0.01)
    await registry.close()


async def test_opening_destroys_what_fell_due_while_nothing_ran(shared: Shared, clock: Clock) -> None:
    first = shared.open()
    salt = await first.salt(TODAY)
    await first.close()
    clock.at += timedelta(days=2)
    shared.open()
    assert salt not in _bytes_of(shared.path)


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


async def test_a_closed_registry_says_so(tmp_path: Path) -> None:
    registry = SqliteRegistry(tmp_path / "registry.sqlite")
    await registry.close()
    await registry.close()
    with pytest.raises(Unavailable, match="closed"):
        await registry.sites()


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
