"""Ten thousand lines of a real log: sessions, pages and series agree with a count that knows nothing of Footfall."""

import gzip
import json
import re
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest

from footfall.event import Event, encode, new_id
from footfall.query.asked import Asked
from footfall.query.parse import parse_query
from footfall.reports.query import answer
from footfall.store.base import Batch, Store
from tests.conformance.stores import STORES
from tests.real_log import REAL_LOG

LINE = re.compile(r'^(\S+) \S+ \S+ \[([^\]]+)\] "(\S+) (\S+)[^"]*" (\d+)')
FIRST, LAST = "2015-05-17", "2015-05-20"


class Hit(NamedTuple):
    """One line; each is taken for a pageview, but for what failed, which is taken for an event `failed`."""

    visitor: str
    at: datetime
    path: str
    is_view: bool


def read_log() -> list[Hit]:
    with gzip.open(REAL_LOG, "rt", encoding="utf-8", errors="replace") as lines:
        found = [LINE.match(line) for line in lines]
    return [
        Hit(line[1], datetime.strptime(line[2], "%d/%b/%Y:%H:%M:%S %z").astimezone(UTC), line[4], line[5] < "400")
        for line in found
        if line
    ]


HITS = read_log()
NUMBERS = {visitor: number for number, visitor in enumerate(dict.fromkeys(hit.visitor for hit in HITS))}


def visits(hits: list[Hit]) -> list[list[Hit]]:
    """Every visitor's hits by time (as they stand in the log where it is the same), cut at gaps over half an hour."""
    own: dict[str, list[Hit]] = defaultdict(list)
    for hit in sorted(hits, key=lambda hit: hit.at):
        own[hit.visitor].append(hit)
    found = []
    for line in own.values():
        cuts = [i for i, (a, b) in enumerate(pairwise(line), 1) if b.at - a.at > timedelta(minutes=30)]
        found += [line[start:end] for start, end in pairwise([0, *cuts, len(line)])]
    return found


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    made = await STORES[request.param](tmp_path)
    events = [
        Event(
            id=new_id(),
            key=b"",
            site_id="log",
            name="pageview" if hit.is_view else "failed",
            occurred_at_ms=int(hit.at.timestamp()) * 1000,
            received_at_ms=0,
            visitor_id=NUMBERS[hit.visitor],
            path=hit.path,
        )
        for hit in HITS
    ]
    await made.write(Batch([encode(event) for event in events], redelivered=False))
    yield made
    await made.close()


async def ask(store: Store, **question: Any) -> list[tuple[Any, ...]]:
    body = {"site_id": "log", "date_range": [FIRST, LAST], "pagination": {"limit": 10_000}, **question}
    asked: Asked = parse_query(encode_json(body))
    found = await answer(store, asked, asked.zone or ZoneInfo("UTC"), datetime(2015, 5, 21, tzinfo=UTC))
    return [(*row.dimensions, *row.metrics) for row in found.results]


def encode_json(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode()


async def test_sessions_bounces_and_durations(store: Store) -> None:
    sessions = visits(HITS)
    bounces = sum(len(session) == 1 and session[0].is_view for session in sessions)
    seconds = sum((session[-1].at - session[0].at).total_seconds() for session in sessions)
    views = sum(hit.is_view for hit in HITS)
    metrics = ["visitors", "visits", "pageviews", "events", "bounce_rate", "visit_duration", "views_per_visit"]
    assert await ask(store, metrics=metrics) == [
        (
            len(NUMBERS),
            len(sessions),
            views,
            len(HITS),
            round(100 * bounces / len(sessions), 2),
            round(seconds / len(sessions), 2),
            round(views / len(sessions), 2),
        )
    ]


async def test_entry_and_exit_pages(store: Store) -> None:
    for dimension, place in (("visit:entry_page", 0), ("visit:exit_page", -1)):
        paths = [[hit.path for hit in session if hit.is_view] or [""] for session in visits(HITS)]
        wanted = Counter(viewed[place] for viewed in paths)
        assert dict(await ask(store, metrics=["visits"], dimensions=[dimension])) == wanted


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
async def test_hourly_series(store: Store, zone: str) -> None:
    def hour(hit: Hit) -> str:
        return hit.at.astimezone(ZoneInfo(zone)).replace(minute=0, second=0).isoformat()

    start = datetime.fromisoformat(FIRST).replace(tzinfo=ZoneInfo(zone))
    inside = [hit for hit in HITS if start <= hit.at < start + timedelta(days=4)]
    views = Counter(hour(hit) for hit in inside if hit.is_view)
    people = Counter(at for at, _ in {(hour(hit), hit.visitor) for hit in inside})
    began = Counter(hour(session[0]) for session in visits(inside))
    hours = [(start + timedelta(hours=number)).isoformat() for number in range(96)]
    found = await ask(store, metrics=["pageviews", "visitors", "visits"], dimensions=["time:hour"], timezone=zone)
    assert found == [(at, views[at], people[at], began[at]) for at in hours]


async def test_a_filter_on_a_page_keeps_the_sessions_that_saw_it(store: Store) -> None:
    path = Counter(hit.path for hit in HITS).most_common(1)[0][0]
    kept = [session for session in visits(HITS) if any(hit.path == path for hit in session)]
    seconds = sum((session[-1].at - session[0].at).total_seconds() for session in kept)
    found = await ask(
        store,
        metrics=["events", "visits", "visit_duration", "visitors"],
        filters=[["is", "event:page", [path]]],
    )
    assert found == [
        (
            sum(hit.path == path for hit in HITS),
            len(kept),
            round(seconds / len(kept), 2),
            len({session[0].visitor for session in kept}),
        )
    ]


async def test_a_comparison_with_the_two_days_before(store: Store) -> None:
    body = {"site_id": "log", "metrics": ["visits"], "date_range": ["2015-05-19", LAST], "compare": "previous_period"}
    found = await answer(store, parse_query(encode_json(body)), ZoneInfo("UTC"), datetime(2015, 5, 21, tzinfo=UTC))
    noon = datetime(2015, 5, 19, tzinfo=UTC)
    new = len(visits([hit for hit in HITS if hit.at >= noon]))
    old = len(visits([hit for hit in HITS if hit.at < noon]))
    (row,) = found.results
    assert row.metrics == [new]
    assert row.comparison.metrics == [old]  # type: ignore[union-attr]
    assert row.comparison.change == [round(100 * (new - old) / old, 2)]  # type: ignore[union-attr]
