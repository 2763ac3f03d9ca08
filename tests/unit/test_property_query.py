"""Every metric by every dimension under every operator agrees with a recount of the events by hand."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Coroutine, Iterator
from datetime import UTC, date, datetime, timedelta
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
from footfall.query.query import (
    All,
    AnyDimension,
    Compare,
    Dimension,
    Filter,
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
from tests.conformance.stores import open_chdb
from tests.fakes_store import MemoryStore

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
GROUPABLE = [None, Prop("pl'an"), *[each for each in Dimension if each is not Dimension.MINUTE]]
_sites = count()


class Runner(NamedTuple):
    loop: asyncio.Runner
    store: Store

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run(work)


@pytest.fixture(params=["memory", "chdb"], scope="module")
def runner(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    folder: Path = tmp_path_factory.mktemp("store")
    with asyncio.Runner() as loop:
        store: Store = MemoryStore() if request.param == "memory" else loop.run(open_chdb(folder))
        yield Runner(loop, store)
        loop.run(store.close())


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


seeds = st.builds(
    Seed,
    st.one_of(st.integers(-40 * 3600, 40 * 3600), st.integers(-12, 12).map(lambda n: n * 900)),
    st.integers(1, 3),
    st.sampled_from(["pageview", "pageview", "click"]),
    st.sampled_from(PATHS),
    st.sampled_from(SOURCES),
    st.sampled_from(PLANS),
    st.booleans(),
    st.integers(0, 3),
)


def event_of(seed: Seed, around: datetime, site_id: str) -> Event:
    at_ms = int(around.timestamp()) * 1000 + seed.seconds * 1000
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
        props={"pl'an": seed.plan} if seed.plan else {},
        interactive=seed.interactive,
        revenue=Decimal(seed.money) / 8 if seed.money else None,
        currency=("", "EUR", "USD", "EUR")[seed.money],
    )


# --- the recount: a list of dictionaries, and definitions read from docs/query.md -----------------------------------


def wall_names(at: datetime) -> dict[str, object]:
    """What the clocks on the wall call an instant."""
    year, week, _ = at.isocalendar()
    return {
        "time:hour": f"{at:%Y-%m-%dT%H:00:00}{at.isoformat()[-6:]}",
        "time:day": f"{at:%Y-%m-%d}",
        "time:week": date.fromisocalendar(year, week, 1).isoformat(),
        "time:month": f"{at:%Y-%m}-01",
        "time:quarter": f"{at.year}-{(at.month - 1) // 3 * 3 + 1:02}-01",
        "time:year": f"{at.year}-01-01",
        "time:day_of_week": at.weekday() + 1,
        "time:hour_of_day": at.hour,
    }


def annotated(events: list[Event], span: Range) -> list[dict[str, Any]]:
    """Every event of the range with its session's facts."""
    start_ms, end_ms = span.start.timestamp() * 1000, span.end.timestamp() * 1000
    rows: list[dict[str, Any]] = []
    row: dict[str, Any]
    last: dict[int, int] = {}
    current: dict[int, list[dict[str, Any]]] = {}
    for event in sorted(events, key=lambda event: (event.occurred_at_ms, event.id)):
        if not start_ms <= event.occurred_at_ms < end_ms:
            continue
        who = event.visitor_id
        if who not in last or event.occurred_at_ms - last[who] > 1_800_000:
            current[who] = []
        last[who] = event.occurred_at_ms
        local = datetime.fromtimestamp(event.occurred_at_ms // 1000, UTC).astimezone(span.zone)
        row = {"event": event, "session": current[who], "names": wall_names(local)}
        current[who].append(row)
        rows.append(row)
    for row in rows:
        session: list[Event] = [each["event"] for each in row["session"]]
        views = [event for event in session if event.name == "pageview"]
        own: Event = row["event"]
        row["event:page"], row["event:name"], row["event:hostname"] = own.path, own.name, own.hostname
        row["props"] = own.props
        for field in ("source", "channel", "referrer", "utm_source", "utm_medium", "utm_campaign", "utm_content"):
            row[f"visit:{field}"] = getattr(session[0], field)
        for field in ("utm_term", "country", "region", "city", "browser", "browser_version", "os", "os_version"):
            row[f"visit:{field}"] = getattr(session[0], field)
        for field in ("device", "language", "screen"):
            row[f"visit:{field}"] = getattr(session[0], field)
        row["visit:entry_page"] = views[0].path if views else ""
        row["visit:exit_page"] = views[-1].path if views else ""
        row["visit:entry_page_hostname"] = views[0].hostname if views else ""
        row["visit:exit_page_hostname"] = views[-1].hostname if views else ""
        row["views"] = len(views)
        row["bounced"] = len(views) == 1 and all(not e.interactive for e in session if e.name != "pageview")
        row["took_ms"] = session[-1].occurred_at_ms - session[0].occurred_at_ms
    return rows


def known(row: dict[str, Any], dimension: AnyDimension) -> str:
    return str(row["props"].get(dimension.key, "") if isinstance(dimension, Prop) else row[str(dimension)])


def is_met(row: dict[str, Any], part: Filter) -> bool:
    if isinstance(part, Compare):
        text, values = known(row, part.dimension), part.values
        if not part.case_sensitive:
            text, values = text.lower(), tuple(value.lower() for value in values)
        kind = part.operator.value.removesuffix("_not")
        if kind == "matches":
            # The drawn patterns are a beginning, an end or a part, which needs no engine of expressions to check.
            found = any(
                text.startswith(value[1:]) if value[0] == "^" else text.endswith(value[:-1]) for value in values
            )
        else:
            found = any(text == value if kind == "is" else value in text for value in values)
        return found != part.operator.value.endswith("_not")
    if isinstance(part, Not):
        return not is_met(row, part.part)
    if isinstance(part, HasDone):
        return any(is_met(other, part.part) for other in row["session"])
    judged = [is_met(row, each) for each in part.parts]
    return all(judged) if isinstance(part, All) else any(judged)


def recount(events: list[Event], query: Query) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """Group -> figures in the order of Metric, without what is nothing in all of them."""
    before = {e.visitor_id for e in events if e.occurred_at_ms < query.range.start.timestamp() * 1000}
    met = [row for row in annotated(events, query.range) if query.filter is None or is_met(row, query.filter)]
    own: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    visits: dict[tuple[Any, ...], dict[int, tuple[dict[str, Any], bool]]] = defaultdict(dict)
    for row in met:
        names = row["names"], row["session"][0]["names"]
        at_event, at_start = (
            tuple(
                name[str(d)] if not isinstance(d, Prop) and d.scope is Scope.TIME else known(row, d)
                for d in query.dimensions
            )
            for name in names
        )
        own[at_event].append(row)
        entered = all(
            row["views"] and row[str(d)] == row[entry]
            for d, entry in (
                (Dimension.PAGE, "visit:entry_page"),
                (Dimension.HOSTNAME, "visit:entry_page_hostname"),
            )
            if d in query.dimensions
        )
        _, was = visits[at_start].get(id(row["session"]), (row, False))
        visits[at_start][id(row["session"])] = (row, was or bool(entered))
    found = {}
    for group in {*own, *visits} if query.dimensions else [()]:
        rows = own.get(group, [])
        people = {row["event"].visitor_id for row in rows}
        entries = [row for row, entered in visits.get(group, {}).values() if entered]
        paid: dict[str, list[Decimal]] = defaultdict(list)
        for row in rows:
            if row["event"].revenue is not None:
                paid[row["event"].currency].append(row["event"].revenue)
        figures = {
            "pageviews": sum(row["event"].name == "pageview" for row in rows),
            "visitors": len(people),
            "events": len(rows),
            "visits": len(visits.get(group, {})),
            "views_per_visit": sum(row["views"] for row in entries) / len(entries) if entries else None,
            "bounce_rate": 100 * sum(row["bounced"] for row in entries) / len(entries) if entries else None,
            "visit_duration": sum(row["took_ms"] for row in entries) / len(entries) / 1000 if entries else None,
            "total_revenue": {c: sum(a) for c, a in paid.items()} or None,
            "average_revenue": {c: sum(a) / len(a) for c, a in paid.items()} or None,
            "new_visitors": len(people - before),
            "returning_visitors": len(people & before),
        }
        wanted = tuple(figures[str(metric)] for metric in query.metrics)
        if any(wanted) or any(figure == 0 and isinstance(figure, float) for figure in wanted) or not query.dimensions:
            found[group] = wanted
    return found


def check(runner: Runner, events: list[Event], query: Query) -> None:
    table = runner.run(runner.store.rows(query))
    size = len(query.dimensions)
    answered = {row[:size]: row[size:] for row in table.rows}
    assert len(answered) == len(table.rows)
    wanted = recount(events, query)
    assert answered.keys() == wanted.keys()
    for group, figures in wanted.items():
        for metric, ours, theirs in zip(query.metrics, answered[group], figures, strict=True):
            is_same = isclose(ours, theirs) if isinstance(ours, float) and theirs is not None else ours == theirs
            assert is_same, (group, metric, ours, theirs)


async def write(store: Store, events: list[Event], cut: int) -> None:
    """In two batches, the later half first: a session that spans batches is one session."""
    for part in (events[cut:], events[:cut]):
        await store.write(Batch([encode(event) for event in part], redelivered=False))


def compares(dimensions: st.SearchStrategy[AnyDimension]) -> st.SearchStrategy[Filter]:
    values = st.lists(st.sampled_from([*PATHS, *SOURCES[1:], *PLANS, "click", "DE"]), min_size=1, max_size=2)

    def build(operator: Operator, dimension: AnyDimension, drawn: list[str], sensitive: bool) -> Filter:
        kept = [value for value in drawn if value or operator.value.startswith("is")] or ["/a"]
        if operator.value.startswith("matches"):
            kept = ["^/a", "e$"]
        return Compare(operator, dimension, tuple(kept), sensitive)

    return st.builds(build, st.sampled_from(list(Operator)), dimensions, values, st.booleans())


own_dimensions: st.SearchStrategy[AnyDimension] = st.sampled_from(
    [Dimension.PAGE, Dimension.NAME, Dimension.HOSTNAME, Prop("pl'an")]
)
any_dimension: st.SearchStrategy[AnyDimension] = st.one_of(
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
groupings = st.lists(st.sampled_from([each for each in GROUPABLE if each is not None]), max_size=2, unique=True)


@given(
    st.lists(seeds, max_size=40),
    st.sampled_from(CHANGES),
    st.sampled_from(ZONES),
    st.lists(st.tuples(groupings, st.none() | filters), min_size=1, max_size=3),
    st.sets(st.sampled_from(list(Metric)), min_size=1),
)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
def test_any_question_agrees_with_a_recount_by_hand(
    runner: Runner,
    drawn: list[Seed],
    around: datetime,
    zone: str,
    questions: list[tuple[list[AnyDimension], Filter | None]],
    metrics: set[Metric],
) -> None:
    site_id = f"site-{next(_sites)}"
    events = [event_of(seed, around, site_id) for seed in drawn]
    runner.run(write(runner.store, events, len(events) // 2))
    span = Range(around - timedelta(hours=20), around + timedelta(hours=30), ZoneInfo(zone))
    for dimensions, condition in questions:
        asked = tuple(metric for metric in Metric if metric in metrics)
        check(runner, events, Query(site_id, span, asked, tuple(dimensions), filter=condition))


@pytest.mark.parametrize("operator", list(Operator))
def test_every_metric_by_every_dimension_under_this_operator(runner: Runner, operator: Operator) -> None:
    draw = random.Random(7)
    site_id = f"site-{next(_sites)}"
    events = [
        event_of(
            Seed(
                draw.randrange(-40 * 3600, 40 * 3600),
                draw.randint(1, 9),
                draw.choice(["pageview", "pageview", "click"]),
                draw.choice(PATHS),
                draw.choice(SOURCES),
                draw.choice(PLANS),
                draw.random() < 0.5,
                draw.randint(0, 3),
            ),
            CHANGES[0],
            site_id,
        )
        for _ in range(60)
    ]
    runner.run(write(runner.store, events, 30))
    span = Range(CHANGES[0] - timedelta(hours=20), CHANGES[0] + timedelta(hours=30), ZoneInfo("America/New_York"))
    values = ("^/a", "e$") if operator.value.startswith("matches") else ("/a", "Google")
    own, of_visit = (Compare(operator, each, values, False) for each in (Dimension.PAGE, Dimension.SOURCE))
    for dimension in GROUPABLE:
        dimensions = () if dimension is None else (dimension,)
        for condition in (own, Some((of_visit, HasDone(own))), Some((own, of_visit))):
            check(runner, events, Query(site_id, span, tuple(Metric), dimensions, filter=condition))
