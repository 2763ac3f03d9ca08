"""Events as rows for questions about their order: each with its place in time and, where wanted, its session.

What a question needs of an event is named once and is then a column, whether the rows come from the table itself or
through sessions, which cost more and are made only for who asks for them.
"""
# ruff: noqa: S608 - what is put together here are constants, numbers and placeholders

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from footfall.query.query import Dimension, Filter, Prop, Range, Scope
from footfall.query.steps import Step
from footfall.store.clickhouse.conditions import Values, met_by_an_event, parts_of, split
from footfall.store.clickhouse.kinds import IS_COUNTED
from footfall.store.clickhouse.sessions import AT_MS, Sessions, event_column, event_sql
from footfall.store.clickhouse.time_buckets import Bucket, milliseconds

OF_SITE = "site_id = {site_id:String}"
FROM_START = "occurred_at >= fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC')"
BEFORE_END = "occurred_at < fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC')"
IN_RANGE = f"{OF_SITE} AND {FROM_START} AND {BEFORE_END}"


class Compiled(msgspec.Struct, frozen=True):
    """A statement, its parameters, and how the rows of the answer are made of the engine's."""

    sql: str
    params: dict[str, str | int]
    columns: tuple[str, ...]
    read: Callable[[Sequence[Sequence[Any]]], list[tuple[object, ...]]]


class EventRows:
    """The events of one site in one range."""

    def __init__(
        self,
        site_id: str,
        span: Range,
        condition: Filter | None,
        *,
        with_sessions: bool,
        who_did: Step | None = None,
        are_new: bool = False,
    ) -> None:
        """Only sessions that *condition* keeps are meant; *with_sessions*: they are known also where there is none.

        *who_did*: of visitors only who have an event that meets it; *are_new*: only who have none before the range.
        """
        self.values = Values()
        self.values.params |= {
            "site_id": site_id,
            "start_ms": milliseconds(span.start),
            "end_ms": milliseconds(span.end),
        }
        self._span = span
        self._on_events, self._on_sessions, self._on_both = split(condition)
        self._columns: dict[str, str] = {}
        self.where = IN_RANGE
        """Which events of the table are looked at: in the range all of a visitor's, or none."""
        if who_did is not None:
            self.where += self._only_who(self.met(who_did))
        if are_new:
            before = f"SELECT visitor_id FROM events WHERE {OF_SITE} AND NOT ({FROM_START}) AND {IS_COUNTED}"
            self.where += f" AND visitor_id NOT IN ({before})"
        # Who has no event that could meet the filter is left out before sessions are made of everybody's events.
        for part in (self._on_events, *parts_of(self._on_sessions)):
            could = met_by_an_event(part)
            if could is not None:
                self.where += self._only_who(event_sql(could, self.values))
        self._sessions: Sessions | None = None
        if with_sessions or condition is not None:
            self._sessions = Sessions(self.values, self.where, is_packed=False)
            # Whether a report of engagement is before the session's first event or within it may hang on it.
            self._sessions.order_by_id()

    def _only_who(self, event: str) -> str:
        return f" AND visitor_id IN (SELECT visitor_id FROM events WHERE {IN_RANGE} AND {event})"

    def met(self, step: Step) -> str:
        """Whether an event of the table meets *step*."""
        said = event_sql(step.condition, self.values)
        return f"({said})" if step.takes_engagement else f"({said} AND {IS_COUNTED})"

    def column(self, name: str, table_sql: str) -> None:
        """A column of that name: an expression on the table."""
        self._columns[name] = table_sql if self._sessions is None else self._sessions.carry(table_sql)

    def bucket(self, name: str, dimension: Dimension) -> Bucket:
        """A column of that name with the bucket of time that the event is in."""
        bucket = Bucket(dimension, self._span)
        self._columns[name] = bucket.of(AT_MS if self._sessions is None else self._sessions.at_ms("e"))
        return bucket

    def dimension(self, name: str, dimension: Dimension | Prop) -> Callable[[Any], object] | None:
        """A column of that name with what *dimension* is for the event; returns what reads it, if it is not read as it
        is."""
        if isinstance(dimension, Dimension) and dimension.scope is Scope.TIME:
            return self.bucket(name, dimension).names.__getitem__
        if dimension.scope is not Scope.SESSION:
            self.column(name, f"toString({event_column(dimension, self.values)})")
        elif self._sessions is None:
            raise AssertionError("asked for an attribute of sessions without them")
        else:
            self._columns[name] = self._sessions.dimension(dimension)
        return None

    def sql(self, only: str = "") -> str:
        """The rows: visitor_id, at_ms, id, the columns, and `is_kept`, whether the filter keeps the session; with
        sessions also started_ms, which together with visitor_id names one.

        *only* (" AND ...", on the table) leaves out events where no sessions are made of them.
        """
        named = "".join(f", {sql} AS {name}" for name, sql in self._columns.items())
        if self._sessions is None:
            return (
                f"SELECT visitor_id, {AT_MS} AS at_ms, id, true AS is_kept{named} FROM events WHERE {self.where}{only}"
            )
        sessions = self._sessions
        kept = ["true"]
        if self._on_events is not None:
            kept.append(f"{sessions.counted_that_meet(self._on_events)} > 0")
        if self._on_sessions is not None:
            kept.append(sessions.condition(self._on_sessions))
        if self._on_both is not None:
            # Whether some event of the session meets it is only known beside all of them.
            both = f"{sessions.condition(self._on_both)} AND {sessions.is_counted}"
            kept.append(f"max({both}) OVER (PARTITION BY visitor_id, started_ms)")
        return (
            f"SELECT visitor_id, {sessions.at_ms('e')} AS at_ms, {sessions.carry('id')} AS id, started_ms, "
            f"{' AND '.join(kept)} AS is_kept{named} FROM ({sessions.sql(with_events=True)})"
        )
