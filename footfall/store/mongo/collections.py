"""The collections, their indexes and their shard keys.

| collection | a document is | shard key |
|---|---|---|
| `events` | an event that counts | `{site_id: 1, timestamp: 1, _id: 1}` |
| `drops` | an event that does not count, without what describes the visitor | `{site_id: 1, timestamp: 1, _id: 1}` |
| `event_keys` | a sender's own event id, with the times of receipt at which it counted | `{_id: "hashed"}` |
| `daily_stats` | a site's day, one of UTC, for people to look at and for `/api/stats` | `{site_id: 1, date: 1}` |
| `daily_visitors` | one visitor of one day of a site | `{site_id: 1, date: 1, visitor_id: 1}` |
| `daily_paths` | the pageviews of one path on one day of a site | `{site_id: 1, date: 1, path: 1}` |

No document grows with the number of visitors or paths: `daily_stats` holds the most viewed paths only. Every unique
index begins with the shard key of its collection, as MongoDB asks of it, but for the `_id` of events and drops, which
MongoDB keeps unique on each shard alone: there an event that comes again has the site and the time it had, and so goes
to the shard where it lies.
"""

from typing import Final

from pymongo import ASCENDING, DESCENDING, IndexModel

from footfall.store.mongo.connection import Connection, our_failures

EVENTS: Final = "events"
DROPS: Final = "drops"
KEYS: Final = "event_keys"
DAYS: Final = "daily_stats"
VISITORS: Final = "daily_visitors"
PATHS: Final = "daily_paths"

_DAY: Final = (("site_id", ASCENDING), ("date", ASCENDING))
_BY_TIME: Final = IndexModel([("site_id", ASCENDING), ("timestamp", ASCENDING), ("_id", ASCENDING)])
_IMPORTED: Final = IndexModel([("import_id", ASCENDING)], partialFilterExpression={"import_id": {"$exists": True}})

INDEXES: Final = {
    EVENTS: (
        _BY_TIME,
        IndexModel([("site_id", ASCENDING), ("received_at", ASCENDING), ("_id", ASCENDING)]),
        _IMPORTED,
    ),
    DROPS: (_BY_TIME, IndexModel([("site_id", ASCENDING), ("reason", ASCENDING)]), _IMPORTED),
    KEYS: (),
    DAYS: (IndexModel([*_DAY], unique=True),),
    VISITORS: (IndexModel([*_DAY, ("visitor_id", ASCENDING)], unique=True),),
    PATHS: (
        IndexModel([*_DAY, ("path", ASCENDING)], unique=True),
        IndexModel([*_DAY, ("views", DESCENDING), ("path", ASCENDING)]),
    ),
}


async def create(connection: Connection) -> None:
    """Make what is not there. Before the first write, for a transaction should not have to make a collection."""
    with our_failures():
        there = set(await connection.primary.list_collection_names())
        for name, indexes in INDEXES.items():
            if name not in there:
                await connection.primary.create_collection(name, check_exists=False)
            if indexes:
                await connection.primary[name].create_indexes(list(indexes))
