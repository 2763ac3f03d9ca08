"""Attribution and experiments: every store agrees with a count that goes visitor by visitor."""

import asyncio
from collections.abc import Coroutine, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count
from math import isclose
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from footfall.event import Event
from footfall.query.attribution import TOUCHES_MAX, Attribution, Counting
from footfall.query.experiment import Experiment
from footfall.query.query import All, Compare, Dimension, Filter, HasDone, Not, Operator, Prop, Range, Some
from footfall.query.sequence import Sequence
from footfall.query.steps import a_step
from footfall.store.base import Batch, Store
from tests.conformance.stores import NOON, STORES, an_event, encoded
from tests.fakes_attribution import ATTRIBUTION, EXPERIMENT, attribution_rows, experiment_rows

T = TypeVar("T")
UTC_ZONE = ZoneInfo("UTC")
SPAN = Range(NOON - timedelta(days=1), NOON + timedelta(days=1), UTC_ZONE)
MINUTE_MS, DAY_MS = 60_000, 86_400_000
PAGES = ["/", "/b", "/ü'\\\n"]
CHANNELS = ["Direct", "", "Email", "it's"]
_sites = count()


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


@pytest.fixture
def site() -> str:
    return f"site-{next(_sites)}"


def is_name(*names: str) -> Compare:
    return Compare(Operator.IS, Dimension.NAME, names)


BUY = a_step("buy", is_name("buy"))


def minutes(number: float) -> datetime:
    return NOON + timedelta(minutes=number)


def asked(site_id: str, **changes: Any) -> Attribution:
    plain: dict[str, Any] = {
        "site_id": site_id,
        "range": SPAN,
        "goal": BUY,
        "dimension": Dimension.CHANNEL,
        "lookback_ms": 30 * DAY_MS,
        "half_life_ms": 7 * DAY_MS,
    }
    return Attribution(**(plain | changes))


# --- anything drawn, against the recount ----------------------------------------------------------------------------

# Whole tens of minutes: many at the same moment, and many gaps of exactly 30 minutes and of exactly the lookback.
moments = st.one_of(st.integers(-20, 20).map(lambda n: n * 10), st.integers(-60 * 60, 30 * 60))


@st.composite
def drawn_events(draw: st.DrawFn) -> list[Event]:
    """Of a handful of visitors, in the order in which they were accepted."""
    return [
        an_event(
            minutes(draw(moments)),
            visitor_id=2**64 - draw(st.integers(1, 3)),
            name=draw(st.sampled_from(["pageview", "pageview", "buy", "buy", "engagement"])),
            interactive=draw(st.booleans()),
            path=draw(st.sampled_from(PAGES)),
            channel=draw(st.sampled_from(CHANNELS)),
            country=draw(st.sampled_from(["", "DE", "FR"])),
            props=draw(st.sampled_from([{}, {}, {"test": "a"}, {"test": "a"}, {"test": "b"}, {"test": "c\\'"}])),
            **draw(st.sampled_from([{}, {"revenue": Decimal("-2.5"), "currency": "EUR"}, *MONEY])),
        )
        for _ in range(draw(st.integers(0, 30)))
    ]


MONEY = [
    {"revenue": Decimal(amount), "currency": currency} for amount, currency in (("12.345678", "EUR"), ("3", "USD"))
]
goals = st.sampled_from(
    [
        BUY,
        a_step("page", Compare(Operator.IS, Dimension.PAGE, ("/b",))),
        a_step("engagement", is_name("engagement", "buy")),
        a_step("not", Not(is_name("pageview"))),
    ]
)
of_visit = Compare(Operator.IS, Dimension.COUNTRY, ("DE", "FR"))
of_event = Compare(Operator.IS_NOT, Dimension.PAGE, ("/",))
filters: st.SearchStrategy[Filter | None] = st.sampled_from(
    [
        None,
        of_visit,
        of_event,
        Compare(Operator.IS, Dimension.ENTRY_PAGE, ("/", "")),
        HasDone(Compare(Operator.IS, Prop("test"), ("a",))),
        Some((of_visit, of_event)),
        All((of_event, of_visit)),
    ]
)
attributions = st.builds(
    lambda goal, dimension, lookback, half_life, counting, with_lost, condition, limit: asked(
        "",
        goal=goal,
        dimension=dimension,
        lookback_ms=lookback * MINUTE_MS,
        half_life_ms=half_life * MINUTE_MS,
        counting=counting,
        with_lost=with_lost,
        filter=condition,
        limit=limit,
    ),
    goals,
    st.sampled_from([Dimension.CHANNEL, Dimension.COUNTRY, Dimension.ENTRY_PAGE, Dimension.EXIT_PAGE]),
    st.sampled_from([1, 60, 120, 30 * 60, 30 * 24 * 60]),
    st.sampled_from([1, 90, 7 * 24 * 60]),
    st.sampled_from(list(Counting)),
    st.booleans(),
    filters,
    st.sampled_from([1, 2, 20_000]),
)
experiments = st.builds(
    lambda variants, goal, condition, limit: Experiment(
        site_id="", range=SPAN, prop="test", variants=variants, goal=goal, filter=condition, limit=limit
    ),
    st.sampled_from([(), ("a", "b"), ("c\\'", "nobody")]),
    goals,
    filters,
    st.sampled_from([1, 20]),
)


