"""Sites beside each other: the same metrics of each, in one order, with a former period if wanted.

A question speaks of one site, and each site is read by its own part of the table; so what several cost is the sum
however they are asked. They are asked a few at a time, lest one comparison take the store from everybody else.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from footfall.errors import Unavailable
from footfall.query.asked import Asked
from footfall.query.query import Direction
from footfall.reports.answer import Answer, Figure, Former
from footfall.reports.lines import csv_of
from footfall.reports.query import answer
from footfall.reports.span import Clock
from footfall.reports.table import cells_of, names_of
from footfall.store.base import Store

AT_ONCE_MAX: Final = 3
TAKES_S_MAX: Final = 30.0


class Compared(msgspec.Struct, frozen=True, omit_defaults=True):
    """One site."""

    site_id: str
    metrics: list[Figure]
    timezone: str
    date_range: tuple[str, str]
    """On this site's clocks, from the first instant up to but without the second."""
    comparison: Former | msgspec.UnsetType = msgspec.UNSET
    comparison_date_range: tuple[str, str] | None = None


class SitesMeta(msgspec.Struct, frozen=True):
    """What else should be known."""

    total_rows: int
    """Sites, without limit and offset."""
    left_out: int
    """Sites that may be read and were not looked at, because they are more than one comparison holds."""


class SitesAsked(msgspec.Struct, frozen=True):
    """The question as it was understood."""

    metrics: list[str]
    order_by: list[tuple[str, str]]
    pagination: dict[str, int]


class SitesAnswer(msgspec.Struct, frozen=True):
    """The sites in order."""

    results: list[Compared]
    meta: SitesMeta
    query: SitesAsked


async def compare_sites(
    store: Store, asked: Mapping[str, Asked], clocks: Mapping[str, Clock], page: Asked, left_out: int
) -> SitesAnswer:
    """What is asked of each site, on its own clock; *page*: what is to be shown of it. Raises Invalid, Unavailable."""
    turn = asyncio.Semaphore(AT_ONCE_MAX)

    async def one(question: Asked) -> Compared:
        alone = msgspec.structs.replace(question, order_by=(), limit=1, offset=0)
        clock = clocks[question.site_id]
        async with turn:
            return _row(await answer(store, alone, clock.zone, clock.now, clock.week_start))

    tasks = [asyncio.ensure_future(one(question)) for question in asked.values()]
    try:
        async with asyncio.timeout(TAKES_S_MAX):
            rows = await asyncio.gather(*tasks)
    except TimeoutError:
        raise Unavailable(f"the comparison took longer than {TAKES_S_MAX:.0f} s; ask for fewer sites") from None
    finally:
        for task in tasks:
            task.cancel()
    names = [str(metric) for metric in page.metrics]
    order = [(str(by), way) for by, way in page.order_by] or _usual_order(page)
    ordered = _ordered(rows, names, order)
    return SitesAnswer(
        ordered[page.offset : page.offset + page.limit],
        SitesMeta(len(rows), left_out),
        SitesAsked(names, [(by, way.value) for by, way in order], {"limit": page.limit, "offset": page.offset}),
    )


def as_csv(found: SitesAnswer, *, is_compared: bool) -> str:
    """The site, its metrics, then for a comparison each metric's former value and its change."""
    columns = ["site_id", *names_of(found.query.metrics, is_compared=is_compared)]
    return csv_of(columns, ([row.site_id, *cells_of(row.metrics, row.comparison)] for row in found.results))


def _row(found: Answer) -> Compared:
    (row,) = found.results
    query = found.query
    return Compared(
        query.site_id, row.metrics, query.timezone, query.date_range, row.comparison, query.comparison_date_range
    )


def _usual_order(page: Asked) -> list[tuple[str, Direction]]:
    """The first metric from the top; amounts of money in several currencies have no order."""
    figures = [metric for metric in page.metrics if not getattr(metric, "is_money", False)]
    return [(str(metric), Direction.DESC) for metric in figures[:1]]


def _ordered(rows: Sequence[Compared], names: list[str], order: Sequence[tuple[str, Direction]]) -> list[Compared]:
    """By *order*; what is not known comes last, ties go by site."""
    ordered = sorted(rows, key=lambda row: row.site_id)
    for by, way in reversed(order):
        place = names.index(by)
        figures = {row.site_id: _number(row.metrics[place]) for row in ordered}
        sign = -1 if way is Direction.DESC else 1
        known = [(sign * figure, row) for row in ordered if (figure := figures[row.site_id]) is not None]
        known.sort(key=lambda pair: pair[0])
        ordered = [*(row for _, row in known), *(row for row in ordered if figures[row.site_id] is None)]
    return ordered


def _number(figure: Figure) -> float | None:
    return figure if isinstance(figure, int | float) else None
