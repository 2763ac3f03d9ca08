"""Query -> SQL: one table of expressions for metrics, one for dimensions, nothing from a request inside a statement."""
# ruff: noqa: S608 - what is put together here are constants and numbers

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from footfall.event import PAGEVIEW
from footfall.query.query import Dimension, Direction, Metric, Query, Range
from footfall.query.ranges import day_key, day_starts, hour_key, hour_starts

METRICS: dict[Metric, str] = {
    # Counted and not filtered beforehand, even where it is asked for alone: a quarter less work for the paths of a day.
    Metric.PAGEVIEWS: f"countIf(name = '{PAGEVIEW}')",
    # Exact: a figure that changes with the engine's estimate can not be checked against the raw events.
    Metric.VISITORS: "uniqExact(visitor_id)",
    Metric.EVENTS: "count()",
}

DIMENSIONS: dict[Dimension, str] = {
    Dimension.PAGE: "path",
    Dimension.NAME: "name",
    Dimension.HOSTNAME: "hostname",
    Dimension.SOURCE: "source",
    Dimension.CHANNEL: "channel",
    Dimension.REFERRER: "referrer",
    Dimension.COUNTRY: "country",
    Dimension.BROWSER: "browser",
    Dimension.OS: "os",
    Dimension.DEVICE: "device",
}

BUCKETS: dict[Dimension, tuple[Callable[[Range], list[datetime]], Callable[[datetime, ZoneInfo], str]]] = {
    Dimension.DAY: (day_starts, day_key),
    Dimension.HOUR: (hour_starts, hour_key),
}
"""Where the buckets of a time dimension begin, and what they are called. The engine only finds the last beginning that
is not after an event: it never sees a zone, so its zone data can not disagree with Python's."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Question(msgspec.Struct, frozen=True):
    """A statement, its parameters, and how its rows are read."""

    sql: str
    params: dict[str, str | int]
    columns: tuple[str, ...]
    names: tuple[dict[int, str] | None, ...]
    """For each column: what its bucket beginnings (seconds since 1970) are called, or None."""

    def read(self, rows: Sequence[Sequence[Any]]) -> list[tuple[object, ...]]:
        """The rows with buckets by name."""
        if not any(self.names):
            return [tuple(row) for row in rows]
        return [
            tuple(value if names is None else names[value] for value, names in zip(row, self.names, strict=True))
            for row in rows
        ]


def _seconds(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(seconds=1)


def milliseconds(instant: datetime) -> int:
    """Since 1970, rounded up, for a range that starts within a millisecond leaves that one's beginning out."""
    return -((_EPOCH - instant) // timedelta(milliseconds=1))


def _column(dimension: Dimension, span: Range) -> tuple[str, dict[int, str] | None]:
    if dimension not in BUCKETS:
        return DIMENSIONS[dimension], None
    starts, key = BUCKETS[dimension]
    names = {_seconds(start): key(start, span.zone) for start in starts(span)}
    beginnings = ", ".join(map(str, names))
    seconds = "intDiv(toUnixTimestamp64Milli(occurred_at), 1000)"
    return f"roundDown({seconds}, [{beginnings}]::Array(Int64))", names


def compile_query(query: Query) -> Question:
    """The statement for *query*. Rows whose metrics are all zero are left out, but for the one row without dimensions.

    What is ordered by a metric only is ordered by the dimensions within it, so that a limit cuts one way.
    """
    columns = [_column(dimension, query.range) for dimension in query.dimensions]
    selected = [f"{expression} AS d{i}" for i, (expression, _) in enumerate(columns)]
    selected += [f"{METRICS[metric]} AS m{i}" for i, metric in enumerate(query.metrics)]
    aliases: dict[Metric | Dimension, str] = {dimension: f"d{i}" for i, dimension in enumerate(query.dimensions)}
    aliases |= {metric: f"m{i}" for i, metric in enumerate(query.metrics)}
    where = [
        "site_id = {site_id:String}",
        "occurred_at >= fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC')",
        "occurred_at < fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC')",
    ]
    sql = f"SELECT {', '.join(selected)} FROM events WHERE {' AND '.join(where)}"
    params: dict[str, str | int] = {
        "site_id": query.site_id,
        "start_ms": milliseconds(query.range.start),
        "end_ms": milliseconds(query.range.end),
    }
    if columns:
        sql += f" GROUP BY {', '.join(f'd{i}' for i in range(len(columns)))}"
        sql += f" HAVING {' OR '.join(f'm{i} > 0' for i in range(len(query.metrics)))}"
    ordered = {by for by, _ in query.order_by}
    if query.order_by or query.limit is not None:
        order = [f"{aliases[by]} {'DESC' if way is Direction.DESC else 'ASC'}" for by, way in query.order_by]
        order += [f"d{i}" for i in range(len(columns)) if query.dimensions[i] not in ordered]
        sql += f" ORDER BY {', '.join(order)}" if order else ""
    if query.limit is not None:
        sql += " LIMIT {limit:UInt64}"
        params["limit"] = query.limit
    return Question(
        sql=sql,
        params=params,
        columns=(*query.dimensions, *query.metrics),
        names=(*(names for _, names in columns), *(None for _ in query.metrics)),
    )
