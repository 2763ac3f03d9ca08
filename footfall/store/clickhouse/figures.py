"""The expression of every metric in SQL, and how the engine's figure is read."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from footfall.event import ENGAGEMENT_MS_MAX, SCROLL_DEPTH_MAX
from footfall.query.query import Kind, Metric
from footfall.store.clickhouse.kinds import IS_ENGAGEMENT

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
    # Of rows that are each one page within one session.
    Metric.SCROLL_DEPTH: "avg(deepest)",
    Metric.TIME_ON_PAGE: "sum(spent_ms) / nullIf(count(spent_ms), 0) / 1000",
    Metric.EXIT_RATE: "100 * sum(exits) / nullIf(sum(views), 0)",
}

NO_MONEY = "CAST(([], [], []), 'Tuple(Array(String), Array(Decimal(38, 6)), Array(UInt64))')"


def _reported(prop: str, digits: int, most: int) -> str:
    """The whole number in *prop* of a report of engagement; null of anything else. Never more than *most*."""
    value = f"props['{prop}']"
    is_there = f"{IS_ENGAGEMENT} AND match({value}, '^[0-9]{{1,{digits}}}$')"
    return f"if({is_there}, least(toUInt64OrNull({value}), {most}), NULL)"


SCROLLED = _reported("scroll_depth", 9, SCROLL_DEPTH_MAX)
ENGAGED_MS = _reported("engagement_ms", 12, ENGAGEMENT_MS_MAX)


def money(amount: str, currency: str) -> str:
    """Currencies, their sums and how many amounts each is the sum of."""
    return f"sumMapIf([{currency}], [ifNull({amount}, 0)], [toUInt64(1)], isNotNull({amount}))"


def nothing(metric: Metric) -> str:
    """What stands for *metric* in rows that do not know it."""
    return NO_MONEY if metric.is_money else "NULL"


def is_something(metric: Metric, column: str) -> str:
    """Whether the figure in *column* makes its row worth having."""
    if metric.is_money:
        return f"notEmpty({column}.1)"
    return f"{column} > 0" if metric.is_count else f"isNotNull({column})"


def _total(found: list[list[Any]]) -> dict[str, Decimal] | None:
    return {currency: Decimal(amount) for currency, amount, _ in zip(*found, strict=True)} or None


def _average(found: list[list[Any]]) -> dict[str, Decimal] | None:
    return {currency: Decimal(amount) / count for currency, amount, count in zip(*found, strict=True)} or None


def _ratio(found: float | None) -> float | None:
    return None if found is None else float(found)


READERS: dict[Metric, Callable[[Any], object]] = {
    # JSON knows no difference between 50 and 50.0, and those who read a ratio should not meet two types.
    **{metric: _ratio for metric in Metric if metric.kind is Kind.RATIO},
    Metric.TOTAL_REVENUE: _total,
    Metric.AVERAGE_REVENUE: _average,
}
