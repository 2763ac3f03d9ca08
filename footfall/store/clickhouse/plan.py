"""Which rows a question reads: of events, of sessions, of pages within sessions, or several of these put together.

A question about events alone reads the table. What asks for sessions reads one row for each session; or, where the
dimensions or the filter mix events and sessions, one row for each event with its session beside it.
"""
# ruff: noqa: S608 - what is put together here are constants, numbers and placeholders

from collections.abc import Callable
from typing import Any

from footfall.query.query import FIELDS, AnyDimension, Dimension, Goals, Query, Scope
from footfall.store.clickhouse.conditions import (
    Values,
    asks_for_reports,
    compares,
    met_by_an_event,
    parts_of,
    size,
    split,
)
from footfall.store.clickhouse.figures import ENGAGED_MS, METRICS, NO_MONEY, SCROLLED, money, nothing
from footfall.store.clickhouse.kinds import IS_COUNTED, IS_PAGEVIEW
from footfall.store.clickhouse.sessions import (
    AT_MS,
    FLAGS_MAX,
    Sessions,
    event_column,
    event_sql,
)
from footfall.store.clickhouse.spans import Cover
from footfall.store.clickhouse.time_buckets import Bucket, milliseconds

_FIELDS: dict[AnyDimension, str] = {d: FIELDS[d][0] for d in (Dimension.PAGE, Dimension.HOSTNAME, Dimension.NAME)}
_ENTRY = {Dimension.PAGE: Dimension.ENTRY_PAGE, Dimension.HOSTNAME: Dimension.ENTRY_HOSTNAME}
_OF_SITE = "site_id = {site_id:String}"
_FROM_START = "occurred_at >= fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC')"
_BEFORE_END = "occurred_at < fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC')"


