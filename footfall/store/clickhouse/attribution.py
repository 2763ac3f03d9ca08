"""Attribution -> SQL: each visitor's sessions and conversions as arrays, a path to each, then equal paths as one."""
# ruff: noqa: S608 - what is put together here are constants, numbers and placeholders

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from footfall.query.attribution import DIRECT, TOUCHES_MAX, Attribution, Counting
from footfall.query.query import Dimension, Range
from footfall.query.steps import ANY_EVENT
from footfall.store.clickhouse.conditions import Values
from footfall.store.clickhouse.event_rows import Compiled, EventRows
from footfall.store.clickhouse.kinds import IS_COUNTED
from footfall.store.clickhouse.time_buckets import milliseconds

_COLUMNS = (
    "touches",
    "non_direct",
    "currency",
    "conversions",
    "lost",
    "visitors",
    "revenue",
    "decayed",
    "decayed_revenue",
    "took_ms",
    "met",
    "cut",
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Of an end: when, in the session that began when, revenue, currency, is it the visitor's first, is it a conversion.
_END = "Tuple(Int64, Int64, Decimal(38, 6), String, UInt8, UInt8)"


def compile_attribution(asked: Attribution) -> Compiled:
    """The statement for *asked*."""
    rows = EventRows(
        asked.site_id,
        _within_reach(asked),
        asked.filter,
        with_sessions=True,
        who_did=ANY_EVENT if asked.with_lost else asked.goal,
    )
    values = rows.values
    paths = _paths(asked, _visitors(asked, rows), values)
    # Conversions of a path are summed by place in it, so that what the time between sessions weighs is not lost.
    grouped = (
        "SELECT path, non_direct, end.4 AS currency, sum(end.6) AS conversions, sum(1 - end.6) AS lost, "
        "sum(end.5) AS firsts, sum(end.3) AS revenue, sumForEach(arrayMap(w -> w * end.6, weights)) AS decayed, "
        "sumForEach(arrayMap(w -> w * toFloat64(end.3), weights)) AS decayed_revenue, sum(end.6 * took_ms) AS took, "
        "sum(end.6 * met) AS touched, sum(met > kept) AS cut "
        f"FROM ({paths}) GROUP BY path, non_direct, currency"
    )
    ranked = (
        "SELECT *, row_number() OVER (ORDER BY conversions DESC, lost DESC, path, currency, non_direct) "
        f"<= {values.number(asked.limit)} AS is_own FROM ({grouped})"
    )
    sql = (
        "SELECT if(is_own, path, []) AS touches, if(is_own, non_direct, 0) AS chosen, currency, sum(conversions), "
        "sum(lost), sum(firsts), sum(revenue), sumForEach(if(is_own, decayed, [arraySum(decayed)])), "
        "sumForEach(if(is_own, decayed_revenue, [arraySum(decayed_revenue)])), sum(took), sum(touched), sum(cut) "
        f"FROM ({ranked}) GROUP BY touches, chosen, currency"
    )
    return Compiled(sql, values.params, _COLUMNS, _read)


def _within_reach(asked: Attribution) -> Range:
    lookback = timedelta(milliseconds=asked.lookback_ms)
    start = max(asked.range.start - lookback, _EPOCH)
    return msgspec.structs.replace(asked.range, start=start)


def _visitors(asked: Attribution, rows: EventRows) -> str:
    """One row for each visitor: sessions (beginning, value, is it direct) and conversions, both in order; and where
    what was lost is asked for, the last event."""
    direct = ", ".join(map(rows.values.text, DIRECT))
    rows.column("is_goal", rows.met(asked.goal))
    rows.column("is_counted", IS_COUNTED)
    rows.column("amount", "revenue")
    rows.column("money", "toString(currency)")
    rows.dimension("value", asked.dimension)
    rows.dimension("channel", Dimension.CHANNEL)
    is_meant = f"is_kept AND at_ms >= {rows.values.number(milliseconds(asked.range.start))}"
    is_last = f"is_counted AND {is_meant}"
    last = f"maxIf((at_ms, id, started_ms), {is_last}) AS last, countIf({is_last}) > 0 AS has_last, "
    return (
        f"SELECT arraySort(groupUniqArray((started_ms, value, channel IN ({direct})))) AS visits, "
        f"{last if asked.with_lost else ''}arraySort(x -> (x.1, x.2), groupArrayIf("
        f"(at_ms, id, started_ms, amount, money), is_goal AND {is_meant})) AS found "
        f"FROM ({rows.sql()}) GROUP BY visitor_id"
    )


def _paths(asked: Attribution, visitors: str, values: Values) -> str:
    """One row for each end: path, non_direct, end, weights, took_ms, met (touches there were) and kept (are)."""
    which = "arraySlice(found, 1, 1)" if asked.counting is Counting.FIRST else "found"
    ends = (
        "CAST(arrayMap((x, place) -> (x.1, x.3, ifNull(x.4, 0), if(isNull(x.4), '', x.5), place = 1, 1), "
        f"{which}, arrayEnumerate({which})), 'Array({_END})')"
    )
    if asked.with_lost:
        lost = f"CAST([(last.1, last.3, 0, '', 0, 0)], 'Array({_END})')"
        ends = f"if(notEmpty(found) OR NOT has_last, {ends}, {lost})"
    lookback, half_life = values.number(asked.lookback_ms), values.number(asked.half_life_ms)
    touches = f"arrayFilter(v -> v.1 <= end.1 AND (v.1 >= end.1 - {lookback} OR v.1 = end.2), visits)"
    all_touches = f"SELECT end, {touches} AS all FROM ({visitors}) ARRAY JOIN {ends} AS end"
    shortened = (
        f"SELECT end, all, if(length(all) > {TOUCHES_MAX}, arrayPushFront(arraySlice(all, -{TOUCHES_MAX - 1}), "
        f"all[1]), all) AS touches, arrayMap(v -> exp2((v.1 - touches[-1].1) / {half_life}), touches) AS weighed "
        f"FROM ({all_touches})"
    )
    return (
        "SELECT end, arrayMap(v -> v.2, touches) AS path, arrayLastIndex(v -> NOT v.3, touches) AS place, "
        "if(place = 0, length(touches), place) - 1 AS non_direct, "
        "arrayMap(w -> w / arraySum(weighed), weighed) AS weights, "
        "end.1 - all[1].1 AS took_ms, length(all) AS met, length(touches) AS kept "
        f"FROM ({shortened})"
    )


def _read(found: Sequence[Sequence[Any]]) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for touches, non_direct, currency, conversions, lost, firsts, revenue, decayed, decayed_revenue, *sums in found:
        path = tuple(touches) or None, int(non_direct), currency
        counts = int(conversions), int(lost), int(firsts)
        rows.append(
            (*path, *counts, Decimal(revenue), tuple(decayed), tuple(decayed_revenue), *(int(each) for each in sums))
        )
    return rows
