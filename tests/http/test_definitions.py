"""What a site gives a name to, over HTTP: goals, segments, funnels, and the rules of the site."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from footfall.query.definitions import GOALS_MAX, Definitions, Goal
from footfall.registry.base import Scope
from footfall.settings import AuthMode, Settings
from tests.running import Running, running

SIGNUP = {"name": "Sign-up", "event": "signup", "props": {"plan": "pro"}}
ODD_NAMES = ["a/b", "/pricing", "//x//", "100 %", "ключ ✓", "what? #1", "a+b", "..."]


@pytest.fixture
async def footfall(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as one:
        yield one


def data(response: httpx.Response) -> Any:
    assert response.status_code == 200, response.text
    assert response.json()["success"] is True
    return response.json()["data"]


def faults(response: httpx.Response) -> dict[str, str]:
    assert response.status_code == 400, response.text
    return {fault["field"]: fault["message"] for fault in response.json()["details"]}


async def test_a_goal_is_made_replaced_listed_and_removed(footfall: Running) -> None:
    http, goals = footfall.http, "/api/sites/shop/goals"
    assert data(await http.get(goals)) == {"goals": []}
    assert data(await http.put(f"{goals}/Sign-up", json={"event": "signup", "props": {"plan": "pro"}})) == SIGNUP
    assert data(await http.put(f"{goals}/Docs", json={"name": "Docs", "page": "/docs/**"}))["page"] == "/docs/**"
    version = (await footfall.registry.definitions("shop")).version
    assert data(await http.put(f"{goals}/Sign-up", json=SIGNUP)) == SIGNUP
    assert (await footfall.registry.definitions("shop")).version == version, "the same again changes nothing"
    changed = {"name": "Sign-up", "event": "register"}
    assert data(await http.put(f"{goals}/Sign-up", json={"event": "register"})) == changed
    assert data(await http.get(f"{goals}/Sign-up")) == changed
    assert [goal["name"] for goal in data(await http.get(goals))["goals"]] == ["Sign-up", "Docs"]
    assert data(await http.delete(f"{goals}/Sign-up")) is None
    assert (await http.delete(f"{goals}/Sign-up")).status_code == 404
    assert (await http.get(f"{goals}/Sign-up")).status_code == 404
    assert (await http.post(goals, json={})).status_code == 405
    assert [site.id for site in await footfall.registry.sites()] == ["shop"]


@pytest.mark.parametrize("name", ODD_NAMES)
async def test_a_name_comes_back_as_it_was_sent(footfall: Running, name: str) -> None:
    address = f"/api/sites/shop/goals/{quote(name, safe='')}"
    assert data(await footfall.http.put(address, json={"event": "e"}))["name"] == name
    assert data(await footfall.http.get(address)) == {"name": name, "event": "e"}
    data(await footfall.http.delete(address))
    assert data(await footfall.http.get("/api/sites/shop/goals")) == {"goals": []}


async def test_segments_and_funnels_speak_of_goals_which_then_can_not_go(footfall: Running) -> None:
    http, site = footfall.http, "/api/sites/shop"
    segment = {"filters": [["is", "event:goal", ["Sign-up"]], ["is", "visit:country", ["FR"]]]}
    funnel = {"steps": [{"page": "/pricing"}, "Sign-up"], "options": {"window": "7d", "order": "strict"}}
    assert set(faults(await http.put(f"{site}/segments/New", json=segment))) == {"filters[0][2][0]"}
    assert set(faults(await http.put(f"{site}/funnels/Buy", json=funnel))) == {"steps[1]"}
    data(await http.put(f"{site}/goals/Sign-up", json={"event": "signup"}))
    assert data(await http.put(f"{site}/segments/New", json=segment)) == {"name": "New", **segment}
    assert data(await http.put(f"{site}/funnels/Buy", json=funnel)) == {"name": "Buy", **funnel}
    said = faults(await http.delete(f"{site}/goals/Sign-up"))["name"]
    assert said == "is still needed by the segment 'New', the funnel 'Buy'"
    for address in ("segments/New", "funnels/Buy", "goals/Sign-up"):
        data(await http.delete(f"{site}/{address}"))


WRONG: list[tuple[str, object, set[str]]] = [
    ("goals/a", {}, {"event"}),
    ("goals/a", {"event": "e", "page": "/"}, {"event"}),
    ("goals/a", {"event": "x" * 65, "no": 1}, {"event", "no"}),
    ("goals/a", {"event": "e", "props": {"": "1", "b": 1, "c": ""}}, {"props.", "props.b", "props.c"}),
    ("goals/a", {"page": "/*" * 11}, {"page"}),
    ("goals/a", {"name": "b", "event": "e"}, {"name"}),
    ("goals/" + "x" * 121, {"event": "e"}, {"name"}),
    ("goals/%ff", {"event": "e"}, {"name"}),
    ("goals/a%00", {"event": "e"}, {"name"}),
    ("goals/%20a", {"event": "e"}, {"name"}),
    ("goals/a?x=1", {"event": "e"}, {"x"}),
    ("goals/a", [], {"body"}),
    ("segments/a", {"filters": []}, {"filters"}),
    ("segments/a", {}, {"filters"}),
    ("segments/a", {"filters": [["is", "visit:cuntry", ["FR"]]]}, {"filters[0][1]"}),
    ("segments/a", {"filters": [["is", "segment", ["b"]]]}, {"filters[0][2][0]"}),
    ("funnels/a", {"steps": [{"page": "/"}]}, {"steps"}),
    ("funnels/a", {"steps": ["/", {"event": 1}], "options": {"by": "x"}}, {"steps[0]", "steps[1].event", "options.by"}),
    ("funnels/a", {"steps": [{"page": "/"}] * 2, "options": {"windw": "1d"}}, {"options.windw"}),
]  # fmt: skip


@pytest.mark.parametrize(("address", "body", "fields"), WRONG)
async def test_everything_that_is_wrong_is_named_at_once(
    footfall: Running, address: str, body: object, fields: set[str]
) -> None:
    assert set(faults(await footfall.http.put(f"/api/sites/shop/{address}", json=body))) == fields
    assert list(await footfall.registry.sites()) == [], "and nothing was made"


async def test_a_name_is_once_in_a_site_whatever_its_case(footfall: Running) -> None:
    data(await footfall.http.put("/api/sites/shop/goals/Straße", json={"event": "e"}))
    assert set(faults(await footfall.http.put("/api/sites/shop/goals/STRASSE", json={"event": "e"}))) == {"name"}
    data(await footfall.http.put("/api/sites/other/goals/STRASSE", json={"event": "e"}))


async def test_there_is_an_end_to_goals_and_to_bodies(footfall: Running) -> None:
    full = Definitions(goals=tuple(Goal(name=str(number), event="e") for number in range(GOALS_MAX)))
    await footfall.registry.save_definitions("shop", full, 0)
    assert set(faults(await footfall.http.put("/api/sites/shop/goals/more", json={"event": "e"}))) == {"name"}
    data(await footfall.http.put("/api/sites/shop/goals/7", json={"event": "other"}))
    long = await footfall.http.put("/api/sites/shop/goals/7", content=b" " * 70_000)
    assert long.status_code == 413


async def test_many_changes_at_once_are_all_kept_or_told(footfall: Running) -> None:
    said = await asyncio.gather(
        *(footfall.http.put(f"/api/sites/shop/goals/{number}", json={"event": "e"}) for number in range(8))
    )
    assert {response.status_code for response in said} <= {200, 409}
    kept = {goal["name"] for goal in data(await footfall.http.get("/api/sites/shop/goals"))["goals"]}
    assert kept == {str(number) for number, response in enumerate(said) if response.status_code == 200}


async def test_the_rules_of_a_site_are_read_and_changed_one_by_one(footfall: Running) -> None:
    http = footfall.http
    assert (await http.get("/api/sites/shop")).status_code == 404
    usual = {
        "id": "shop",
        "timezone": "UTC",
        "week_start": "monday",
        "requires_key": False,
        "allowed_origins": [],
        "rate_per_minute": None,
    }
    assert data(await http.patch("/api/sites/shop", json={})) == usual
    wanted = {"week_start": "sunday", "timezone": "Asia/Tehran", "rate_per_minute": 600}
    assert data(await http.patch("/api/sites/shop", json=wanted)) == {**usual, **wanted}
    more = {"requires_key": True, "allowed_origins": ["https://*.example.org"], "rate_per_minute": None}
    assert data(await http.patch("/api/sites/shop", json=more)) == {**usual, **wanted, **more}
    assert data(await http.get("/api/sites/shop")) == {**usual, **wanted, **more}
    wrong = {
        "timezone": None,
        "week_start": "friday",
        "requires_key": 1,
        "allowed_origins": ["x"],
        "rate_per_minute": -1,
    }
    assert set(faults(await http.patch("/api/sites/shop", json={**wrong, "id": "other"}))) == {
        "timezone",
        "week_start",
        "requires_key",
        "allowed_origins[0]",
        "rate_per_minute",
        "id",
    }
    assert set(faults(await http.patch("/api/sites/a%20b", json={}))) == {"site_id"}


async def test_reading_needs_the_scope_read_and_changing_admin_for_that_site(tmp_path: Path) -> None:
    async with running(tmp_path, Settings(auth=AuthMode.ON)) as footfall:
        nobody: dict[str, str] = {}
        reader, owner = await footfall.key(Scope.READ), await footfall.key(Scope.ADMIN, site_ids=("shop",))
        asked = [
            ("GET", "/api/sites/shop", None),
            ("GET", "/api/sites/shop/goals", None),
            ("GET", "/api/sites/shop/goals/a", None),
            ("PATCH", "/api/sites/shop", {"timezone": "Europe/Paris"}),
            ("PUT", "/api/sites/shop/goals/a", {"event": "e"}),
            ("DELETE", "/api/sites/shop/goals/a", None),
        ]
        found: dict[str, list[int]] = {}
        for who, headers in (("nobody", nobody), ("reader", reader), ("owner", owner)):
            for method, address, body in asked:
                said = await footfall.http.request(method, address, json=body, headers=headers)
                found.setdefault(who, []).append(said.status_code)
        assert found["nobody"] == [401] * 6
        assert found["reader"] == [404, 200, 404, 403, 403, 403]
        assert found["owner"] == [404, 200, 404, 200, 200, 200]
        other = await footfall.http.put("/api/sites/other/goals/a", json={"event": "e"}, headers=owner)
        assert other.status_code == 403


async def test_a_rule_is_in_force_as_soon_as_the_answer_says_so(footfall: Running) -> None:
    question = {"site_id": "shop", "metrics": ["events"], "date_range": ["2024-01-15", "2024-01-15"]}
    for zone in ("Asia/Tehran", "Europe/Berlin", "America/St_Johns"):
        data(await footfall.http.patch("/api/sites/shop", json={"timezone": zone}))
        assert (await footfall.http.post("/api/query", json=question)).json()["query"]["timezone"] == zone
