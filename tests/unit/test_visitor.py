"""Who: the same for ever by user id, the same for a day by address, and salts that are forgotten."""

import asyncio
from datetime import UTC, date, datetime
from pathlib import Path

from footfall.registry.sqlite import SqliteRegistry
from footfall.visitor import (
    DAY_MS,
    GRACE_MS,
    PAST_SALT_KEPT_MS,
    SALTS_MAX,
    Salts,
    daily_visitor_id,
    day_of,
    user_visitor_id,
)

NOON_MS = int(datetime(2024, 1, 15, 12, tzinfo=UTC).timestamp() * 1000)
TODAY = day_of(NOON_MS)
SALT = b"0123456789abcdef"


class Clock:
    """Milliseconds since 1970, as a test wants them."""

    def __init__(self, at_ms: int = NOON_MS) -> None:
        self.at_ms = at_ms

    def __call__(self) -> int:
        return self.at_ms


def test_a_user_is_one_visitor_of_a_site_for_ever_and_another_one_elsewhere() -> None:
    assert user_visitor_id("site", "user-123") == user_visitor_id("site", "user-123") == 491594764160307787
    assert user_visitor_id("site", "user-123") != user_visitor_id("other", "user-123")
    assert user_visitor_id("site", "user-123") != user_visitor_id("site", "user-124")


def test_a_daily_id_depends_on_each_of_salt_site_address_and_user_agent() -> None:
    one = daily_visitor_id(SALT, "site", "192.0.2.1", "Firefox")
    assert one == daily_visitor_id(SALT, "site", "192.0.2.1", "Firefox")
    others = {
        daily_visitor_id(SALT[::-1], "site", "192.0.2.1", "Firefox"),
        daily_visitor_id(SALT, "other", "192.0.2.1", "Firefox"),
        daily_visitor_id(SALT, "site", "192.0.2.2", "Firefox"),
        daily_visitor_id(SALT, "site", "192.0.2.1", "Chrome"),
    }
    assert len(others | {one}) == 5
    assert all(0 <= visitor_id < 2**64 for visitor_id in others)


def test_ids_use_all_64_bits_and_take_any_text() -> None:
    assert max(user_visitor_id("site", str(n)) for n in range(100)) > 2**63
    for text in ("", "\0", "😀", "\ud800"):
        assert 0 <= user_visitor_id("site", text) < 2**64
        assert 0 <= daily_visitor_id(SALT, "site", text, text) < 2**64


async def test_two_processes_and_a_restart_have_the_same_salt_of_a_day(tmp_path: Path) -> None:
    clock = Clock()
    one, other = [await SqliteRegistry.open(tmp_path / "registry", now=clock) for _ in range(2)]
    salts = [Salts(one, now_ms=clock), Salts(other, now_ms=clock), Salts(one, now_ms=clock)]
    assert len({await each.load(TODAY) for each in salts}) == 1
    assert await one.salt(date(2024, 1, 15)) == salts[0].known(TODAY)
    await one.close()
    await other.close()


async def test_each_day_has_a_salt_of_its_own(tmp_path: Path) -> None:
    clock = Clock()
    registry = await SqliteRegistry.open(tmp_path / "registry", now=clock)
    salts = Salts(registry, now_ms=clock)
    assert len({await salts.load(day) for day in (TODAY - 1, TODAY, TODAY + 1, 0)}) == 4
    await registry.close()


async def test_yesterdays_salt_is_known_in_the_hour_after_midnight_and_then_forgotten(tmp_path: Path) -> None:
    clock = Clock()
    registry = await SqliteRegistry.open(tmp_path / "registry", now=clock)
    salts = Salts(registry, now_ms=clock)
    salt = await salts.load(TODAY)
    clock.at_ms = (TODAY + 1) * DAY_MS + GRACE_MS - 1
    assert salts.known(TODAY) == salt
    clock.at_ms += 1
    assert salts.known(TODAY) is None
    assert await salts.load(TODAY) != salt, "the registry has destroyed it, and so have we"
    await registry.close()


async def test_the_salt_of_a_past_day_is_asked_for_again_every_minute(tmp_path: Path) -> None:
    clock = Clock()
    registry = await SqliteRegistry.open(tmp_path / "registry", now=clock)
    salts = Salts(registry, now_ms=clock)
    salt = await salts.load(TODAY - 30)
    clock.at_ms += PAST_SALT_KEPT_MS
    assert salts.known(TODAY - 30) is None
    assert await salts.load(TODAY - 30) == salt
    clock.at_ms += DAY_MS
    assert await salts.load(TODAY - 30) != salt
    await registry.close()


async def test_no_more_than_so_many_salts_are_held(tmp_path: Path) -> None:
    clock = Clock()
    registry = await SqliteRegistry.open(tmp_path / "registry", now=clock)
    salts = Salts(registry, now_ms=clock)
    for day in range(SALTS_MAX + 1):
        await salts.load(day)
    assert salts.known(0) is None
    assert salts.known(1) is not None
    assert salts.known(SALTS_MAX) is not None
    await registry.close()


async def test_a_request_that_hangs_up_does_not_take_the_salt_from_the_others(tmp_path: Path) -> None:
    clock = Clock()
    registry = await SqliteRegistry.open(tmp_path / "registry", now=clock)
    salts = Salts(registry, now_ms=clock)
    first, second = asyncio.create_task(salts.load(TODAY)), asyncio.create_task(salts.load(TODAY))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == await registry.salt(date(2024, 1, 15))
    await registry.close()
