"""Every metric by every dimension under every operator, on every store, agrees with the recount in fakes_questions.py.

What is asked is drawn from the tables themselves, so a new metric or dimension is asked for by being there.
"""

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
from footfall.query.definitions import WeekStart
from footfall.query.query import (
    All,
    AnyDimension,
    Compare,
    Dimension,
    Filter,
    Goals,
    HasDone,
    Metric,
    Not,
    Operator,
    Prop,
    Query,
    Range,
    Scope,
    Some,
)
from footfall.store.base import Batch, Store
from tests.conformance.stores import STORES
from tests.fakes_questions import Questioner

T = TypeVar("T")
ZONES = ["UTC", "America/New_York", "Asia/Tehran", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Sao_Paulo"]
CHANGES = [
    datetime(2024, 3, 10, 7, tzinfo=UTC),
    datetime(2024, 11, 3, 6, tzinfo=UTC),
    datetime(2024, 12, 31, 23, tzinfo=UTC),
    datetime(2022, 3, 21, 20, 30, tzinfo=UTC),
    datetime(2024, 4, 6, 15, tzinfo=UTC),
    datetime(2018, 11, 4, 3, tzinfo=UTC),
]
PATHS = ["/", "/a", "/A/b", "/ü'\\\n"]
SOURCES = ["", "Google", "it's"]
PLANS = ["", "free", "PRO\\'"]
GOALS = Goals(
    (
        ("Anything", All(())),
        ("Nothing", Some(())),
        ("Paid, it's", Compare(Operator.IS_NOT, Prop("pl'an"), ("", "free"))),
        ("Seen /a", Compare(Operator.IS, Dimension.PAGE, ("/a",))),
    )
)
GROUPABLE: list[AnyDimension] = [
    Prop("pl'an"),
    GOALS,
    *[each for each in Dimension if each is not Dimension.MINUTE],
]
EXAMPLES = {"chdb": 40, "kept": 40}
"""How many examples are drawn for a store; for others EXAMPLES_ELSEWHERE, for they compile the same questions."""
EXAMPLES_ELSEWHERE = 12
_sites = count()


class Runner(NamedTuple):
    loop: asyncio.Runner
    store: Store
    examples: int
    is_thorough: bool

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run(work)


# Not the store in memory, whose answers are the recount itself.
@pytest.fixture(params=[name for name in STORES if name != "memory"], scope="module")
def runner(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    folder: Path = tmp_path_factory.mktemp("store")
    with asyncio.Runner() as loop:
        store: Store = loop.run(_opened(request.param, folder))
        examples = EXAMPLES.get(request.param, EXAMPLES_ELSEWHERE)
        yield Runner(loop, store, examples, is_thorough=request.param in EXAMPLES)
        loop.run(store.close())


async def _opened(name: str, folder: Path) -> Store:
    return await STORES[name](folder)


class Seed(NamedTuple):
    """What is drawn of an event."""

    seconds: int
    visitor: int
    name: str
    path: str
    source: str
    plan: str
    interactive: bool
    money: int
    scrolled: str
    engaged: str


TIED = (("pageview", "/"), ("engagement", "/a"))
NAMES = ["pageview", "pageview", "click", "engagement"]
SCROLLED = ["", "0", "55", "100", "250", "ten", "-1"]
ENGAGED = ["", "0", "1500", "90000000000", "1.5"]
seeds = st.builds(
    Seed,
    st.one_of(st.integers(-40 * 3600, 40 * 3600), st.integers(-12, 12).map(lambda n: n * 900)),
    st.integers(1, 3),
    st.sampled_from(NAMES),
    st.sampled_from(PATHS),
    st.sampled_from(SOURCES),
    st.sampled_from(PLANS),
    st.booleans(),
    st.integers(0, 3),
    st.sampled_from(SCROLLED),
    st.sampled_from(ENGAGED),
)


def event_of(seed: Seed, around: datetime, site_id: str) -> Event:
    at_ms = int(around.timestamp()) * 1000 + seed.seconds * 1000
    props = {"pl'an": seed.plan, "scroll_depth": seed.scrolled, "engagement_ms": seed.engaged}
    return Event(
        id=new_id(),
        key=b"",
        site_id=site_id,
        name=seed.name,
        occurred_at_ms=at_ms,
        received_at_ms=at_ms,
        visitor_id=2**64 - seed.visitor,
        path=seed.path,
        hostname=f"h{seed.visitor % 2}.example",
        source=seed.source,
        country=("DE", "FR", "")[seed.seconds % 3],
        props={key: value for key, value in props.items() if value},
        interactive=seed.interactive,
        revenue=Decimal(seed.money) / 8 if seed.money else None,
        currency=("", "EUR", "USD", "EUR")[seed.money],
    )


def check(runner: Runner, events: list[Event], query: Query) -> None:
    table = runner.run(runner.store.rows(query))
    size = len(query.dimensions)
    answered = {row[:size]: row[size:] for row in table.rows}
    assert len(answered) == len(table.rows)
    wanted = {row[:size]: row[size:] for row in Questioner(query, events).rows()[0]}
    assert answered.keys() == wanted.keys()
    for group, figures in wanted.items():
        for metric, ours, theirs in zip(query.metrics, answered[group], figures, strict=True):
            is_same = ours == theirs
            if isinstance(ours, float) and isinstance(theirs, float):
                is_same = isclose(ours, theirs)
            assert is_same, (group, metric, ours, theirs)


async def write(store: Store, events: list[Event], cut: int) -> None:
    """In two batches, the later half first: a session that spans batches is one session."""
    for part in (events[cut:], events[:cut]):
        await store.write(Batch([encode(event) for event in part], redelivered=False))


def compares(dimensions: st.SearchStrategy[Dimension | Prop]) -> st.SearchStrategy[Filter]:
    values = st.lists(st.sampled_from([*PATHS, *SOURCES[1:], *PLANS, "click", "DE"]), min_size=1, max_size=2)

    def build(operator: Operator, dimension: Dimension | Prop, drawn: list[str], sensitive: bool) -> Filter:
        kept = [value for value in drawn if value or operator.value.startswith("is")] or ["/a"]
        if operator.value.startswith("matches"):
            kept = ["^/a", "e$"]
        return Compare(operator, dimension, tuple(kept), sensitive)

    return st.builds(build, st.sampled_from(list(Operator)), dimensions, values, st.booleans())


own_dimensions: st.SearchStrategy[Dimension | Prop] = st.sampled_from(
    [Dimension.PAGE, Dimension.NAME, Dimension.HOSTNAME, Prop("pl'an")]
)
any_dimension: st.SearchStrategy[Dimension | Prop] = st.one_of(
    own_dimensions, st.sampled_from([each for each in Dimension if each.scope is Scope.SESSION])
)
leaves = st.one_of(compares(any_dimension), compares(own_dimensions), compares(own_dimensions).map(HasDone))
filters = st.recursive(
    leaves,
    lambda inner: st.one_of(
        inner.map(Not),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: All(tuple(parts))),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: Some(tuple(parts))),
    ),
    max_leaves=5,
)
drawn_groupings = st.lists(st.sampled_from(GROUPABLE), max_size=2, unique=True)
questions = st.lists(st.tuples(drawn_groupings, st.none() | filters), min_size=1, max_size=3)


