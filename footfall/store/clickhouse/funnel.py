"""Funnel -> SQL: every unit's events as one array, and for each step an array of where the run that got there began.

`windowFunnel` is not used: for events of one millisecond it knows no order, it does not tell when a step was taken, and
its strict modes mean other things. The arrays take time linear in events times steps.
"""
# ruff: noqa: S608 - what is put together here are constants, numbers and placeholders

from collections.abc import Callable, Sequence
from typing import Any

from footfall.query.funnel import Funnel, Order, Unit
from footfall.query.query import Scope
from footfall.store.clickhouse.event_rows import Compiled, EventRows
from footfall.store.clickhouse.kinds import IS_COUNTED

_COLUMNS = ("place", "value", "step", "units", "mean_s", "median_s", "p90_s")
_NO_START = "(toUInt32(0), toInt64(0))"


def compile_funnel(funnel: Funnel) -> Compiled:
    """The statement for *funnel*. Raises Invalid where a breakdown would cut time into too many buckets."""
    breakdown = funnel.breakdown
    is_by_session = funnel.unit is Unit.SESSION
    rows = EventRows(
        funnel.site_id,
        funnel.range,
        funnel.filter,
        # A report of engagement that belongs to no session takes no part.
        with_sessions=is_by_session
        or (breakdown is not None and breakdown.scope is Scope.SESSION)
        or any(step.takes_engagement for step in funnel.steps),
        who_did=funnel.steps[0],
    )
    met = [rows.met(step) for step in funnel.steps]
    some_step = f"({' OR '.join(met)})"
    is_strict = funnel.order is Order.STRICT
    rows.column("mask", " + ".join(f"bitShiftLeft(toUInt16({each}), {place})" for place, each in enumerate(met)))
    rows.column("takes_part", f"({IS_COUNTED} OR {some_step})" if is_strict else some_step)
    named = None if breakdown is None else rows.dimension("value", breakdown)
    event = f"(at_ms, id, mask{'' if breakdown is None else ', value'})"
    events = (
        f"SELECT arraySort(groupArray({event})) AS events "
        f"FROM ({rows.sql('' if is_strict else f' AND {some_step}')}) WHERE takes_part AND is_kept "
        f"GROUP BY visitor_id{', started_ms' if is_by_session else ''} HAVING max(bitTest(mask, 0))"
    )
    units = _units(funnel, events, rows.values.number(funnel.window_ms))
    sql = _groups(units, 0 if breakdown is None else funnel.limit)
    return Compiled(sql, rows.values.params, _COLUMNS, _reader(funnel, named))


def _units(funnel: Funnel, events: str, window_ms: str) -> str:
    """One row for each unit that began: value, and gaps, the milliseconds to each step it reached (0 to the first)."""
    count = len(funnel.steps)
    is_strict = funnel.order is Order.STRICT
    # starts_K: for each event, if a run can take step K there, the place and time of the latest first step from which
    # it can; else zeros. Later events never have an earlier latest start, so the last one before is the latest.
    begun = f"if(bitTest(mask, 0), (place, ms), {_NO_START})"
    starts = [f"arrayMap((mask, place, ms) -> {begun}, masks, places, times) AS starts_0"]
    for step in range(1, count):
        before = f"starts_{step - 1}"
        known = before if is_strict else f"arrayFill(x -> x.1 != 0, {before})"
        starts.append(
            f"arrayMap((mask, ms, start) -> if(bitTest(mask, {step}) AND start.1 != 0 AND ms - start.2 <= {window_ms}, "
            f"start, {_NO_START}), masks, times, arrayPopBack(arrayPushFront({known}, {_NO_START}))) AS starts_{step}"
        )
    firsts = ", ".join(f"arrayFirst(x -> x.1 != 0, starts_{step}).1" for step in range(count))
    arrays = (
        "SELECT events, arrayMap(e -> e.3, events) AS masks, arrayMap(e -> e.1, events) AS times, "
        f"arrayEnumerate(events) AS places FROM ({events})"
    )
    began = f"SELECT events, masks, times, places, {', '.join(starts)}, [{firsts}] AS firsts FROM ({arrays})"
    chosen = (
        "SELECT events, masks, times, places, countEqual(firsts, 0) AS missed, firsts[-1 - missed] AS at_0 "
        f"FROM ({began})"
    )
    walked = []
    for step in range(1, count):
        following = (
            f"at_0 + {step}"
            if is_strict
            else f"arrayFirst((place, mask) -> place > at_{step - 1} AND bitTest(mask, {step}), places, masks)"
        )
        walked.append(f"{following} AS at_{step}")
    value = "''" if funnel.breakdown is None else "events[at_0].4"
    walk = f"SELECT {value} AS value, times, at_0, {count} - missed AS reached, {', '.join(walked)} FROM ({chosen})"
    gaps = ", ".join(["toInt64(0)", *(f"times[at_{step}] - times[at_{step - 1}]" for step in range(1, count))])
    return f"SELECT value, arraySlice([{gaps}], 1, reached) AS gaps FROM ({walk})"


def _groups(units: str, limit: int) -> str:
    """The figures for each place and step; *limit* 0: of all units only."""
    by_step = (
        "SELECT value, step, count() AS n, sum(gap) AS total, quantilesExactInclusiveState(0.5, 0.9)(gap) AS spread "
        f"FROM ({units}) ARRAY JOIN gaps AS gap, arrayEnumerate(gaps) AS step GROUP BY value, step"
    )
    sized = f"SELECT *, max(n) OVER (PARTITION BY value) AS size FROM ({by_step})"
    ranked = f"SELECT *, dense_rank() OVER (ORDER BY size DESC, value ASC) AS rank FROM ({sized})"
    places = f"[0, least(rank, {limit + 1})]" if limit else "[0]"
    return (
        f"SELECT place, any(value), step - 1, sum(n), sum(total) / sum(n) / 1000, "
        f"arrayMap(x -> x / 1000, quantilesExactInclusiveMerge(0.5, 0.9)(spread)) "
        f"FROM ({ranked}) ARRAY JOIN {places} AS place GROUP BY place, step"
    )


def _reader(
    funnel: Funnel, named: Callable[[Any], object] | None
) -> Callable[[Sequence[Sequence[Any]]], list[tuple[object, ...]]]:
    """Makes the answer's rows: a row for each step of each place that is there, and place 0 always."""

    def read(found: Sequence[Sequence[Any]]) -> list[tuple[object, ...]]:
        values: dict[int, object] = {0: None}
        figures: dict[tuple[int, int], tuple[object, ...]] = {}
        for place, value, step, units, mean_s, (median_s, p90_s) in found:
            is_group = 1 <= place <= funnel.limit
            values[place] = (value if named is None else named(value)) if is_group else None
            times_s = (None, None, None) if step == 0 else (float(mean_s), float(median_s), float(p90_s))
            figures[place, step] = (units, *times_s)
        nothing = (0, None, None, None)
        return [
            (place, values[place], step, *figures.get((place, step), nothing))
            for place in sorted(values)
            for step in range(len(funnel.steps))
        ]

    return read
