"""However events are cut into batches and repeated, answers agree with a recount of the events by hand."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import count, pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from footfall.event import Event, encode, key_of, new_id
from footfall.query.query import Dimension, Metric, Query, Range
from footfall.reports.stats import daily_stats
from footfall.store.base import Batch, Ledger, Store
from tests.conformance.stores import STORES

T = TypeVar("T")
ALL = (Metric.PAGEVIEWS, Metric.VISITORS, Metric.EVENTS)
ZONES = [
    "UTC",
    "America/New_York",
    "America/St_Johns",
    "America/Sao_Paulo",
    "Asia/Tehran",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Africa/Casablanca",
]
# Instants around which some of these zones turn their clocks, skip a day, or do nothing.
CHANGES = [
    datetime(2024, 3, 10, 7, tzinfo=UTC),
    datetime(2024, 11, 3, 6, tzinfo=UTC),
    datetime(2018, 2, 18, 2, tzinfo=UTC),
    datetime(2018, 11, 4, 3, tzinfo=UTC),
    datetime(2022, 3, 21, 20, 30, tzinfo=UTC),
    datetime(2024, 4, 6, 15, tzinfo=UTC),
    datetime(2024, 10, 5, 15, 30, tzinfo=UTC),
    datetime(2011, 12, 30, 10, tzinfo=UTC),
    datetime(1970, 1, 3, tzinfo=UTC),
]
_sites = count()


async def _opened(name: str, folder: Path) -> Store:
    return await STORES[name](folder)


class Runner(NamedTuple):
    """A store, and the loop that it lives on."""

    loop: asyncio.Runner
    store: Store

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run(work)


@pytest.fixture(params=STORES, scope="module")
def runner(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    folder: Path = tmp_path_factory.mktemp("store")
    with asyncio.Runner() as loop:
        store = loop.run(_opened(request.param, folder))
        yield Runner(loop, store)
        loop.run(store.close())


class Case(NamedTuple):
    """Events of one site, in the order in which they arrive first, and the deliveries that bring them."""

    around: datetime
    zone: ZoneInfo
    events: list[Event]
    cuts: list[int]
    repeats: list[tuple[int, int]]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    around = draw(st.sampled_from(CHANGES))
    drawn = draw(
        st.lists(
            st.tuples(
                st.integers(-36 * 3600, 36 * 3600),
                st.sampled_from([0, 1, 999]),
                st.sampled_from(["/", "/a", "/b", "/ü'\\\0\n"]),
                st.sampled_from(["pageview", "pageview", "click", "engagement"]),
                st.integers(0, 4),
                st.sampled_from(["", "", "", "k1", "k2"]),
                st.sampled_from(["", "", "", "", "bot"]),
            ),
            max_size=40,
        )
    )
    base = (around - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    received = base + 48 * 3600 * 1000
    events = [
        Event(
            id=new_id(),
            key=key_of("", key) if key else b"",
            site_id="",
            name=name,
            occurred_at_ms=base + seconds * 1000 + ms,
            received_at_ms=received + place,
            visitor_id=2**64 - 1 - visitor,
            path=path,
            interactive=name != "engagement",
            drop_reason=reason,
        )
        for place, (seconds, ms, path, name, visitor, key, reason) in enumerate(drawn)
    ]
    size = len(events)
    return Case(
        around,
        ZoneInfo(draw(st.sampled_from(ZONES))),
        events,
        sorted(draw(st.lists(st.integers(0, size), max_size=4))),
        draw(st.lists(st.tuples(st.integers(0, size), st.integers(0, size)), max_size=4)),
    )


class Expected(NamedTuple):
    """What counts and what does not, by hand."""

    counted: list[Event]
    drops: Counter[str]


def recount(events: list[Event]) -> Expected:
    counted: list[Event] = []
    drops: Counter[str] = Counter()
    keys: set[bytes] = set()
    for event in events:
        if event.drop_reason:
            drops[event.drop_reason] += 1
        elif event.key and event.key in keys:
            drops["duplicate"] += 1
        else:
            keys.add(event.key)
            counted.append(event)
    return Expected(counted, drops)


def wall(event: Event, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(event.occurred_at_ms // 1000, UTC).astimezone(zone)


def figures(events: list[Event]) -> tuple[int, int, int]:
    views = [event for event in events if event.name == "pageview"]
    return len(views), len({event.visitor_id for event in events}), len(events)


async def deliver(store: Store, site_id: str, case: Case) -> list[Event]:
    """Every event once, cut into batches; in between and afterwards, stretches that were delivered before."""
    events = [
        Event(
            **{name: getattr(event, name) for name in Event.__struct_fields__}
            | {"site_id": site_id, "id": new_id(), "key": key_of(site_id, event.key.hex()) if event.key else b""}
        )
        for event in case.events
    ]
    payloads = [encode(event) for event in events]
    edges = [0, *case.cuts, len(events)]
    repeats = list(case.repeats)
    for start, end in pairwise(edges):
        await store.write(Batch(payloads[start:end], redelivered=False))
        if repeats:
            low, high = sorted(repeats.pop())
            await store.write(Batch(payloads[min(low, end) : min(high, end)], redelivered=True))
    for low, high in repeats:
        # The whole, after parts of it: what a worker does with a job whose first attempt it knows nothing about.
        await store.write(Batch(payloads[min(low, high) :], redelivered=True))
    return events


@given(cases())
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
def test_every_answer_agrees_with_a_recount_by_hand(runner: Runner, case: Case) -> None:
    site_id = f"site-{next(_sites)}"
    events = runner.run(deliver(runner.store, site_id, case))
    expected = recount(events)
    assert runner.run(runner.store.ledger(site_id)) == Ledger(len(expected.counted), dict(expected.drops))
    # A report of engagement is counted by the statistics of its day and by no question.
    own = [event for event in expected.counted if event.interactive]
    runner.run(_check_rows(runner.store, site_id, case, own))
    runner.run(_check_days(runner.store, site_id, case, expected.counted))


async def _check_rows(store: Store, site_id: str, case: Case, counted: list[Event]) -> None:
    zone = case.zone
    span = Range(case.around - timedelta(hours=40), case.around + timedelta(hours=40), zone)
    keys: dict[Dimension, Callable[[Event], str]] = {
        Dimension.PAGE: lambda event: event.path,
        Dimension.NAME: lambda event: event.name,
        Dimension.DAY: lambda event: wall(event, zone).strftime("%Y-%m-%d"),
        Dimension.HOUR: lambda event: f"{wall(event, zone):%Y-%m-%dT%H:00:00}{wall(event, zone).isoformat()[19:]}",
    }
    for dimensions in ((), (Dimension.PAGE,), (Dimension.DAY,), (Dimension.HOUR,), (Dimension.DAY, Dimension.NAME)):
        groups: defaultdict[tuple[str, ...], list[Event]] = defaultdict(list)
        for event in counted:
            groups[tuple(keys[dimension](event) for dimension in dimensions)].append(event)
        wanted = {(*group, *figures(members)) for group, members in groups.items()}
        if not dimensions and not counted:
            wanted = {(0, 0, 0)}
        table = await store.rows(Query(site_id, span, ALL, dimensions))
        assert set(table.rows) == wanted
        assert len(table.rows) == len(wanted)


async def _check_days(store: Store, site_id: str, case: Case, counted: list[Event]) -> None:
    middle = case.around.astimezone(case.zone).date()
    for first, last in ((middle, middle), (middle - timedelta(days=1), middle + timedelta(days=1))):
        inside = [event for event in counted if first <= wall(event, case.zone).date() <= last]
        views = Counter(event.path for event in inside if event.name == "pageview")
        stats = await daily_stats(store, site_id, first, last, case.zone, limit=2)
        assert (stats.total_views, stats.unique_users_count) == figures(inside)[:2]
        top = sorted(views.items(), key=lambda item: (-item[1], item[0]))[:2]
        assert [(row.path, row.views) for row in stats.top_paths] == top


@given(st.dates(date(1970, 1, 2), date(2037, 12, 30)), st.sampled_from(ZONES))
@settings(max_examples=30, deadline=None)
def test_the_recount_itself_knows_the_date_on_the_wall(day: date, name: str) -> None:
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    event = Event(new_id(), b"", "s", "pageview", int(noon.timestamp()) * 1000, 0, 1)
    shift = wall(event, ZoneInfo(name)).replace(tzinfo=UTC) - noon
    assert -timedelta(hours=12) <= shift <= timedelta(hours=14)
