"""Questions about the order of events: every store agrees with a count that tries every way there is."""

import asyncio
import random
from collections.abc import Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from math import isclose
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from footfall.event import Event, encode, new_id
from footfall.query.funnel import Funnel, Order, Unit
from footfall.query.journey import Journey, Kind, Way
from footfall.query.query import (
    All,
    Compare,
    Dimension,
    Filter,
    HasDone,
    Not,
    Operator,
    Prop,
    Range,
    Some,
)
from footfall.query.retention import PERIODS, Retention
from footfall.query.sequence import Sequence
from footfall.query.steps import ANY_EVENT, a_step
from footfall.store.base import Batch, Store
from tests.conformance.stores import NOON, STORES, an_event, encoded
from tests.fakes_sequences import answer

T = TypeVar("T")
ZONES = ["UTC", "America/New_York", "Asia/Kathmandu", "America/Sao_Paulo"]
CHANGES = [
    datetime(2024, 3, 10, 7, tzinfo=UTC),
    datetime(2024, 11, 3, 6, tzinfo=UTC),
    datetime(2018, 11, 4, 3, tzinfo=UTC),
]
"""Where the clocks of one of these zones change."""
PATHS = ["/a", "/b", "/ü'\\\n"]
_sites = count()
UTC_ZONE = ZoneInfo("UTC")
SPAN = Range(NOON - timedelta(days=2), NOON + timedelta(days=2), UTC_ZONE)


class Runner(NamedTuple):
    loop: asyncio.Runner
    store: Store

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run(work)

    def ask(self, question: Sequence) -> list[tuple[Any, ...]]:
        return list(self.run(self.store.sequences(question)).rows)

    def write(self, *events: Event) -> None:
        self.run(self.store.write(Batch(encoded(*events), redelivered=False)))


async def opened(kind: str, folder: Path) -> Store:
    return await STORES[kind](folder)


