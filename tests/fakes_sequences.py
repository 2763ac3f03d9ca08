"""What MemoryStore answers about the order of events, in plain Python and by trying every way there is."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby, pairwise
from statistics import mean, quantiles
from typing import Any

from footfall.event import ENGAGEMENT, PAGEVIEW, Event
from footfall.query.attribution import Attribution
from footfall.query.buckets import buckets
from footfall.query.experiment import Experiment
from footfall.query.funnel import Funnel, Order, Unit
from footfall.query.journey import Journey, Kind, Way
from footfall.query.query import Dimension, Filter, Range, Scope
from footfall.query.retention import Retention
from footfall.query.steps import Step
from footfall.store.base import Table
from tests.fakes_attribution import ATTRIBUTION, EXPERIMENT, attribution_rows, experiment_rows
from tests.fakes_questions import Session, meets, sessions_of, value

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Row = tuple[Any, ...]


def _at(event: Event) -> datetime:
    return _EPOCH + timedelta(milliseconds=event.occurred_at_ms)


def _is_report(event: Event) -> bool:
    return event.name == ENGAGEMENT and not event.interactive


def _is_met(step: Step, event: Event) -> bool:
    return meets(step.condition, event, Session([event])) and (step.takes_engagement or not _is_report(event))


def _in_order(event: Event) -> tuple[int, bytes]:
    return event.occurred_at_ms, event.id


def _kept(events: list[Event], span: Range, condition: Filter | None) -> list[Session]:
    """The sessions of the range that have an event which meets the filter."""
    sessions = sessions_of([event for event in events if span.start <= _at(event) < span.end])
    return [
        session
        for session in sessions
        if condition is None
        or any(meets(condition, event, session) for event in session.events if not _is_report(event))
    ]


def _bucket(dimension: Dimension, span: Range, event: Event) -> tuple[int, str | int]:
    """The number of the last beginning not after the event, and its name."""
    found = [(place, name) for place, (start, name) in enumerate(buckets(dimension, span)) if start <= _at(event)]
    return found[-1]


# --- funnel ---------------------------------------------------------------------------------------------------------


def _runs(funnel: Funnel, events: list[Event]) -> Iterator[list[int]]:
    """Every run: the places of its events."""
    for start, first in enumerate(events):
        if not _is_met(funnel.steps[0], first):
            continue
        run = [start]
        for step in funnel.steps[1:]:
            rest = range(run[-1] + 1, len(events) if funnel.order is Order.ORDERED else min(run[-1] + 2, len(events)))
            place = next((place for place in rest if _is_met(step, events[place])), None)
            if place is None or events[place].occurred_at_ms - first.occurred_at_ms > funnel.window_ms:
                break
            run.append(place)
        yield run


def funnel_rows(funnel: Funnel, events: list[Event]) -> list[Row]:
    """See Funnel."""
    sessions = _kept(events, funnel.range, funnel.filter)
    if funnel.unit is Unit.SESSION:
        units = [session.events for session in sessions]
    else:
        own: dict[int, list[Event]] = defaultdict(list)
        for session in sessions:
            own[session.events[0].visitor_id] += session.events
        units = list(own.values())
    session_of = {event.id: session for session in sessions for event in session.events}
    groups: dict[Any, list[list[Event]]] = defaultdict(list)
    for unit in units:
        taking_part = sorted(
            (e for e in unit if not _is_report(e) or any(_is_met(step, e) for step in funnel.steps)), key=_in_order
        )
        if runs := list(_runs(funnel, taking_part)):
            best = max(runs, key=lambda run: (len(run), -run[-1], run[0]))
            run = [taking_part[place] for place in best]
            groups[_group(funnel, run[0], session_of[run[0].id])].append(run)
    if funnel.breakdown is None:
        return _funnel_place(funnel, 0, None, [run for runs in groups.values() for run in runs])
    ranked = sorted(groups, key=lambda group: (-len(groups[group]), group))
    rows = _funnel_place(funnel, 0, None, [run for runs in groups.values() for run in runs])
    for place, group in enumerate(ranked[: funnel.limit], 1):
        rows += _funnel_place(funnel, place, group[-1], groups[group])
    if rest := [run for group in ranked[funnel.limit :] for run in groups[group]]:
        rows += _funnel_place(funnel, funnel.limit + 1, None, rest)
    return rows


def _group(funnel: Funnel, event: Event, session: Session) -> tuple[Any, ...]:
    """What groups are sorted by, ending in what the group is called."""
    dimension = funnel.breakdown
    if dimension is None:
        return (None,)
    if isinstance(dimension, Dimension) and dimension.scope is Scope.TIME:
        place, name = _bucket(dimension, funnel.range, event)
        return (name,) if isinstance(name, int) else (place, name)
    text = value(dimension, event, session)
    return (text.encode(), text)


def _funnel_place(funnel: Funnel, place: int, group: Any, runs: list[list[Event]]) -> list[Row]:
    rows: list[Row] = [(place, group, 0, len(runs), None, None, None)]
    for step in range(1, len(funnel.steps)):
        gaps_s = [(run[step].occurred_at_ms - run[step - 1].occurred_at_ms) / 1000 for run in runs if len(run) > step]
        if not gaps_s:
            rows.append((place, group, step, 0, None, None, None))
            continue
        cuts = quantiles(gaps_s, n=10, method="inclusive") if len(gaps_s) > 1 else gaps_s * 9
        rows.append((place, group, step, len(gaps_s), mean(gaps_s), cuts[4], cuts[8]))
    return rows


# --- retention ------------------------------------------------------------------------------------------------------


def retention_rows(retention: Retention, events: list[Event]) -> list[Row]:
    """See Retention."""
    span = retention.range
    inside = sorted((event for session in _kept(events, span, None) for event in session.events), key=_in_order)
    kept = {event.id for session in _kept(events, span, retention.filter) for event in session.events}
    starts: dict[int, Event] = {}
    for event in sorted(events, key=_in_order) if retention.start is None else inside:
        if not _is_report(event) if retention.start is None else _is_met(retention.start, event):
            starts.setdefault(event.visitor_id, event)
    sizes: Counter[int] = Counter()
    returned: Counter[tuple[int, int]] = Counter()
    last: Counter[tuple[int, int]] = Counter()
    for visitor, start in starts.items():
        if start.id not in kept:
            continue
        cohort = _bucket(retention.period, span, start)[0]
        sizes[cohort] += 1
        periods = {
            _bucket(retention.period, span, event)[0]
            for event in inside
            if event.visitor_id == visitor
            and event.occurred_at_ms >= start.occurred_at_ms
            and _is_met(retention.returned, event)
        }
        returned.update((cohort, period) for period in periods)
        if periods:
            last[cohort, max(periods)] += 1
    rows: list[Row] = [(cohort, None, size, None) for cohort, size in sizes.items()]
    return rows + [(*cell, visitors, last[cell]) for cell, visitors in returned.items()]


# --- journey --------------------------------------------------------------------------------------------------------


def _path(journey: Journey, session: Session) -> tuple[list[tuple[str, str]], bool]:
    """The names of its steps, and whether the session ends with the last of them; empty where it has no path."""
    steps = []
    has_begun = False
    for event in session.events if journey.way is Way.FORWARD else reversed(session.events):
        is_anchor = journey.anchor is not None and _is_met(journey.anchor, event)
        is_view = event.name == PAGEVIEW
        is_step = journey.kind is Kind.ALL or (journey.kind is Kind.PAGES) is is_view
        if not is_anchor and (_is_report(event) or not is_step):
            continue
        has_begun = has_begun or is_anchor or journey.anchor is None
        if has_begun:
            steps.append(("page", event.path) if is_view else ("event", event.name))
    if journey.collapse:
        steps = [name for name, _ in groupby(steps)]
    return steps[: journey.depth + 1], len(steps) <= journey.depth + 1


def journey_rows(journey: Journey, events: list[Event]) -> list[Row]:
    """See Journey."""
    paths = [_path(journey, session) for session in _kept(events, journey.range, journey.filter)]
    paths = [path for path in paths if path[0]]
    by_level: dict[int, Counter[tuple[str, str]]] = defaultdict(Counter)
    for steps, _ in paths:
        for level, name in enumerate(steps):
            by_level[level][name] += 1
    named = {
        (level, name)
        for level, counted in by_level.items()
        for name in sorted(counted, key=lambda name: (-counted[name], _sortable(name)))[: journey.top]
    }
    nodes: Counter[tuple[int, Any]] = Counter()
    ends: Counter[tuple[int, Any]] = Counter()
    links: Counter[tuple[int, Any, Any]] = Counter()
    whole: Counter[tuple[tuple[str, str], ...]] = Counter()
    whole_ends: Counter[tuple[tuple[str, str], ...]] = Counter()
    for steps, is_end in paths:
        names = [name if (level, name) in named else None for level, name in enumerate(steps)]
        nodes.update(enumerate(names))
        links.update((level, *pair) for level, pair in enumerate(pairwise(names)))
        ends[len(names) - 1, names[-1]] += is_end
        whole[tuple(steps)] += 1
        whole_ends[tuple(steps)] += is_end
    rows: list[Row] = [("node", level, name, None, n, ends[level, name], None) for (level, name), n in nodes.items()]
    rows += [("link", level, name, after, n, None, None) for (level, name, after), n in links.items()]
    frequent = sorted(whole, key=lambda steps: (-whole[steps], [_sortable(name) for name in steps]))[: journey.paths]
    return rows + [("path", None, None, None, whole[steps], whole_ends[steps], steps) for steps in frequent]


def _sortable(name: tuple[str, str]) -> tuple[str, bytes]:
    return name[0], name[1].encode()


# --- which is which -------------------------------------------------------------------------------------------------

_ANSWERS: dict[type[Any], tuple[tuple[str, ...], Callable[[Any, list[Event]], list[Row]]]] = {
    Funnel: (("place", "value", "step", "units", "mean_s", "median_s", "p90_s"), funnel_rows),
    Retention: (("cohort", "period", "visitors", "last"), retention_rows),
    Journey: (("kind", "level", "label", "next", "sessions", "ends", "path"), journey_rows),
    Attribution: (ATTRIBUTION, attribution_rows),
    Experiment: (EXPERIMENT, experiment_rows),
}


def answer(question: Any, events: list[Event]) -> Table:
    """The answer to any question about order, of one site's events."""
    columns, rows = _ANSWERS[type(question)]
    return Table(columns, rows(question, events))
