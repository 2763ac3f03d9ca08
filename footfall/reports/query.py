"""The general question: binds it to zone and moment, asks the store, fills buckets, compares, orders and cuts."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cmp_to_key
from itertools import product
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import msgspec

from footfall.errors import Fault, Invalid
from footfall.query.asked import PERCENTAGE, TIME, Asked, AskedMetric
from footfall.query.buckets import keys, resolve_time
from footfall.query.periods import Comparison, Days, Instants, Mode, Named, compared, resolve, span_of
from footfall.query.query import (
    All,
    AnyDimension,
    Compare,
    Dimension,
    Direction,
    Filter,
    Goals,
    Metric,
    Operator,
    Prop,
    Query,
    Range,
    Scope,
)
from footfall.store.base import Store

FILLED_ROWS_MAX = 100_000
"""More rows than these are not made of empty buckets: a question that would need them is refused."""

Figure: TypeAlias = int | float | dict[str, Decimal] | None
Group: TypeAlias = tuple[str | int, ...]
_Pair: TypeAlias = tuple[Group, list[Figure]]


class Former(msgspec.Struct, frozen=True):
    """The same row in the range that is compared with."""

    metrics: list[Figure]
    change: list[float | None]
    """Per cent; 0 where both are 0, null where only the former is, or where one is not known."""
    dimensions: list[str | int] | msgspec.UnsetType = msgspec.UNSET
    """Where they are others: of buckets of time."""


class Row(msgspec.Struct, frozen=True):
    """One group."""

    dimensions: list[str | int]
    metrics: list[Figure]
    comparison: Former | msgspec.UnsetType = msgspec.UNSET


class Meta(msgspec.Struct, frozen=True, omit_defaults=True):
    """What else was asked for."""

    total_rows: int | None = None
    time_labels: list[str | int] | None = None


class Resolved(msgspec.Struct, frozen=True, omit_defaults=True):
    """The question as it was understood."""

    site_id: str
    metrics: list[str]
    date_range: tuple[str, str]
    """From the first instant up to but without the second."""
    timezone: str
    dimensions: list[str]
    order_by: list[tuple[str, str]]
    pagination: dict[str, int]
    comparison_date_range: tuple[str, str] | None = None


class Answer(msgspec.Struct, frozen=True):
    """The answer to one question."""

    results: list[Row]
    meta: Meta
    query: Resolved


class _Asking(msgspec.Struct, frozen=True):
    """A question that is bound: to a store, a range and dimensions that exist."""

    store: Store
    asked: Asked
    span: Range
    former: Range | None
    dimensions: tuple[AnyDimension, ...]
    order: tuple[tuple[AskedMetric | AnyDimension, Direction], ...]

    @property
    def times(self) -> list[int]:
        """The places of the dimensions of time."""
        return [place for place, each in enumerate(self.dimensions) if each.scope is Scope.TIME]


async def answer(store: Store, asked: Asked, zone: ZoneInfo, now: datetime) -> Answer:
    """What *asked* asks for. Raises Invalid for what can not be asked of this range, Unavailable."""
    asking = await _bind(store, asked, zone, now)
    rows, total = await (_filled_rows(asking) if asking.times else _rows(asking))
    former = await _former_rows(asking, [group for group, _ in rows])
    return Answer(
        results=[_row(asking, group, figures, former) for group, figures in rows],
        meta=Meta(total if asked.with_total else None, _labels(asking)),
        query=_resolved(asking),
    )


async def _bind(store: Store, asked: Asked, zone: ZoneInfo, now: datetime) -> _Asking:
    first_on = None
    if asked.date_range == Named("all"):
        first_on = await _first_day(store, asked.site_id, zone, now)
    period = resolve(asked.date_range, zone, now, first_on)
    span = span_of(period, zone, "date_range")
    former = _former_span(asked.compare, compared(period, asked.compare, zone, now), zone) if asked.compare else None
    time = resolve_time(span)
    dimensions = tuple(each if isinstance(each, Dimension | Prop) else time for each in asked.dimensions)
    if len(set(dimensions)) != len(dimensions):
        raise Invalid(Fault("dimensions", f"must name each once; time stands for {time} here"))
    order = tuple((time if by == TIME and isinstance(by, str) else by, way) for by, way in asked.order_by)
    return _Asking(store, asked, span, former, dimensions, order or _usual_order(asked, dimensions))


def _former_span(comparison: Comparison, period: Days | Instants, zone: ZoneInfo) -> Range:
    return span_of(period, zone, "compare.date_range" if comparison.mode is Mode.CUSTOM else "compare")


def _usual_order(
    asked: Asked, dimensions: Sequence[AnyDimension]
) -> tuple[tuple[AskedMetric | AnyDimension, Direction], ...]:
    """Time forwards, then the first metric from the top."""
    times: list[tuple[AskedMetric | AnyDimension, Direction]] = [
        (each, Direction.ASC) for each in dimensions if each.scope is Scope.TIME
    ]
    figures = [each for each in asked.metrics if not (isinstance(each, Metric) and each.is_money)]
    return (*times, *[(each, Direction.DESC) for each in figures[:1]])


async def _first_day(store: Store, site_id: str, zone: ZoneInfo, now: datetime) -> date | None:
    """The day of the site's first event: first its year, for all days of all years would be too many buckets."""
    earliest = datetime(1970, 1, 3, tzinfo=UTC)

    async def first(dimension: Dimension, start: datetime, end: datetime) -> date | None:
        table = await store.rows(Query(site_id, Range(start, end, zone), (Metric.EVENTS,), (dimension,)))
        return min((date.fromisoformat(str(row[0])) for row in table.rows), default=None)

    year = await first(Dimension.YEAR, earliest, now + timedelta(days=1))
    if year is None:
        return None
    start = max(datetime(year.year, 1, 1, tzinfo=UTC) - timedelta(days=1), earliest)
    return await first(Dimension.DAY, start, start + timedelta(days=368))


