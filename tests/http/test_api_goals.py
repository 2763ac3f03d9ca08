"""Goals, segments, conversion and engagement in the general question, over HTTP."""

import csv
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from footfall.query.definitions import Definitions, Goal, Segment, WeekStart
from footfall.registry.base import Site
from tests.http.test_api_query import ask, faults, rows, visit
from tests.running import Running, running

GOALS = (
    Goal(name="Signup", event="signup"),
    Goal(name="Pro signup", event="signup", props={"plan": "pro"}),
    Goal(name="Read a post", page="/blog/**"),
)
SEGMENTS = (
    Segment(name="Bloggers", filters=[["contains", "event:page", ["/blog"]]]),
    Segment(name="Germans", filters=[["is", "visit:language", ["de"]]]),
    Segment(name="Converted", filters=[["is", "visit:language", ["de"]], ["is", "event:goal", ["Signup"]]]),
    Segment(name="Gone", filters=[["is", "event:goal", ["Deleted"]]]),
)


@pytest.fixture
async def footfall(tmp_path: Path) -> AsyncIterator[Running]:
    """Anna (German) reads two posts and signs up as a pro, Ben (German) signs up for free, Carl reads, Dora leaves."""
    async with running(tmp_path) as one:
        await one.registry.save_site(Site(id="shop", created_at_ms=1))
        await one.registry.save_definitions("shop", Definitions(goals=GOALS, segments=SEGMENTS), 0)
        await visit(one, "anna", "2024-01-15T10:00", "/", "/blog/a", "/blog/b", language="de")
        for user, plan, at in (("anna", "pro", "10:05"), ("ben", "free", "11:05")):
            signup = {"event_type": "signup", "path": "/signup", "props": {"plan": plan}, "language": "de"}
            await one.send(user_id=user, timestamp=f"2024-01-15T{at}:00Z", **signup)
        await visit(one, "carl", "2024-01-15T12:00", "/blog/a")
        await visit(one, "dora", "2024-01-15T13:00", "/")
        yield one


async def test_an_event_counts_in_the_row_of_every_goal_that_it_meets(footfall: Running) -> None:
    metrics = ["visitors", "events", "visits", "conversion_rate", "group_conversion_rate"]
    assert await rows(footfall, dimensions=["event:goal"], metrics=metrics) == [
        ["Read a post", 2, 3, 2, 50.0, 50.0],
        ["Signup", 2, 2, 2, 50.0, 50.0],
        ["Pro signup", 1, 1, 1, 25.0, 25.0],
    ]


async def test_a_rate_is_of_all_visitors_or_of_those_of_the_same_group(footfall: Running) -> None:
    question: dict[str, Any] = {
        "metrics": ["visitors", "conversion_rate", "group_conversion_rate"],
        "filters": [["is", "event:goal", ["Signup", "Read a post"]]],
        "dimensions": ["visit:language"],
    }
    assert await rows(footfall, **question) == [["de", 2, 50.0, 100.0], ["", 1, 25.0, 50.0]]
    by_rate = [["group_conversion_rate", "asc"]]
    assert await rows(footfall, **question, order_by=by_rate) == [["", 1, 25.0, 50.0], ["de", 2, 50.0, 100.0]]
    paged = await ask(
        footfall, **question, order_by=by_rate, pagination={"limit": 1, "offset": 1}, include={"total_rows": True}
    )
    assert [row["dimensions"] for row in paged["results"]] == [["de"]]
    assert paged["meta"] == {"total_rows": 2}


async def test_a_rate_keeps_other_filters_and_leaves_out_those_of_goals_and_properties(footfall: Running) -> None:
    german: list[Any] = ["is", "visit:language", ["de"]]
    goal: list[Any] = ["is", "event:goal", ["Signup"]]
    plan: list[Any] = ["is", "event:props:plan", ["pro"]]
    for filters in ([german, goal, plan], [["and", [german, goal]], plan], [["is", "segment", ["Converted"]], plan]):
        assert await rows(footfall, filters=filters, metrics=["visitors", "conversion_rate"]) == [[1, 50.0]]


async def test_only_the_goals_that_the_filter_leaves_have_rows(footfall: Running) -> None:
    for filters, names in (
        ([["is", "event:goal", ["Pro signup"]]], ["Pro signup"]),
        ([["contains", "event:goal", ["SIGN"], {"case_sensitive": False}]], ["Signup", "Pro signup"]),
        ([["matches_not", "event:goal", ["^Pro", "^Sign"]]], ["Read a post"]),
    ):
        found = await rows(footfall, dimensions=["event:goal"], filters=filters)
        assert [row[0] for row in found] == names


