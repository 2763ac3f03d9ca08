"""The goals of a site: who met each, how often, and what it brought; the general question, asked by goal."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec

from footfall.query.asked import LIMIT_MAX, Asked, AskedMetric, Share
from footfall.query.goal_report import AskedGoals
from footfall.query.names import goals_dimension
from footfall.query.periods import Instants
from footfall.query.query import Metric, Query, Range
from footfall.reports.asking import bind
from footfall.reports.lines import Cell, csv_of
from footfall.reports.query import answer
from footfall.reports.span import Clock, said_range
from footfall.store.base import Store

Money = dict[str, Decimal] | None


class Figures(msgspec.Struct, frozen=True):
    """How a goal was met."""

    visitors: int
    """Who met it."""
    events: int
    """How often it was met."""
    conversion_rate: float | None
    """Per cent of all visitors; of a value of the breakdown, per cent of the visitors who have it."""
    revenue: Money
    average_revenue: Money


class Former(Figures, frozen=True):
    """The same in the range that is compared with."""

    change: dict[str, float | None]
    """Per cent from then to now, of visitors, events and conversion_rate; null from 0."""


class Value(Figures, frozen=True):
    """Of one value of the breakdown."""

    value: str


class GoalFigures(Figures, frozen=True, omit_defaults=True):
    """One goal, also where nobody met it."""

    goal: str
    comparison: Former | msgspec.UnsetType = msgspec.UNSET
    breakdown: list[Value] | msgspec.UnsetType = msgspec.UNSET
    """The values with most visitors."""


class Results(msgspec.Struct, frozen=True):
    """The goals with most visitors first, then by name."""

    visitors: int
    """All, whom the rates are a part of."""
    goals: list[GoalFigures]


class Resolved(msgspec.Struct, frozen=True, omit_defaults=True):
    """The question as it was understood."""

    site_id: str
    date_range: tuple[str, str]
    timezone: str
    limit: int
    breakdown: str = ""
    comparison_date_range: tuple[str, str] | None = None


class GoalsAnswer(msgspec.Struct, frozen=True):
    """The answer."""

    results: Results
    query: Resolved


_RATES: dict[bool, Share] = {False: Share.CONVERSION_RATE, True: Share.GROUP_CONVERSION_RATE}
"""By whether there is a breakdown."""
_Known = dict[tuple[str, ...], tuple[Any, ...]]
_NAMES = Figures.__struct_fields__


async def goals(store: Store, asked: AskedGoals, clock: Clock) -> GoalsAnswer:
    """What *asked* asks for. Raises Invalid for what can not be asked of this range, Unavailable."""
    question = _question(asked, with_breakdown=False)
    asking = await bind(store, question, clock.zone, clock.now, clock.week_start)
    span, former = asking.span, asking.former
    now = _at(span)
    known, before, values, visitors, visitors_before = await asyncio.gather(
        _figures(store, asked, now, clock, with_breakdown=False),
        _figures(store, asked, None if former is None else _at(former), clock, with_breakdown=False),
        _figures(store, asked, None if asked.breakdown is None else now, clock, with_breakdown=True),
        _visitors(store, asked, span),
        _visitors(store, asked, former),
    )
    by_goal: dict[str, list[Value]] = defaultdict(list)
    for (name, value), figures in values.items():
        if len(by_goal[name]) < asked.limit:
            by_goal[name].append(Value(**_named(figures), value=value))
    rows = []
    for goal in asked.conditions.goals:
        figures = known.get((goal.name,)) or _nothing(visitors)
        row = GoalFigures(**_named(figures), goal=goal.name)
        if former is not None:
            old = before.get((goal.name,)) or _nothing(visitors_before)
            row = msgspec.structs.replace(row, comparison=_former(figures, old))
        if asked.breakdown is not None:
            row = msgspec.structs.replace(row, breakdown=by_goal[goal.name])
        rows.append(row)
    rows.sort(key=lambda row: (-row.visitors, row.goal))
    return GoalsAnswer(
        Results(visitors, rows),
        Resolved(
            site_id=asked.site_id,
            date_range=said_range(span),
            timezone=span.zone.key,
            limit=asked.limit,
            breakdown="" if asked.breakdown is None else str(asked.breakdown),
            comparison_date_range=None if former is None else said_range(former),
        ),
    )


def _question(asked: AskedGoals, *, with_breakdown: bool) -> Asked:
    metrics: tuple[AskedMetric, ...] = (
        Metric.VISITORS,
        Metric.EVENTS,
        _RATES[with_breakdown],
        Metric.TOTAL_REVENUE,
        Metric.AVERAGE_REVENUE,
    )
    breakdown = () if asked.breakdown is None or not with_breakdown else (asked.breakdown,)
    return Asked(
        site_id=asked.site_id,
        metrics=metrics,
        date_range=asked.date_range,
        dimensions=(goals_dimension(asked.conditions.goals), *breakdown),
        conditions=asked.conditions,
        compare=asked.compare,
        limit=LIMIT_MAX,
    )


def _at(span: Range) -> Instants:
    return Instants(span.start, span.end)


async def _figures(
    store: Store, asked: AskedGoals, period: Instants | None, clock: Clock, *, with_breakdown: bool
) -> _Known:
    """By goal, or by goal and value, those with most visitors first; nothing where there is no *period*."""
    if period is None or not asked.conditions.goals:
        return {}
    question = _question(asked, with_breakdown=with_breakdown)
    question = msgspec.structs.replace(question, date_range=period, compare=None)
    found = await answer(store, question, clock.zone, clock.now, clock.week_start)
    return {tuple(map(str, row.dimensions)): tuple(row.metrics) for row in found.results}


async def _visitors(store: Store, asked: AskedGoals, span: Range | None) -> int:
    """Whom the rates are a part of; 0 where there is no *span*."""
    if span is None:
        return 0
    table = await store.rows(Query(asked.site_id, span, (Metric.VISITORS,), filter=asked.conditions.of_all))
    ((count,),) = msgspec.convert(table.rows, list[tuple[int]])
    return count


def _named(figures: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(_NAMES, figures, strict=True))


def _nothing(visitors: int) -> tuple[Any, ...]:
    """The figures of a goal that nobody met of so many."""
    return 0, 0, 0.0 if visitors else None, None, None


def _former(new: tuple[Any, ...], old: tuple[Any, ...]) -> Former:
    change = {name: _change(new[place], old[place]) for place, name in enumerate(_NAMES[:3])}
    return Former(**_named(old), change=change)


def _change(new: float | None, old: float | None) -> float | None:
    if new is None or old is None:
        return None
    if old == 0:
        return 0.0 if new == 0 else None
    return round(100 * (new - old) / old, 2)


def goals_csv(found: GoalsAnswer) -> str:
    """A line for each goal, with the figures compared with and the changes; with a breakdown, for each value of it."""
    names = list(_NAMES)
    rows: list[Sequence[Cell]] = []
    if found.query.breakdown:
        for row in found.results.goals:
            values = row.breakdown if isinstance(row.breakdown, list) else []
            rows += [(row.goal, value.value, *_cells(value)) for value in values]
        return csv_of(["goal", found.query.breakdown, *names], rows)
    columns = ["goal", *names]
    if found.query.comparison_date_range is not None:
        columns += [f"{name} before" for name in names] + [f"{name} change" for name in names[:3]]
    for row in found.results.goals:
        former = row.comparison if isinstance(row.comparison, Former) else None
        rows.append((row.goal, *_cells(row), *([] if former is None else [*_cells(former), *former.change.values()])))
    return csv_of(columns, rows)


def _cells(figures: Figures) -> list[Cell]:
    return [getattr(figures, name) for name in _NAMES]
