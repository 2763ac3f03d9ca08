"""The daily collections: written in the transaction of the events, and read for the statistics of whole UTC days.

A day here is one of UTC. What asks for days of another zone, or with a filter, is counted from the events; so a site
may change its zone at any time and no answer is ever at odds with another.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, NamedTuple

import msgspec
from bson import DatetimeMS
from pymongo import DESCENDING, UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase

from footfall.event import PAGEVIEW, Event
from footfall.query.query import Dimension, Direction, Metric, Query
from footfall.store.base import Table
from footfall.store.mongo.collections import DAYS, PATHS, VISITORS
from footfall.store.mongo.connection import Document
from footfall.store.mongo.documents import signed

TOP_PATHS: Final = 50
"""How many paths the daily document itself shows."""
_DAY_MS: Final = 24 * 3600 * 1000


class Day(NamedTuple):
    """One day of one site."""

    site_id: str
    date: str
    """ISO 8601, in UTC."""

    @property
    def document(self) -> Document:
        """The fields by which it is found."""
        return {"site_id": self.site_id, "date": self.date}


class Figures(msgspec.Struct):
    """What a batch adds to a day."""

    events: int = 0
    views: int = 0
    last_ms: int = 0
    visitors: set[int] = msgspec.field(default_factory=set)
    paths: Counter[str] = msgspec.field(default_factory=Counter)


def figures(events: Iterable[Event]) -> dict[Day, Figures]:
    """By day, in the order in which every writer goes through them."""
    found: dict[Day, Figures] = {}
    for event in events:
        on = date(1970, 1, 1) + timedelta(days=event.occurred_at_ms // _DAY_MS)
        day = found.setdefault(Day(event.site_id, on.isoformat()), Figures())
        day.events += 1
        day.last_ms = max(day.last_ms, event.occurred_at_ms)
        day.visitors.add(event.visitor_id)
        if event.name == PAGEVIEW:
            day.views += 1
            day.paths[event.path] += 1
    return dict(sorted(found.items()))


async def begin(database: AsyncDatabase[Document], session: AsyncClientSession, added: dict[Day, Figures]) -> None:
    """Add what is known beforehand to the daily documents.

    First of all in a transaction: two of them that add to one day can not both be, and the second is to find that out
    before it has done its work.
    """
    if added:
        steps = [
            UpdateOne(
                day.document,
                {
                    "$inc": {"total_views": its.views, "events": its.events, "unique_users_count": 0},
                    "$max": {"last_event_at": DatetimeMS(its.last_ms)},
                    "$setOnInsert": {"top_paths": []},
                },
                upsert=True,
            )
            for day, its in added.items()
        ]
        await database[DAYS].bulk_write(steps, session=session)


async def complete(database: AsyncDatabase[Document], session: AsyncClientSession, added: dict[Day, Figures]) -> None:
    """Note visitors and paths, and let the daily documents say how many of the visitors are new, and what leads."""
    new = await _note_visitors(database, session, added)
    views = [
        UpdateOne({**day.document, "path": path}, {"$inc": {"views": count}}, upsert=True)
        for day, its in added.items()
        for path, count in its.paths.items()
    ]
    if views:
        await database[PATHS].bulk_write(views, ordered=False, session=session)
    steps = []
    for day, its in added.items():
        change: Document = {"$inc": {"unique_users_count": new[day]}}
        if its.views:
            change["$set"] = {"top_paths": await _top(database, session, day)}
        steps.append(UpdateOne(day.document, change))
    if steps:
        await database[DAYS].bulk_write(steps, session=session)


async def _note_visitors(
    database: AsyncDatabase[Document], session: AsyncClientSession, added: dict[Day, Figures]
) -> Counter[Day]:
    """How many visitors each day did not know."""
    whose = [(day, visitor) for day, its in added.items() for visitor in its.visitors]
    if not whose:
        return Counter()
    steps = [
        # Nothing is written where it is there already, so two transactions may both have seen a visitor.
        UpdateOne({**day.document, "visitor_id": signed(visitor)}, {"$setOnInsert": {"is_new": True}}, upsert=True)
        for day, visitor in whose
    ]
    result = await database[VISITORS].bulk_write(steps, ordered=False, session=session)
    return Counter(whose[index][0] for index in result.upserted_ids or {})


async def _top(database: AsyncDatabase[Document], session: AsyncClientSession, day: Day) -> list[Document]:
    return await _most_viewed(database, day.document, TOP_PATHS, session)


async def _most_viewed(
    database: AsyncDatabase[Document], day: Document, limit: int, session: AsyncClientSession | None = None
) -> list[Document]:
    """The most viewed paths of one day, equal ones by path."""
    found = database[PATHS].find(
        day, {"_id": 0, "path": 1, "views": 1}, sort=[("views", DESCENDING), ("path", 1)], limit=limit, session=session
    )
    return [{"path": row["path"], "views": row["views"]} async for row in found]


_TOTALS: Final = frozenset({Metric.PAGEVIEWS, Metric.VISITORS})
_LEADING_FIRST: Final = ((Metric.PAGEVIEWS, Direction.DESC), (Dimension.PAGE, Direction.ASC))


def knows(query: Query) -> bool:
    """Can it be answered from here? It is one of the two that the daily statistics ask, for whole UTC days."""
    if _instant_of_day(query.range.start) or _instant_of_day(query.range.end):
        return False
    plain = Query(query.site_id, query.range, query.metrics)
    if query == msgspec.structs.replace(plain, counts_reports=True):
        return set(query.metrics) <= _TOTALS
    leading = msgspec.structs.replace(
        plain, dimensions=(Dimension.PAGE,), order_by=_LEADING_FIRST, limit=query.limit or 0
    )
    return query == leading and query.metrics == (Metric.PAGEVIEWS,)


def _instant_of_day(instant: datetime) -> timedelta:
    at = instant.astimezone(UTC)
    return at - at.replace(hour=0, minute=0, second=0, microsecond=0)


async def rows(database: AsyncDatabase[Document], query: Query) -> Table:
    """The answer to a question that it *knows*."""
    first, end = query.range.start.astimezone(UTC).date(), query.range.end.astimezone(UTC).date()
    if end - first == timedelta(days=1):
        days: Document = {"site_id": query.site_id, "date": first.isoformat()}
    else:
        days = {"site_id": query.site_id, "date": {"$gte": first.isoformat(), "$lt": end.isoformat()}}
    columns = tuple(str(name) for name in (*query.dimensions, *query.metrics))
    if query.dimensions:
        return Table(columns, await _paths(database, days, query.limit or 0))
    views, visitors = await _totals(database, days)
    row = tuple(views if metric is Metric.PAGEVIEWS else visitors for metric in query.metrics)
    return Table(columns, [row])


async def _totals(database: AsyncDatabase[Document], days: Document) -> tuple[int, int]:
    """Pageviews and visitors."""
    found = await database[DAYS].find(days, {"total_views": 1, "unique_users_count": 1}).to_list()
    views = sum(int(day["total_views"]) for day in found)
    if len(found) < 2:
        return views, sum(int(day["unique_users_count"]) for day in found)
    counted = await _all(database, VISITORS, [{"$match": days}, {"$group": {"_id": "$visitor_id"}}, {"$count": "n"}])
    return views, int(counted[0]["n"]) if counted else 0


async def _paths(database: AsyncDatabase[Document], days: Document, limit: int) -> Sequence[tuple[object, ...]]:
    if isinstance(days["date"], str):
        found = await _most_viewed(database, days, limit)
        return [(row["path"], int(row["views"])) for row in found]
    summed = await _all(
        database,
        PATHS,
        [
            {"$match": days},
            {"$group": {"_id": "$path", "views": {"$sum": "$views"}}},
            {"$sort": {"views": -1, "_id": 1}},
            {"$limit": limit},
        ],
    )
    return [(row["_id"], int(row["views"])) for row in summed]


async def _all(database: AsyncDatabase[Document], name: str, steps: list[dict[str, Any]]) -> list[Document]:
    cursor = await database[name].aggregate(steps, allowDiskUse=True)
    return await cursor.to_list()
