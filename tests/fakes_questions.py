"""The recount: what every store has to answer, in plain Python, from docs/query.md and not from the code of the stores.

Sessions first, then every event with its session, then groups. The words of a question (Query, Metric, Filter …) are
the product's; what they come to is said here a second time, in one table for the metrics.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cached_property, cmp_to_key
from itertools import groupby, pairwise, product
from operator import attrgetter
from typing import NamedTuple
from zoneinfo import ZoneInfo

import re2

from footfall.event import Event
from footfall.query.query import (
    All,
    AnyDimension,
    Compare,
    Dimension,
    Direction,
    Filter,
    Goals,
    HasDone,
    Metric,
    Not,
    Operator,
    Prop,
    Query,
    Scope,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_GAP_MS = 30 * 60 * 1000
_OWN = {"event:page": "path", "event:name": "name", "event:hostname": "hostname"}
_OF_VIEWS = {
    "visit:entry_page": ("path", 0),
    "visit:entry_page_hostname": ("hostname", 0),
    "visit:exit_page": ("path", -1),
    "visit:exit_page_hostname": ("hostname", -1),
}
Key = str | int


def is_view(event: Event) -> bool:
    """A pageview."""
    return event.name == "pageview"


def is_report(event: Event) -> bool:
    """A report of engagement, which is counted by nothing but the metrics of pages."""
    return event.name == "engagement" and not event.interactive


def reported(event: Event, prop: str, digits: int, most: int) -> int | None:
    """The whole number that a report of engagement brings."""
    text = event.props.get(prop, "")
    return min(int(text), most) if is_report(event) and re.fullmatch(f"[0-9]{{1,{digits}}}", text) else None


class Session:
    """One visitor's events without a long gap, in order."""

    def __init__(self, events: list[Event]) -> None:
        self.events = events

    def of(self, dimension: Dimension) -> str:
        """A dimension of the session."""
        if dimension.value not in _OF_VIEWS:
            return str(getattr(self.events[0], dimension.value.removeprefix("visit:")))
        field, place = _OF_VIEWS[dimension.value]
        return str(getattr(self.views[place], field)) if self.views else ""

    @cached_property
    def views(self) -> list[Event]:
        """Its pageviews."""
        return [event for event in self.events if is_view(event)]

    @property
    def is_bounce(self) -> bool:
        """One pageview, and nothing else that somebody did."""
        return len(self.views) == 1 and not any(event.interactive and not is_view(event) for event in self.events)

    @property
    def duration_ms(self) -> int:
        """From the first to the last event."""
        return self.events[-1].occurred_at_ms - self.events[0].occurred_at_ms

    @cached_property
    def spent_ms(self) -> dict[bytes, int]:
        """By the id of each event that tells of it: how long a page was read."""
        told = {event.id: reported(event, "engagement_ms", 12, 30 * 86_400_000) for event in self.events}
        engaged = {event_id: ms for event_id, ms in told.items() if ms is not None}
        views = self.views
        return engaged or {view.id: after.occurred_at_ms - view.occurred_at_ms for view, after in pairwise(views)}


Met = tuple[Event, Session]
Group = tuple[object, ...]


def sessions_of(events: Iterable[Event]) -> list[Session]:
    """Every session, of every visitor; reports of engagement that belong to none are left out."""
    found: list[Session] = []
    ordered = sorted(events, key=attrgetter("visitor_id", "occurred_at_ms", "id"))
    for _, own in groupby(ordered, attrgetter("visitor_id")):
        last_ms: int | None = None
        for event in own:
            if last_ms is None or event.occurred_at_ms - last_ms > _GAP_MS:
                if is_report(event):
                    continue
                found.append(Session([]))
            found[-1].events.append(event)
            last_ms = event.occurred_at_ms
    return found


def meets(condition: Filter, event: Event, session: Session) -> bool:
    """Does the event, in its session, meet the condition?"""
    if isinstance(condition, Compare):
        text = value(condition.dimension, event, session)
        return (
            any(_compare(condition, text, wanted) for wanted in condition.values) is not condition.operator.is_negative
        )
    if isinstance(condition, HasDone):
        return any(meets(condition.part, each, session) for each in session.events)
    if isinstance(condition, Not):
        return not meets(condition.part, event, session)
    how = all if isinstance(condition, All) else any
    return how(meets(part, event, session) for part in condition.parts)


