"""The store on ClickHouse's SQL: an idempotent write, and answers; through whichever door the engine is behind."""

import asyncio
import hashlib
import time
from collections.abc import Mapping, Sequence
from typing import Self

import msgspec

from footfall.errors import FootfallError, Misconfigured, Unstorable
from footfall.event import DropReason, Event, decode, encode
from footfall.query.events import EventsQuery, Page
from footfall.query.query import Query
from footfall.query.sequence import Sequence as SequenceQuestion
from footfall.store.base import Batch, Check, Ledger, Table, Written
from footfall.store.clickhouse import answers
from footfall.store.clickhouse import statements as sql
from footfall.store.clickhouse.door import Door, Params
from footfall.store.clickhouse.keeper import TOUCHED, Keeper
from footfall.store.clickhouse.time_buckets import milliseconds

SLICE_EVENTS = 100_000
"""A batch over this is written in slices: 100,000 events stand in memory as about 100 MB."""

LATE_S = 5.0
"""A batch that is written so long after it was given to the store is looked up as a redelivered one is."""

# An Event is one MessagePack array; a row of ClickHouse's MsgPack format is the same fields without the array's head.
_FIELDS = len(Event.__struct_fields__)
_HEAD = b"\xdc" + _FIELDS.to_bytes(2)
_ID = slice(len(_HEAD) + 2, len(_HEAD) + 18)


