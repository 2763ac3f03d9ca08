"""Live: what happens on a site now, as figures and as the events themselves while they are stored.

The figures are questions like all others. The events are read by the time of their receipt, again and again with an
overlap, for an event is stored some time after it was received and not in the same order; ids tell which were seen.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from footfall.query.events import Column, EventsQuery, Form, Order, Place
from footfall.query.query import Dimension, Direction, Metric, Query, Range
from footfall.store.base import Store

SHORT: Final = timedelta(minutes=5)
LONG: Final = timedelta(minutes=30)
TOP_ROWS: Final = 10

OVERLAP_MS: Final = 60_000
"""An event that is stored later than this after its receipt is in all reports, but is no longer shown as new."""
AHEAD_MS: Final = 5 * 60_000
"""By how much another machine's clock may be ahead."""
PAGE_EVENTS: Final = 1_000
PAGES_MAX: Final = 5
SEEN_MAX: Final = 50_000
TAG_BYTES: Final = 4


class Minute(msgspec.Struct, frozen=True):
    """One minute, by its beginning."""

    minute: str
    pageviews: int


class Top(msgspec.Struct, frozen=True):
    """One page, source, country or device of the last 30 minutes."""

    name: str
    visitors: int


class Now(msgspec.Struct, frozen=True):
    """What happens on a site. Visitors are distinct, as everywhere; what is empty is not known."""

    site_id: str
    at: str
    """The moment of the answer, UTC."""
    visitors_5m: int
    visitors_30m: int
    pageviews_30m: int
    pageviews_by_minute: list[Minute]
    """30 of them, the last of which is not over yet."""
    pages: list[Top]
    sources: list[Top]
    countries: list[Top]
    devices: list[Top]


async def now_on(store: Store, site_id: str, zone: ZoneInfo, now: datetime) -> Now:
    """What happens on the site at the aware instant *now*; minutes are called as in *zone*. Raises Unavailable."""
    long = Range(now - LONG, now, zone)
    minutes = Range(now.replace(second=0, microsecond=0) - LONG + timedelta(minutes=1), now, zone)

    async def totals(span: Range) -> tuple[int, int]:
        table = await store.rows(Query(site_id, span, (Metric.VISITORS, Metric.PAGEVIEWS)))
        (row,) = msgspec.convert(table.rows, list[tuple[int, int]])
        return row

    (short_totals, totals_30m), series, (pages, sources, countries, devices) = await asyncio.gather(
        asyncio.gather(totals(Range(now - SHORT, now, zone)), totals(long)),
        _by_minute(store, site_id, minutes),
        asyncio.gather(*(_top(store, site_id, long, dimension) for dimension in _TOPS)),
    )
    return Now(
        site_id=site_id,
        at=_iso(now),
        visitors_5m=short_totals[0],
        visitors_30m=totals_30m[0],
        pageviews_30m=totals_30m[1],
        pageviews_by_minute=series,
        pages=pages,
        sources=sources,
        countries=countries,
        devices=devices,
    )


_TOPS = (Dimension.PAGE, Dimension.SOURCE, Dimension.COUNTRY, Dimension.DEVICE)


