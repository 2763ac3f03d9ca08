"""The general question over HTTP: buckets, order, pages, comparison, CSV, and what is refused by name."""

import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from footfall.errors import Unavailable
from footfall.query.query import Query
from footfall.registry.base import Scope, Site
from footfall.settings import AuthMode, Settings
from footfall.store.base import Table
from tests.fakes_store import MemoryStore
from tests.running import Running, running

DAY = ["2024-01-15", "2024-01-15"]


@pytest.fixture
async def footfall(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as one:
        yield one


async def ask(footfall: Running, **question: Any) -> Any:
    body = {"site_id": "shop", "metrics": ["visitors"], "date_range": DAY, **question}
    response = await footfall.http.post("/api/query", json=body)
    assert response.status_code == 200, response.text
    return response.json()


async def rows(footfall: Running, **question: Any) -> list[list[Any]]:
    """Dimensions and metrics of each row in one list."""
    return [row["dimensions"] + row["metrics"] for row in (await ask(footfall, **question))["results"]]


async def faults(footfall: Running, **question: Any) -> dict[str, str]:
    body = {"site_id": "shop", "metrics": ["visitors"], "date_range": DAY, **question}
    response = await footfall.http.post("/api/query", json=body)
    assert response.status_code == 400, response.text
    return {fault["field"]: fault["message"] for fault in response.json()["details"]}


async def visit(footfall: Running, user: str, start: str, *paths: str, **fields: Any) -> None:
    """One session: a page a minute."""
    at = datetime.fromisoformat(start).replace(tzinfo=UTC)
    for place, path in enumerate(paths):
        when = (at + timedelta(minutes=place)).isoformat()
        await footfall.send(user_id=user, path=path, timestamp=when, **fields)


async def test_a_question_is_answered_with_what_it_was_understood_as(footfall: Running) -> None:
    await visit(footfall, "anna", "2024-01-15T10:00", "/", "/buy")
    await visit(footfall, "ben", "2024-01-15T10:00", "/")
    found = await ask(footfall, metrics=["visitors", "visits", "pageviews", "bounce_rate", "visit_duration"])
    assert found == {
        "results": [{"dimensions": [], "metrics": [2, 2, 3, 50.0, 30.0]}],
        "meta": {},
        "query": {
            "site_id": "shop",
            "metrics": ["visitors", "visits", "pageviews", "bounce_rate", "visit_duration"],
            "date_range": ["2024-01-15T00:00:00+00:00", "2024-01-16T00:00:00+00:00"],
            "timezone": "UTC",
            "dimensions": [],
            "order_by": [["visitors", "desc"]],
            "pagination": {"limit": 10000, "offset": 0},
        },
    }


async def test_nothing_at_all_is_zeros_and_nulls(footfall: Running) -> None:
    metrics = ["visitors", "visits", "bounce_rate", "visit_duration", "total_revenue", "percentage"]
    assert await rows(footfall, metrics=metrics) == [[0, 0, None, None, None, None]]
    assert await rows(footfall, metrics=metrics, dimensions=["visit:source"]) == []
    assert await rows(footfall, dimensions=["time:day"], date_range="7d", metrics=["visits"]) != []


async def test_exactly_thirty_minutes_do_not_end_a_visit(footfall: Running) -> None:
    for user, second in (("anna", "10:30:00"), ("ben", "10:30:01")):
        for at in ("10:00:00", second):
            await footfall.send(user_id=user, timestamp=f"2024-01-15T{at}Z")
    assert await rows(footfall, metrics=["visits"]) == [[3]]


async def test_empty_buckets_are_there_and_days_are_those_of_the_zone(footfall: Running) -> None:
    await visit(footfall, "anna", "2024-01-15T20:00", "/")
    question: dict[str, Any] = {"dimensions": ["time:day"], "date_range": ["2024-01-14", "2024-01-17"]}
    days = [f"2024-01-{day}" for day in (14, 15, 16, 17)]
    assert await rows(footfall, **question) == [[day, int(day.endswith("15"))] for day in days]
    kathmandu = await rows(footfall, timezone="Asia/Kathmandu", **question)
    assert kathmandu == [[day, int(day.endswith("16"))] for day in days]
    await footfall.registry.save_site(Site(id="shop", created_at_ms=1, timezone="Asia/Kathmandu"))

    async def takes_effect() -> bool:
        return await rows(footfall, **question) == kathmandu

    await footfall.until(takes_effect)


async def test_every_group_has_every_bucket(footfall: Running) -> None:
    await visit(footfall, "anna", "2024-01-15T10:00", "/a")
    await visit(footfall, "ben", "2024-01-16T10:00", "/b")
    found = await rows(footfall, dimensions=["time:day", "event:page"], date_range=["2024-01-15", "2024-01-16"])
    assert found == [
        ["2024-01-15", "/a", 1],
        ["2024-01-15", "/b", 0],
        ["2024-01-16", "/b", 1],
        ["2024-01-16", "/a", 0],
    ]


async def test_time_alone_stands_for_what_suits_the_range(footfall: Running) -> None:
    for date_range, expected in (
        (DAY, "time:hour"),
        (["2024-01-01", "2024-01-31"], "time:day"),
        (["2024-01-01", "2024-06-30"], "time:week"),
        (["2022-01-01", "2024-06-30"], "time:month"),
    ):
        found = await ask(footfall, dimensions=["time"], date_range=date_range, include={"time_labels": True})
        assert found["query"]["dimensions"] == [expected]
        assert found["meta"]["time_labels"] == [row["dimensions"][0] for row in found["results"]]
    assert found["meta"]["time_labels"][0] == "2022-01-01"


async def test_a_day_of_a_change_of_clocks_has_its_hours(footfall: Running) -> None:
    for day, hours in (("2024-03-31", 23), ("2024-10-27", 25)):
        found = await rows(footfall, dimensions=["time:hour"], date_range=[day, day], timezone="Europe/Paris")
        assert len(found) == hours


async def test_order_limit_offset_and_the_number_of_all_rows(footfall: Running) -> None:
    for user, page in (("a", "/x"), ("b", "/x"), ("c", "/y"), ("d", "/z")):
        await visit(footfall, user, "2024-01-15T10:00", page)
    paged: dict[str, Any] = {"dimensions": ["event:page"], "include": {"total_rows": True}}
    found = await ask(footfall, pagination={"limit": 2, "offset": 1}, **paged)
    assert [row["dimensions"] for row in found["results"]] == [["/y"], ["/z"]]
    assert found["meta"] == {"total_rows": 3}
    assert (await ask(footfall, pagination={"limit": 2, "offset": 9}, **paged))["meta"] == {"total_rows": 3}
    ordered = await rows(footfall, dimensions=["event:page"], order_by=[["visitors", "asc"], ["event:page", "desc"]])
    assert ordered == [["/z", 1], ["/y", 1], ["/x", 2]]
    paged["dimensions"] = ["time:hour"]
    hours = await ask(footfall, pagination={"limit": 2, "offset": 9}, **paged)
    assert hours["meta"] == {"total_rows": 24}
    assert [row["dimensions"][0][11:13] for row in hours["results"]] == ["09", "10"]


async def test_a_comparison_brings_the_former_figures_and_their_change(footfall: Running) -> None:
    await visit(footfall, "a", "2024-01-14T10:00", "/x")
    await visit(footfall, "b", "2024-01-14T10:00", "/gone")
    for user in ("a", "b", "c"):
        await visit(footfall, user, "2024-01-15T10:00", "/x")
    await visit(footfall, "d", "2024-01-15T10:00", "/new")
    found = await ask(footfall, dimensions=["event:page"], compare="previous_period")
    assert found["results"] == [
        {"dimensions": ["/x"], "metrics": [3], "comparison": {"metrics": [1], "change": [200.0]}},
        {"dimensions": ["/new"], "metrics": [1], "comparison": {"metrics": [0], "change": [None]}},
    ]
    assert found["query"]["comparison_date_range"] == ["2024-01-14T00:00:00+00:00", "2024-01-15T00:00:00+00:00"]
    (total,) = (await ask(footfall, compare={"mode": "custom", "date_range": ["2024-01-13", "2024-01-14"]}))["results"]
    assert total["comparison"] == {"metrics": [2], "change": [100.0]}


async def test_buckets_are_compared_one_by_one(footfall: Running) -> None:
    await visit(footfall, "a", "2024-01-13T10:00", "/")
    await visit(footfall, "b", "2024-01-16T10:00", "/")
    found = await ask(
        footfall, dimensions=["time:day"], date_range=["2024-01-15", "2024-01-16"], compare="previous_period"
    )
    assert found["results"] == [
        {
            "dimensions": ["2024-01-15"],
            "metrics": [0],
            "comparison": {"metrics": [1], "change": [-100.0], "dimensions": ["2024-01-13"]},
        },
        {
            "dimensions": ["2024-01-16"],
            "metrics": [1],
            "comparison": {"metrics": [0], "change": [None], "dimensions": ["2024-01-14"]},
        },
    ]


async def test_all_begins_with_the_first_event(footfall: Running) -> None:
    await visit(footfall, "a", "2023-05-17T23:30", "/")
    found = await ask(footfall, date_range="all", dimensions=["time:year"], timezone="Asia/Kolkata")
    assert found["query"]["date_range"][0] == "2023-05-18T00:00:00+05:30"
    assert found["results"][0] == {"dimensions": ["2023-01-01"], "metrics": [1]}


async def test_money_is_counted_by_currency_and_exactly(footfall: Running) -> None:
    for user, amount, currency in (("a", "0.1", "EUR"), ("b", "0.2", "EUR"), ("c", "5", "USD")):
        await footfall.send(
            user_id=user,
            event_type="order",
            timestamp="2024-01-15T10:00:00Z",
            revenue={"amount": amount, "currency": currency},
        )
    assert await rows(footfall, metrics=["total_revenue", "average_revenue"]) == [
        [{"EUR": 0.3, "USD": 5}, {"EUR": 0.15, "USD": 5}]
    ]


async def test_shares_and_who_was_here_before(footfall: Running) -> None:
    await visit(footfall, "a", "2024-01-10T10:00", "/x")
    for user, page in (("a", "/x"), ("b", "/x"), ("c", "/y")):
        await visit(footfall, user, "2024-01-15T10:00", page)
    metrics = ["percentage", "new_visitors", "returning_visitors"]
    assert await rows(footfall, metrics=metrics, dimensions=["event:page"]) == [
        ["/x", 66.67, 1, 1],
        ["/y", 33.33, 1, 0],
    ]


async def test_an_answer_comes_as_csv_where_that_is_asked_for(footfall: Running) -> None:
    await visit(footfall, "a", "2024-01-15T10:00", '/with "quotes", commas')
    body = {
        "site_id": "shop",
        "metrics": ["visitors", "bounce_rate", "total_revenue"],
        "date_range": DAY,
        "dimensions": ["event:page"],
        "compare": "previous_period",
    }
    response = await footfall.http.post("/api/query", json=body, headers={"accept": "text/csv"})
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert list(csv.reader(io.StringIO(response.text))) == [
        [
            "event:page",
            "visitors",
            "bounce_rate",
            "total_revenue",
            "visitors before",
            "visitors change",
            "bounce_rate before",
            "bounce_rate change",
            "total_revenue before",
            "total_revenue change",
        ],
        ['/with "quotes", commas', "1", "100.0", "", "0", "", "", "", "", ""],
    ]


async def test_every_fault_is_named_by_its_path_and_all_at_once(footfall: Running) -> None:
    found = await faults(
        footfall,
        site_id="no good",
        metrics=["visitors", "guests"],
        date_range="fortnight",
        dimensions=["visit:country_name", "time:second"],
        filters=[
            ["is", "event:page", ["/"]],
            ["or", [["is", "colour", ["red"]], ["like", "event:page", ["/"]], ["is", "segment", ["Who"]]]],
            ["is", "event:goal", ["What"]],
        ],
        timezone="Mars/Olympus",
        pagination={"limit": 0},
        surprise=1,
    )
    assert set(found) == {
        "site_id",
        "metrics[1]",
        "date_range",
        "dimensions[0]",
        "dimensions[1]",
        "filters[1][1][0][1]",
        "filters[1][1][1][0]",
        "filters[1][1][2][2][0]",
        "filters[2][2][0]",
        "timezone",
        "pagination.limit",
        "surprise",
    }
    assert "ask for visit:country" in found["dimensions[0]"]
    assert "'What' is no goal of this site" in found["filters[2][2][0]"]


@pytest.mark.parametrize(
    ("question", "field"),
    [
        ({"filters": [["matches", "event:page", ["("]]]}, "filters[0][2][0]"),
        ({"filters": [["matches", "event:page", ["((a{1,100}){1,100}){1,100}"]]]}, "filters[0][2][0]"),
        ({"filters": [["is", "time:day", ["2024-01-15"]]]}, "filters[0][1]"),
        ({"filters": [["has_done", ["is", "visit:source", ["x"]]]]}, "filters[0][1][1]"),
        ({"filters": [["not", ["is", "segment", [1]]]]}, "filters[0][1][2]"),
        ({"filters": [["contains", "segment", ["a"]]]}, "filters[0][0]"),
        ({"dimensions": ["segment"]}, "dimensions[0]"),
        ({"metrics": ["conversion_rate"]}, "metrics[0]"),
        ({"metrics": ["exit_rate"], "dimensions": ["visit:exit_page"]}, "metrics[0]"),
        ({"filters": [["contains", "event:page", [""]]]}, "filters[0][2][0]"),
        ({"filters": [["is", "event:page", "/"]]}, "filters[0][2]"),
        ({"filters": [["is", "event:page", ["/"], {"case": 1}]]}, "filters[0][3]"),
        ({"filters": {}}, "filters"),
        ({"metrics": []}, "metrics"),
        ({"metrics": ["visitors", "visitors"]}, "metrics"),
        ({"order_by": [["pageviews", "desc"]]}, "order_by[0][0]"),
        ({"metrics": ["total_revenue"], "order_by": [["total_revenue", "desc"]]}, "order_by[0][0]"),
        ({"date_range": ["2024-01-16", "2024-01-15"]}, "date_range"),
        ({"date_range": ["2024-01-15T10:00:00", "2024-01-15T11:00:00"]}, "date_range"),
        ({"date_range": ["1000-01-01", "2024-01-15"]}, "date_range"),
        ({"dimensions": ["time:minute"], "date_range": ["2024-01-01", "2024-01-31"]}, "date_range"),
        ({"dimensions": ["time", "time:hour"]}, "dimensions"),
        ({"compare": "last_week"}, "compare"),
        ({"compare": {"mode": "custom"}}, "compare.date_range"),
        ({"dimensions": ["event:props:"]}, "dimensions[0]"),
    ],
)
async def test_what_can_not_be_asked_is_refused_by_name(footfall: Running, question: Any, field: str) -> None:
    assert set(await faults(footfall, **question)) == {field}


async def test_a_tree_of_filters_has_bounds(footfall: Running) -> None:
    deep: Any = ["is", "event:page", ["/"]]
    for _ in range(9):
        deep = ["not", deep]
    assert "nested" in next(iter((await faults(footfall, filters=[deep])).values()))
    assert set(await faults(footfall, filters=[["is", "event:page", ["/"]]] * 51)) == {"filters"}
    response = await footfall.http.post("/api/query", content=b"[" * 60_000)
    assert response.status_code == 400
    response = await footfall.http.post("/api/query", content=b" " * 70_000)
    assert response.status_code == 413


async def test_a_question_needs_a_key_that_may_read_the_site(tmp_path: Path) -> None:
    async with running(tmp_path, Settings(auth=AuthMode.ON)) as footfall:
        body = {"site_id": "shop", "metrics": ["visitors"], "date_range": "7d"}
        assert (await footfall.http.post("/api/query", json=body)).status_code == 401
        for site_ids, status in ((("blog",), 403), (("shop",), 200)):
            key = await footfall.key(Scope.READ, site_ids=site_ids)
            assert (await footfall.http.post("/api/query", json=body, headers=key)).status_code == status


class TooExpensive(MemoryStore):
    """A store that has met its limit."""

    async def rows(self, query: Query) -> Table:
        raise Unavailable("store: the question took longer than 20 s")


async def test_a_question_over_the_limit_says_so(tmp_path: Path) -> None:
    async with running(tmp_path, store=TooExpensive()) as footfall:
        body = {"site_id": "shop", "metrics": ["visitors"], "date_range": "7d"}
        response = await footfall.http.post("/api/query", json=body)
        assert response.status_code == 503
        assert response.json()["error"] == "store: the question took longer than 20 s"
        assert int(response.headers["retry-after"]) > 0


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2024-10-27", ["01:00:00+02:00", "02:00:00+02:00", "02:00:00+01:00", "03:00:00+01:00"]),
        ("America/St_Johns", "2024-11-03", ["00:00:00-02:30", "01:00:00-02:30", "01:00:00-03:30", "02:00:00-03:30"]),
    ],
)
async def test_the_hour_that_clocks_repeat_comes_in_the_order_of_time(
    footfall: Running, zone: str, day: str, hours: list[str]
) -> None:
    asked = {"dimensions": ["time:hour"], "date_range": [day, day], "timezone": zone}
    names = [row[0] for row in await rows(footfall, **asked)]
    assert names == sorted(names, key=datetime.fromisoformat)
    assert [name.partition("T")[2] for name in names if name.partition("T")[2] in hours] == hours
    assert [row[0] for row in await rows(footfall, **asked, order_by=[["time:hour", "desc"]])] == names[::-1]
