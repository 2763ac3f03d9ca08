"""The funnel: how many get to each step, how many are lost before it, and how long it takes them."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec

from footfall.query.funnel import AskedFunnel, Funnel, Order, Unit
from footfall.query.reading import said_time
from footfall.reports.lines import Cell, csv_of
from footfall.reports.span import Clock, percent, said_range, span_asked
from footfall.store.base import Store


class StepFigures(msgspec.Struct, frozen=True):
    """One step."""

    step: int
    """Counted from 1."""
    name: str
    count: int
    """Visitors, or sessions, that reached it."""
    conversion_rate: float | None
    """Per cent of those at the first step."""
    step_conversion_rate: float | None
    """Per cent of those at the step before; null for the first."""
    dropped: int
    """At the step before and not here."""
    drop_off_rate: float | None
    """These, per cent of those at the step before; null for the first."""
    mean_s: float | None
    """Seconds since the step before."""
    median_s: float | None
    p90_s: float | None


class Group(msgspec.Struct, frozen=True):
    """Those who have one value in common at the first step."""

    value: str | int | None
    """None: all values beyond the limit together."""
    conversion_rate: float | None
    steps: list[StepFigures]


class Results(msgspec.Struct, frozen=True):
    """Of everybody, then of each group."""

    conversion_rate: float | None
    """From the first step to the last, per cent."""
    steps: list[StepFigures]
    breakdown: list[Group]
    """The biggest groups first, then all the others together; empty where none was asked for."""


class Resolved(msgspec.Struct, frozen=True, omit_defaults=True):
    """The question as it was understood."""

    site_id: str
    date_range: tuple[str, str]
    timezone: str
    steps: list[str]
    order: str
    by: str
    window: str
    breakdown: str | None
    limit: int
    funnel: str = ""


class FunnelAnswer(msgspec.Struct, frozen=True):
    """The answer."""

    results: Results
    query: Resolved


async def funnel(store: Store, asked: AskedFunnel, clock: Clock) -> FunnelAnswer:
    """What *asked* asks for. Raises Invalid for what can not be asked of this range, Unavailable."""
    span = await span_asked(store, asked.site_id, asked.date_range, clock)
    order, unit, window_ms = _settled(asked)
    table = await store.sequences(
        Funnel(
            site_id=asked.site_id,
            range=span,
            steps=asked.steps,
            order=order,
            unit=unit,
            window_ms=window_ms,
            filter=asked.filter,
            breakdown=asked.breakdown,
            limit=asked.limit,
        )
    )
    places: dict[int, dict[int, Any]] = defaultdict(dict)
    values: dict[int, str | int | None] = {}
    for place, value, step, *figures in msgspec.convert(table.rows, list[tuple[Any, ...]]):
        places[place][step] = figures
        values[place] = value
    steps = {place: _steps(asked, places[place]) for place in sorted(places)}
    whole = steps.pop(0)
    return FunnelAnswer(
        Results(_rate(whole), whole, [Group(values[place], _rate(own), own) for place, own in steps.items()]),
        Resolved(
            site_id=asked.site_id,
            date_range=said_range(span),
            timezone=span.zone.key,
            steps=[step.name for step in asked.steps],
            order=order.value,
            by=unit.value,
            window=said_time(window_ms),
            breakdown=None if asked.breakdown is None else str(asked.breakdown),
            limit=asked.limit,
            funnel=asked.name,
        ),
    )


def _settled(asked: AskedFunnel) -> tuple[Order, Unit, int]:
    options = asked.options
    if options.order is None or options.by is None or options.window_ms is None:
        raise AssertionError("a funnel was asked for without its options")
    return options.order, options.by, options.window_ms


def _steps(asked: AskedFunnel, figures: dict[int, Any]) -> list[StepFigures]:
    steps: list[StepFigures] = []
    for place, step in enumerate(asked.steps):
        count, *times_s = figures[place]
        before = steps[-1].count if steps else count
        steps.append(
            StepFigures(
                place + 1,
                step.name,
                count,
                percent(count, steps[0].count if steps else count),
                percent(count, before) if steps else None,
                before - count,
                percent(before - count, before) if steps else None,
                *(None if seconds is None else round(seconds, 3) for seconds in times_s),
            )
        )
    return steps


def _rate(steps: list[StepFigures]) -> float | None:
    return steps[-1].conversion_rate


def funnel_csv(answer: FunnelAnswer) -> str:
    """A line for each step, of everybody and then of each group, whose value stands in a column of its own."""
    columns = list(StepFigures.__struct_fields__)
    if answer.query.breakdown is None:
        return csv_of(columns, map(msgspec.structs.astuple, answer.results.steps))
    rows: list[Sequence[Cell]] = [("all", "", *msgspec.structs.astuple(step)) for step in answer.results.steps]
    for group in answer.results.breakdown:
        kind = "other" if group.value is None else "group"
        rows += [(kind, group.value, *msgspec.structs.astuple(step)) for step in group.steps]
    return csv_of(["of", answer.query.breakdown, *columns], rows)
