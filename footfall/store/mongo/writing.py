"""Events into MongoDB: one transaction for each slice of a batch, all of it or nothing, however often it is tried.

What two writers may not both do is a document that both would have to change: an event's id, the times of a sender's
key, the figures of a day. MongoDB lets one of them through and sends the other back to the start, where it finds what
the first has done.
"""

import asyncio
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Final

import msgspec
from bson import DatetimeMS, Int64
from pymongo import ReadPreference, UpdateOne, WriteConcern
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import BulkWriteError, OperationFailure, PyMongoError, ServerSelectionTimeoutError
from pymongo.read_concern import ReadConcern

from footfall.event import DropReason, Event
from footfall.store.base import Written
from footfall.store.clickhouse.statements import KEY_WINDOW_MS
from footfall.store.mongo import daily
from footfall.store.mongo.collections import DROPS, EVENTS, KEYS
from footfall.store.mongo.connection import Connection, Document, answered_within
from footfall.store.mongo.documents import drop_document, event_document

WRITE_S_MAX: Final = 50
"""MongoDB ends a transaction after 60 s of its own accord."""
PAUSE_S_MAX: Final = 0.2
COMMITS_MAX: Final = 3
"""Of which each waits for a server. After the last nobody knows, and the redelivery looks."""
_DUPLICATE_KEY: Final = 11000


class _Verdicts(msgspec.Struct):
    """What becomes of each event."""

    stored: list[Event]
    dropped: list[tuple[Event, str]]
    duplicates: list[Event]
    already: int


async def write(connection: Connection, events: Sequence[Event], redelivered: bool) -> Written:
    """Write these in one transaction, tried until it is through, or WRITE_S_MAX over.

    Raises Unavailable; then nothing was written, or their redelivery finds it.
    """
    async with answered_within(WRITE_S_MAX):
        for attempt in count(1):
            try:
                return await _try(connection, events, redelivered)
            except PyMongoError as error:
                if not _is_worth_another_try(error):
                    raise
            # It may have been written though the answer was lost; or another writer has written some of it.
            redelivered = True
            pause_s = min(PAUSE_S_MAX, 0.002 * 2 ** min(attempt, 10))
            await asyncio.sleep(random.uniform(0, pause_s))  # noqa: S311 - no secret
    raise AssertionError("count() ends")


def _is_worth_another_try(error: PyMongoError) -> bool:
    if isinstance(error, ServerSelectionTimeoutError):
        # It carries the label below as well; but no server has been there for as long as the driver waits for one.
        return False
    if error.has_error_label("TransientTransactionError"):
        return True
    if isinstance(error, BulkWriteError):
        return any(said.get("code") == _DUPLICATE_KEY for said in (error.details or {}).get("writeErrors", ()))
    return isinstance(error, OperationFailure) and error.code == _DUPLICATE_KEY


async def _try(connection: Connection, events: Sequence[Event], redelivered: bool) -> Written:
    async with connection.client.start_session() as session:
        await session.start_transaction(
            read_concern=ReadConcern("snapshot"),
            write_concern=WriteConcern("majority", j=True),
            read_preference=ReadPreference.PRIMARY,
        )
        verdicts = await _judge(connection, session, events, redelivered)
        await _store(connection, session, verdicts)
        for tries_left in reversed(range(COMMITS_MAX)):
            try:
                await session.commit_transaction()
                break
            except PyMongoError as error:
                if not tries_left or not error.has_error_label("UnknownTransactionCommitResult"):
                    raise
            await asyncio.sleep(PAUSE_S_MAX)
        return Written(
            stored=len(verdicts.stored),
            dropped=len(verdicts.dropped),
            duplicates=len(verdicts.duplicates),
            already=verdicts.already,
        )


async def _judge(
    connection: Connection, session: AsyncClientSession, events: Sequence[Event], redelivered: bool
) -> _Verdicts:
    """By id, by the collector's reason, by the sender's key; in the order in which they came."""
    seen = await _known_ids(connection, session, events) if redelivered else set[bytes]()
    times = await _times_of_keys(connection, session, events)
    found = _Verdicts([], [], [], 0)
    taken: set[bytes] = set()
    for event in events:
        if event.id in seen:
            found.already += 1
            continue
        seen.add(event.id)
        if event.drop_reason:
            found.dropped.append((event, event.drop_reason))
        elif event.key and (
            event.key in taken
            or any(abs(at_ms - event.received_at_ms) <= KEY_WINDOW_MS for at_ms in times.get(event.key, ()))
        ):
            found.duplicates.append(event)
        else:
            taken.add(event.key)
            found.stored.append(event)
    return found


async def _known_ids(connection: Connection, session: AsyncClientSession, events: Sequence[Event]) -> set[bytes]:
    asked = {"_id": {"$in": [event.id for event in events]}}
    known: set[bytes] = set()
    for name in (EVENTS, DROPS):
        async for document in connection.primary[name].find(asked, {"_id": 1}, session=session):
            known.add(document["_id"])
    return known


async def _times_of_keys(
    connection: Connection, session: AsyncClientSession, events: Sequence[Event]
) -> dict[bytes, list[int]]:
    """When events with these keys were received that count."""
    keys = list({event.key for event in events if event.key})
    if not keys:
        return {}
    found = connection.primary[KEYS].find({"_id": {"$in": keys}}, session=session)
    return {document["_id"]: document["received_ms"] async for document in found}


async def _store(connection: Connection, session: AsyncClientSession, verdicts: _Verdicts) -> None:
    database = connection.primary
    added = daily.figures(verdicts.stored)
    await daily.begin(database, session, added)
    now = DatetimeMS(datetime.now(UTC)).as_datetime()
    keys = [
        # Whoever takes a key changes this document: two can not.
        UpdateOne({"_id": event.key}, {"$push": {"received_ms": Int64(event.received_at_ms)}}, upsert=True)
        for event in verdicts.stored
        if event.key
    ]
    if keys:
        await database[KEYS].bulk_write(keys, ordered=False, session=session)
    documents: list[Document] = [event_document(event, now) for event in verdicts.stored]
    if documents:
        await database[EVENTS].insert_many(documents, session=session)
    drops = [drop_document(event, reason, now) for event, reason in verdicts.dropped]
    drops += [drop_document(event, DropReason.DUPLICATE, now) for event in verdicts.duplicates]
    if drops:
        await database[DROPS].insert_many(drops, session=session)
    await daily.complete(database, session, added)
