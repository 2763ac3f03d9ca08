"""Funnel, retention, journey and goals over HTTP: what is read, what is refused by name, keys, CSV, saved funnels."""

import csv
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from footfall.errors import Unavailable
from footfall.query.definitions import Definitions, Goal, SavedFunnel, WeekStart
from footfall.query.sequence import Sequence
from footfall.registry.base import Scope, Site
from footfall.settings import AuthMode, Settings
from footfall.store.base import Table
from tests.fakes_store import MemoryStore
from tests.running import Running, running

DAY = ["2024-01-15", "2024-01-15"]
PATHS = ["/api/funnel", "/api/retention", "/api/journey", "/api/goals/report"]
GOALS = (Goal("Signup", page="/signup/**"), Goal("Pro", event="buy", props={"plan": "pro"}), Goal("Never", event="x"))
STEPS = [{"page": "/"}, "Signup"]


@pytest.fixture
async def footfall(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as one:
        yield one


async def define(footfall: Running, *funnels: SavedFunnel) -> None:
    await footfall.registry.save_definitions("shop", Definitions(goals=GOALS, funnels=funnels), 0)


async def visit(footfall: Running, user: str, *paths: str) -> None:
    """A page a minute, from 10:00 on; an event where it is no path."""
    for place, path in enumerate(paths):
        what = {"path": path} if path.startswith("/") else {"event_type": "buy", "props": {"plan": path}}
        await footfall.send(user_id=user, timestamp=f"2024-01-15T10:{place:02}:00Z", **what)


def body(path: str, **question: Any) -> dict[str, Any]:
    steps = {"steps": STEPS} if path == "/api/funnel" else {}
    return {"site_id": "shop", "date_range": DAY, **steps, **question}


async def ask(footfall: Running, path: str, **question: Any) -> Any:
    response = await footfall.http.post(path, json=body(path, **question))
    assert response.status_code == 200, response.text
    return response.json()


async def faults(footfall: Running, path: str, **question: Any) -> dict[str, str]:
    response = await footfall.http.post(path, json=body(path, **question))
    assert response.status_code == 400, response.text
    return {fault["field"]: fault["message"] for fault in response.json()["details"]}


def counts(found: Any) -> list[int]:
    return [step["count"] for step in found["results"]["steps"]]


async def test_a_saved_funnel_is_asked_for_by_name_and_the_request_goes_before_it(footfall: Running) -> None:
    await define(footfall, SavedFunnel("Join", [{"page": "/"}, "Signup"], {"window": "1h", "order": "strict"}))
    await visit(footfall, "anna", "/", "/about", "/signup/1")
    await visit(footfall, "ben", "/", "/signup/2")
    question = {"funnel": "Join", "steps": None}
    found = await ask(footfall, "/api/funnel", **question)
    assert counts(found) == [2, 1]
    assert found["query"] == {
        "site_id": "shop",
        "date_range": ["2024-01-15T00:00:00+00:00", "2024-01-16T00:00:00+00:00"],
        "timezone": "UTC",
        "steps": ["/", "Signup"],
        "order": "strict",
        "by": "visitor",
        "window": "1h",
        "breakdown": None,
        "limit": 10,
        "funnel": "Join",
    }
    assert counts(await ask(footfall, "/api/funnel", **question, order="ordered")) == [2, 2]


async def test_a_saved_funnel_whose_goal_is_gone_says_so(footfall: Running) -> None:
    await define(footfall, SavedFunnel("Join", [{"page": "/"}, "Gone"]))
    found = await faults(footfall, "/api/funnel", funnel="Join", steps=None)
    assert "steps[1] must be the name of a goal" in found["funnel"]
    assert (await faults(footfall, "/api/funnel", funnel="Other", steps=None)).keys() == {"funnel"}


async def test_every_fault_of_a_funnel_is_named_at_once(footfall: Running) -> None:
    found = await faults(
        footfall,
        "/api/funnel",
        steps=[
            {"page": "/", "event": "x"},
            "Signup",
            {"props": {"a": "b"}},
            {"event": "x", "filters": [["is", "visit:source", ["Google"]]], "colour": 1},
            7,
        ],
        window="1y",
        order="any",
        by="user",
        breakdown="visit:colour",
        limit=0,
        timezone="Mars",
        filters=[["is", "event:page"]],
        colour="red",
    )
    assert found.keys() == {
        "colour",
        "timezone",
        "filters[0]",
        "order",
        "by",
        "window",
        "steps[0]",
        "steps[1]",
        "steps[2]",
        "steps[3].filters",
        "steps[3].colour",
        "steps[4]",
        "breakdown",
        "limit",
    }
    assert (await faults(footfall, "/api/funnel", steps=[{"page": "/"}])).keys() == {"steps"}
    assert (await faults(footfall, "/api/funnel", steps=None)).keys() == {"steps"}
    assert (await faults(footfall, "/api/funnel", funnel="Join")).keys() >= {"steps"}


async def test_faults_of_the_other_reports(footfall: Running) -> None:
    assert (await faults(footfall, "/api/retention", period="year", start="x", **{"return": 3})).keys() == {
        "period",
        "start",
        "return",
    }
    found = await faults(
        footfall,
        "/api/journey",
        to={"page": "/"},
        depth=9,
        top=51,
        paths=0,
        of="x",
        collapse=1,
        **{"from": {"page": "/"}},
    )
    assert found.keys() == {"to", "depth", "top", "paths", "of", "collapse"}
    assert (await faults(footfall, "/api/goals/report", breakdown="time:day", compare="then", limit=101)).keys() == {
        "breakdown",
        "compare",
        "limit",
    }
    assert "366" in (await faults(footfall, "/api/retention", date_range=["2022-01-01", "2024-01-15"]))["date_range"]


@pytest.mark.parametrize("path", PATHS)
async def test_what_every_report_refuses(footfall: Running, path: str) -> None:
    missing = await footfall.http.post(path, json={})
    assert {fault["field"] for fault in missing.json()["details"]} >= {"site_id", "date_range"}
    assert (await footfall.http.post(path, content=b"[]")).json()["details"][0]["field"] == "body"
    assert (await footfall.http.post(path, content=b"{")).status_code == 400
    assert (await footfall.http.post(path, content=b" " * 2_000_000)).status_code == 413
    assert (await footfall.http.get(path)).status_code == 405


@pytest.mark.parametrize("path", PATHS)
async def test_a_site_without_events_answers_zeros(footfall: Running, path: str) -> None:
    await define(footfall)
    assert (await ask(footfall, path, date_range="all"))["query"]["site_id"] == "shop"
    assert (await ask(footfall, path))["results"]


@pytest.mark.parametrize("path", PATHS)
async def test_a_key_of_another_site_learns_nothing(tmp_path: Path, path: str) -> None:
    async with running(tmp_path, Settings(auth=AuthMode.ON)) as footfall:
        await define(footfall)
        question = body(path)
        assert (await footfall.http.post(path, json=question)).status_code == 401
        for key in (await footfall.key(Scope.READ, site_ids=("other",)), await footfall.key(Scope.INGEST)):
            assert (await footfall.http.post(path, json=question, headers=key)).status_code == 403
        key = await footfall.key(Scope.READ, site_ids=("shop",))
        assert (await footfall.http.post(path, json=question, headers=key)).status_code == 200


async def test_a_store_over_its_limits_is_503(tmp_path: Path) -> None:
    class Busy(MemoryStore):
        async def sequences(self, question: Sequence) -> Table:
            raise Unavailable("store: the question took longer than 20 s")

    async with running(tmp_path, store=Busy()) as footfall:
        await define(footfall)
        for path in PATHS[:3]:
            response = await footfall.http.post(path, json=body(path))
            assert response.status_code == 503
            assert response.headers["retry-after"]


async def test_weeks_of_retention_begin_on_the_sites_day(footfall: Running) -> None:
    await visit(footfall, "anna", "/")
    week = {"period": "week", "date_range": ["2024-01-14", "2024-01-20"]}
    assert [cohort["cohort"] for cohort in (await ask(footfall, "/api/retention", **week))["results"]["cohorts"]] == [
        "2024-01-08",
        "2024-01-15",
    ]
    await footfall.registry.save_site(Site(id="shop", created_at_ms=1, week_start=WeekStart.SUNDAY))

    async def takes_effect() -> bool:
        found = await ask(footfall, "/api/retention", **week)
        return [cohort["cohort"] for cohort in found["results"]["cohorts"]] == ["2024-01-14"]

    await footfall.until(takes_effect)


async def test_goals_are_reported_with_rates_of_everybody_and_of_groups(footfall: Running) -> None:
    await define(footfall)
    await visit(footfall, "anna", "/", "/signup/1", "/signup/2", "pro")
    await visit(footfall, "ben", "/", "free")
    await visit(footfall, "cleo", "/signup/1")
    found = (await ask(footfall, "/api/goals/report", breakdown="visit:entry_page", limit=1))["results"]
    assert found["visitors"] == 3
    assert [(goal["goal"], goal["visitors"], goal["events"], goal["conversion_rate"]) for goal in found["goals"]] == [
        ("Signup", 2, 3, 66.67),
        ("Pro", 1, 1, 33.33),
        ("Never", 0, 0, 0.0),
    ]
    assert [[(value["value"], value["conversion_rate"]) for value in goal["breakdown"]] for goal in found["goals"]] == [
        [("/", 50.0)],
        [("/", 50.0)],
        [],
    ]
    only = await ask(footfall, "/api/goals/report", filters=[["is", "event:goal", ["Pro"]]], compare="previous_period")
    (pro,) = only["results"]["goals"]
    assert (pro["visitors"], pro["conversion_rate"]) == (1, 33.33)
    assert pro["comparison"]["change"] == {"visitors": None, "events": None, "conversion_rate": None}


async def test_every_report_is_a_table_too(footfall: Running) -> None:
    await define(footfall)
    await visit(footfall, "anna", "/", "/signup/1")
    heads = {
        "/api/funnel": ["of", "visit:source", "step", "name", "count"],
        "/api/retention": ["cohort", "size", "period", "visitors", "rate"],
        "/api/journey": ["level", "kind", "name", "next_kind", "next_name"],
        "/api/goals/report": ["goal", "visit:source", "visitors", "events", "conversion_rate"],
    }
    rows = {
        "/api/funnel": ["all", "", "1", "/", "1"],
        "/api/retention": ["2024-01-15", "1", "0", "1", "100.0"],
        "/api/journey": ["0", "page", "/", "page", "/signup/1"],
        "/api/goals/report": ["Signup", "", "1", "1", "100.0"],
    }
    for path, head in heads.items():
        more = {"breakdown": "visit:source"} if head[1] == "visit:source" else {}
        response = await footfall.http.post(path, json=body(path, **more), headers={"accept": "text/csv"})
        assert response.headers["content-type"].startswith("text/csv")
        found = list(csv.reader(io.StringIO(response.text)))
        assert (found[0][:5], found[1][:5]) == (head, rows[path])
        assert {len(row) for row in found} == {len(found[0])}
