"""What MemoryStore answers, in plain Python: sessions first, then every event with its session, then groups."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cmp_to_key
from itertools import groupby
from operator import attrgetter

import msgspec
import re2

from footfall.event import PAGEVIEW, Event
from footfall.query.buckets import Key, buckets
from footfall.query.query import (
    FIELDS,
    SESSION_GAP_MS,
    All,
    AnyDimension,
    Compare,
    Dimension,
    Direction,
    Filter,
    HasDone,
    Metric,
    Not,
    Operator,
    Prop,
    Query,
    Scope,
    Taken,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Session(msgspec.Struct, eq=False):
    """One visitor's events without a long gap, in order."""

    events: list[Event]

    def of(self, dimension: Dimension) -> str:
        field, taken = FIELDS[dimension]
        views = [event for event in self.events if event.name == PAGEVIEW]
        if taken is Taken.FIRST:
            return str(getattr(self.events[0], field))
        if not views:
            return ""
        return str(getattr(views[0 if taken is Taken.ENTRY else -1], field))

    @property
    def pageviews(self) -> int:
        return sum(event.name == PAGEVIEW for event in self.events)

    @property
    def is_bounce(self) -> bool:
        return self.pageviews == 1 and not any(event.interactive and event.name != PAGEVIEW for event in self.events)

    @property
    def duration_ms(self) -> int:
        return self.events[-1].occurred_at_ms - self.events[0].occurred_at_ms


Met = tuple[Event, Session]
Group = tuple[object, ...]


def sessions_of(events: Iterable[Event]) -> list[Session]:
    """Every session, of every visitor."""
    found: list[Session] = []
    ordered = sorted(events, key=attrgetter("visitor_id", "occurred_at_ms", "id"))
    for _, own in groupby(ordered, attrgetter("visitor_id")):
        last_ms = -SESSION_GAP_MS - 1
        for event in own:
            if event.occurred_at_ms - last_ms > SESSION_GAP_MS:
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


def value(dimension: AnyDimension, event: Event, session: Session) -> str:
    """Of any dimension but one of time."""
    if isinstance(dimension, Prop):
        return event.props.get(dimension.key, "")
    if dimension.scope is Scope.SESSION:
        return session.of(dimension)
    return str(getattr(event, FIELDS[dimension][0]))


class Questioner:
    """One query, asked of one site's events."""

    def __init__(self, query: Query, events: Sequence[Event]) -> None:
        self._query = query
        self._buckets = {
            each: buckets(each, query.range)
            for each in query.dimensions
            if isinstance(each, Dimension) and each.scope is Scope.TIME
        }
        in_range = [event for event in events if query.range.start <= _at(event) < query.range.end]
        self._seen_before = {event.visitor_id for event in events if _at(event) < query.range.start}
        self._met: list[Met] = [
            (event, session)
            for session in sessions_of(in_range)
            for event in session.events
            if query.filter is None or meets(query.filter, event, session)
        ]

    def rows(self) -> tuple[list[Group], int]:
        """The rows as the query wants them, and how many there are without limit."""
        by_event: defaultdict[Group, list[Met]] = defaultdict(list)
        by_start: defaultdict[Group, list[Met]] = defaultdict(list)
        for event, session in self._met:
            by_event[self._group(event, event, session)].append((event, session))
            by_start[self._group(event, session.events[0], session)].append((event, session))
        groups: set[Group] = {*by_event, *by_start} if self._query.dimensions else {()}
        rows: list[Group] = []
        for group in groups:
            figures = [
                self._of_sessions(metric, by_start.get(group, []))
                if metric.scope is Scope.SESSION
                else self._of_events(metric, [event for event, _ in by_event.get(group, [])])
                for metric in self._query.metrics
            ]
            is_kept = any(
                figure if metric.is_count else figure is not None
                for metric, figure in zip(self._query.metrics, figures, strict=True)
            )
            if is_kept or not self._query.dimensions:
                rows.append((*group, *figures))
        rows = self._ordered(rows)
        end = None if self._query.limit is None else self._query.offset + self._query.limit
        return rows[self._query.offset : end], len(rows)

    def _group(self, event: Event, timed: Event, session: Session) -> Group:
        return tuple(
            self._bucket(each, timed) if each in self._buckets else value(each, event, session)
            for each in self._query.dimensions
        )

    def _bucket(self, dimension: AnyDimension, event: Event) -> Key:
        assert isinstance(dimension, Dimension)
        return [name for start, name in self._buckets[dimension] if start <= _at(event)][-1]

    def _of_sessions(self, metric: Metric, met: list[Met]) -> object:
        if metric is Metric.VISITS:
            return len({id(session) for _, session in met})
        entered = {id(session): session for event, session in met if self._is_entered(event, session)}.values()
        if not entered:
            return None
        if metric is Metric.BOUNCE_RATE:
            return 100 * sum(session.is_bounce for session in entered) / len(entered)
        if metric is Metric.VISIT_DURATION:
            return sum(session.duration_ms for session in entered) / len(entered) / 1000
        return sum(session.pageviews for session in entered) / len(entered)

    def _is_entered(self, event: Event, session: Session) -> bool:
        entries = {Dimension.PAGE: Dimension.ENTRY_PAGE, Dimension.HOSTNAME: Dimension.ENTRY_HOSTNAME}
        asked = [each for each in entries if each in self._query.dimensions]
        if not asked:
            return True
        return session.pageviews > 0 and all(value(each, event, session) == session.of(entries[each]) for each in asked)

    def _of_events(self, metric: Metric, events: list[Event]) -> object:
        visitors = {event.visitor_id for event in events}
        if metric.is_money:
            amounts: defaultdict[str, list[Decimal]] = defaultdict(list)
            for event in events:
                if event.revenue is not None:
                    amounts[event.currency].append(event.revenue)
            whole = metric is Metric.TOTAL_REVENUE
            return {
                currency: sum(paid, Decimal()) / (1 if whole else len(paid)) for currency, paid in amounts.items()
            } or None
        return {
            Metric.VISITORS: len(visitors),
            Metric.NEW_VISITORS: len(visitors - self._seen_before),
            Metric.RETURNING_VISITORS: len(visitors & self._seen_before),
            Metric.EVENTS: len(events),
            Metric.PAGEVIEWS: sum(event.name == PAGEVIEW for event in events),
        }[metric]

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


def _at(event: Event) -> datetime:
    return _EPOCH + timedelta(milliseconds=event.occurred_at_ms)
