"""The daily statistics: views, distinct visitors and the most viewed paths of one day or several."""

import asyncio
from datetime import date
from zoneinfo import ZoneInfo

import msgspec

from footfall.query.query import Dimension, Direction, Metric, Query
from footfall.query.ranges import day_range
from footfall.store.base import Store


class PathViews(msgspec.Struct, frozen=True):
    """One path and its pageviews."""

    path: str
    views: int


class Stats(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename={"from_": "from"}):
    """The `data` of GET /api/stats: with `date` for one day, with `from` and `to` for several."""

    site_id: str
    date: str | None = None
    from_: str | None = None
    to: str | None = None
    total_views: int
    unique_users_count: int
    top_paths: list[PathViews]


async def daily_stats(  # noqa: PLR0917 - one question, said in the order of its sentence
    store: Store, site_id: str, day_from: date, day_to: date, zone: ZoneInfo, limit: int
) -> Stats:
    """Both days included, as they pass in *zone*; the *limit* most viewed paths, equal ones by path.

    A day or a site without events gives zeros. Raises Invalid for an impossible range, Unavailable.
    """
    span = day_range(day_from, day_to, zone)
    # Who only read on, in a page of the day before, was there on this day too.
    whole = Query(site_id=site_id, range=span, metrics=(Metric.PAGEVIEWS, Metric.VISITORS), counts_reports=True)
    totals, paths = await asyncio.gather(
        store.rows(whole),
        store.rows(
            Query(
                site_id=site_id,
                range=span,
                metrics=(Metric.PAGEVIEWS,),
                dimensions=(Dimension.PAGE,),
                order_by=((Metric.PAGEVIEWS, Direction.DESC), (Dimension.PAGE, Direction.ASC)),
                limit=limit,
            )
        ),
    )
    ((views, visitors),) = msgspec.convert(totals.rows, list[tuple[int, int]])
    top = [PathViews(path, count) for path, count in msgspec.convert(paths.rows, list[tuple[str, int]])]
    spanned: dict[str, str] = (
        {"date": day_from.isoformat()}
        if day_from == day_to
        else {"from_": day_from.isoformat(), "to": day_to.isoformat()}
    )
    return Stats(site_id=site_id, total_views=views, unique_users_count=visitors, top_paths=top, **spanned)
