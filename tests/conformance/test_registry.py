"""What every registry must prove: the port's promises, with the same functions for every adapter."""

import asyncio
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from footfall.errors import Conflict, Misconfigured, Unavailable
from footfall.query.definitions import Definitions, Goal, SavedFunnel, Segment, WeekStart
from footfall.registry import sqlite as sqlite_module
from footfall.registry import sqlite_file, sqlite_salts
from footfall.registry.base import SALT_BYTES, Key, Registry, Scope, Site, Turns
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

    async def pass_ms(self, ms: int) -> None:
        """Let time go by, on the clock that judges turns."""
        self.clock.at += timedelta(milliseconds=ms)

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
        week_start=WeekStart.SUNDAY,
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
    assert list(await two.keys.all()) == []
    await one.ensure_site("shop")
    await one.keys.save(a_key())
    assert [site.id for site in await two.sites()] == ["shop"]
    assert list(await two.keys.all()) == [a_key()]
    assert await one.keys.delete("abc")
    assert list(await two.keys.all()) == []


async def test_keys_come_newest_first_and_as_they_were_saved(registry: Registry) -> None:
    old = a_key(id="old", created_at_ms=1, expires_at_ms=5, last_used_at_ms=3, site_ids=())
    new = a_key(id="new", created_at_ms=2, name="ключ ✓ 'quoted'", scopes=(Scope.ADMIN, Scope.INGEST))
    await registry.keys.save(old)
    await registry.keys.save(new)
    assert list(await registry.keys.all()) == [new, old]


async def test_a_deleted_key_is_gone_and_deleting_it_again_says_so(registry: Registry) -> None:
    await registry.keys.save(a_key())
    assert await registry.keys.delete("abc") is True
    assert await registry.keys.delete("abc") is False
    assert list(await registry.keys.all()) == []


async def test_noting_its_use_does_not_bring_a_revoked_key_back(shared: Shared) -> None:
    one, two = shared.open(), shared.open()
    await one.keys.save(a_key())
    await one.keys.note_use("abc", 99)
    assert [key.last_used_at_ms for key in await two.keys.all()] == [99]
    await two.keys.delete("abc")
    await one.keys.note_use("abc", 100)
    assert list(await one.keys.all()) == []


DEFINED = Definitions(
    goals=(
        Goal(name="Sign-up", event="signup", props={"plan": 'ключ ✓ "quoted" $.', "a.b": "1", "$x": "2"}),
        Goal(name="Docs", page="/docs/**"),
    ),
    segments=(Segment(name="French", filters=[["is", "visit:country", ["FR"]], ["not", ["is", "event:page", ["/"]]]]),),
    funnels=(SavedFunnel(name="Buy", steps=[{"page": "/a"}, {"goal": "Sign-up"}], options={"window": 3_600}),),
)


async def test_definitions_come_back_as_they_were_saved_with_the_next_version(shared: Shared) -> None:
    one, two = shared.open(), shared.open()
    assert await one.definitions("shop") == Definitions()
    assert await one.save_definitions("shop", DEFINED, 0) == 1
    assert await two.definitions("shop") == msgspec.structs.replace(DEFINED, version=1)
    assert await two.definitions("other") == Definitions()
    assert await two.save_definitions("shop", Definitions(version=77), 1) == 2
    assert await one.definitions("shop") == Definitions(version=2), "emptied, and its count goes on"


async def test_who_bases_a_change_on_an_old_version_changes_nothing(shared: Shared) -> None:
    one, two = shared.open(), shared.open()
    for based_on in (1, 5):
        with pytest.raises(Conflict):
            await one.save_definitions("shop", DEFINED, based_on)
    await one.save_definitions("shop", DEFINED, 0)
    for based_on in (0, 2):
        with pytest.raises(Conflict):
            await two.save_definitions("shop", Definitions(), based_on)
    assert await two.definitions("shop") == msgspec.structs.replace(DEFINED, version=1)