def test_any_question_agrees_with_the_recount(runner: Runner) -> None:
    @given(
        st.lists(seeds, max_size=40),
        st.sampled_from(CHANGES),
        st.sampled_from(ZONES),
        st.sampled_from(WeekStart),
        questions,
        st.sets(st.sampled_from(list(Metric)), min_size=1),
    )
    @settings(max_examples=runner.examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    def agrees(
        drawn: list[Seed],
        around: datetime,
        zone: str,
        week_start: WeekStart,
        asked: list[tuple[list[AnyDimension], Filter | None]],
        metrics: set[Metric],
    ) -> None:
        site_id = f"site-{next(_sites)}"
        events = [event_of(seed, around, site_id) for seed in drawn]
        runner.run(write(runner.store, events, len(events) // 2))
        span = Range(around - timedelta(hours=20), around + timedelta(hours=30), ZoneInfo(zone), week_start)
        for dimensions, condition in asked:
            wanted = tuple(metric for metric in Metric if metric in metrics)
            check(runner, events, Query(site_id, span, wanted, tuple(dimensions), filter=condition))

    agrees()


@pytest.mark.parametrize("is_report_first", [False, True])
@pytest.mark.parametrize("dimensions", [(), (Dimension.DAY,), (Prop("pl'an"),), (Dimension.SOURCE,)])
def test_a_report_of_the_very_millisecond_is_in_the_session_if_it_came_after_its_first_event(
    runner: Runner, dimensions: tuple[AnyDimension, ...], is_report_first: bool
) -> None:
    site_id = f"site-{next(_sites)}"
    view, report = (Seed(0, 1, name, path, "", "", name == "pageview", 0, "", "") for name, path in TIED)
    events = [event_of(seed, CHANGES[0], site_id) for seed in ((report, view) if is_report_first else (view, report))]
    runner.run(write(runner.store, events, 1))
    span = Range(CHANGES[0] - timedelta(hours=20), CHANGES[0] + timedelta(hours=30), ZoneInfo("UTC"))
    # A flag for the report and one for the view: one of them sorts it first where flags decide, and the other last.
    for path, wanted in (("/a", int(not is_report_first)), ("/", 1)):
        condition = HasDone(Compare(Operator.IS, Dimension.PAGE, (path,)))
        query = Query(site_id, span, (Metric.VISITS, Metric.VISITORS), dimensions, filter=condition)
        check(runner, events, query)
        assert len(Questioner(query, events).rows()[0]) == (wanted if dimensions else 1)


@pytest.mark.parametrize("operator", list(Operator))
def test_every_metric_by_every_dimension_under_this_operator(runner: Runner, operator: Operator) -> None:
    draw = random.Random(7)
    site_id = f"site-{next(_sites)}"
    events = [
        event_of(
            Seed(
                draw.randrange(-40 * 3600, 40 * 3600) // 300 * 300,
                draw.randint(1, 9),
                draw.choice(NAMES),
                draw.choice(PATHS),
                draw.choice(SOURCES),
                draw.choice(PLANS),
                draw.random() < 0.5,
                draw.randint(0, 3),
                draw.choice(SCROLLED),
                draw.choice(ENGAGED),
            ),
            CHANGES[0],
            site_id,
        )
        for _ in range(150)
    ]
    runner.run(write(runner.store, events, 30))
    span = Range(CHANGES[0] - timedelta(hours=20), CHANGES[0] + timedelta(hours=30), ZoneInfo("America/New_York"))
    values = ("^/a", "e$") if operator.value.startswith("matches") else ("/a", "Google")
    own, of_visit = (Compare(operator, each, values, False) for each in (Dimension.PAGE, Dimension.SOURCE))
    conditions = (own, Some((of_visit, HasDone(own))), Some((own, of_visit)))
    groupings: list[tuple[AnyDimension, ...]] = [(), *((each,) for each in GROUPABLE)]
    turn = list(Operator).index(operator)
    for place, dimensions in enumerate(groupings):
        # Elsewhere every operator takes its share of the dimensions, so that each is asked for once.
        if runner.is_thorough or place % len(Operator) == turn:
            condition = conditions[(place + turn) % len(conditions)]
            check(runner, events, Query(site_id, span, tuple(Metric), dimensions, filter=condition))
