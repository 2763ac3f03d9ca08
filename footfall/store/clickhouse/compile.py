"""Query -> SQL: one table of expressions for metrics, nothing from a request inside a statement.

A question about events alone reads the table. What asks for sessions reads one row for each session; or, where the
dimensions or the filter mix events and sessions, one row for each event with its session beside it.
"""
# ruff: noqa: S608 - what is put together here are constants, numbers and placeholders

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from footfall.query.buckets import Key, buckets
from footfall.query.query import (
    AnyDimension,
    Dimension,
    Direction,
    Metric,
    Query,
    Range,
    Scope,
)
from footfall.store.clickhouse.conditions import Values, compares, met_by_an_event, parts_of, size, split
from footfall.store.clickhouse.sessions import AT_MS, FLAGS_MAX, IS_PAGEVIEW, Sessions, event_column, event_sql

# Where an event is a row the words in braces stand for it; where a session is, for its events that meet the filter.
METRICS: dict[Metric, str] = {
    # Counted and not filtered beforehand, even where it is asked for alone: a quarter less work for the paths of a day.
    Metric.PAGEVIEWS: "{pageviews}",
    # Exact: a figure that changes with the engine's estimate can not be checked against the raw events.
    Metric.VISITORS: "uniqExact(visitor_id)",
    Metric.EVENTS: "{events}",
    Metric.NEW_VISITORS: "uniqExactIf(visitor_id, visitor_id NOT IN ({before}))",
    Metric.RETURNING_VISITORS: "uniqExactIf(visitor_id, visitor_id IN ({before}))",
    Metric.TOTAL_REVENUE: "{money}",
    Metric.AVERAGE_REVENUE: "{money}",
    Metric.VISITS: "count()",
    Metric.VIEWS_PER_VISIT: "sumIf(pageviews, {is_entry}) / nullIf(countIf({is_entry}), 0)",
    Metric.BOUNCE_RATE: "100 * countIf(pageviews = 1 AND others = 0 AND {is_entry}) / nullIf(countIf({is_entry}), 0)",
    Metric.VISIT_DURATION: "sumIf(duration_ms, {is_entry}) / nullIf(countIf({is_entry}), 0) / 1000",
}

_NO_MONEY = "CAST(([], [], []), 'Tuple(Array(String), Array(Decimal(38, 6)), Array(UInt64))')"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Question(msgspec.Struct, frozen=True):
    """A statement, its parameters, and how its rows are read."""

    sql: str
    params: dict[str, str | int]
    columns: tuple[str, ...]
    readers: tuple[Callable[[Any], object] | None, ...]
    """For each column: what makes the value that is meant of the engine's, or None where they are the same."""
    total_sql: str | None = None
    """The statement that counts the rows without limit, where their number is asked for."""

    def read(self, rows: Sequence[Sequence[Any]]) -> list[tuple[object, ...]]:
        """The rows with buckets by name and money by currency."""
        if not any(self.readers):
            return [tuple(row) for row in rows]
        return [
            tuple(value if read is None else read(value) for value, read in zip(row, self.readers, strict=True))
            for row in rows
        ]


def compile_query(query: Query) -> Question:
    """The statement for *query*. Rows whose metrics are all nothing are left out, but for the one without dimensions.

    What is ordered by a metric only is ordered by the dimensions within it, so that a limit cuts one way. Raises
    Invalid where time would be cut into too many buckets.
    """
    plan = _Plan(query)
    sql = plan.groups()
    kept = [_is_something(metric, f"m{i}") for i, metric in enumerate(query.metrics)]
    counted = None
    if query.dimensions:
        sql += f" HAVING {' OR '.join(kept)}"
        counted = f"SELECT count() FROM ({sql})" if query.with_total else None
    aliases: dict[Metric | AnyDimension, str] = {dimension: f"d{i}" for i, dimension in enumerate(query.dimensions)}
    aliases |= {metric: f"m{i}" for i, metric in enumerate(query.metrics)}
    ordered = {by for by, _ in query.order_by}
    if query.order_by or query.limit is not None:
        order = [f"{aliases[by]} {'DESC' if way is Direction.DESC else 'ASC'} NULLS LAST" for by, way in query.order_by]
        order += [aliases[dimension] for dimension in query.dimensions if dimension not in ordered]
        sql += f" ORDER BY {', '.join(order)}" if order else ""
    if query.limit is not None:
        sql += f" LIMIT {plan.values.number(query.limit)}"
        sql += f" OFFSET {plan.values.number(query.offset)}" if query.offset else ""
    return Question(
        sql=sql,
        params=plan.values.params,
        columns=tuple(str(name) for name in (*query.dimensions, *query.metrics)),
        readers=(*plan.bucket_readers(), *(_READERS.get(metric) for metric in query.metrics)),
        total_sql=counted,
    )


