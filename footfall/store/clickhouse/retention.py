"""Retention -> SQL: for every visitor the start, and the periods with a return in them as the bits of numbers.

Visitors are put together in two steps, first by visitor and period, for nearly all are seen in one period only. No step
holds more of a visitor than a few numbers.
"""
# ruff: noqa: S608 - what is put together here are constants, numbers and placeholders

from collections.abc import Sequence
from typing import Any

from footfall.query.query import FIELDS, All, Compare, Dimension, Filter, Not, Some, Taken
from footfall.query.retention import Retention
from footfall.store.clickhouse.event_rows import Compiled, EventRows
from footfall.store.clickhouse.kinds import IS_COUNTED
from footfall.store.clickhouse.sessions import event_sql

_COLUMNS = ("cohort", "period", "visitors", "last")
_SIZE = -1
"""In the place of a period: the row of everybody."""
_IDENTITY = "reinterpretAsUInt128(reverse(id))"


def compile_retention(retention: Retention) -> Compiled:
    """The statement for *retention*. Raises Invalid where the range has too many periods."""
    start, returned = retention.start, retention.returned
    # A new visitor's first event is the first of a session, and what that one is called by.
    is_of_first = start is None and retention.filter is not None and _is_of_first(retention.filter)
    rows = EventRows(
        retention.site_id,
        retention.range,
        None if is_of_first else retention.filter,
        # A report of engagement that belongs to no session takes no part.
        with_sessions=returned.takes_engagement or (start is not None and start.takes_engagement),
        who_did=start,
        are_new=start is None,
    )
    starts = IS_COUNTED if start is None else rows.met(start)
    returns = rows.met(returned)
    bucket = rows.bucket("bucket", retention.period)
    rows.column("starts", starts)
    rows.column("returns", returns)
    if is_of_first and retention.filter is not None:
        rows.column("is_meant", event_sql(retention.filter, rows.values))
    keys = sorted(bucket.names)
    visitors = _visitors(rows.sql(f" AND ({starts} OR {returns})"), keys, is_of_first=is_of_first)

    def read(found: Sequence[Sequence[Any]]) -> list[tuple[object, ...]]:
        return [
            (cohort, None, visitors, None) if period == _SIZE else (cohort, period, visitors, last)
            for cohort, period, visitors, last in found
        ]

    return Compiled(_cohorts(visitors, len(keys)), rows.values.params, _COLUMNS, read)


def _is_of_first(condition: Filter) -> bool:
    """Does it look at nothing but what a session has of its first event?"""
    if isinstance(condition, Compare):
        return isinstance(condition.dimension, Dimension) and FIELDS[condition.dimension][1] is Taken.FIRST
    if isinstance(condition, Not):
        return _is_of_first(condition.part)
    return isinstance(condition, All | Some) and all(map(_is_of_first, condition.parts))


def _visitors(rows: str, keys: list[int], *, is_of_first: bool) -> str:
    """One row for each visitor who started: when, in which bucket, the latest return in that bucket (-1: none), and
    numbers with a bit for each bucket in which there was a return."""
    # The time of a start and, as the last bit, that it does not count. Events of one moment are of one session; which
    # of them is its first, their ids say.
    start, shift = "2 * at_ms + (NOT is_kept)", 1
    if is_of_first:
        start, shift = f"bitShiftLeft(toUInt256(at_ms), 129) + 2 * toUInt256({_IDENTITY}) + (NOT is_meant)", 129
    never = f"bitShiftLeft(to{'UInt256' if is_of_first else 'Int64'}(1), {shift + 45})"
    by_bucket = (
        f"SELECT visitor_id, bucket, min(if(starts, {start}, {never})) AS started, "
        f"max(if(returns, at_ms, -1)) AS returned FROM ({rows}) GROUP BY visitor_id, bucket"
    )
    bits = _bits(len(keys))
    place = f"transform(bucket, {keys}::Array(Int64), {list(range(len(keys)))}::Array(UInt16), toUInt16(0))"
    words = [
        f"groupBitOr(if(returned >= 0 AND intDiv(place, {bits}) = {number}, "
        f"bitShiftLeft(toUInt{bits}(1), place % {bits}), toUInt{bits}(0))) AS {word}"
        for number, word in enumerate(_words(len(keys)))
    ]
    return (
        f"SELECT min(started) AS start, toInt64(bitShiftRight(start, {shift})) AS start_ms, "
        f"argMin(place, started) AS cohort, argMin(returned, started) AS latest, {', '.join(words)} "
        f"FROM (SELECT *, {place} AS place FROM ({by_bucket})) GROUP BY visitor_id "
        f"HAVING start < {never} AND start % 2 = 0"
    )


def _bits(count: int) -> int:
    return 64 if count <= 64 else 256


def _words(count: int) -> list[str]:
    """The names of the numbers that have a bit for each of *count* buckets."""
    return [f"word_{number}" for number in range(-(-count // _bits(count)))]


def _cohorts(visitors: str, count: int) -> str:
    """The figures of *count* periods. Visitors seen in the same ones are counted first: the ways to differ are few."""
    words = _words(count)
    alike = (
        f"SELECT cohort, latest >= start_ms AS is_back, {', '.join(words)}, count() AS visitors "
        f"FROM ({visitors}) GROUP BY cohort, is_back, {', '.join(words)}"
    )
    bits = [
        f"arrayMap(bit -> bit + {number * _bits(count)}, bitPositionsToArray({word}))"
        for number, word in enumerate(words)
    ]
    periods = f"arrayFilter(p -> p > cohort OR p = cohort AND is_back, arrayConcat({', '.join(bits)}))"
    return (
        "SELECT cohort, period, sum(visitors), sumIf(visitors, period = periods[-1]) "
        f"FROM (SELECT cohort, visitors, arrayMap(p -> toInt32(p), {periods}) AS periods FROM ({alike})) "
        f"ARRAY JOIN arrayPushFront(periods, {_SIZE}) AS period GROUP BY cohort, period"
    )