def _store_metrics(asked: Asked) -> tuple[Metric, ...]:
    """What the store is asked for: visitors too where their share is wanted."""
    metrics = [each for each in asked.metrics if isinstance(each, Metric)]
    if PERCENTAGE in asked.metrics and Metric.VISITORS not in metrics:
        metrics.append(Metric.VISITORS)
    return tuple(metrics)


def _store_order(asking: _Asking) -> tuple[tuple[Metric | AnyDimension, Direction], ...]:
    order: dict[Metric | AnyDimension, Direction] = {}
    for by, way in asking.order:
        order.setdefault(Metric.VISITORS if isinstance(by, str) and by == PERCENTAGE else by, way)  # type: ignore[arg-type]
    return tuple(order.items())


async def _rows(asking: _Asking) -> tuple[list[_Pair], int | None]:
    """Ordered and cut by the store."""
    asked = asking.asked
    query = Query(
        asked.site_id,
        asking.span,
        _store_metrics(asked),
        asking.dimensions,
        _store_order(asking),
        limit=asked.limit,
        filter=asked.filter,
        offset=asked.offset,
        with_total=asked.with_total,
    )
    table, visitors = await asyncio.gather(asking.store.rows(query), _all_visitors(asking, asking.span))
    return [_figures(asking, row, visitors) for row in table.rows], table.total


async def _filled_rows(asking: _Asking) -> tuple[list[_Pair], int | None]:
    """With a row for every bucket of time, for each group of the other dimensions that has one at all."""
    found = await _every_row(asking, asking.span, None)
    named = [_keys(asking.dimensions[place], asking.span) for place in asking.times]
    others = {tuple(None if i in asking.times else each for i, each in enumerate(group)) for group in found}
    others = others or (
        {tuple(None for _ in asking.dimensions)} if len(asking.times) == len(asking.dimensions) else set()
    )
    count = len(others)
    for names in named:
        count *= len(names)
    if count > FILLED_ROWS_MAX:
        raise Invalid(
            Fault("dimensions", f"would make {count} rows, of which {FILLED_ROWS_MAX} are allowed with time; narrow it")
        )
    nothing = [_nothing(each) for each in asking.asked.metrics]
    rows: list[_Pair] = []
    for other in others:
        for at in product(*named):
            whole: list[Any] = list(other)
            for place, name in zip(asking.times, at, strict=True):
                whole[place] = name
            group = tuple(whole)
            rows.append((group, found.get(group) or list(nothing)))
    rows.sort(key=cmp_to_key(_comparer(asking)))
    start = asking.asked.offset
    return rows[start : start + asking.asked.limit], len(rows)


def _keys(dimension: AnyDimension, span: Range) -> Sequence[str | int]:
    return keys(dimension, span) if isinstance(dimension, Dimension) else ()


def _comparer(asking: _Asking) -> Callable[[_Pair, _Pair], int]:
    """Orders rows as a store does: null last, ties by the dimensions."""
    metrics = list(asking.asked.metrics)
    places: list[tuple[int, int, Direction]] = []
    for by, way in asking.order:
        if by in asking.dimensions:
            places.append((0, asking.dimensions.index(by), way))
        else:
            places.append((1, metrics.index(by), way))  # type: ignore[arg-type]
    places += [(0, place, Direction.ASC) for place in range(len(asking.dimensions))]

    def compare(one: _Pair, other: _Pair) -> int:
        for part, place, way in places:
            a: Any = one[part][place]
            b: Any = other[part][place]
            if a == b:
                continue
            if a is None or b is None:
                return 1 if a is None else -1
            return -1 if (a < b) is (way is Direction.ASC) else 1
        return 0

    return compare


def _nothing(metric: AskedMetric) -> Figure:
    return 0 if isinstance(metric, Metric) and metric.is_count else None


async def _every_row(asking: _Asking, span: Range, only: Filter | None) -> dict[Group, list[Figure]]:
    asked = asking.asked
    parts = [part for part in (asked.filter, only) if part is not None]
    query = Query(
        asked.site_id, span, _store_metrics(asked), asking.dimensions, filter=All(tuple(parts)) if parts else None
    )
    table, visitors = await asyncio.gather(asking.store.rows(query), _all_visitors(asking, span))
    return dict(_figures(asking, row, visitors) for row in table.rows)


