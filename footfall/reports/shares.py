"""Shares: of whom the visitors of a row are a part; and all figures as they are shown."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from footfall.query.asked import AskedMetric, Share
from footfall.query.query import Filter, Goals, Metric, Query, Range
from footfall.reports.answer import Figure, Group, Pair
from footfall.reports.asking import Asking, both


class Wholes(msgspec.Struct, frozen=True):
    """Numbers of visitors, each 0 or empty where no share of them is asked for."""

    of_rows: int = 0
    """Of all rows together."""
    of_all: int = 0
    """Of everybody who could have met the goal."""
    of_groups: dict[Group, int] = {}
    """The same for each group, without the goal's name in it."""


async def wholes(asking: Asking, span: Range, only: Filter | None = None) -> Wholes:
    """What the shares that are asked for are shares of; *only*: of which groups. Raises Unavailable."""
    asked = asking.asked

    async def visitors(metric: Share, condition: Filter | None) -> int:
        if metric not in asked.metrics:
            return 0
        table = await asking.store.rows(Query(asked.site_id, span, (Metric.VISITORS,), filter=condition))
        ((count,),) = msgspec.convert(table.rows, list[tuple[int]])
        return count

    return Wholes(
        *await asyncio.gather(
            visitors(Share.PERCENTAGE, asked.conditions.whole),
            visitors(Share.CONVERSION_RATE, asked.conditions.of_all),
            _of_groups(asking, span, only),
        )
    )


async def _of_groups(asking: Asking, span: Range, only: Filter | None) -> dict[Group, int]:
    asked = asking.asked
    if Share.GROUP_CONVERSION_RATE not in asked.metrics:
        return {}
    dimensions = tuple(each for each in asking.dimensions if not isinstance(each, Goals))
    condition = both(asked.conditions.of_all, only)
    table = await asking.store.rows(Query(asked.site_id, span, (Metric.VISITORS,), dimensions, filter=condition))
    rows: Sequence[tuple[Any, ...]] = table.rows
    return {tuple(row[:-1]): row[-1] for row in rows}


def pair_of(asking: Asking, row: tuple[Any, ...], found: Wholes) -> Pair:
    """The group of a store's row and its metrics as they were asked for, rounded."""
    size = len(asking.dimensions)
    group = tuple(row[:size])
    return group, figures_of(asking, group, dict(zip(asking.store_metrics, row[size:], strict=True)), found)


def figures_of(asking: Asking, group: Group, known: dict[Metric, Any], found: Wholes) -> list[Figure]:
    """The metrics as they were asked for; what is not *known* is nothing."""

    def figure(metric: AskedMetric) -> Figure:
        if isinstance(metric, Metric):
            return _rounded(known.get(metric, 0 if metric.is_count else None))
        whole = {
            Share.PERCENTAGE: found.of_rows,
            Share.CONVERSION_RATE: found.of_all,
            Share.GROUP_CONVERSION_RATE: found.of_groups.get(_without_goal(asking, group), 0),
        }[metric]
        return round(100 * known.get(Metric.VISITORS, 0) / whole, 2) if whole else None

    return [figure(metric) for metric in asking.asked.metrics]


def _without_goal(asking: Asking, group: Group) -> Group:
    return tuple(name for name, each in zip(group, asking.dimensions, strict=True) if not isinstance(each, Goals))


def _rounded(figure: Figure) -> Figure:
    """Ratios to two decimals; money to six, which is what it is kept with."""
    if isinstance(figure, dict):
        return {currency: round(amount, 6).normalize() + 0 for currency, amount in sorted(figure.items())}
    return round(figure, 2) if isinstance(figure, float) else figure