async def _by_minute(store: Store, site_id: str, span: Range) -> list[Minute]:
    table = await store.rows(Query(site_id, span, (Metric.PAGEVIEWS,), (Dimension.MINUTE,)))
    found = dict(msgspec.convert(table.rows, list[tuple[str, int]]))
    starts = [span.start + timedelta(minutes=number) for number in range(int(LONG.total_seconds() // 60))]
    names = [start.astimezone(span.zone).isoformat(timespec="seconds") for start in starts]
    return [Minute(name, found.get(name, 0)) for name in names]


async def _top(store: Store, site_id: str, span: Range, dimension: Dimension) -> list[Top]:
    order = ((Metric.VISITORS, Direction.DESC), (dimension, Direction.ASC))
    table = await store.rows(Query(site_id, span, (Metric.VISITORS,), (dimension,), order, limit=TOP_ROWS))
    return [Top(name, visitors) for name, visitors in msgspec.convert(table.rows, list[tuple[str, int]])]


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Stored(msgspec.Struct, frozen=True):
    """What is read of an event to show it."""

    event_id: str
    received_at: datetime
    occurred_at: str
    visitor_id: str
    name: str
    hostname: str
    path: str
    source: str
    country: str
    device: str
    browser: str

    @property
    def place(self) -> Place:
        """Where it stands in the order of receipt."""
        received_ms = (self.received_at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
        return Place(received_ms, bytes.fromhex(self.event_id))


_READ = tuple(Column(name) for name in Stored.__struct_fields__)
_stored = msgspec.json.Decoder(Stored)


class Shown(msgspec.Struct, frozen=True):
    """What is shown of an event. No user id and no properties: they may say who somebody is."""

    id: str
    time: str
    """When it occurred, UTC."""
    name: str
    hostname: str
    path: str
    source: str
    country: str
    device: str
    browser: str
    visitor: str
    """The same for one visitor within a UTC day, and another on the next."""


def shown(event: Stored, salt: bytes) -> Shown:
    """*event* for everybody who may read the site. *salt* is of the day and lives no longer."""
    return Shown(
        id=event.event_id,
        time=event.occurred_at,
        name=event.name,
        hostname=event.hostname,
        path=event.path,
        source=event.source,
        country=event.country,
        device=event.device,
        browser=event.browser,
        visitor=blake2b(
            bytes.fromhex(event.visitor_id), digest_size=TAG_BYTES, key=salt, person=b"footfall live"
        ).hexdigest(),
    )


async def received_since(store: Store, site_id: str, now_ms: int, place: Place) -> tuple[list[Stored], Place | None]:
    """Events of the last half hour that came after *place*, in order of receipt, PAGES_MAX pages of them at most.

    With them the place to go on, where there are more. Raises Unavailable.
    """
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    span = Range(now - LONG, now + timedelta(milliseconds=AHEAD_MS), ZoneInfo("UTC"))
    found: list[Stored] = []
    after: Place | None = place
    for _ in range(PAGES_MAX):
        query = EventsQuery(
            site_id=site_id,
            range=span,
            received_from_ms=place.at_ms,
            received_before_ms=now_ms + AHEAD_MS,
            columns=_READ,
            form=Form.NDJSON,
            order=Order.RECEIVED,
            after=after,
            limit=PAGE_EVENTS,
        )
        page = await store.page(query)
        found += _stored.decode_lines(page.body)
        after = page.last
        if after is None:
            break
    return found, after


class Feed:
    """The new events of one site, each once."""

    def __init__(self, store: Store, site_id: str, now_ms: int) -> None:
        """What is in the store when `poll` first returns is not new; what is stored later is."""
        self._store = store
        self._site_id = site_id
        self._seen: dict[bytes, tuple[int, int]] = {}
        """Id -> time of receipt, and the turn in which it was seen."""
        self._from = Place(now_ms - OVERLAP_MS, b"")
        self._is_begun = False
        self.turn = 0
        """How often it was asked."""

    async def poll(self, now_ms: int) -> Sequence[Stored]:
        """What was stored since the last turn; on the first, nothing. Raises Unavailable: the next turn has it then.

        Where more comes than can be read at once, the next turns go on from where this one stopped.
        """
        fresh, is_all = await self._read(now_ms)
        while not (self._is_begun or is_all):
            _, is_all = await self._read(now_ms)
        shown_now, self._is_begun = (fresh if self._is_begun else ()), True
        self.turn += 1
        return shown_now

    async def _read(self, now_ms: int) -> tuple[list[Stored], bool]:
        begin = max(self._from, Place(now_ms - OVERLAP_MS, b""))
        found, rest = await received_since(self._store, self._site_id, now_ms, begin)
        fresh = [event for event in found if event.place.id not in self._seen]
        self._seen = {id_: entry for id_, entry in self._seen.items() if entry[0] >= begin.at_ms}
        for event in fresh:
            self._seen[event.place.id] = (event.place.at_ms, self.turn)
        self._from = rest or begin
        while len(self._seen) > SEEN_MAX:
            oldest = next(iter(self._seen))
            self._from = max(self._from, Place(self._seen.pop(oldest)[0], oldest))
        return fresh, rest is None

    def knew(self, event: Stored, turn: int) -> bool:
        """Was it seen before *turn*? What is too old to be remembered was."""
        entry = self._seen.get(event.place.id)
        return event.place < self._from if entry is None else entry[1] < turn
