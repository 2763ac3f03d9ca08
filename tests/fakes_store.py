"""MemoryStore: the store's port in plain Python, proved by the same suite as the real ones."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from operator import itemgetter

import msgspec

from footfall.errors import Unavailable, Unstorable
from footfall.event import PAGEVIEW, DropReason, Event, decode
from footfall.query.query import Dimension, Direction, Metric, Query
from footfall.store.base import Batch, Check, Ledger, Table, Written

_WINDOW_MS = 30 * 24 * 3600 * 1000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_MS = 5_648_000_000_000
_COLUMNS = {
    Dimension.PAGE: "path",
    Dimension.NAME: "name",
    Dimension.HOSTNAME: "hostname",
    Dimension.SOURCE: "source",
    Dimension.CHANNEL: "channel",
    Dimension.REFERRER: "referrer",
    Dimension.COUNTRY: "country",
    Dimension.BROWSER: "browser",
    Dimension.OS: "os",
    Dimension.DEVICE: "device",
}


class MemoryStore:
    """Keeps every event in a dict; forgets all on close."""

    kind = "memory"

    def __init__(self) -> None:
        self.events: dict[bytes, Event] = {}
        self.drops: dict[bytes, tuple[Event, str]] = {}
        self.is_down = False
        """True: every call fails as a store does that is down."""

    async def write(self, batch: Batch) -> Written:
        """See Store."""
        self._refuse_when_down()
        events = [self._readable(payload) for payload in batch.payloads]
        stored = dropped = duplicates = already = 0
        stored_keys: dict[bytes, list[int]] = {event.key: [] for event in events if event.key}
        for event in self.events.values():
            if event.key in stored_keys:
                stored_keys[event.key].append(event.received_at_ms)
        taken: set[bytes] = set()
        seen: set[bytes] = set()
        for event in events:
            if event.id in seen or (batch.redelivered and (event.id in self.events or event.id in self.drops)):
                already += 1
                continue
            seen.add(event.id)
            if event.drop_reason:
                self.drops[event.id] = (event, event.drop_reason)
                dropped += 1
            elif event.key and (
                event.key in taken or any(abs(at - event.received_at_ms) <= _WINDOW_MS for at in stored_keys[event.key])
            ):
                self.drops[event.id] = (event, DropReason.DUPLICATE)
                duplicates += 1
            else:
                taken.add(event.key)
                self.events[event.id] = event
                stored += 1
        return Written(stored, dropped, duplicates, already)

    @staticmethod
    def _readable(payload: bytes) -> Event:
        try:
            event = decode(payload)
        except msgspec.DecodeError as error:
            raise Unstorable(str(error)) from error
        times = (event.occurred_at_ms, event.received_at_ms)
        if len(event.id) != 16 or len(event.key) not in {0, 16} or not all(0 <= at <= _LAST_MS for at in times):
            raise Unstorable("an id, a key or a time that can not be stored")
        return event

    async def rows(self, query: Query) -> Table:
        """See Store."""
        self._refuse_when_down()
        groups: dict[tuple[str, ...], list[Event]] = {} if query.dimensions else {(): []}
        for event in self.events.values():
            at = _EPOCH + timedelta(milliseconds=event.occurred_at_ms)
            if event.site_id == query.site_id and query.range.start <= at < query.range.end:
                local = at.astimezone(query.range.zone)
                key = tuple(self._value(dimension, event, local) for dimension in query.dimensions)
                groups.setdefault(key, []).append(event)
        rows: list[tuple[object, ...]] = []
        for key, events in groups.items():
            figures = tuple(self._figure(metric, events) for metric in query.metrics)
            if not query.dimensions or any(figures):
                rows.append((*key, *figures))
        columns: tuple[str, ...] = (*query.dimensions, *query.metrics)
        if query.order_by or query.limit is not None:
            orders = [(columns.index(by), way) for by, way in query.order_by]
            by_dimension = [(place, Direction.ASC) for place in range(len(query.dimensions))]
            for place, way in reversed([*orders, *by_dimension]):
                rows.sort(key=itemgetter(place), reverse=way is Direction.DESC)
        return Table(columns, rows[: query.limit])

    @staticmethod
    def _value(dimension: Dimension, event: Event, local: datetime) -> str:
        if dimension is Dimension.DAY:
            return local.date().isoformat()
        if dimension is Dimension.HOUR:
            return local.replace(minute=0, second=0, microsecond=0).isoformat()
        return str(getattr(event, _COLUMNS[dimension]))

    @staticmethod
    def _figure(metric: Metric, events: Sequence[Event]) -> int:
        if metric is Metric.EVENTS:
            return len(events)
        if metric is Metric.VISITORS:
            return len({event.visitor_id for event in events})
        return sum(event.name == PAGEVIEW for event in events)

    async def ledger(self, site_id: str | None = None, import_id: str | None = None) -> Ledger:
        """See Store."""
        self._refuse_when_down()

        def is_meant(event: Event) -> bool:
            return site_id in {None, event.site_id} and import_id in {None, event.import_id}

        stored = sum(map(is_meant, self.events.values()))
        dropped = Counter(str(reason) for event, reason in self.drops.values() if is_meant(event))
        return Ledger(stored, dict(dropped))

    async def sites(self) -> Mapping[str, int]:
        """See Store."""
        self._refuse_when_down()
        last: dict[str, int] = {}
        for event in self.events.values():
            last[event.site_id] = max(last.get(event.site_id, 0), event.occurred_at_ms)
        return last

    async def check(self) -> Check:
        """See Store."""
        started = time.perf_counter()
        ok = not self.is_down
        return Check(ok, (time.perf_counter() - started) * 1000, "" if ok else "down")

    async def close(self) -> None:
        """See Store."""

    def _refuse_when_down(self) -> None:
        if self.is_down:
            raise Unavailable("store: down")
