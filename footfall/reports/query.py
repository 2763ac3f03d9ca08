"""The general question: binds it to zone and moment, asks the store, compares, and says how it was understood."""

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec

from footfall.query.asked import Asked
from footfall.query.definitions import WeekStart
from footfall.query.query import Dimension, Metric, Range
from footfall.reports.answer import Answer, Figure, Former, Group, Meta, Pair, Resolved, Row, Warned
from footfall.reports.asking import Asking, bind, bucket_keys
from footfall.reports.rows import every_row, rows_of
from footfall.reports.shares import figures_of
from footfall.store.base import Store

WARNINGS = {
    Metric.SCROLL_DEPTH: Warned(
        "no_engagement", "no page was reported to be scrolled: that takes engagement events with scroll_depth"
    ),
    Metric.TIME_ON_PAGE: Warned(
        "no_time_on_page",
        "not known of any page: that takes engagement events with engagement_ms, or visits of several pageviews",
    ),
}
"""What is said of a metric that is null in every row."""


async def answer(
    store: Store, asked: Asked, zone: ZoneInfo, now: datetime, week_start: WeekStart = WeekStart.MONDAY
) -> Answer:
    """What *asked* asks for. Raises Invalid for what can not be asked of this range, Unavailable."""
    asking = await bind(store, asked, zone, now, week_start)
    rows, total = await rows_of(asking)
    former = await _former_rows(asking, [group for group, _ in rows])
    return Answer(
        results=[_row(asking, group, figures, former) for group, figures in rows],
        meta=Meta(total if asked.with_total else None, _labels(asking), _warnings(asked, rows) or None),
        query=_resolved(asking),
    )


async def _former_rows(asking: Asking, groups: Sequence[Group]) -> dict[Group, Pair]:
    """For each of *groups* what it is called in the former range, and its metrics there."""
    if asking.former is None or not groups:
        return {}
    known, found = await every_row(asking, asking.former, asking.only(groups))
    renamed = _renamed(asking, asking.former)
    former: dict[Group, Pair] = {}
    for group in groups:
        if all(name in renamed[place] for place, name in enumerate(group) if place in renamed):
            names = tuple(renamed[place][name] if place in renamed else name for place, name in enumerate(group))
            former[group] = (names, known.get(names) or figures_of(asking, names, {}, found))
    return former


def _renamed(asking: Asking, former: Range) -> dict[int, dict[str | int, str | int]]:
    """For each place of a bucket: the first of one range is compared with the first of the other, and so on.

    Hours of the day and days of the week are compared with themselves.
    """
    renamed: dict[int, dict[str | int, str | int]] = {}
    for place in asking.times:
        dimension = asking.dimensions[place]
        if dimension not in {Dimension.DAY_OF_WEEK, Dimension.HOUR_OF_DAY}:
            pairs = zip(bucket_keys(dimension, asking.span), bucket_keys(dimension, former), strict=False)
            renamed[place] = dict(pairs)
    return renamed


def _row(asking: Asking, group: Group, figures: list[Figure], former: dict[Group, Pair]) -> Row:
    if asking.former is None:
        return Row(list(group), figures)
    names, before = former.get(group, (group, [None] * len(figures)))
    change = [_change(new, old) for new, old in zip(figures, before, strict=True)]
    return Row(list(group), figures, Former(before, change, list(names) if names != group else msgspec.UNSET))


def _change(new: Figure, old: Figure) -> float | None:
    """Per cent from *old* to *new*."""
    if isinstance(new, dict) or isinstance(old, dict) or new is None or old is None:
        return None
    if old == 0:
        return 0.0 if new == 0 else None
    return round(100 * (new - old) / old, 2)


def _labels(asking: Asking) -> list[str | int] | None:
    if not asking.asked.with_labels or not asking.times:
        return None
    return list(bucket_keys(asking.dimensions[asking.times[0]], asking.span))


def _warnings(asked: Asked, rows: list[Pair]) -> dict[str, Warned]:
    return {
        str(metric): WARNINGS[metric]
        for place, metric in enumerate(asked.metrics)
        if isinstance(metric, Metric) and metric in WARNINGS and all(figures[place] is None for _, figures in rows)
    }


def _resolved(asking: Asking) -> Resolved:
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