class Plan:
    """Which of the two, or both, kinds of rows a query reads, and what it says of each."""

    def __init__(self, query: Query, cover: Cover | None = None) -> None:
        """*cover*: what is kept of the sessions in the query's range."""
        self._query = query
        self._cover = cover
        self.values = Values()
        self._dimensions = {dimension.scope for dimension in query.dimensions}
        self._buckets: dict[AnyDimension, Bucket] = {
            d: Bucket(d, query.range) for d in query.dimensions if isinstance(d, Dimension) and d.scope is Scope.TIME
        }
        self._on_events, self._on_sessions, self._on_both = split(query.filter)
        self.values.params |= {
            "site_id": query.site_id,
            "start_ms": milliseconds(query.range.start),
            "end_ms": milliseconds(query.range.end),
        }
        self._where = f"{_OF_SITE} AND {_FROM_START} AND {_BEFORE_END}"

    def dimension_readers(self) -> list[Callable[[Any], object] | None]:
        """For each dimension: buckets and goals are numbers in the engine."""
        readers: list[Callable[[Any], object] | None] = []
        for dimension in self._query.dimensions:
            if dimension in self._buckets:
                readers.append(self._buckets[dimension].names.__getitem__)
            elif isinstance(dimension, Goals):
                readers.append([name for name, _ in dimension.goals].__getitem__)
            else:
                readers.append(None)
        return readers

    def groups(self) -> str:
        """All groups with all metrics, up to GROUP BY."""
        asked = {metric.scope for metric in self._query.metrics}
        if self._query.counts_reports and (asked != {Scope.EVENT} or self._query.dimensions or self._query.filter):
            raise AssertionError("reports of engagement were to be counted of more than all events")
        knows_sessions = Scope.SESSION in self._dimensions or bool(self._on_sessions or self._on_both)
        if asked == {Scope.EVENT} and not knows_sessions:
            return self._from_table(asked)
        is_of_sessions = self._dimensions <= {Scope.SESSION} and not self._on_both
        if is_of_sessions and Scope.PAGE not in asked and not self._asks_for_money():
            return self._from_sessions(asked)
        parts = []
        if Scope.EVENT in asked:
            parts.append(self._from_events() if knows_sessions else self._from_table({Scope.EVENT}))
        if Scope.SESSION in asked:
            is_split = Scope.EVENT in self._dimensions or self._on_both
            parts.append(self._from_visits() if is_split else self._from_sessions({Scope.SESSION}))
        if Scope.PAGE in asked:
            parts.append(self._from_pages())
        return parts[0] if len(parts) == 1 else self._merged(parts)

    def _asks_for_money(self) -> bool:
        return any(metric.is_money for metric in self._query.metrics)

    def _merged(self, parts: list[str]) -> str:
        """A group of only one part is there too: a session may begin in an hour without an event that is meant."""
        selected = [f"d{i}" for i in range(len(self._query.dimensions))]
        selected += [
            f"ifNull(max(p{i}), 0) AS m{i}" if metric.is_count else f"max(p{i}) AS m{i}"
            for i, metric in enumerate(self._query.metrics)
        ]
        metrics = ", ".join(f"m{i} AS p{i}" for i in range(len(self._query.metrics)))
        names = "".join(f"d{i}, " for i in range(len(self._query.dimensions)))
        union = " UNION ALL ".join(f"SELECT {names}{metrics} FROM ({part})" for part in parts)
        return f"SELECT {', '.join(selected)} FROM ({union}){self._group_by()}"

    def _group_by(self) -> str:
        names = ", ".join(f"d{i}" for i in range(len(self._query.dimensions)))
        return f" GROUP BY {names}" if names else ""

    def _metrics(self, asked: set[Scope], words: dict[str, str]) -> list[str]:
        """The asked metrics, and nothing in the place of the others."""
        before = f"SELECT visitor_id FROM events WHERE {_OF_SITE} AND NOT ({_FROM_START}) AND {IS_COUNTED}"
        words = {"before": before, **words}
        return [
            f"{METRICS[metric].format(**words) if metric.scope in asked else nothing(metric)} AS m{i}"
            for i, metric in enumerate(self._query.metrics)
        ]

    def _named(self, columns: list[str]) -> list[str]:
        return [f"{column} AS d{i}" for i, column in enumerate(columns)]

    def _from_table(self, asked: set[Scope]) -> str:
        columns = [
            self._buckets[d].of(AT_MS) if d.scope is Scope.TIME else event_column(d, self.values)
            for d in self._query.dimensions
        ]
        words = {
            "events": "count()",
            "pageviews": f"countIf({IS_PAGEVIEW})",
            "money": money("revenue", "toString(currency)"),
        }
        where = self._where if self._query.counts_reports else f"{self._where} AND {IS_COUNTED}"
        if self._on_events is not None:
            where += f" AND {event_sql(self._on_events, self.values)}"
        selected = [*self._named(columns), *self._metrics(asked, words)]
        return f"SELECT {', '.join(selected)} FROM events WHERE {where}{self._group_by()}"

    def _sessions(self) -> Sessions:
        needs_columns = (
            self._dimensions - {Scope.TIME}
            or self._on_both
            or self._asks_for_money()
            or (self._on_sessions is not None and compares(self._on_sessions))
            or size(self._on_sessions) > FLAGS_MAX - 4
        )
        return self._sessions_of(is_packed=not needs_columns)

    def _sessions_of(self, *, is_packed: bool) -> Sessions:
        sessions = Sessions(self.values, self._where, is_packed, self._who_did(), self._cover)
        if any(part is not None and asks_for_reports(part) for part in (self._on_sessions, self._on_both)):
            sessions.order_by_id()
        return sessions

    def _who_did(self) -> list[str]:
        """What some event of a visitor has to meet who could meet the filter: all others are left out before sessions
        are made of everybody's events."""
        could = [met_by_an_event(part) for part in (self._on_events, *parts_of(self._on_sessions))]
        return [event_sql(part, self.values) for part in could if part is not None]

    def _from_sessions(self, asked: set[Scope]) -> str:
        """A session is a row."""
        sessions = self._sessions()
        columns = self._columns(sessions, "started_ms")
        words = {"pageviews": "sum(pageviews)", "money": NO_MONEY, "is_entry": "true"}
        met = []
        if self._on_sessions is not None:
            met.append(sessions.condition(self._on_sessions))
        if self._on_events is not None:
            count = sessions.counted_that_meet(self._on_events)
            met.append(f"{count} > 0")
            words |= {"events": f"sum({count})", "pageviews": f"sum({sessions.pageviews_that_meet(self._on_events)})"}
        elif Scope.EVENT in asked:
            words["events"] = f"sum({sessions.counted()})"
        selected = [*self._named(columns), *self._metrics(asked, words)]
        where = " AND ".join(met) or "true"
        rows = sessions.sql(with_events=False, only=where)
        return f"SELECT {', '.join(selected)} FROM ({rows}) WHERE {where}{self._group_by()}"

    def _only(self, sessions: Sessions) -> str:
        return "true" if self._on_sessions is None else sessions.condition(self._on_sessions)

    def _rows_of_events(self, sessions: Sessions) -> str:
        return sessions.sql(with_events=True, only=self._only(sessions))

    def _columns(self, sessions: Sessions, at_ms: str) -> list[str]:
        """The dimensions of a row that is an event, or a session; *at_ms*: which time of it counts."""
        return [
            self._buckets[d].of(at_ms) if d.scope is Scope.TIME else sessions.dimension(d)
            for d in self._query.dimensions
        ]

    def _events_met(self, sessions: Sessions) -> list[str]:
        met = [sessions.condition(part) for part in (self._on_sessions, self._on_both) if part is not None]
        if self._on_events is not None:
            met.append(sessions.meets(self._on_events)[0])
        return met

    def _from_events(self) -> str:
        """An event with its session is a row."""
        sessions = self._sessions()
        columns = self._columns(sessions, sessions.at_ms("e"))
        words = {"events": "count()", "pageviews": f"countIf({sessions.is_pageview})", "money": ""}
        if self._asks_for_money():
            words["money"] = money(sessions.carry("revenue"), sessions.carry("toString(currency)"))
        where = " AND ".join([sessions.is_counted, *self._events_met(sessions)])
        selected = [*self._named(columns), *self._metrics({Scope.EVENT}, words)]
        return f"SELECT {', '.join(selected)} FROM ({self._rows_of_events(sessions)}) WHERE {where}{self._group_by()}"

    def _from_visits(self) -> str:
        """A session is a row for each group in which it has an event."""
        sessions = self._sessions()
        columns = self._columns(sessions, "started_ms")
        entered = [
            f"{column} = {sessions.attribute(_ENTRY[d])}"
            for d, column in zip(self._query.dimensions, columns, strict=True)
            if isinstance(d, Dimension) and d in _ENTRY
        ]
        met = " AND ".join([sessions.is_counted, *self._events_met(sessions)])
        keys = "".join(f"d{i}, " for i in range(len(columns)))
        named = "".join(f"{column}, " for column in self._named(columns))
        session = "visitor_id, started_ms, duration_ms, pageviews, others"
        is_entry = " AND ".join(["pageviews > 0", *entered]) if entered else "true"

        def grouped(rows: str) -> str:
            flag = f"max({is_entry}) AS entered"
            return f"SELECT {named}{session}, {flag} FROM ({rows}) WHERE {met} GROUP BY {keys}{session}"

        field, only = self._one_field(), self._only(sessions)
        parts = None if field is None else sessions.kept_once(field, met, only)
        if parts is None:
            inner = grouped(sessions.sql(with_events=True, only=only))
        else:
            # Most of the time would go into finding out that a kept session is in each group once.
            once, made = parts
            inner = f"SELECT {named}{session}, {is_entry} AS entered FROM ({once}) UNION ALL {grouped(made)}"
        selected = [f"d{i}" for i in range(len(columns))]
        selected += self._metrics({Scope.SESSION}, {"is_entry": "entered"})
        return f"SELECT {', '.join(selected)} FROM ({inner}){self._group_by()}"

    def _one_field(self) -> str | None:
        """The field of events by which alone, beside attributes of sessions, a question of sessions is divided."""
        of_events = [d for d in self._query.dimensions if d.scope is Scope.EVENT]
        if len(of_events) != 1 or of_events[0] not in _FIELDS:
            return None
        return _FIELDS[of_events[0]]

    def _from_pages(self) -> str:
        """A page within a session is a row for each group in which it has an event."""
        sessions = self._sessions_of(is_packed=False)
        columns = self._columns(sessions, sessions.at_ms("e"))
        met = self._events_met(sessions)
        scrolled, engaged_ms = sessions.carry(SCROLLED), sessions.carry(ENGAGED_MS)
        _, reports = sessions.flagged(f"isNotNull({ENGAGED_MS})")
        is_view, next_ms = sessions.is_pageview, sessions.next_view_ms()
        spent_ms = f"if({reports} > 0, {engaged_ms}, if({is_view} AND next_view > 0, toUInt64({next_ms}), NULL))"
        figures = [
            f"max({scrolled}) AS deepest",
            f"sum({spent_ms}) AS spent_ms",
            f"countIf({is_view}) AS views",
            f"countIf({is_view} AND next_view < 0) AS exits",
        ]
        key = ", ".join([*(f"d{i}" for i in range(len(columns))), "visitor_id", "started_ms", "page"])
        named = [*self._named(columns), "visitor_id", "started_ms", f"{sessions.carry('path')} AS page"]
        where = f" WHERE {' AND '.join(met)}" if met else ""
        inner = f"SELECT {', '.join([*named, *figures])} FROM ({self._rows_of_events(sessions)}){where} GROUP BY {key}"
        selected = [*(f"d{i}" for i in range(len(columns))), *self._metrics({Scope.PAGE}, {})]
        return f"SELECT {', '.join(selected)} FROM ({inner}){self._group_by()}"
