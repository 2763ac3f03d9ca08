"""Ten thousand lines of a real log: funnel, retention and journey agree with a count that knows nothing of Footfall."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

import pytest

from footfall.event import Event, encode, new_id
from footfall.query.definitions import Definitions, WeekStart
from footfall.query.funnel import parse_funnel
from footfall.query.journey import parse_journey
from footfall.query.retention import parse_retention
from footfall.reports.funnel import funnel
from footfall.reports.journey import journey
from footfall.reports.retention import retention
from footfall.reports.span import Clock
from footfall.store.base import Batch, Store
from tests.conformance.stores import STORES
from tests.unit.test_query_real_log import FIRST, HITS, LAST, NUMBERS, Hit, visits

T = TypeVar("T")
NOTHING = Definitions()


class Runner(NamedTuple):
    loop: asyncio.Runner
    store: Store

    def ask(self, parse: Callable[..., Any], report: Callable[..., Coroutine[Any, Any, Any]], **question: Any) -> Any:
        clock = Clock(ZoneInfo(question.get("timezone", "UTC")), WeekStart.MONDAY, datetime(2015, 5, 21, tzinfo=UTC))
        asked = parse({"site_id": "log", "date_range": [FIRST, LAST], **question}, NOTHING)
        return self.loop.run(report(self.store, asked, clock)).results


async def opened(kind: str, folder: Path) -> Store:
    store = await STORES[kind](folder)
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
    await store.write(Batch([encode(event) for event in events], redelivered=False))
    return store


@pytest.fixture(params=STORES, scope="module")
def runner(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    folder: Path = tmp_path_factory.mktemp("store")
    with asyncio.Runner() as loop:
        store = loop.run(opened(request.param, folder))
        yield Runner(loop, store)
        loop.run(store.close())


def is_at(hit: Hit, start: str) -> bool:
    return hit.is_view and hit.path.startswith(start)


def steps_of(hits: list[Hit], starts: tuple[str, ...], window: timedelta) -> int:
    """The most steps that any beginning leads to."""
    best = 0
    for place, first in enumerate(hits):
        if not is_at(first, starts[0]):
            continue
        reached = 1
        for hit in hits[place + 1 :]:
            if reached < len(starts) and is_at(hit, starts[reached]) and hit.at - first.at <= window:
                reached += 1
        best = max(best, reached)
    return best


@pytest.mark.parametrize("by", ["visitor", "session"])
def test_a_funnel_through_three_parts_of_the_site(runner: Runner, by: str) -> None:
    own: dict[str, list[Hit]] = defaultdict(list)
    for hit in sorted(HITS, key=lambda hit: hit.at):
        own[hit.visitor].append(hit)
    starts = ("/blog/", "/images/", "/presentations/")
    units = list(own.values()) if by == "visitor" else visits(HITS)
    reached = Counter(steps_of(unit, starts, timedelta(hours=1)) for unit in units)
    wanted = [sum(count for steps, count in reached.items() if steps > place) for place in range(3)]
    assert wanted[1] > 0
    question = {"steps": [{"page": f"{start}**"} for start in starts], "window": "1h", "by": by}
    assert [step.count for step in runner.ask(parse_funnel, funnel, **question).steps] == wanted


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
def test_who_comes_back_by_the_day(runner: Runner, zone: str) -> None:
    def day(hit: Hit) -> int:
        return (hit.at.astimezone(ZoneInfo(zone)).date() - datetime.fromisoformat(FIRST).date()).days

    days: dict[str, set[int]] = defaultdict(set)
    for hit in HITS:
        days[hit.visitor].add(day(hit))
    cohorts = runner.ask(parse_retention, retention, timezone=zone).cohorts
    for start, cohort in enumerate(cohorts):
        members = [seen for seen in days.values() if min(seen) == start]
        assert cohort.size == len(members)
        assert [period.visitors for period in cohort.periods] == [
            sum(each in seen for seen in members) for each in range(start, 4)
        ]
        assert [period.visitors_on_or_after for period in cohort.periods] == [
            sum(each <= max(seen & {0, 1, 2, 3}) for seen in members) for each in range(start, 4)
        ]


def test_where_people_go_from_the_home_page(runner: Runner) -> None:
    paths: Counter[tuple[str, ...]] = Counter()
    for visit in visits(HITS):
        views = [hit.path for hit in visit if hit.is_view]
        if "/" in views:
            paths[tuple(name for name, _ in groupby(views[views.index("/") :]))[:3]] += 1
    found = runner.ask(parse_journey, journey, **{"from": {"page": "/"}}, depth=2, top=50, paths=1_000)
    assert found.sessions == sum(paths.values())
    assert {tuple(step.name for step in path.steps): path.sessions for path in found.paths} == paths
    second = Counter(path[1] for path in paths.elements() if len(path) > 1)
    nodes = {node.name: node.sessions for node in found.nodes if node.level == 1 and node.kind == "page"}
    assert nodes == dict(sorted(second.items(), key=lambda pair: (-pair[1], pair[0]))[:50])