class _Plan:
    """Which of the two, or both, kinds of rows a query reads, and what it says of each."""

    def __init__(self, query: Query) -> None:
        self._query = query
        self.values = Values()
        self._dimensions = {dimension.scope for dimension in query.dimensions}
        self._buckets: dict[AnyDimension, _Bucket] = {
            d: _Bucket(d, query.range) for d in query.dimensions if isinstance(d, Dimension) and d.scope is Scope.TIME
        }
        self._on_events, self._on_sessions, self._on_both = split(query.filter)
        self.values.params |= {
            "site_id": query.site_id,
            "start_ms": milliseconds(query.range.start),
            "end_ms": milliseconds(query.range.end),
        }
        self._where = f"{_OF_SITE} AND {_FROM_START} AND {_BEFORE_END}"

    def bucket_readers(self) -> list[Callable[[Any], object] | None]:
        """For each dimension."""
        return [self._buckets[d].names.__getitem__ if d in self._buckets else None for d in self._query.dimensions]

    def groups(self) -> str:
        """All groups with all metrics, up to GROUP BY."""
        asked = {metric.scope for metric in self._query.metrics}
        knows_sessions = Scope.SESSION in self._dimensions or bool(self._on_sessions or self._on_both)
        if asked == {Scope.EVENT} and not knows_sessions:
            return self._from_table(asked)
        if self._dimensions <= {Scope.SESSION} and not self._on_both and not self._asks_for_money():
            return self._from_sessions(asked)
        parts = []
        if Scope.EVENT in asked:
            parts.append(self._from_events({Scope.EVENT}) if knows_sessions else self._from_table({Scope.EVENT}))
        if Scope.SESSION in asked:
            is_split = Scope.EVENT in self._dimensions or self._on_both
            parts.append(self._from_visits() if is_split else self._from_sessions({Scope.SESSION}))
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
        words = {"before": f"SELECT visitor_id FROM events WHERE {_OF_SITE} AND NOT ({_FROM_START})", **words}
        return [
            f"{METRICS[metric].format(**words) if metric.scope in asked else _nothing(metric)} AS m{i}"
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
            "money": _money("revenue", "toString(currency)"),
        }
        where = self._where
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
            or size(self._on_sessions) > FLAGS_MAX - 3
        )
        return Sessions(self.values, self._where + self._only_visitors(), is_packed=not needs_columns)

    def _only_visitors(self) -> str:
        """Leave out whoever has no event that could meet the filter, before sessions are made of everybody's events.

        Whole visitors, for the other events of one who stays say where sessions begin and end.
        """
        said = ""
        for part in (self._on_events, *parts_of(self._on_sessions)):
            could = met_by_an_event(part)
            if could is not None:
                event = event_sql(could, self.values)
                said += f" AND visitor_id IN (SELECT visitor_id FROM events WHERE {self._where} AND {event})"
        return said

    def _from_sessions(self, asked: set[Scope]) -> str:
        """A session is a row."""
        sessions = self._sessions()
        columns = [
            self._buckets[d].of("started_ms") if d.scope is Scope.TIME else sessions.dimension(d)
            for d in self._query.dimensions
        ]
        words = {"events": "sum(length)", "pageviews": "sum(pageviews)", "money": _NO_MONEY, "is_entry": "true"}
        met = []
        if self._on_sessions is not None:
            met.append(sessions.condition(self._on_sessions))
        if self._on_events is not None:
            _, count = sessions.meets(self._on_events)
            met.append(f"{count} > 0")
            words |= {"events": f"sum({count})", "pageviews": f"sum({sessions.pageviews_that_meet(self._on_events)})"}
        selected = [*self._named(columns), *self._metrics(asked, words)]
        where = f" WHERE {' AND '.join(met)}" if met else ""
        return f"SELECT {', '.join(selected)} FROM ({sessions.sql(with_events=False)}){where}{self._group_by()}"

    def _events_met(self, sessions: Sessions) -> str:
        met = [sessions.condition(part) for part in (self._on_sessions, self._on_both) if part is not None]
        if self._on_events is not None:
            met.append(sessions.meets(self._on_events)[0])
        return f" WHERE {' AND '.join(met)}" if met else ""

    def _from_events(self, asked: set[Scope]) -> str:
        """An event with its session is a row."""
        sessions = self._sessions()
        columns = [
            self._buckets[d].of(sessions.at_ms("e")) if d.scope is Scope.TIME else sessions.dimension(d)
            for d in self._query.dimensions
        ]
        words = {"events": "count()", "pageviews": f"countIf({sessions.is_pageview})", "money": ""}
        if self._asks_for_money():
            words["money"] = _money(sessions.carry("revenue"), sessions.carry("toString(currency)"))
        where = self._events_met(sessions)
        selected = [*self._named(columns), *self._metrics(asked, words)]
        return f"SELECT {', '.join(selected)} FROM ({sessions.sql(with_events=True)}){where}{self._group_by()}"

    def _from_visits(self) -> str:
        """A session is a row for each group in which it has an event."""
        sessions = self._sessions()
        columns = [
            self._buckets[d].of("started_ms") if d.scope is Scope.TIME else sessions.dimension(d)
            for d in self._query.dimensions
        ]
        entered = [
            f"{column} = {sessions.attribute(_ENTRY[d])}"
            for d, column in zip(self._query.dimensions, columns, strict=True)
            if isinstance(d, Dimension) and d in _ENTRY
        ]
        where = self._events_met(sessions)
        keys = "".join(f"d{i}, " for i in range(len(columns)))
        named = "".join(f"{column}, " for column in self._named(columns))
        session = "visitor_id, started_ms, duration_ms, pageviews, others"
        is_entry = " AND ".join(["pageviews > 0", *entered]) if entered else "true"
        inner = (
            f"SELECT {named}{session}, max({is_entry}) AS entered "
            f"FROM ({sessions.sql(with_events=True)}){where} GROUP BY {keys}{session}"
        )
        selected = [f"d{i}" for i in range(len(columns))]
        selected += self._metrics({Scope.SESSION}, {"is_entry": "entered"})
        return f"SELECT {', '.join(selected)} FROM ({inner}){self._group_by()}"