async def test_goals_and_segments_stand_anywhere_in_a_tree(footfall: Running) -> None:
    for filters, visitors in (
        ([["is_not", "event:goal", ["Read a post"]]], 3),
        ([["contains", "event:goal", ["nothing of the kind"]]], 0),
        ([["has_done", ["is", "event:goal", ["Signup"]]], ["is", "event:goal", ["Read a post"]]], 1),
        ([["has_not_done", ["is", "event:goal", ["Signup", "Read a post"]]]], 1),
        ([["is", "segment", ["Bloggers", "Germans"]]], 3),
        ([["not", ["is", "segment", ["Bloggers"]]], ["is_not", "segment", ["Germans"]]], 1),
        ([["or", [["is", "segment", ["Germans"]], ["has_done", ["is", "segment", ["Bloggers"]]]]]], 3),
    ):
        assert await rows(footfall, filters=filters) == [[visitors]], filters


async def test_a_segment_that_can_not_be_asked_is_named_where_it_stands(footfall: Running) -> None:
    found = await faults(footfall, filters=[["is", "segment", ["Gone"]], ["is", "segment", ["Bloggers", "No"]]])
    assert set(found) == {"filters[0][2][0]", "filters[1][2][1]"}
    assert "'Deleted' is no goal" in found["filters[0][2][0]"]
    assert "Bloggers, Germans" in found["filters[1][2][1]"]
    assert set(await faults(footfall, filters=[["has_done", ["is", "segment", ["Germans"]]]])) == {
        "filters[0][1][2][0]"
    }


async def test_goals_are_compared_counted_over_time_and_written_as_csv(footfall: Running) -> None:
    body = {
        "site_id": "shop",
        "metrics": ["visitors", "conversion_rate"],
        "date_range": ["2024-01-14", "2024-01-15"],
        "dimensions": ["time:day", "event:goal"],
        "filters": [["is", "event:goal", ["Signup"]]],
        "compare": "previous_period",
    }
    response = await footfall.http.post("/api/query", json=body, headers={"accept": "text/csv"})
    assert list(csv.reader(io.StringIO(response.text)))[1:] == [
        ["2024-01-14", "Signup", "0", "0.0", "0", "0.0", "", ""],
        ["2024-01-15", "Signup", "2", "50.0", "0", "", "", ""],
    ]


async def test_reports_of_engagement_tell_of_pages_and_of_nothing_else(footfall: Running) -> None:
    await visit(footfall, "eve", "2024-01-16T10:00", "/long", "/short", "/long")
    reports: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("10:01:00", "/long", {"scroll_depth": 40, "engagement_ms": 20_000}),
        ("10:10:00", "/long", {"scroll_depth": 90, "engagement_ms": 30_000}),
        ("10:35:00", "/short", {"engagement_ms": 4_000}),
        ("18:00:00", "/short", {"scroll_depth": 100, "engagement_ms": 99_000}),
    )
    for at, path, props in reports:
        report = {"event_type": "engagement", "interactive": False, "path": path, "props": props}
        await footfall.send(user_id="eve", timestamp=f"2024-01-16T{at}Z", **report)
    day: dict[str, Any] = {"date_range": ["2024-01-16", "2024-01-16"]}
    plain = ["visitors", "visits", "events", "pageviews", "bounce_rate", "visit_duration"]
    assert await rows(footfall, metrics=plain, **day) == [[1, 1, 3, 3, 0.0, 2100.0]]
    pages = ["scroll_depth", "time_on_page", "exit_rate"]
    assert await rows(footfall, metrics=pages, dimensions=["event:page"], order_by=[["event:page", "asc"]], **day) == [
        ["/long", 90.0, 50.0, 50.0],
        ["/short", None, 4.0, 0.0],
    ]
    assert await rows(footfall, metrics=pages, **day) == [[90.0, 27.0, 33.33]]


async def test_without_reports_the_time_on_a_page_lasts_until_the_next_one(footfall: Running) -> None:
    found = await ask(footfall, metrics=["time_on_page", "scroll_depth"], dimensions=["event:page"])
    assert [row["metrics"][0] for row in found["results"] if row["metrics"][0] is not None] == [60.0, 60.0]
    assert set(found["meta"]["metric_warnings"]) == {"scroll_depth"}
    assert "scroll_depth" in found["meta"]["metric_warnings"]["scroll_depth"]["warning"]


async def test_weeks_begin_on_the_day_that_the_site_chose(footfall: Running) -> None:
    question: dict[str, Any] = {
        "dimensions": ["time:week", "time:day_of_week"],
        "date_range": ["2024-01-14", "2024-01-20"],
    }
    assert [row[0] for row in await rows(footfall, **question) if row[2]] == ["2024-01-15"]
    await footfall.registry.save_site(Site(id="shop", created_at_ms=1, week_start=WeekStart.SUNDAY))

    async def takes_effect() -> bool:
        found = [row for row in await rows(footfall, **question) if row[2]]
        return found == [["2024-01-14", 1, 4]]

    await footfall.until(takes_effect)
    span = (await ask(footfall, date_range="week", timezone="Asia/Kolkata"))["query"]["date_range"]
    assert span[0].endswith("T00:00:00+05:30")
