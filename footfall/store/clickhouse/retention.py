"""Retention -> SQL: for every visitor the start, and the latest return in each period."""
# ruff: noqa: S608 - what is put together here are constants, numbers and placeholders

from collections.abc import Sequence
from typing import Any

from footfall.query.retention import Retention
from footfall.store.clickhouse.event_rows import Compiled, EventRows
from footfall.store.clickhouse.sessions import IS_COUNTED

_COLUMNS = ("cohort", "period", "visitors", "last")


def compile_retention(retention: Retention) -> Compiled:
    """The statement for *retention*. Raises Invalid where the range has too many periods."""
    start = retention.start
    rows = EventRows(
        retention.site_id,
        retention.range,
        retention.filter,
        # A report of engagement that belongs to no session takes no part.
        with_sessions=retention.returned.takes_engagement or (start is not None and start.takes_engagement),
        who_did=start,
        are_new=start is None,
    )
    bucket = rows.bucket("bucket", retention.period)
    rows.column("starts", IS_COUNTED if start is None else rows.met(start))
    rows.column("returns", rows.met(retention.returned))
    visitors = (
        "SELECT visitor_id, argMinIf((at_ms, bucket, is_kept), (at_ms, id), starts) AS start, "
        "maxMapIf([bucket], [at_ms], returns) AS latest "
        f"FROM ({rows.sql()}) GROUP BY visitor_id HAVING max(starts) AND start.3"
    )
    # Where the latest return of a period is before the start, there is none after it.
    periods = "arrayFilter((bucket, at_ms) -> at_ms >= start.1, latest.1, latest.2)"
    cohorts = f"SELECT start.2 AS cohort, {periods} AS periods FROM ({visitors})"
    sql = (
        "SELECT cohort, period, count(), countIf(period = periods[-1]) "
        f"FROM ({cohorts}) ARRAY JOIN arrayPushFront(periods, {_SIZE}) AS period GROUP BY cohort, period"
    )
    places = {key: place for place, key in enumerate(sorted(bucket.names))}

    def read(found: Sequence[Sequence[Any]]) -> list[tuple[object, ...]]:
        return [
            (places[cohort], None, visitors, None)
            if period == _SIZE
            else (places[cohort], places[period], visitors, last)
            for cohort, period, visitors, last in found
        ]

    return Compiled(sql, rows.values.params, _COLUMNS, read)


_SIZE = -(2**62)
"""In the place of a period: the row of everybody. No bucket begins then."""
