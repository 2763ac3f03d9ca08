"""A question that is bound: to a store, a range, and dimensions that exist."""

from collections.abc import Sequence
from datetime import datetime
from typing import TypeAlias
from zoneinfo import ZoneInfo

import msgspec

from footfall.errors import Fault, Invalid
from footfall.query.asked import TIME, Asked, AskedMetric, Share
from footfall.query.buckets import keys, resolve_time
from footfall.query.definitions import WeekStart
from footfall.query.periods import Comparison, Days, Instants, Mode, compared, span_of
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
    Query,
    Range,
    Scope,
)
from footfall.reports.span import Clock, period_asked
from footfall.store.base import Store

Order: TypeAlias = tuple[tuple[AskedMetric | AnyDimension, Direction], ...]

_SHOWN_MAX = 200
"""Values that are worth a condition; of more rows than these, those that are not shown are read as well."""


class Asking(msgspec.Struct, frozen=True):
    """What is asked of which store."""

    store: Store
    asked: Asked
    span: Range
    former: Range | None
    dimensions: tuple[AnyDimension, ...]
    order: Order

    @property
    def times(self) -> list[int]:
        """The places of the dimensions of time."""
        return [place for place, each in enumerate(self.dimensions) if each.scope is Scope.TIME]

    @property
    def store_metrics(self) -> tuple[Metric, ...]:
        """What the store is asked for: visitors too where a share of them is wanted."""
        metrics = [each for each in self.asked.metrics if isinstance(each, Metric)]
        if len(metrics) < len(self.asked.metrics) and Metric.VISITORS not in metrics:
            metrics.append(Metric.VISITORS)
        return tuple(metrics)

    @property
    def store_order(self) -> tuple[tuple[Metric | AnyDimension, Direction], ...]:
        """By what the store orders: shares of one number as the visitors are ordered."""
        order: dict[Metric | AnyDimension, Direction] = {}
        for by, way in self.order:
            order.setdefault(Metric.VISITORS if isinstance(by, Share) else by, way)
        return tuple(order.items())

    @property
    def is_ordered_here(self) -> bool:
        """Is it ordered by what only all rows and those of another question together tell?"""
        return any(by is Share.GROUP_CONVERSION_RATE for by, _ in self.order)

    def query(self, span: Range, only: Filter | None = None) -> Query:
        """What the store is asked, without order and limit; *only*: which rows are looked at."""
        return Query(
            self.asked.site_id,
            span,
            self.store_metrics,
            self.dimensions,
            filter=both(self.asked.conditions.whole, only),
        )

    def only(self, groups: Sequence[tuple[object, ...]]) -> Filter | None:
        """The condition that keeps a second question to the rows that are shown."""
        parts = []
        for place, dimension in enumerate(self.dimensions):
            if isinstance(dimension, Goals) or dimension.scope is Scope.TIME:
                continue
            values = {str(group[place]) for group in groups}
            if len(values) <= _SHOWN_MAX:
                parts.append(Compare(Operator.IS, dimension, tuple(sorted(values))))
        return All(tuple(parts)) if parts else None


def both(one: Filter | None, other: Filter | None) -> Filter | None:
    """Met where both are."""
    parts = tuple(part for part in (one, other) if part is not None)
    return All(parts) if len(parts) > 1 else next(iter(parts), None)


def bucket_keys(dimension: AnyDimension, span: Range) -> Sequence[str | int]:
    """What the buckets of *dimension* are called, in order; none where it is not of time."""
    return keys(dimension, span) if isinstance(dimension, Dimension) and dimension.scope is Scope.TIME else ()


async def bind(store: Store, asked: Asked, zone: ZoneInfo, now: datetime, week_start: WeekStart) -> Asking:
    """*asked* in *zone* at *now*. Raises Invalid for what can not be asked of this range, Unavailable."""
    period = await period_asked(store, asked.site_id, asked.date_range, Clock(zone, week_start, now))
    span = span_of(period, zone, "date_range", week_start)
    former = None
    if asked.compare is not None:
        former = _former_span(asked.compare, compared(period, asked.compare, zone, now, week_start), span)
    time = resolve_time(span)
    dimensions = tuple(time if isinstance(each, str) and each == TIME else each for each in asked.dimensions)
    if len(set(dimensions)) != len(dimensions):
        raise Invalid(Fault("dimensions", f"must name each once; time stands for {time} here"))
    order = tuple((time if isinstance(by, str) and by == TIME else by, way) for by, way in asked.order_by)
    return Asking(store, asked, span, former, dimensions, order or _usual_order(asked, dimensions))  # type: ignore[arg-type]


def _former_span(comparison: Comparison, period: Days | Instants, span: Range) -> Range:
    field = "compare.date_range" if comparison.mode is Mode.CUSTOM else "compare"
    return span_of(period, span.zone, field, span.week_start)


def _usual_order(asked: Asked, dimensions: Sequence[AnyDimension]) -> Order:
    """Time forwards, then the first metric from the top."""
    times = [(each, Direction.ASC) for each in dimensions if each.scope is Scope.TIME]
    figures = [each for each in asked.metrics if not (isinstance(each, Metric) and each.is_money)]
    return (*times, *[(each, Direction.DESC) for each in figures[:1]])
