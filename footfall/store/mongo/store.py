"""The store on MongoDB 6 or newer, a replica set of one node or more, or a sharded cluster.

It keeps every event, and figures by day for people and for the daily statistics; all other questions are counted by
ClickHouse's engine in this process, on the events that MongoDB sends (questions.py).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

from footfall.errors import FootfallError, Unavailable
from footfall.query.events import EventsQuery, Page
from footfall.query.query import Query
from footfall.query.sequence import Sequence as SequenceQuestion
from footfall.store.base import Batch, Check, Ledger, Table, Written
from footfall.store.clickhouse import answers
from footfall.store.clickhouse.door import QUERY_S_MAX
from footfall.store.mongo import daily, writing
from footfall.store.mongo.collections import DAYS, DROPS, EVENTS, create
from footfall.store.mongo.connection import Connection, Document, answered_within, connect
from footfall.store.mongo.documents import read
from footfall.store.mongo.questions import Reader, ScratchEngine

SLICE_EVENTS: Final = 5_000
"""A batch over this is written in slices, each a transaction: a second or two of work, of the 60 that MongoDB gives."""
CHECK_S_MAX: Final = 3
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class MongoStore:
    """Events in `events` and `drops`, figures by day beside them; see collections.py."""

    kind = "mongodb"

    def __init__(self, connection: Connection, memory_bytes: int) -> None:
        self._connection = connection
        self._memory_bytes = memory_bytes
        self._engine: ScratchEngine | None = None
        self._opening = asyncio.Lock()
        # One write at a time: a redelivery that comes while the first write runs waits, and then finds its ids.
        self._writing = asyncio.Lock()
        self._is_closed = False

    @classmethod
    async def open(cls, uri: str, *, memory_bytes: int = 1_000_000_000) -> "MongoStore":
        """Create collections and indexes where there are none; *memory_bytes* is what questions may use.

        The database is the one in the path of *uri*, or `footfall`; readPreference in it holds for questions, and never
        for writes. Raises Misconfigured for a URI that is none and for a standalone server, Unavailable.
        """
        connection = await connect(uri)
        try:
            await create(connection)
        except FootfallError:
            await connection.client.close()
            raise
        return cls(connection, memory_bytes)

    async def write(self, batch: Batch) -> Written:
        """See Store. Slices are written one after the other; a redelivery completes what a failure cut short."""
        events = await asyncio.to_thread(read, batch.payloads)
        total = Written(0, 0, 0, 0)
        redelivered = batch.redelivered
        async with self._writing:
            for start in range(0, len(events), SLICE_EVENTS):
                self._refuse_when_closed()
                part = await writing.write(self._connection, events[start : start + SLICE_EVENTS], redelivered)
                total = Written(
                    total.stored + part.stored,
                    total.dropped + part.dropped,
                    total.duplicates + part.duplicates,
                    total.already + part.already,
                )
        return total

    async def rows(self, query: Query) -> Table:
        """See Store. The daily statistics of UTC days are read, all else is counted."""
        if daily.knows(query):
            self._refuse_when_closed()
            async with answered_within(QUERY_S_MAX):
                return await daily.rows(self._connection.reading, query)
        async with self._reader() as reader:
            return await answers.rows(reader, query)

    async def page(self, query: EventsQuery) -> Page:
        """See Store."""
        async with self._reader(query) as reader:
            return await answers.page(reader, query)

    async def sequences(self, question: SequenceQuestion) -> Table:
        """See Store."""
        async with self._reader() as reader:
            return await answers.sequences(reader, question)

    @asynccontextmanager
    async def _reader(self, page: EventsQuery | None = None) -> AsyncIterator[Reader]:
        self._refuse_when_closed()
        async with self._opening:
            if self._engine is None:
                # At the first question: a worker that only writes does without it.
                self._engine = await asyncio.to_thread(ScratchEngine, self._memory_bytes)
        async with self._engine.lane() as lane:
            yield Reader(self._connection.reading[EVENTS], lane, page)

    async def ledger(self, site_id: str | None = None, import_id: str | None = None) -> Ledger:
        """See Store."""
        self._refuse_when_closed()
        meant: Document = {} if site_id is None else {"site_id": site_id}
        database = self._connection.primary
        async with answered_within(QUERY_S_MAX):
            if import_id is None:
                # Counted with the events, in their own transactions: they need not all be looked at.
                summed = {"$group": {"_id": None, "stored": {"$sum": "$events"}}}
                days = await (await database[DAYS].aggregate([{"$match": meant}, summed])).to_list()
                stored = int(days[0]["stored"]) if days else 0
            else:
                meant["import_id"] = import_id
                stored = await database[EVENTS].count_documents(meant)
            by_reason = {"$group": {"_id": "$reason", "count": {"$sum": 1}}}
            dropped = await (await database[DROPS].aggregate([{"$match": meant}, by_reason])).to_list()
        return Ledger(stored, {str(row["_id"]): int(row["count"]) for row in dropped})

    async def sites(self) -> Mapping[str, int]:
        """See Store."""
        self._refuse_when_closed()
        last = {"$group": {"_id": "$site_id", "last": {"$max": "$last_event_at"}}}
        async with answered_within(QUERY_S_MAX):
            found = await (await self._connection.reading[DAYS].aggregate([last])).to_list()
        return {
            str(row["_id"]): (row["last"].replace(tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1) for row in found
        }

    async def check(self) -> Check:
        """See Store."""
        started = time.perf_counter()
        message = ""
        try:
            self._refuse_when_closed()
            async with answered_within(CHECK_S_MAX):
                await self._connection.primary.command("ping")
        except FootfallError as error:
            message = str(error)
        return Check(ok=not message, latency_ms=(time.perf_counter() - started) * 1000, message=message)

    async def close(self) -> None:
        """See Store."""
        async with self._writing, self._opening:
            if not self._is_closed:
                self._is_closed = True
                if self._engine is not None:
                    await self._engine.close()
                await self._connection.client.close()

    def _refuse_when_closed(self) -> None:
        if self._is_closed:
            raise Unavailable("store: closed")
