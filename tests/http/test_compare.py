"""POST /api/compare: each site as it would be answered alone, in one order, and only those that the key may read."""

import asyncio
import csv
import io
import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from footfall.query.comparing import SITES_MAX
from footfall.query.definitions import Definitions, Goal
from footfall.query.query import Query
from footfall.registry.base import Scope, Site
from footfall.settings import AuthMode, Settings
from footfall.store.base import Batch, Table
from tests.conformance.stores import an_event, encoded
from tests.fakes_store import MemoryStore
from tests.running import Running, running

ZONES = {"far": "Pacific/Auckland", "near": "Europe/Berlin", "odd": "Asia/Kathmandu", "plain": "UTC"}
DAY = ["2024-01-15", "2024-01-15"]
PAGE = Path(__file__).parents[2] / "docs" / "compare.md"


@pytest.fixture
async def footfall(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as one:
        yield one


def body(**question: Any) -> dict[str, Any]:
    return {"metrics": ["visitors"], "date_range": DAY, **question}


async def ask(footfall: Running, headers: dict[str, str] | None = None, **question: Any) -> Any:
    response = await footfall.http.post("/api/compare", json=body(**question), headers=headers)
    assert response.status_code == 200, response.text
    return response.json()


async def faults(footfall: Running, **question: Any) -> dict[str, str]:
    response = await footfall.http.post("/api/compare", json=body(**question))
    assert response.status_code == 400, response.text
    return {fault["field"]: fault["message"] for fault in response.json()["details"]}


def sites_of(found: Any) -> list[str]:
    return [row["site_id"] for row in found["results"]]


async def store_visits(footfall: Running, **visitors: int) -> None:
    """So many visitors of each site at noon."""
    noon = datetime(2024, 1, 15, 12, tzinfo=UTC)
    for site, count in visitors.items():
        await footfall.registry.save_site(Site(id=site, created_at_ms=1))
        events = [an_event(noon, site_id=site, visitor_id=number + 1) for number in range(count)]
        if events:
            await footfall.store.write(Batch(encoded(*events), redelivered=False))


async def test_every_site_has_the_figures_of_a_recount_on_its_own_clock(footfall: Running) -> None:
    chance = random.Random(5)
    start = datetime(2024, 1, 13, tzinfo=UTC)
    sent = [
        (site, start + timedelta(minutes=chance.randrange(4 * 1440)), chance.randrange(1, 30), chance.choice("ab"))
        for site in chance.choices(list(ZONES), [1, 2, 3, 0], k=600)
    ]
    for site, zone in ZONES.items():
        await footfall.registry.save_site(Site(id=site, created_at_ms=1, timezone=zone))
    events = [an_event(at, site_id=site, visitor_id=who, path=f"/{path}") for site, at, who, path in sent]
    await footfall.store.write(Batch(encoded(*events), redelivered=False))
    found = await ask(
        footfall,
        metrics=["visitors", "pageviews"],
        filters=[["is", "event:page", ["/a"]]],
        compare="previous_period",
        order_by=[["pageviews", "asc"]],
    )
    visitors: dict[tuple[str, str], set[int]] = defaultdict(set)
    views: Counter[tuple[str, str]] = Counter()
    for site, at, who, path in sent:
        if path == "a":
            day = str(at.astimezone(ZoneInfo(ZONES[site])).date())
            visitors[site, day].add(who)
            views[site, day] += 1
    told = {row["site_id"]: (row["metrics"], row["comparison"]["metrics"]) for row in found["results"]}
    assert told == {
        site: tuple([len(visitors[site, day]), views[site, day]] for day in ("2024-01-15", "2024-01-14"))
        for site in ZONES
    }
    assert sites_of(found) == sorted(ZONES, key=lambda site: (views[site, DAY[0]], site))
    assert {row["site_id"]: row["timezone"] for row in found["results"]} == ZONES
    assert views["plain", DAY[0]] == 0 < views["far", DAY[0]]


async def test_one_zone_for_all_where_it_is_asked_for(footfall: Running) -> None:
    await footfall.registry.save_site(Site(id="far", created_at_ms=1, timezone="Pacific/Auckland"))
    await store_visits(footfall, near=1)
    found = await ask(footfall, timezone="Asia/Kolkata")
    assert [row["date_range"][0] for row in found["results"]] == ["2024-01-15T00:00:00+05:30"] * 2


async def test_a_key_sees_the_sites_that_it_may_read_and_no_other(tmp_path: Path) -> None:
    async with running(tmp_path, Settings(auth=AuthMode.ON)) as footfall:
        await store_visits(footfall, a=1, b=2, c=3)
        some = await footfall.key(Scope.READ, site_ids=("a", "c"))
        assert sites_of(await ask(footfall, some)) == ["c", "a"]
        assert sites_of(await ask(footfall, some, site_ids=["a"])) == ["a"]
        assert sites_of(await ask(footfall, await footfall.key(Scope.READ))) == ["c", "b", "a"]
        post = footfall.http.post
        assert (await post("/api/compare", json=body())).status_code == 401
        refused = await post("/api/compare", json=body(site_ids=["a", "b"]), headers=some)
        assert (refused.status_code, "site b" in refused.text) == (403, True)
        blind = await footfall.key(Scope.INGEST)
        assert (await post("/api/compare", json=body(), headers=blind)).status_code == 403


async def test_sites_without_events_answer_zeros_and_ties_go_by_site(footfall: Running) -> None:
    await store_visits(footfall, b=0, a=0, c=1)
    found = await ask(footfall, metrics=["total_revenue", "visitors", "bounce_rate"])
    assert [(row["site_id"], *row["metrics"]) for row in found["results"]] == [
        ("c", None, 1, 100.0),
        ("a", None, 0, None),
        ("b", None, 0, None),
    ]
    by_rate = await ask(footfall, metrics=["bounce_rate"], order_by=[["bounce_rate", "asc"]])
    assert sites_of(by_rate) == ["c", "a", "b"]
    assert sites_of(await ask(footfall, site_ids=["never-heard-of"])) == ["never-heard-of"]


async def test_a_page_of_the_sites_says_how_many_there_are(footfall: Running) -> None:
    await store_visits(footfall, a=3, b=1, c=2)
    found = await ask(footfall, pagination={"limit": 1, "offset": 1})
    assert (sites_of(found), found["meta"]) == (["c"], {"total_rows": 3, "left_out": 0})


async def test_more_sites_than_one_comparison_holds_are_counted(footfall: Running) -> None:
    for number in range(SITES_MAX):
        await footfall.registry.save_site(Site(id=f"s{number}", created_at_ms=1))
    await store_visits(footfall, z=1, y=1)
    found = await ask(footfall, pagination={"limit": 2})
    assert (sites_of(found), found["meta"]) == (["y", "z"], {"total_rows": SITES_MAX, "left_out": 2})
    many = [f"s{number}" for number in range(SITES_MAX + 1)]
    assert (await faults(footfall, site_ids=many)).keys() == {"site_ids"}


async def test_a_goal_is_each_sites_own_and_missed_by_name(footfall: Running) -> None:
    await store_visits(footfall, a=2, b=3)
    for site, page in (("a", "/"), ("b", "/other")):
        await footfall.registry.save_definitions(site, Definitions(goals=(Goal("Arrive", page=page),)), 0)
    question: dict[str, Any] = {
        "metrics": ["visitors", "conversion_rate"],
        "filters": [["is", "event:goal", ["Arrive"]]],
    }
    found = await ask(footfall, **question)
    assert [(row["site_id"], *row["metrics"]) for row in found["results"]] == [("a", 2, 100.0), ("b", 0, 0.0)]
    said = await faults(footfall, site_ids=["a", "b", "c"], **question)
    assert said.keys() == {"filters[0][2][0]"}
    assert said["filters[0][2][0]"].endswith("(at c)")


async def test_every_fault_is_named_at_once(footfall: Running) -> None:
    said = await faults(
        footfall,
        site_ids=["a", "?"],
        metrics=["visitors", "percentage", "luck"],
        date_range="soon",
        timezone="Mars",
        filters=[["is", "nothing", ["a"]]],
        compare="later",
        pagination={"limit": 0},
        dimensions=["event:page"],
    )
    assert said.keys() == {
        "site_ids[1]", "metrics[1]", "metrics[2]", "date_range", "timezone", "filters[0][1]", "compare",
        "pagination.limit", "dimensions",
    }  # fmt: skip
    missing = await footfall.http.post("/api/compare", json={})
    assert {fault["field"] for fault in missing.json()["details"]} == {"metrics", "date_range"}


async def test_csv_has_a_line_for_each_site(footfall: Running) -> None:
    await store_visits(footfall, a=2, b=3)
    response = await footfall.http.post(
        "/api/compare", json=body(compare="previous_period"), headers={"accept": "text/csv"}
    )
    assert list(csv.reader(io.StringIO(response.text))) == [
        ["site_id", "visitors", "visitors before", "visitors change"],
        ["b", "3", "0", ""],
        ["a", "2", "0", ""],
    ]
    beyond = body(compare="previous_period", pagination={"offset": 9})
    response = await footfall.http.post("/api/compare", json=beyond, headers={"accept": "text/csv"})
    assert response.text == "site_id,visitors,visitors before,visitors change\r\n"


async def test_only_a_few_sites_are_asked_at_once(tmp_path: Path) -> None:
    class Busy(MemoryStore):
        under_way = most = 0

        async def rows(self, query: Query) -> Table:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            await asyncio.sleep(0)
            self.under_way -= 1
            return await super().rows(query)

    busy = Busy()
    async with running(tmp_path, store=busy) as footfall:
        found = await ask(footfall, site_ids=[f"s{number}" for number in range(20)])
        assert (len(found["results"]), busy.most) == (20, 3)


async def test_the_example_of_the_page_is_true(footfall: Running) -> None:
    text = PAGE.read_text()
    question, answer = (json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL))
    visits = re.findall(r"^\| (\w+) \| (\w+) \| (\d\d:\d\d) \|$", text, re.MULTILINE)
    assert len(visits) == 4
    for site, who, when in visits:
        await footfall.send(site_id=site, user_id=who, timestamp=f"2024-01-15T{when}:00Z")
    response = await footfall.http.post("/api/compare", json=question)
    assert response.json()["results"] == answer