def keyed(rows: list[tuple[Any, ...]]) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    found = {row[:3]: row[3:] for row in rows}
    assert len(found) == len(rows)
    return found


def is_same(ours: Any, theirs: Any) -> bool:
    if isinstance(theirs, tuple | list):
        return len(ours) == len(theirs) and all(map(is_same, ours, theirs))
    return isclose(ours, theirs, abs_tol=1e-9) if isinstance(theirs, float) else bool(ours == theirs)


def check(runner: Runner, events: list[Event], question: Attribution | Experiment) -> None:
    table = runner.run(runner.store.sequences(question))
    if isinstance(question, Attribution):
        assert table.columns == ATTRIBUTION
        wanted = attribution_rows(question, events)
    else:
        assert table.columns == EXPERIMENT
        wanted = experiment_rows(question, events)
    ours, theirs = keyed(list(table.rows)), keyed(wanted)
    assert ours.keys() == theirs.keys()
    for key, values in theirs.items():
        assert is_same(ours[key], values), (key, ours[key], values)


# What MemoryStore answers is the count.
@pytest.mark.parametrize("runner", [kind for kind in STORES if kind != "memory"], indirect=True, scope="module")
@given(drawn_events(), st.lists(attributions, min_size=2, max_size=4), st.lists(experiments, min_size=1, max_size=2))
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
def test_anything_asked_agrees_with_a_count_visitor_by_visitor(
    runner: Runner, events: list[Event], paths: list[Attribution], trials: list[Experiment]
) -> None:
    site_id = f"site-{next(_sites)}"
    events = [msgspec.structs.replace(event, site_id=site_id) for event in events]
    half = len(events) // 2
    runner.write(*events[half:])
    runner.write(*events[:half])
    for path in paths:
        check(runner, events, msgspec.structs.replace(path, site_id=site_id))
    for trial in trials:
        check(runner, events, msgspec.structs.replace(trial, site_id=site_id))


# --- by hand --------------------------------------------------------------------------------------------------------


def test_a_path_is_the_sessions_up_to_the_conversion_within_the_lookback(runner: Runner, site: str) -> None:
    runner.write(
        an_event(NOON - timedelta(days=40), site_id=site, channel="Paid Search"),
        an_event(NOON - timedelta(days=20), site_id=site, channel="Email"),
        an_event(minutes(0), site_id=site, channel="Direct"),
        an_event(minutes(30), site_id=site, name="buy", channel="Email", revenue=Decimal("9.5"), currency="EUR"),
        an_event(minutes(90), site_id=site, channel="Referral"),
    )
    half = 2.0 ** (-20 / 7)
    weights = (half / (1 + half), 1 / (1 + half))
    (row,) = runner.ask(asked(site))
    assert row[:7] == (("Email", "Direct"), 0, "EUR", 1, 0, 1, Decimal("9.5"))
    assert row[7] == pytest.approx(weights)
    assert row[8] == pytest.approx([9.5 * weight for weight in weights])
    assert row[9:] == (20 * DAY_MS + 30 * MINUTE_MS, 2, 0)


def test_the_lookback_is_from_the_conversion_to_the_beginning_of_a_session_and_the_own_session_is_always_in(
    runner: Runner, site: str
) -> None:
    runner.write(
        an_event(minutes(-60), site_id=site, channel="Email"),
        an_event(minutes(0), site_id=site, channel="Referral"),
        an_event(minutes(20), site_id=site, name="buy"),
    )
    assert [row[0] for row in runner.ask(asked(site, lookback_ms=80 * MINUTE_MS))] == [("Email", "Referral")]
    assert [row[0] for row in runner.ask(asked(site, lookback_ms=80 * MINUTE_MS - 1))] == [("Referral",)]
    # The session began before the reach of a minute: only what is looked at makes its sessions.
    assert [row[0] for row in runner.ask(asked(site, lookback_ms=MINUTE_MS))] == [("Referral",)]


def test_every_conversion_counts_or_only_the_first_of_a_visitor(runner: Runner, site: str) -> None:
    for hour, channel in enumerate(["Email", "Referral", "Direct"]):
        runner.write(an_event(minutes(60 * hour), site_id=site, name="buy", channel=channel))
    every = {row[0]: row[3:6] for row in runner.ask(asked(site))}
    assert every == {
        ("Email",): (1, 0, 1),
        ("Email", "Referral"): (1, 0, 0),
        ("Email", "Referral", "Direct"): (1, 0, 0),
    }
    assert [row[0] for row in runner.ask(asked(site, counting=Counting.FIRST))] == [("Email",)]