@pytest.fixture(params=STORES, scope="module")
def runner(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    folder: Path = tmp_path_factory.mktemp("store")
    with asyncio.Runner() as loop:
        store = loop.run(opened(request.param, folder))
        yield Runner(loop, store)
        loop.run(store.close())


# --- anything drawn, against the recount ----------------------------------------------------------------------------


class Seed(NamedTuple):
    """What is drawn of an event."""

    minutes: int
    visitor: int
    name: str
    path: str
    source: str
    plan: str


# Whole tens of minutes: many at the same moment, and many sessions with gaps of exactly 30 minutes.
moments = st.one_of(st.integers(-18, 18).map(lambda n: n * 10), st.integers(-36 * 60, 36 * 60))
seeds = st.builds(
    Seed,
    moments,
    st.integers(1, 3),
    st.sampled_from(["pageview", "pageview", "pageview", "buy", "engagement"]),
    st.sampled_from(PATHS),
    st.sampled_from(["", "Google", "it's"]),
    st.sampled_from(["", "free", "PRO"]),
)


def event_of(seed: Seed, around: datetime, site_id: str) -> Event:
    at_ms = (int(around.timestamp()) + seed.minutes * 60) * 1000
    return Event(
        id=new_id(),
        key=b"",
        site_id=site_id,
        name=seed.name,
        occurred_at_ms=at_ms,
        received_at_ms=at_ms,
        visitor_id=2**64 - seed.visitor,
        path=seed.path,
        source=seed.source,
        props={"plan": seed.plan} if seed.plan else {},
        interactive=seed.name != "engagement",
        revenue=Decimal(1) if seed.name == "buy" else None,
    )


def is_page(*paths: str) -> Compare:
    return Compare(Operator.IS, Dimension.PAGE, paths)


def is_name(*names: str) -> Compare:
    return Compare(Operator.IS, Dimension.NAME, names)


conditions: st.SearchStrategy[Filter] = st.sampled_from(
    [
        is_page("/a"),
        is_page("/b"),
        is_page("/a", PATHS[2]),
        is_name("buy"),
        is_name("buy", "engagement"),
        All((is_name("pageview"), Compare(Operator.CONTAINS_NOT, Dimension.PAGE, ("A",), False))),
        Compare(Operator.IS, Prop("plan"), ("free", "")),
        Compare(Operator.MATCHES, Dimension.PAGE, ("^/[ab]$",)),
    ]
)
steps = conditions.map(lambda condition: a_step("step", condition))
of_visit = Compare(Operator.IS, Dimension.SOURCE, ("Google",))
filters: st.SearchStrategy[Filter | None] = st.sampled_from(
    [
        None,
        None,
        of_visit,
        is_page("/a"),
        HasDone(is_page("/b")),
        Not(HasDone(is_name("buy"))),
        Some((of_visit, is_name("buy"))),
        All((Compare(Operator.IS_NOT, Dimension.ENTRY_PAGE, ("/a",)), is_page("/b"))),
    ]
)
breakdowns: st.SearchStrategy[Dimension | Prop | None] = st.sampled_from(
    [None, Prop("plan"), Dimension.PAGE, Dimension.SOURCE, Dimension.EXIT_PAGE, Dimension.HOUR, Dimension.HOUR_OF_DAY]
)


@st.composite
def questions(draw: st.DrawFn) -> Any:
    """Which kind, and everything but site and range."""
    condition = draw(filters)
    kind = draw(st.sampled_from([Funnel, Retention, Journey]))
    if kind is Funnel:
        return kind, {
            "steps": tuple(draw(st.lists(steps, min_size=2, max_size=4))),
            "order": draw(st.sampled_from(Order)),
            "unit": draw(st.sampled_from(Unit)),
            "window_ms": draw(st.sampled_from([0, 10, 20, 60, 100_000])) * 60_000,
            "filter": condition,
            "breakdown": draw(breakdowns),
            "limit": draw(st.integers(1, 3)),
        }
    if kind is Retention:
        return kind, {
            "period": draw(st.sampled_from(PERIODS)),
            "start": draw(st.none() | steps),
            "returned": draw(st.just(ANY_EVENT) | steps),
            "filter": condition,
        }
    return kind, {
        "way": draw(st.sampled_from(Way)),
        "anchor": draw(st.none() | steps),
        "kind": draw(st.sampled_from(Kind)),
        "depth": draw(st.integers(1, 4)),
        "top": draw(st.integers(1, 3)),
        "paths": draw(st.integers(1, 6)),
        "collapse": draw(st.booleans()),
        "filter": condition,
    }


def is_same(ours: object, theirs: object) -> bool:
    return isclose(ours, theirs) if isinstance(ours, float) and isinstance(theirs, int | float) else ours == theirs


def check(runner: Runner, events: list[Event], question: Sequence) -> None:
    table = runner.run(runner.store.sequences(question))
    wanted = answer(question, events)
    assert table.columns == wanted.columns

    def figureless(row: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(None if isinstance(each, float) else each for each in row)

    ours, theirs = (sorted(found.rows, key=lambda row: repr(figureless(row))) for found in (table, wanted))
    assert len(ours) == len(theirs), (ours, theirs)
    for mine, yours in zip(ours, theirs, strict=True):
        assert all(map(is_same, mine, yours)), (mine, yours)


@pytest.mark.parametrize("runner", [name for name in STORES if name != "memory"], indirect=True)
@given(
    st.lists(seeds, max_size=30),
    st.sampled_from(CHANGES),
    st.sampled_from(ZONES),
    st.lists(questions(), min_size=1, max_size=3),
)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
def test_any_question_about_order_agrees_with_a_recount(
    runner: Runner, drawn: list[Seed], around: datetime, zone: str, asked: list[tuple[Any, dict[str, Any]]]
) -> None:
    site_id = f"site-{next(_sites)}"
    events = [event_of(seed, around, site_id) for seed in drawn]
    cut = len(events) // 2
    for part in (events[cut:], events[:cut]):
        runner.run(runner.store.write(Batch([encode(event) for event in part], redelivered=False)))
    span = Range(around - timedelta(hours=24), around + timedelta(hours=30), ZoneInfo(zone))
    for kind, rest in asked:
        check(runner, events, kind(site_id=site_id, range=span, **rest))


STEPS = [is_page("/a"), is_page("/b"), is_page("/a", "/b"), is_name("buy"), is_name("engagement")]


@pytest.mark.parametrize("runner", [name for name in STORES if name != "memory"], indirect=True)
def test_crowded_hours_agree_with_a_recount(runner: Runner) -> None:
    """Drawn at random, but of few moments and many events, so that ties, windows and several runs meet."""
    draw = random.Random(11)
    site_id = f"site-{next(_sites)}"
    names = ["pageview"] * 6 + ["buy", "buy", "engagement"]
    events = [
        event_of(
            Seed(10 * draw.randrange(-24, 24), draw.randint(1, 12), draw.choice(names), draw.choice(PATHS), "", ""),
            NOON,
            site_id,
        )
        for _ in range(150)
    ]
    # Written in another order than that of their ids.
    runner.write(*draw.sample(events, len(events)))
    about: dict[str, Any] = {"site_id": site_id, "range": SPAN}
    for order in Order:
        for unit in Unit:
            for minutes in (0, 10, 20, 40, 1_000):
                steps = tuple(a_step("step", draw.choice(STEPS)) for _ in range(draw.randint(2, 4)))
                window_ms = minutes * 60_000
                check(runner, events, Funnel(steps=steps, order=order, unit=unit, window_ms=window_ms, **about))
    for condition in STEPS:
        start, of_page = a_step("start", condition), Compare(Operator.IS, Dimension.ENTRY_PAGE, ("/a",))
        check(runner, events, Retention(period=Dimension.DAY, start=start, filter=of_page, **about))
        for way in Way:
            check(runner, events, Journey(way=way, anchor=start, kind=Kind.ALL, top=2, paths=3, **about))


# --- by hand --------------------------------------------------------------------------------------------------------

A, B, C = (a_step(path, is_page(path)) for path in ("/a", "/b", "/c"))


def walk(visitor: int, path: str, gap_s: float = 60, site_id: str = "", **fields: Any) -> list[Event]:
    """A pageview for each letter, with *gap_s* between them."""
    return [
        an_event(
            NOON + timedelta(seconds=gap_s * place),
            visitor_id=visitor,
            path=f"/{letter}",
            site_id=site_id or f"site-{visitor}",
            **fields,
        )
        for place, letter in enumerate(path)
    ]


def reached(runner: Runner, path: str, gap_s: float = 60, **funnel: Any) -> list[int]:
    """How many reach each step of /a, /b, /c who walk like that."""
    site_id = f"site-{next(_sites)}"
    runner.write(*walk(1, path, gap_s, site_id))
    question = {"site_id": site_id, "range": SPAN, "steps": (A, B, C), "window_ms": 3_600_000, **funnel}
    return [row[3] for row in sorted(runner.ask(Funnel(**question)), key=lambda row: row[:3:2])]


def test_other_events_may_lie_between_ordered_steps_and_not_between_strict_ones(runner: Runner) -> None:
    assert reached(runner, "axbxc") == [1, 1, 1]
    assert reached(runner, "axbxc", order=Order.STRICT) == [1, 0, 0]
    assert reached(runner, "axabxc", order=Order.STRICT) == [1, 1, 0]
    assert reached(runner, "bca") == reached(runner, "cba") == [1, 0, 0]
    assert reached(runner, "b") == [0, 0, 0]


def test_one_event_is_one_step_however_many_it_meets(runner: Runner) -> None:
    assert reached(runner, "aab", steps=(A, A, A, B)) == [1, 1, 0, 0]
    assert reached(runner, "aaab", steps=(A, A, A, B)) == [1, 1, 1, 1]


def test_a_window_is_from_the_first_step_and_exactly_as_long_is_within(runner: Runner) -> None:
    assert reached(runner, "abc", gap_s=600, window_ms=1_200_000) == [1, 1, 1]
    assert reached(runner, "abc", gap_s=600, window_ms=1_199_999) == [1, 1, 0]
    assert reached(runner, "abac", gap_s=600, window_ms=1_200_000) == [1, 1, 0]


def test_events_of_one_millisecond_go_in_the_order_in_which_they_were_accepted(runner: Runner) -> None:
    assert reached(runner, "abc", gap_s=0, window_ms=0) == [1, 1, 1]
    assert reached(runner, "cab", gap_s=0, window_ms=0) == [1, 1, 0]


def test_a_session_of_exactly_thirty_minutes_between_steps_is_still_one(runner: Runner) -> None:
    day = {"unit": Unit.SESSION, "window_ms": 86_400_000}
    assert reached(runner, "abc", gap_s=1_800, **day) == [1, 1, 1]
    assert reached(runner, "abc", gap_s=1_800.001, **day) == [1, 0, 0]
    assert reached(runner, "abc", gap_s=1_800.001, window_ms=86_400_000) == [1, 1, 1]


def test_the_times_are_those_of_the_run_that_got_furthest_first_and_began_last(runner: Runner) -> None:
    site_id = f"site-{next(_sites)}"
    runner.write(*walk(1, "abaxbxc", 10, site_id), *walk(2, "ab", 30, site_id))
    rows = runner.ask(Funnel(site_id=site_id, range=SPAN, steps=(A, B, C), window_ms=3_600_000))
    assert sorted(rows, key=lambda row: row[2]) == [
        (0, None, 0, 2, None, None, None),
        (0, None, 1, 2, 25.0, 25.0, 29.0),
        (0, None, 2, 1, 20.0, 20.0, 20.0),
    ]


def test_a_report_of_engagement_is_no_step_unless_named(runner: Runner) -> None:
    site_id = f"site-{next(_sites)}"
    read_at = NOON + timedelta(seconds=1)
    report = an_event(read_at, name="engagement", interactive=False, visitor_id=1, path="/b", site_id=site_id)
    runner.write(*walk(1, "a", site_id=site_id), report, *walk(1, "xc", site_id=site_id)[1:])
    funnel: dict[str, Any] = {"site_id": site_id, "range": SPAN, "window_ms": 3_600_000}
    for second, order, wanted in (
        (B, Order.ORDERED, [1, 0]),
        (C, Order.STRICT, [1, 1]),
        (a_step("read", is_name("engagement")), Order.STRICT, [1, 1]),
    ):
        rows = runner.ask(Funnel(steps=(A, second), order=order, **funnel))
        assert [row[3] for row in sorted(rows, key=lambda row: row[2])] == wanted


def test_groups_beyond_the_limit_are_one(runner: Runner) -> None:
    site_id = f"site-{next(_sites)}"
    sources = ["x", "x", "y", "z", "w"]
    for visitor, source in enumerate(sources, 1):
        runner.write(*walk(visitor, "ab"[: 1 + visitor % 2], 10, site_id, source=source))
    question = Funnel(site_id=site_id, range=SPAN, steps=(A, B), window_ms=60_000, breakdown=Dimension.SOURCE, limit=2)
    assert [row[:4] for row in sorted(runner.ask(question), key=lambda row: row[:3:2])] == [
        (0, None, 0, 5),
        (0, None, 1, 3),
        (1, "x", 0, 2),
        (1, "x", 1, 1),
        (2, "w", 0, 1),
        (2, "w", 1, 1),
        (3, None, 0, 2),
        (3, None, 1, 1),
    ]


def test_a_visitor_seen_before_the_range_is_in_no_cohort_of_it(runner: Runner) -> None:
    site_id = f"site-{next(_sites)}"
    days = {1: [-30, 0, 1], 2: [0, 1], 3: [1]}
    for visitor, seen in days.items():
        runner.write(*(an_event(NOON + timedelta(days=d), visitor_id=visitor, site_id=site_id) for d in seen))
    question: dict[str, Any] = {"site_id": site_id, "range": SPAN, "period": Dimension.DAY}
    assert sorted(runner.ask(Retention(**question)), key=repr) == [
        (2, 2, 1, 0),
        (2, 3, 1, 1),
        (2, None, 1, None),
        (3, 3, 1, 1),
        (3, None, 1, None),
    ]
    met = Retention(start=a_step("view", is_name("pageview")), **question)
    assert (2, None, 2, None) in runner.ask(met)


def test_returns_are_told_apart_in_as_many_periods_as_a_range_may_have(runner: Runner) -> None:
    site_id = f"site-{next(_sites)}"
    first = datetime(2023, 1, 1, 12, tzinfo=UTC)
    days = [0, 1, 63, 64, 65, 127, 128, 255, 256, 257, 365]
    runner.write(
        *(an_event(first + timedelta(days=d), visitor_id=1, site_id=site_id) for d in days),
        *(an_event(first + timedelta(days=d), visitor_id=2, site_id=site_id) for d in (64, 320)),
    )
    for periods in (64, 65, 256, 257, 366):
        span = Range(first - timedelta(hours=12), first + timedelta(days=periods, hours=-12), UTC_ZONE)
        seen = [d for d in days if d < periods]
        wanted = [(0, None, 1, None), *((0, day, 1, int(day == seen[-1])) for day in seen)]
        if periods > 64:
            wanted += [(64, None, 1, None), (64, 64, 1, int(periods <= 320))]
            wanted += [(64, 320, 1, 1)] if periods > 320 else []
        found = runner.ask(Retention(site_id=site_id, range=span, period=Dimension.DAY))
        assert sorted(found, key=repr) == sorted(wanted, key=repr)


def test_a_journey_counts_where_people_go_and_where_they_leave(runner: Runner) -> None:
    site_id = f"site-{next(_sites)}"
    for visitor, path in enumerate(["xabc", "ab", "aac", "ad", "x"], 1):
        runner.write(*walk(visitor, path, 60, site_id))
    a, b, c, d, x = (("page", f"/{letter}") for letter in "abcdx")
    rows = runner.ask(Journey(site_id=site_id, range=SPAN, anchor=A, depth=1, top=2, paths=2))
    assert sorted(rows, key=repr) == sorted(
        [
            ("node", 0, a, None, 4, 0, None),
            ("node", 1, b, None, 2, 1, None),
            ("node", 1, c, None, 1, 1, None),
            ("node", 1, None, None, 1, 1, None),
            ("link", 0, a, b, 2, None, None),
            ("link", 0, a, c, 1, None, None),
            ("link", 0, a, None, 1, None, None),
            ("path", None, None, None, 2, 1, (a, b)),
            ("path", None, None, None, 1, 1, (a, c)),
        ],
        key=repr,
    )
    back = runner.ask(Journey(site_id=site_id, range=SPAN, anchor=A, depth=2, way=Way.BACK, collapse=False))
    assert ("path", None, None, None, 1, 1, (a, x)) in back
    assert ("path", None, None, None, 1, 1, (a, a)) in back
    assert ("path", None, None, None, 2, 2, (a,)) in back
    assert d not in {row[2] for row in back}