_ENTRY = {Dimension.PAGE: Dimension.ENTRY_PAGE, Dimension.HOSTNAME: Dimension.ENTRY_HOSTNAME}
_OF_SITE = "site_id = {site_id:String}"
_FROM_START = "occurred_at >= fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC')"
_BEFORE_END = "occurred_at < fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC')"


class _Bucket:
    """The buckets of one time dimension.

    The engine only finds the last beginning that is not after an instant: it never sees a zone, so its zone data can
    not disagree with Python's.
    """

    def __init__(self, dimension: Dimension, span: Range) -> None:
        found = buckets(dimension, span)
        self._starts = ", ".join(str(_seconds(start)) for start, _ in found)
        names = list(dict.fromkeys(name for _, name in found))
        self._numbers = ""
        self.names: dict[int, Key]
        if len(names) == len(found):
            self.names = {_seconds(start): name for start, name in found}
        else:
            # Several stretches are one bucket: an hour of the day, a day of the week. Both kinds of names are numbers.
            self._numbers = ", ".join(str(name) for _, name in found)
            self.names = {int(name): name for name in names}

    def of(self, at_ms: str) -> str:
        start = f"roundDown(intDiv({at_ms}, 1000), [{self._starts}]::Array(Int64))"
        if not self._numbers:
            return start
        return f"transform({start}, [{self._starts}]::Array(Int64), [{self._numbers}]::Array(Int64), toInt64(-1))"


def _seconds(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(seconds=1)


def milliseconds(instant: datetime) -> int:
    """Since 1970, rounded up, for a range that starts within a millisecond leaves that one's beginning out."""
    return -((_EPOCH - instant) // timedelta(milliseconds=1))


def _money(amount: str, currency: str) -> str:
    return f"sumMapIf([{currency}], [ifNull({amount}, 0)], [toUInt64(1)], isNotNull({amount}))"


def _nothing(metric: Metric) -> str:
    return _NO_MONEY if metric.is_money else "NULL"


def _is_something(metric: Metric, column: str) -> str:
    if metric.is_money:
        return f"notEmpty({column}.1)"
    return f"{column} > 0" if metric.is_count else f"isNotNull({column})"


def _total(found: list[list[Any]]) -> dict[str, Decimal] | None:
    return {currency: Decimal(amount) for currency, amount, _ in zip(*found, strict=True)} or None


def _average(found: list[list[Any]]) -> dict[str, Decimal] | None:
    return {currency: Decimal(amount) / count for currency, amount, count in zip(*found, strict=True)} or None


def _ratio(found: float | None) -> float | None:
    return None if found is None else float(found)


_READERS: dict[Metric, Callable[[Any], object]] = {
    # JSON knows no difference between 50 and 50.0, and those who read a ratio should not meet two types.
    Metric.VIEWS_PER_VISIT: _ratio,
    Metric.BOUNCE_RATE: _ratio,
    Metric.VISIT_DURATION: _ratio,
    Metric.TOTAL_REVENUE: _total,
    Metric.AVERAGE_REVENUE: _average,
}
