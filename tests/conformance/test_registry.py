"""What every registry must prove: the port's promises, with the same functions for every adapter."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from footfall.errors import Conflict, Unavailable
from footfall.query.definitions import Definitions, Goal, SavedFunnel, Segment, WeekStart
from footfall.registry.base import SALT_BYTES, Registry, Scope, Site, Turns
from tests.conformance.registries import KINDS, TODAY, Shared, a_key, set_sites_max, shared_place

HOUR = timedelta(hours=1)


@pytest.fixture(params=KINDS)
async def shared(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Shared]:
    async with shared_place(request.param, tmp_path) as place:
        yield place


@pytest.fixture
async def registry(shared: Shared) -> Registry:
    return await shared.open()


async def test_a_new_site_comes_into_being_once(registry: Registry, shared: Shared) -> None:
    first = await registry.ensure_site("shop")
    assert first == Site(id="shop", created_at_ms=shared.clock())
    shared.clock.at += HOUR
    assert await registry.ensure_site("shop") == first
    assert list(await registry.sites()) == [first]


async def test_many_askers_at_once_make_one_site(shared: Shared) -> None:
    one, two = await shared.open(), await shared.open()
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
    set_sites_max(monkeypatch, 2)
    await registry.ensure_site("one")
    await registry.ensure_site("two")
    assert await registry.ensure_site("three") is None
    assert await registry.ensure_site("two") is not None
    await registry.save_site(Site(id="three", created_at_ms=1))
    assert await registry.ensure_site("three") is not None, "an administrator may go beyond it"


async def test_a_change_by_one_process_is_seen_by_another(shared: Shared) -> None:
    one, two = await shared.open(), await shared.open()
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
    one, two = await shared.open(), await shared.open()
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
    one, two = await shared.open(), await shared.open()
    assert await one.definitions("shop") == Definitions()
    assert await one.save_definitions("shop", DEFINED, 0) == 1
    assert await two.definitions("shop") == msgspec.structs.replace(DEFINED, version=1)
    assert await two.definitions("other") == Definitions()
    assert await two.save_definitions("shop", Definitions(version=77), 1) == 2
    assert await one.definitions("shop") == Definitions(version=2), "emptied, and its count goes on"


async def test_who_bases_a_change_on_an_old_version_changes_nothing(shared: Shared) -> None:
    one, two = await shared.open(), await shared.open()
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
    one, two = await shared.open(), await shared.open()
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
    one, two = (await shared.open()).turns, (await shared.open()).turns
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
    one, two = (await shared.open()).turns, (await shared.open()).turns
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
    turns = [(await shared.open()).turns for _ in range(4)]
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
    first = await shared.open()
    await first.ensure_site("shop")
    await first.keys.save(a_key())
    await first.save_definitions("shop", DEFINED, 0)
    await first.turns.take("tidy", "one", 600)
    salt = await first.salt(TODAY)
    await first.close()
    again = await shared.open()
    assert [site.id for site in await again.sites()] == ["shop"]
    assert list(await again.keys.all()) == [a_key()]
    assert await again.salt(TODAY) == salt
    assert (await again.definitions("shop")).goals == DEFINED.goals
    assert await again.turns.take("tidy", "two", 600) is None


async def test_a_day_has_one_salt_whoever_asks(shared: Shared) -> None:
    one, two = await shared.open(), await shared.open()
    salts = await asyncio.gather(*(each.salt(TODAY) for _ in range(10) for each in (one, two)))
    assert len(set(salts)) == 1
    assert len(salts[0]) == SALT_BYTES
    assert await one.salt(TODAY - timedelta(days=1)) != salts[0]


@pytest.mark.parametrize("days_ahead", [0, 1])
async def test_a_live_salt_lasts_until_an_hour_after_its_day(shared: Shared, days_ahead: int) -> None:
    registry = await shared.open()
    day = TODAY + timedelta(days=days_ahead)
    end = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
    salt = await registry.salt(day)
    shared.clock.at = end + HOUR - timedelta(seconds=1)
    assert await registry.salt(day) == salt
    shared.clock.at = end + HOUR
    assert await registry.salt(day) != salt


async def test_the_salt_of_a_past_day_lasts_24_hours(registry: Registry, shared: Shared) -> None:
    day = TODAY - timedelta(days=400)
    salt = await registry.salt(day)
    shared.clock.at += timedelta(hours=24) - timedelta(seconds=1)
    assert await registry.salt(day) == salt
    shared.clock.at += timedelta(seconds=1)
    assert await registry.salt(day) != salt


async def test_many_new_sites_at_once_stay_within_the_limit(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    set_sites_max(monkeypatch, 5)
    one, two = await shared.open(), await shared.open()
    made = await asyncio.gather(*((one, two)[place % 2].ensure_site(f"site-{place}") for place in range(12)))
    assert sum(site is not None for site in made) == 5
    assert {site.id for site in made if site is not None} == {site.id for site in await one.sites()}


async def test_a_closed_registry_says_so(registry: Registry) -> None:
    await registry.close()
    await registry.close()
    for asked in (registry.sites(), registry.keys.all(), registry.salt(TODAY), registry.turns.take("a", "b", 1)):
        with pytest.raises(Unavailable, match="closed"):
            await asked