async def _all_visitors(asking: _Asking, span: Range) -> int:
    """Of all rows together; 0 where no share of them is asked for."""
    if PERCENTAGE not in asking.asked.metrics:
        return 0
    asked = asking.asked
    table = await asking.store.rows(Query(asked.site_id, span, (Metric.VISITORS,), filter=asked.filter))
    ((count,),) = msgspec.convert(table.rows, list[tuple[int]])
    return count


def _figures(asking: _Asking, row: tuple[Any, ...], visitors: int) -> _Pair:
    """The group and its metrics as they were asked for, rounded."""
    size = len(asking.dimensions)
    found: dict[AskedMetric, Any] = dict(zip(_store_metrics(asking.asked), row[size:], strict=True))
    if PERCENTAGE in asking.asked.metrics:
        found[PERCENTAGE] = 100 * found[Metric.VISITORS] / visitors if visitors else None
    return tuple(row[:size]), [_rounded(found[metric]) for metric in asking.asked.metrics]


def _rounded(figure: Figure) -> Figure:
    """Ratios to two decimals; money to six, which is what it is kept with."""
    if isinstance(figure, dict):
        return {currency: round(amount, 6).normalize() + 0 for currency, amount in sorted(figure.items())}
    return round(figure, 2) if isinstance(figure, float) else figure


async def _former_rows(asking: _Asking, groups: Sequence[Group]) -> dict[Group, _Pair]:
    """For each of *groups* what it is called in the former range, and its metrics there."""
    if asking.former is None or not groups:
        return {}
    found = await _every_row(asking, asking.former, _only(asking, groups))
    nothing = [_nothing(each) for each in asking.asked.metrics]
    renamed = _renamed(asking, asking.former)
    former: dict[Group, _Pair] = {}
    for group in groups:
        if all(name in renamed[place] for place, name in enumerate(group) if place in renamed):
            names = tuple(renamed[place][name] if place in renamed else name for place, name in enumerate(group))
            former[group] = (names, found.get(names) or list(nothing))
    return former


def _only(asking: _Asking, groups: Sequence[Group]) -> Filter | None:
    """The condition that keeps the former range to the rows that are shown."""
    parts = []
    for place, dimension in enumerate(asking.dimensions):
        values = {str(group[place]) for group in groups}
        if isinstance(dimension, Goals) or dimension.scope is Scope.TIME:
            continue
        if len(values) <= _SHOWN_MAX:
            parts.append(Compare(Operator.IS, dimension, tuple(sorted(values))))
    return All(tuple(parts)) if parts else None


_SHOWN_MAX = 200
"""Values that are worth a condition; of more rows than these, those that are not shown are read as well."""


def _renamed(asking: _Asking, former: Range) -> dict[int, dict[str | int, str | int]]:
    """For each place of a bucket: the first of one range is compared with the first of the other, and so on.

    Hours of the day and days of the week are compared with themselves.
    """
    renamed: dict[int, dict[str | int, str | int]] = {}
    for place in asking.times:
        dimension = asking.dimensions[place]
        if dimension not in {Dimension.DAY_OF_WEEK, Dimension.HOUR_OF_DAY}:
            renamed[place] = dict(zip(_keys(dimension, asking.span), _keys(dimension, former), strict=False))
    return renamed


def _row(asking: _Asking, group: Group, figures: list[Figure], former: dict[Group, Any]) -> Row:
    if asking.former is None:
        return Row(list(group), figures)
    names, before = former.get(group, (None, [None] * len(figures)))
    change = [_change(new, old) for new, old in zip(figures, before, strict=True)]
    differs = names is not None and names != group
    return Row(list(group), figures, Former(before, change, list(names) if differs else msgspec.UNSET))


def _change(new: Figure, old: Figure) -> float | None:
    """Per cent from *old* to *new*."""
    if isinstance(new, dict) or isinstance(old, dict) or new is None or old is None:
        return None
    if old == 0:
        return 0.0 if new == 0 else None
    return round(100 * (new - old) / old, 2)


def _labels(asking: _Asking) -> list[str | int] | None:
    if not asking.asked.with_labels or not asking.times:
        return None
    return list(_keys(asking.dimensions[asking.times[0]], asking.span))


def _resolved(asking: _Asking) -> Resolved:
    asked = asking.asked
    return Resolved(
        site_id=asked.site_id,
        metrics=[str(metric) for metric in asked.metrics],
        date_range=_said(asking.span),
        timezone=asking.span.zone.key,
        dimensions=[str(dimension) for dimension in asking.dimensions],
        order_by=[(str(by), way.value) for by, way in asking.order],
        pagination={"limit": asked.limit, "offset": asked.offset},
        comparison_date_range=None if asking.former is None else _said(asking.former),
    )


def _said(span: Range) -> tuple[str, str]:
    return span.start.astimezone(span.zone).isoformat(), span.end.astimezone(span.zone).isoformat()