def _compare(condition: Compare, text: str, wanted: str) -> bool:
    if condition.operator in {Operator.MATCHES, Operator.MATCHES_NOT}:
        options = re2.Options()
        options.dot_nl = True
        options.case_sensitive = condition.case_sensitive
        return re2.compile(wanted, options).search(text) is not None
    if not condition.case_sensitive:
        text, wanted = text.lower(), wanted.lower()
    return text == wanted if condition.operator in {Operator.IS, Operator.IS_NOT} else wanted in text


def value(dimension: Dimension | Prop, event: Event, session: Session) -> str:
    """Of a dimension that is neither of time nor of goals."""
    if isinstance(dimension, Prop):
        return event.props.get(dimension.key, "")
    if dimension.value.startswith("visit:"):
        return session.of(dimension)
    return str(getattr(event, _OWN[dimension.value]))


def wall_name(dimension: str, event: Event, zone: ZoneInfo, week_start: int) -> Key:
    """What the clocks and the calendar on the wall call the time of an event."""
    at = (_EPOCH + timedelta(milliseconds=event.occurred_at_ms)).astimezone(zone)
    day = at.date()
    if dimension == "time:week":
        return (day - timedelta(days=(day.isoweekday() - week_start) % 7)).isoformat()
    firsts = {
        "time:day": day,
        "time:month": date(day.year, day.month, 1),
        "time:quarter": date(day.year, (1, 4, 7, 10)[(day.month - 1) // 3], 1),
        "time:year": date(day.year, 1, 1),
    }
    if dimension in firsts:
        return firsts[dimension].isoformat()
    offset = at.isoformat()[-6:]
    names: dict[str, Key] = {
        "time:minute": f"{at:%Y-%m-%dT%H:%M:00}{offset}",
        "time:hour": f"{at:%Y-%m-%dT%H:00:00}{offset}",
        "time:day_of_week": at.isoweekday(),
        "time:hour_of_day": at.hour,
    }
    return names[dimension]


class Counted(NamedTuple):
    """What is counted for one group."""

    events: list[Event]
    """That meet the filter, without reports of engagement."""
    visits: list[Session]
    """Each that has such an event, once."""
    entered: list[Session]
    """Those of them that entered there, where the question is by page or hostname."""
    pages: list[tuple[Session, list[Event]]]
    """For each page within a session the events that meet the filter, reports among them."""
    before: set[int]
    """Visitors with an event before the range."""

    @property
    def visitors(self) -> set[int]:
        """Who."""
        return {event.visitor_id for event in self.events}

    def paid(self) -> dict[str, list[Decimal]]:
        """Amounts by currency."""
        amounts: defaultdict[str, list[Decimal]] = defaultdict(list)
        for event in self.events:
            if event.revenue is not None:
                amounts[event.currency].append(event.revenue)
        return amounts

    def deepest(self) -> list[int]:
        """Of each page that was reported."""
        depths = [
            [depth for event in events if (depth := reported(event, "scroll_depth", 9, 100)) is not None]
            for _, events in self.pages
        ]
        return [max(found) for found in depths if found]

    def spent_s(self) -> list[float]:
        """Of each page of which it is known."""
        spent = [[session.spent_ms[e.id] for e in events if e.id in session.spent_ms] for session, events in self.pages]
        return [sum(found) / 1000 for found in spent if found]

    def last_views(self) -> list[int]:
        """For each pageview 1 where it is its session's last, else 0."""
        return [int(e is session.views[-1]) for session, events in self.pages for e in events if is_view(e)]


def _mean(figures: Sequence[float]) -> float | None:
    return sum(figures) / len(figures) if figures else None


RECOUNT: dict[Metric, Callable[[Counted], object]] = {
    Metric.PAGEVIEWS: lambda of: sum(map(is_view, of.events)),
    Metric.VISITORS: lambda of: len(of.visitors),
    Metric.EVENTS: lambda of: len(of.events),
    Metric.NEW_VISITORS: lambda of: len(of.visitors - of.before),
    Metric.RETURNING_VISITORS: lambda of: len(of.visitors & of.before),
    Metric.TOTAL_REVENUE: lambda of: {name: sum(paid, Decimal()) for name, paid in of.paid().items()} or None,
    Metric.AVERAGE_REVENUE: lambda of: {n: sum(paid, Decimal()) / len(paid) for n, paid in of.paid().items()} or None,
    Metric.VISITS: lambda of: len(of.visits),
    Metric.VIEWS_PER_VISIT: lambda of: _mean([len(session.views) for session in of.entered]),
    Metric.BOUNCE_RATE: lambda of: _mean([100.0 * session.is_bounce for session in of.entered]),
    Metric.VISIT_DURATION: lambda of: _mean([session.duration_ms / 1000 for session in of.entered]),
    Metric.SCROLL_DEPTH: lambda of: _mean(of.deepest()),
    Metric.TIME_ON_PAGE: lambda of: _mean(of.spent_s()),
    Metric.EXIT_RATE: lambda of: _mean([100.0 * last for last in of.last_views()]),
}
"""Every metric a second time."""


class Questioner:
    """One query, asked of one site's events."""

    def __init__(self, query: Query, events: Sequence[Event]) -> None:
        self._query = query
        in_range = [event for event in events if query.range.start <= _at(event) < query.range.end]
        self._in_range = in_range
        self._before = {e.visitor_id for e in events if _at(e) < query.range.start and not is_report(e)}
        self._met: list[Met] = [
            (event, session)
            for session in sessions_of(in_range)
            for event in session.events
            if query.filter is None or meets(query.filter, event, session)
        ]

    def rows(self) -> tuple[list[Group], int]:
        """The rows as the query wants them, and how many there are without limit."""
        rows: list[Group] = []
        for group, counted in self._counted().items():
            figures = [RECOUNT[metric](counted) for metric in self._query.metrics]
            if not self._query.dimensions or any(map(_is_something, figures)):
                rows.append((*group, *figures))
        rows = self._ordered(rows)
        end = None if self._query.limit is None else self._query.offset + self._query.limit
        return rows[self._query.offset : end], len(rows)

    def _counted(self) -> dict[Group, Counted]:
        if self._query.counts_reports:
            return {(): Counted(self._in_range, [], [], [], self._before)}
        events: defaultdict[Group, list[Event]] = defaultdict(list)
        visits: defaultdict[Group, dict[int, Session]] = defaultdict(dict)
        entered: defaultdict[Group, dict[int, Session]] = defaultdict(dict)
        pages: defaultdict[Group, dict[tuple[int, str], tuple[Session, list[Event]]]] = defaultdict(dict)
        for event, session in self._met:
            for group in self._groups(event, event, session):
                pages[group].setdefault((id(session), event.path), (session, []))[1].append(event)
                if not is_report(event):
                    events[group].append(event)
            if is_report(event):
                continue
            for group in self._groups(event, session.events[0], session):
                visits[group][id(session)] = session
                if self._is_entered(event, session):
                    entered[group][id(session)] = session
        groups: Iterable[Group] = {*events, *visits, *pages} if self._query.dimensions else [()]
        return {
            group: Counted(
                events.get(group, []),
                list(visits.get(group, {}).values()),
                list(entered.get(group, {}).values()),
                list(pages.get(group, {}).values()),
                self._before,
            )
            for group in groups
        }

    def _groups(self, event: Event, timed: Event, session: Session) -> Iterable[Group]:
        """In which rows *event* counts; *timed*: whose time it is."""
        span = self._query.range

        def names(dimension: AnyDimension) -> list[Key]:
            if isinstance(dimension, Goals):
                return [name for name, goal in dimension.goals if meets(goal, event, session)]
            if isinstance(dimension, Dimension) and dimension.scope is Scope.TIME:
                return [wall_name(dimension.value, timed, span.zone, 7 if span.week_start == "sunday" else 1)]
            return [value(dimension, event, session)]

        return product(*map(names, self._query.dimensions))

    def _is_entered(self, event: Event, session: Session) -> bool:
        entries = {Dimension.PAGE: Dimension.ENTRY_PAGE, Dimension.HOSTNAME: Dimension.ENTRY_HOSTNAME}
        asked = [each for each in entries if each in self._query.dimensions]
        if not asked:
            return True
        return bool(session.views) and all(value(each, event, session) == session.of(entries[each]) for each in asked)

    def _ordered(self, rows: list[Group]) -> list[Group]:
        query = self._query
        if not query.order_by and query.limit is None:
            return rows
        columns = [*query.dimensions, *query.metrics]
        orders = [(columns.index(by), way) for by, way in query.order_by]
        orders += [(place, Direction.ASC) for place in range(len(query.dimensions))]

        def compare(one: Group, other: Group) -> int:
            for place, way in orders:
                a, b = one[place], other[place]
                if a == b:
                    continue
                if a is None or b is None:
                    return 1 if a is None else -1
                is_less = a < b  # type: ignore[operator]
                return -1 if is_less is (way is Direction.ASC) else 1
            return 0

        return sorted(rows, key=cmp_to_key(compare))


def _is_something(figure: object) -> bool:
    """A row of nothing but zeros and nulls is none; a mean of 0.0 is something."""
    return figure is not None and not (isinstance(figure, int) and figure == 0)


def _at(event: Event) -> datetime:
    return _EPOCH + timedelta(milliseconds=event.occurred_at_ms)
