"""What is known of sites, how soon a change is seen, and what happens while the registry is down."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from footfall.errors import Unavailable
from footfall.registry import sqlite as sqlite_module
from footfall.registry.base import Site
from footfall.registry.sqlite import SqliteRegistry
from footfall.sites import Sites

OFTEN_S = 0.01
SELDOM_S = 60.0


class Switchable(SqliteRegistry):
    """A registry that counts what it is asked, and that can be down."""

    is_down = False
    asked = 0

    async def sites(self) -> Sequence[Site]:
        self.asked += 1
        if self.is_down:
            raise Unavailable("down")
        return await super().sites()

    async def ensure_site(self, site_id: str) -> Site | None:
        self.asked += 1
        if self.is_down:
            raise Unavailable("down")
        return await super().ensure_site(site_id)


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[Switchable]:
    registry = Switchable(tmp_path / "registry.sqlite")
    yield registry
    await registry.close()


async def eventually(claim: object) -> None:
    assert callable(claim)
    async with asyncio.timeout(30):
        while not claim():  # noqa: ASYNC110 - what is waited for sends no event
            await asyncio.sleep(0.005)


async def test_an_unknown_site_is_created_where_that_is_allowed(registry: Switchable) -> None:
    sites = Sites(registry, auto_create=True, refresh_s=SELDOM_S)
    assert sites.known("shop") is None
    made = await sites.resolve("shop")
    assert made is not None
    assert sites.known("shop") == made
    assert list(await registry.sites()) == [made]
    await sites.close()


async def test_an_unknown_site_stays_unknown_where_it_may_not_be_created(registry: Switchable) -> None:
    sites = Sites(registry, auto_create=False, refresh_s=SELDOM_S)
    assert await sites.resolve("shop") is None
    asked = registry.asked
    for number in range(1_000):
        assert await sites.resolve(f"made-up-{number}") is None
    assert registry.asked == asked, "a flood of made-up sites costs no query"
    await sites.close()


async def test_looking_does_not_create(registry: Switchable) -> None:
    sites = Sites(registry, auto_create=True, refresh_s=SELDOM_S)
    assert await sites.find("shop") is None
    assert list(await registry.sites()) == []
    await sites.close()


async def test_many_first_events_at_once_ask_once(registry: Switchable) -> None:
    sites = Sites(registry, auto_create=True, refresh_s=SELDOM_S)
    found = await asyncio.gather(*(sites.resolve("shop") for _ in range(2_000)))
    assert len({site.id for site in found if site is not None}) == 1
    assert registry.asked == 2
    await sites.close()


async def test_when_there_are_too_many_that_is_remembered(
    registry: Switchable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_module, "SITES_MAX", 1)
    sites = Sites(registry, auto_create=True, refresh_s=SELDOM_S)
    assert await sites.resolve("one") is not None
    assert await sites.resolve("two") is None
    asked = registry.asked
    assert await sites.resolve("three") is None
    assert registry.asked == asked
    assert await sites.resolve("one") is not None
    await sites.close()


async def test_a_change_by_another_process_is_seen_while_the_site_is_in_use(
    registry: Switchable, tmp_path: Path
) -> None:
    sites = Sites(registry, auto_create=True, refresh_s=OFTEN_S)
    await sites.resolve("shop")
    other = SqliteRegistry(tmp_path / "registry.sqlite")
    await other.save_site(Site(id="shop", created_at_ms=1, requires_key=True))

    def requires_key() -> bool:
        site = sites.known("shop")
        return site is not None and site.requires_key

    await eventually(requires_key)
    await other.close()
    await sites.close()


async def test_after_a_long_silence_the_first_question_sees_every_change(registry: Switchable, tmp_path: Path) -> None:
    sites = Sites(registry, auto_create=True, refresh_s=OFTEN_S)
    await sites.resolve("shop")
    await eventually(lambda: sites._renewing is None)
    await registry.save_site(Site(id="shop", created_at_ms=1, requires_key=True))
    assert sites.known("shop") is None, "an old copy is not trusted"
    site = await sites.resolve("shop")
    assert site is not None
    assert site.requires_key
    await sites.close()


async def test_a_known_site_stays_known_while_the_registry_is_down(registry: Switchable) -> None:
    sites = Sites(registry, auto_create=True, refresh_s=OFTEN_S)
    await sites.resolve("shop")
    registry.is_down = True
    asked = registry.asked
    await eventually(lambda: registry.asked > asked + 2)
    assert sites.known("shop") is not None
    with pytest.raises(Unavailable):
        await sites.resolve("another")
    registry.is_down = False
    assert await sites.resolve("another") is not None
    await sites.close()


async def test_at_the_start_without_a_registry_nothing_is_known_and_it_says_so(registry: Switchable) -> None:
    registry.is_down = True
    sites = Sites(registry, auto_create=True, refresh_s=OFTEN_S)
    with pytest.raises(Unavailable):
        await sites.resolve("shop")
    registry.is_down = False
    assert await sites.resolve("shop") is not None
    await sites.close()


async def test_who_gives_up_waiting_does_not_spoil_it_for_the_others(registry: Switchable) -> None:
    sites = Sites(registry, auto_create=True, refresh_s=SELDOM_S)
    hasty = asyncio.create_task(sites.resolve("shop"))
    patient = asyncio.create_task(sites.resolve("shop"))
    await asyncio.sleep(0)
    hasty.cancel()
    assert await patient is not None
    await sites.close()
