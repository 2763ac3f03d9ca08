"""Raw events of one site, page by page: a whole file of any length, with no more in memory than a page."""

import asyncio
import csv
import io
import zlib
from collections.abc import AsyncGenerator
from typing import Final

import msgspec

from footfall.errors import Unavailable
from footfall.query.events import Column, EventsQuery, Form, Page, Place
from footfall.query.query import Filter, Range
from footfall.reports.parquet import ParquetFile
from footfall.store.base import Store

PAGE_EVENTS_MAX: Final = 50_000
PAGE_EVENTS_MIN: Final = 100
FIRST_PAGE_EVENTS: Final = 2_000
PAGE_BYTES: Final = {Form.CSV: 16_000_000, Form.NDJSON: 16_000_000, Form.PARQUET: 2_000_000}
"""About how long a page shall be. Of Parquet, which is packed: what is packed into it is some eight times as long."""
GZIP_LEVEL: Final = 1
"""16 MB take 0.2 s; at the usual 6 they take 1 s for a fifth less."""

MEDIA_TYPES: Final = {
    Form.CSV: "text/csv; charset=utf-8",
    Form.NDJSON: "application/x-ndjson",
    Form.PARQUET: "application/vnd.apache.parquet",
}


class Export(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be exported."""

    site_id: str
    range: Range
    form: Form
    received_before_ms: int
    """The moment it was asked for: what is received from then on is not in it."""
    with_user_ids: bool = False
    filter: Filter | None = None

    @property
    def columns(self) -> tuple[Column, ...]:
        """All, but what the senders call their users, which only who asks for it gets."""
        return tuple(column for column in Column if self.with_user_ids or column is not Column.USER_ID)


class Part(msgspec.Struct, frozen=True):
    """A piece of the file, and how many events it brings."""

    body: bytes
    count: int


async def export(store: Store, asked: Export) -> AsyncGenerator[Part]:
    """The file, in order of occurrence, in one part at least.

    Raises Unavailable; what came before is then no whole file. A page that is over the store's limits is asked for
    again, smaller.
    """
    file = ParquetFile() if asked.form is Form.PARQUET else None
    after: Place | None = None
    limit = FIRST_PAGE_EVENTS
    head = _names(asked.columns) if asked.form is Form.CSV else b""
    while True:
        page = await _page(store, asked, after, limit)
        if page is None:
            limit //= 4
            continue
        body = head + page.body if file is None else await asyncio.to_thread(file.add, page.body)
        yield Part(body, page.count)
        head = b""
        if page.last is None:
            break
        after = page.last
        limit = _next_limit(page, asked.form)
    if file is not None:
        yield Part(await asyncio.to_thread(file.end), 0)


async def _page(store: Store, asked: Export, after: Place | None, limit: int) -> Page | None:
    """None where it should be asked for again, smaller."""
    query = EventsQuery(
        site_id=asked.site_id,
        range=asked.range,
        received_before_ms=asked.received_before_ms,
        columns=asked.columns,
        form=asked.form,
        after=after,
        limit=limit,
        filter=asked.filter,
    )
    try:
        return await store.page(query)
    except Unavailable:
        if limit < PAGE_EVENTS_MIN * 4:
            raise
        return None


def _next_limit(page: Page, form: Form) -> int:
    """As many as make a page of the wanted length, if they are as long as those before; growing no faster than that."""
    event_bytes = max(1, len(page.body) // max(1, page.count))
    return max(PAGE_EVENTS_MIN, min(PAGE_EVENTS_MAX, page.count * 8, PAGE_BYTES[form] // event_bytes))


def _names(columns: tuple[Column, ...]) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out).writerow(columns)
    return out.getvalue().encode()


class Gzip:
    """Packs parts as they come."""

    def __init__(self) -> None:
        self._packer = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, 31)

    def add(self, body: bytes) -> bytes:
        """What is ready of it. Takes long for a long one, and without the interpreter's lock."""
        return self._packer.compress(body)

    def end(self) -> bytes:
        """The rest."""
        return self._packer.flush()