class ClickHouseStore:
    """Events in two tables: `events` count, `drops` do not."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self.kind = door.kind
        # One write at a time: a redelivery that comes while the first write runs waits, and then finds its ids.
        self._writing = asyncio.Lock()
        self.keeper = Keeper(door, self._writing) if door.is_alone else None
        """None where others write too, of whose late events nothing is known here."""
        self._touched: dict[str, dict[int, int]] = {}

    @classmethod
    async def open(cls, door: Door, fsync: bool = True) -> Self:
        """Bring the tables up to date. Raises Misconfigured when a newer version of Footfall made them."""
        async with door.turn():
            await door.define(sql.VERSION_TABLE)
            current = int((await door.select(sql.VERSION, writer=True))[0][0])
            known = sql.migrations()
            if current > known[-1][0]:
                raise Misconfigured(
                    f"{door.setting}: its events were written by a newer version (tables {current}, known here "
                    f"{known[-1][0]}); start that version, or use another {door.setting}"
                )
            for version, steps in known:
                if version > current:
                    for step in steps:
                        await door.define(step)
                    await door.command(sql.NOTE_VERSION, {"version": version})
            for table in ("events", "drops", "schema_version"):
                await door.define(sql.durable(table, fsync))
        store = cls(door)
        if store.keeper is not None:
            await store.keeper.open(fsync=fsync)
            store.keeper.start()
        return store

    async def write(self, batch: Batch) -> Written:
        """See Store. Slices are written one after the other; a redelivery completes what a failure cut short."""
        async with self._writing:
            total, started = Written(0, 0, 0, 0), time.monotonic()
            for start in range(0, len(batch.payloads), SLICE_EVENTS):
                payloads = batch.payloads[start : start + SLICE_EVENTS]
                async with self._door.turn() as until_ms:
                    # Who had to wait, or was stopped, may find that another worker was given the batch meanwhile.
                    is_late = time.monotonic() - started > LATE_S
                    part = await self._write_slice(payloads, batch.redelivered or is_late, {"until_ms": until_ms})
                total = Written(
                    total.stored + part.stored,
                    total.dropped + part.dropped,
                    total.duplicates + part.duplicates,
                    total.already + part.already,
                )
            return total

    async def _write_slice(self, payloads: Sequence[bytes], redelivered: bool, turn: Params) -> Written:
        try:
            needs_verdicts = await self._stage(payloads)
            if not (redelivered or needs_verdicts):
                await self._door.command(sql.WRITE_ALL, turn)
                return Written(stored=len(payloads), dropped=0, duplicates=0, already=0)
            await self._door.command(sql.STAGE_VERDICTS)
            await self._door.command(sql.judge(redelivered))
            verdicts: dict[str, int] = {
                str(verdict): int(n) for verdict, n in await self._door.select(sql.VERDICTS, writer=True)
            }
            stored = verdicts.pop("", 0)
            verdicts.pop("already", None)
            if stored:
                await self._door.command(sql.WRITE_COUNTED, turn)
            if verdicts:
                await self._door.command(sql.WRITE_DROPPED, turn)
        finally:
            if self.keeper is not None:
                self.keeper.touch(self._touched)
                self._touched = {}
            await self._door.command(sql.CLEAR_INCOMING)
        duplicates = verdicts.pop(DropReason.DUPLICATE.value, 0)
        dropped = sum(verdicts.values())
        return Written(stored, dropped, duplicates, already=len(payloads) - stored - dropped - duplicates)

    async def _stage(self, payloads: Sequence[bytes]) -> bool:
        """Lay the batch out in `incoming`; True where events must be judged one by one."""
        try:
            return await self._load(payloads)
        except Unstorable:
            # Which one it is, Python can tell; and what Python can read, it writes anew as the engine reads it.
            renewed = await asyncio.to_thread(lambda: [_renewed(payload, i) for i, payload in enumerate(payloads)])
            return await self._load(renewed)

    async def _load(self, payloads: Sequence[bytes]) -> bool:
        body, fingerprint = await asyncio.to_thread(_as_rows, payloads)
        await self._door.command(sql.STAGE_INCOMING)
        await self._door.insert(sql.LOAD, "MsgPack", body)
        count, seen, wrong, needs_verdicts = (await self._door.select(sql.LOOK_OVER, writer=True))[0]
        if count != len(payloads) or seen != fingerprint:
            raise Unstorable("a payload is not one event")
        if wrong:
            raise Unstorable(f"{wrong} events have an id, a key or a time that can not be stored")
        if self.keeper is not None:
            for site_id, bucket, n in await self._door.select(TOUCHED, writer=True):
                self._touched.setdefault(str(site_id), {})[int(bucket)] = int(n)
        return bool(needs_verdicts)

    async def rows(self, query: Query) -> Table:
        """See Store."""
        cover = None
        if self.keeper is not None:
            cover = self.keeper.cover(query.site_id, milliseconds(query.range.start), milliseconds(query.range.end))
        return await answers.rows(self._door, query, cover)

    async def page(self, query: EventsQuery) -> Page:
        """See Store."""
        return await answers.page(self._door, query)

    async def sequences(self, question: SequenceQuestion) -> Table:
        """See Store."""
        return await answers.sequences(self._door, question)

    async def ledger(self, site_id: str | None = None, import_id: str | None = None) -> Ledger:
        """See Store."""
        where, params = "", dict[str, str]()
        if site_id is not None:
            where, params["site_id"] = where + sql.OF_SITE, site_id
        if import_id is not None:
            where, params["import_id"] = where + sql.OF_IMPORT, import_id
        stored, dropped = await asyncio.gather(
            self._door.select(sql.LEDGER_STORED + where, params),
            self._door.select(sql.LEDGER_DROPPED + where + sql.BY_REASON, params),
        )
        return Ledger(stored=int(stored[0][0]), dropped={str(reason): int(count) for reason, count in dropped})

    async def sites(self) -> Mapping[str, int]:
        """See Store."""
        return {str(site_id): int(last_ms) for site_id, last_ms in await self._door.select(sql.SITES)}

    async def check(self) -> Check:
        """See Store."""
        started = time.perf_counter()
        try:
            await self._door.select(sql.CHECK)
        except FootfallError as error:
            return Check(ok=False, latency_ms=(time.perf_counter() - started) * 1000, message=str(error))
        return Check(ok=True, latency_ms=(time.perf_counter() - started) * 1000)

    async def close(self) -> None:
        """See Store."""
        try:
            if self.keeper is not None:
                await self.keeper.close()
        finally:
            async with self._writing:
                await self._door.close()


def _renewed(payload: bytes, index: int) -> bytes:
    """*payload* as this version writes it. Raises Unstorable where it is no event."""
    try:
        return encode(decode(payload))
    except msgspec.DecodeError as error:
        raise Unstorable(f"payload {index} is no event: {error}") from error


def _as_rows(payloads: Sequence[bytes]) -> tuple[bytes, str]:
    """The batch in ClickHouse's MsgPack format, and the fingerprint of its ids. About 1 µs an event."""
    size = len(_HEAD)
    if not all(payload.startswith(_HEAD) for payload in payloads):
        # Of an older version, with fewer fields, or of a newer one, with more.
        payloads = [p if p.startswith(_HEAD) else _renewed(p, i) for i, p in enumerate(payloads)]
    ids = hashlib.sha256(b"".join([payload[_ID] for payload in payloads]))
    return b"".join([payload[size:] for payload in payloads]), ids.hexdigest()