@pytest.mark.parametrize("based_on", [0, 1])
async def test_of_many_changes_to_one_version_one_succeeds(shared: Shared, based_on: int) -> None:
    one, two = shared.open(), shared.open()
    if based_on:
        await one.save_definitions("shop", DEFINED, 0)
    goals = [Definitions(goals=(Goal(name=str(number), event="e"),)) for number in range(20)]
    tried = await asyncio.gather(
        *((one, two)[place % 2].save_definitions("shop", each, based_on) for place, each in enumerate(goals)),
        return_exceptions=True,
    )
    won = [place for place, said in enumerate(tried) if said == based_on + 1]
    assert len(won) == 1
    assert sum(isinstance(said, Conflict) for said in tried) == 19
    assert (await one.definitions("shop")).goals == goals[won[0]].goals


async def test_a_turn_is_held_by_one_until_it_is_given_back(shared: Shared) -> None:
    one, two = shared.open().turns, shared.open().turns
    before = time.monotonic()
    deadline = await one.take("tidy", "one", 3_600)
    assert deadline is not None
    assert before + 3_600 <= deadline <= time.monotonic() + 3_600
    assert await two.take("tidy", "two", 3_600) is None
    assert await two.take("other", "two", 3_600) is not None, "another turn is another turn"
    again = await one.take("tidy", "one", 3_600)
    assert again is not None
    assert again >= deadline, "who holds it keeps it"
    await two.give_back("tidy", "two")
    assert await two.take("tidy", "two", 3_600) is None, "only its holder ends a turn"
    await one.give_back("tidy", "one")
    await one.give_back("tidy", "one")
    assert await two.take("tidy", "two", 3_600) is not None
    assert await one.take("tidy", "one", 3_600) is None


async def test_a_turn_whose_lease_has_run_out_can_be_taken(shared: Shared) -> None:
    one, two = shared.open().turns, shared.open().turns
    await one.take("tidy", "one", 0.2)
    await shared.pass_ms(150)
    await one.take("tidy", "one", 30)
    await shared.pass_ms(200)
    assert await two.take("tidy", "two", 0.2) is None, "it was kept for longer meanwhile"
    await one.give_back("tidy", "one")
    await one.take("tidy", "one", 0.2)
    await shared.pass_ms(201)
    assert await two.take("tidy", "two", 30) is not None
    assert await one.take("tidy", "one", 30) is None, "and then the first has lost it"


async def test_two_holders_never_overlap(shared: Shared) -> None:
    turns = [shared.open().turns for _ in range(4)]
    inside: list[str] = []
    order: list[str] = []

    async def work(name: str, mine: Turns) -> None:
        done = 0
        while done < 5:
            if await mine.take("tidy", name, 600) is None:
                continue
            inside.append(name)
            await asyncio.sleep(0)
            assert inside == [name]
            order.append(name)
            inside.remove(name)
            await mine.give_back("tidy", name)
            done += 1

    await asyncio.gather(*(work(str(number), mine) for number, mine in enumerate(turns)))
    assert sorted(order) == sorted("0123" * 5)


async def test_what_was_saved_is_there_after_reopening(shared: Shared) -> None:
    first = shared.open()
    await first.ensure_site("shop")
    await first.keys.save(a_key())
    await first.save_definitions("shop", DEFINED, 0)
    await first.turns.take("tidy", "one", 600)
    salt = await first.salt(TODAY)
    await first.close()
    again = shared.open()
    assert [site.id for site in await again.sites()] == ["shop"]
    assert list(await again.keys.all()) == [a_key()]
    assert await again.salt(TODAY) == salt
    assert (await again.definitions("shop")).goals == DEFINED.goals
    assert await again.turns.take("tidy", "two", 600) is None


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
    monkeypatch.setattr(sqlite_salts, "LOOK_EVERY_S", 0.01)
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
    assert await registry.save_definitions("shop", DEFINED, 0) == 1
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