def test_who_does_not_convert_has_a_path_that_is_lost(runner: Runner, site: str) -> None:
    runner.write(
        an_event(minutes(0), site_id=site, channel="Email"),
        an_event(minutes(60), site_id=site, channel="Direct"),
        an_event(minutes(0), site_id=site, channel="Referral", visitor_id=2),
        an_event(minutes(1), site_id=site, name="buy", visitor_id=2),
    )
    assert [row[0] for row in runner.ask(asked(site))] == [("Referral",)]
    found = {row[0]: row[1:6] for row in runner.ask(asked(site, with_lost=True))}
    assert found == {("Referral",): (0, "", 1, 0, 1), ("Email", "Direct"): (0, "", 0, 1, 0)}


def test_of_a_path_that_is_too_long_the_first_stays_and_the_last(runner: Runner, site: str) -> None:
    visits = TOUCHES_MAX + 5
    runner.write(
        *(an_event(minutes(31 * (n - visits)), site_id=site, channel=f"c{n}") for n in range(visits)),
        an_event(minutes(-31), site_id=site, name="buy"),
    )
    (row,) = runner.ask(asked(site))
    assert row[0] == ("c0", *(f"c{n}" for n in range(6, visits)))
    assert len(row[0]) == len(row[7]) == TOUCHES_MAX
    assert sum(row[7]) == pytest.approx(1)
    assert row[9:] == (31 * (visits - 1) * MINUTE_MS, visits, 1)


def test_paths_that_are_too_many_are_one_and_those_most_often_lost_stay(runner: Runner, site: str) -> None:
    def visit(visitor: int, channel: str, name: str) -> Event:
        return an_event(NOON, site_id=site, visitor_id=visitor, channel=channel, name=name)

    runner.write(visit(1, "a", "pageview"), visit(2, "b", "pageview"), visit(3, "b", "pageview"))
    runner.write(visit(4, "c", "buy"), visit(5, "d", "buy"), visit(6, "d", "buy"))
    found = {row[0]: row[1:5] for row in runner.ask(asked(site, with_lost=True, limit=3))}
    assert found == {
        ("d",): (0, "", 2, 0),
        ("c",): (0, "", 1, 0),
        ("b",): (0, "", 0, 2),
        None: (0, "", 0, 1),
    }


def test_exposure_is_the_first_event_with_the_prop_and_only_what_comes_after_counts(runner: Runner, site: str) -> None:
    shown = {"site_id": site, "props": {"test": "a"}}
    euros = {"revenue": Decimal("2.5"), "currency": "EUR"}
    runner.write(
        an_event(minutes(0), **shown),
        an_event(minutes(1), site_id=site, name="buy", **euros),
        an_event(minutes(2), site_id=site, name="buy", revenue=Decimal(1), currency="EUR"),
        # Bought before, and by the very event that shows the variant.
        an_event(minutes(0), site_id=site, name="buy", visitor_id=2, **euros),
        an_event(minutes(1), name="buy", visitor_id=2, **shown, **euros),
        # At the same millisecond, but accepted later.
        an_event(minutes(5), visitor_id=3, **shown),
        an_event(minutes(5), site_id=site, name="buy", visitor_id=3, revenue=Decimal(4), currency="USD"),
        # Shown two variants.
        an_event(minutes(0), visitor_id=4, **shown),
        an_event(minutes(1), site_id=site, props={"test": "b"}, visitor_id=4),
        # Shown only by a report of engagement; and outside of the range.
        an_event(minutes(1), name="engagement", interactive=False, visitor_id=5, **shown),
        an_event(NOON - timedelta(days=2), visitor_id=6, **shown),
        an_event(minutes(1), site_id=site, props={"test": "b"}, visitor_id=7),
    )
    question = Experiment(site_id=site, range=SPAN, prop="test", goal=BUY)
    assert sorted(runner.ask(question)) == [
        ("mixed", "", "", 1, 0, Decimal(), 0.0),
        ("revenue", "a", "EUR", 1, 0, Decimal("3.5"), 12.25),
        ("revenue", "a", "USD", 1, 0, Decimal(4), 16.0),
        ("variant", "a", "", 3, 2, Decimal(), 0.0),
        ("variant", "b", "", 1, 0, Decimal(), 0.0),
    ]
    assert min(runner.ask(msgspec.structs.replace(question, limit=1))) == (
        "left_out", "", "", 1, 0, Decimal(), 0.0
    )  # fmt: skip
    named = runner.ask(msgspec.structs.replace(question, variants=("b",)))
    assert [row[:5] for row in named] == [("variant", "b", "", 2, 0)]
