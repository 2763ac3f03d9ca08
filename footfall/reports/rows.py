"""The rows of an answer: ordered and cut by the store, or here, where buckets are filled or the order is of shares."""

import asyncio
from collections.abc import Callable, Iterable
from functools import cmp_to_key
from itertools import product
from typing import Any

import msgspec

from footfall.errors import Fault, Invalid
from footfall.query.asked import Share
from footfall.query.query import Direction, Filter, Range
from footfall.reports.answer import Figure, Group, Pair
from footfall.reports.asking import Asking, bucket_keys
from footfall.reports.shares import Wholes, figures_of, pair_of, wholes

ROWS_HERE_MAX = 100_000
"""Of more rows than these no order is made here, nor are so many made of empty buckets: the question is refused."""


async def rows_of(asking: Asking) -> tuple[list[Pair], int | None]:
    """The page that is asked for, and how many rows there are, where that is known. Raises Invalid, Unavailable."""
    if asking.times:
        return await _filled(asking)
    return await (_ordered_here(asking) if asking.is_ordered_here else _ordered_there(asking))


async def every_row(asking: Asking, span: Range, only: Filter | None) -> tuple[dict[Group, list[Figure]], Wholes]:
    """All rows that have an event in *span*."""
    found = await wholes(asking, span, only)
    table = await asking.store.rows(asking.query(span, only))
    return dict(pair_of(asking, row, found) for row in table.rows), found


async def _ordered_there(asking: Asking) -> tuple[list[Pair], int | None]:
    asked = asking.asked
    query = msgspec.structs.replace(
        asking.query(asking.span),
        order_by=asking.store_order,
        limit=asked.limit,
        offset=asked.offset,
        with_total=asked.with_total,
    )
    if Share.GROUP_CONVERSION_RATE in asked.metrics:
        table = await asking.store.rows(query)
        groups = [row[: len(asking.dimensions)] for row in table.rows]
        found = await wholes(asking, asking.span, asking.only(groups))
    else:
        table, found = await asyncio.gather(asking.store.rows(query), wholes(asking, asking.span))
    return [pair_of(asking, row, found) for row in table.rows], table.total


async def _ordered_here(asking: Asking) -> tuple[list[Pair], int | None]:
    query = msgspec.structs.replace(asking.query(asking.span), limit=ROWS_HERE_MAX + 1)
    table = await asking.store.rows(query)
    if len(table.rows) > ROWS_HERE_MAX:
        raise Invalid(Fault("order_by", f"would order more than {ROWS_HERE_MAX} rows by a share of each; narrow it"))
    found = await wholes(asking, asking.span)
    return _page(asking, [pair_of(asking, row, found) for row in table.rows])


async def _filled(asking: Asking) -> tuple[list[Pair], int | None]:
    """With a row for every bucket of time, for each group of the other dimensions that has one at all."""
    known, found = await every_row(asking, asking.span, None)
    rows = [(group, known.get(group) or figures_of(asking, group, {}, found)) for group in _all_groups(asking, known)]
    return _page(asking, rows)


def _page(asking: Asking, rows: list[Pair]) -> tuple[list[Pair], int | None]:
    rows.sort(key=cmp_to_key(_comparer(asking)))
    start = asking.asked.offset
    return rows[start : start + asking.asked.limit], len(rows)


def _all_groups(asking: Asking, found: Iterable[Group]) -> list[Group]:
    named = [bucket_keys(asking.dimensions[place], asking.span) for place in asking.times]
    others = {tuple(None if i in asking.times else each for i, each in enumerate(group)) for group in found}
    if len(asking.times) == len(asking.dimensions):
        others = {tuple(None for _ in asking.dimensions)}
    count = len(others)
    for names in named:
        count *= len(names)
    if count > ROWS_HERE_MAX:
        raise Invalid(
            Fault("dimensions", f"would make {count} rows, of which {ROWS_HERE_MAX} are allowed with time; narrow it")
        )
    groups: list[Group] = []
    for other in others:
        for at in product(*named):
            whole: list[Any] = list(other)
            for place, name in zip(asking.times, at, strict=True):
                whole[place] = name
            groups.append(tuple(whole))
    return groups


def _comparer(asking: Asking) -> Callable[[Pair, Pair], int]:
    """Orders rows as a store does: null last, ties by the dimensions, and buckets by when they begin.

    Not by what they are called: where clocks go back, 02:00+02:00 comes before 02:00+01:00.
    """
    metrics = list(asking.asked.metrics)
    nth = {
        place: {name: number for number, name in enumerate(bucket_keys(asking.dimensions[place], asking.span))}
        for place in asking.times
    }
    places: list[tuple[int, int, Direction]] = []
    for by, way in asking.order:
        if by in asking.dimensions:
            places.append((0, asking.dimensions.index(by), way))
        else:
            places.append((1, metrics.index(by), way))  # type: ignore[arg-type]
    places += [(0, place, Direction.ASC) for place in range(len(asking.dimensions))]

    def compare(one: Pair, other: Pair) -> int:
        for part, place, way in places:
            a: Any = one[part][place]
            b: Any = other[part][place]
            if a == b:
                continue
            if a is None or b is None:
                return 1 if a is None else -1
            if part == 0 and place in nth:
                a, b = nth[place][a], nth[place][b]
            return -1 if (a < b) is (way is Direction.ASC) else 1
        return 0

    return compare
