"""The examples of docs/attribution.md and docs/experiment.md answer what the pages say, also as tables."""

import csv
import io
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from footfall.registry.base import Scope
from footfall.settings import AuthMode, Settings
from tests.running import Running, running

DOCS = Path(__file__).parents[2] / "docs"
BUY = {"site_id": "shop", "date_range": ["2024-01-01", "2024-01-31"], "goal": {"event": "buy"}}
TRIAL = BUY | {"prop": "experiment:checkout"}


@pytest.fixture
async def footfall(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as one:
        yield one


def blocks(page: str) -> list[Any]:
    return [json.loads(block) for block in re.findall(r"```json\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)]


async def ask(footfall: Running, path: str, **question: Any) -> Any:
    response = await footfall.http.post(path, json=question)
    assert response.status_code == 200, response.text
    return response.json()


async def table(footfall: Running, path: str, question: dict[str, Any]) -> list[list[str]]:
    response = await footfall.http.post(path, json=question, headers={"accept": "text/csv"})
    assert response.headers["content-type"].startswith("text/csv")
    return list(csv.reader(io.StringIO(response.text)))


async def faults(footfall: Running, path: str, **question: Any) -> set[str]:
    response = await footfall.http.post(path, json=question)
    assert response.status_code == 400, response.text
    return {fault["field"] for fault in response.json()["details"]}


async def buy(footfall: Running, user: str, at: str, amount: float) -> None:
    await footfall.send(user_id=user, event_type="buy", timestamp=at, revenue={"amount": amount, "currency": "EUR"})


async def test_the_example_of_attribution_is_true(footfall: Running) -> None:
    by_mail = "https://shop.example/?utm_medium=email"
    await footfall.send(user_id="anna", path=by_mail, timestamp="2024-01-10T10:00:00Z")
    await footfall.send(user_id="anna", timestamp="2024-01-12T10:00:00Z")
    await buy(footfall, "anna", "2024-01-12T10:05:00Z", 30)
    await footfall.send(user_id="ben", path=by_mail, timestamp="2024-01-11T10:00:00Z")
    await buy(footfall, "carl", "2024-01-12T10:00:00Z", 10)
    first, question, results = blocks("attribution.md")
    found = await ask(footfall, "/api/attribution", **question)
    assert found["results"] == results
    assert found["meta"] == {}
    assert found["query"] | {"date_range": None, "position": None} == {
        "site_id": "shop",
        "date_range": None,
        "timezone": "UTC",
        "goal": "buy",
        "dimension": "visit:channel",
        "models": ["last_non_direct", "linear", "markov"],
        "lookback": "30d",
        "half_life": "7d",
        "position": None,
        "conversions": "every",
        "paths": 10,
    }
    assert (await ask(footfall, "/api/attribution", **first))["query"]["models"] == ["first", "last", "markov"]
    assert await table(footfall, "/api/attribution", question | {"models": ["linear", "first"]}) == [
        ["visit:channel", "touches", "linear conversions", "linear revenue", "first conversions", "first revenue"],
        ["Direct", "2", "1.5", "25 EUR", "1", "10 EUR"],
        ["Email", "1", "0.5", "15 EUR", "1", "30 EUR"],
    ]


async def test_the_example_of_an_experiment_is_true(footfall: Running) -> None:
    for number in range(40):
        shown = {"experiment:checkout": ("control", "one-page")[number % 2]}
        await footfall.send(user_id=f"v{number}", props=shown, timestamp="2024-01-10T10:00:00Z")
        if number < 18 and (number % 2 or number < 8):
            await buy(footfall, f"v{number}", "2024-01-10T10:05:00Z", 20)
    first, question, results = blocks("experiment.md")
    found = await ask(footfall, "/api/experiment", **question)
    assert found["results"] == results
    assert found["meta"] == {"mixed_visitors": 0}
    assert (await ask(footfall, "/api/experiment", **first))["results"] == results
    lines = await table(footfall, "/api/experiment", question)
    assert [line[:3] for line in lines] == [
        ["variant", "visitors", "converted"], ["control", "20", "4"], ["one-page", "20", "9"]
    ]  # fmt: skip
    assert [line[-1] for line in lines] == ["EUR per visitor", "4.0", "9.0"]


async def test_nothing_seen_is_nothing_said(footfall: Running) -> None:
    found = (await ask(footfall, "/api/attribution", **BUY))["results"]
    assert (found["touchpoints"], found["paths"], found["totals"]["conversions"]) == ([], [], 0)
    assert (await ask(footfall, "/api/experiment", **TRIAL))["results"]["variants"] == []
    named = await ask(footfall, "/api/experiment", **TRIAL, split={"b": 1, "a": 3})
    assert [each["variant"] for each in named["results"]["variants"]] == ["a", "b"]
    assert [each["conversion_rate"]["value"] for each in named["results"]["variants"]] == [None, None]


async def test_a_division_that_is_off_and_visitors_of_two_variants_are_warned_of(footfall: Running) -> None:
    for number in range(30):
        await footfall.send(user_id=f"v{number}", props={"experiment:checkout": "a"}, timestamp="2024-01-10T10:00:00Z")
    await footfall.send(user_id="v0", props={"experiment:checkout": "b"}, timestamp="2024-01-10T10:05:00Z")
    found = await ask(footfall, "/api/experiment", **TRIAL, split={"a": 1, "b": 1})
    assert found["results"]["division"]["is_mismatch"] is True
    assert found["results"]["division"]["expected"] == {"a": 14.5, "b": 14.5}
    assert found["meta"]["mixed_visitors"] == 1
    assert len(found["meta"]["warnings"]) == 2


async def test_everything_that_is_wrong_is_named_at_once(footfall: Running) -> None:
    assert await faults(
        footfall,
        "/api/attribution",
        site_id="shop",
        date_range="7d",
        goal={"evnt": "buy"},
        models=["first", "best"],
        dimension="event:page",
        lookback="9w",
        half_life=7,
        position={"first": 60, "last": 50},
        conversions="some",
        paths=101,
        windows=1,
    ) == {
        *("goal", "models[1]", "dimension", "lookback", "half_life", "position", "conversions", "paths", "windows")
    }  # fmt: skip
    assert await faults(footfall, "/api/attribution", **BUY, models=["first", "first"]) == {"models"}
    assert await faults(footfall, "/api/attribution", site_id="shop", date_range="7d") == {"goal"}
    assert await faults(footfall, "/api/experiment", site_id="shop", date_range="7d", prop="", split={"a": 1}) == {
        *("prop", "goal", "split")
    }  # fmt: skip
    split = {"a": 0, "b": True}
    assert await faults(footfall, "/api/experiment", **TRIAL, split=split) == {"split.a", "split.b"}
    assert await faults(footfall, "/api/experiment", **TRIAL, split={"a": 1, "b": 1}, control="c") == {"control"}


async def test_only_who_may_read_the_site_is_answered(tmp_path: Path) -> None:
    async with running(tmp_path, Settings(auth=AuthMode.ON)) as footfall:
        for path, question in (("/api/attribution", BUY), ("/api/experiment", TRIAL)):
            assert (await footfall.http.post(path, json=question)).status_code == 401
            other = await footfall.key(Scope.READ, site_ids=("other",))
            assert (await footfall.http.post(path, json=question, headers=other)).status_code == 403
            own = await footfall.key(Scope.READ, site_ids=("shop",))
            assert (await footfall.http.post(path, json=question, headers=own)).status_code == 200
