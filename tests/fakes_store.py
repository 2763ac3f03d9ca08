"""MemoryStore: the store's port in plain Python, proved by the same suite as the real ones."""

import time
from collections import Counter
from collections.abc import Mapping

import msgspec

from footfall.errors import Unavailable, Unstorable
from footfall.event import DropReason, Event, decode
from footfall.query.events import EventsQuery, Page
from footfall.query.query import Query
from footfall.query.sequence import Sequence
from footfall.store.base import Batch, Check, Ledger, Table, Written
from tests.fakes_events import page_of
from tests.fakes_questions import Questioner
from tests.fakes_sequences import answer

_WINDOW_MS = 30 * 24 * 3600 * 1000
_LAST_MS = 5_648_000_000_000


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
        own = [event for event in self.events.values() if event.site_id == query.site_id]
        rows, total = Questioner(query, own).rows()
        columns = tuple(str(name) for name in (*query.dimensions, *query.metrics))
        return Table(columns, rows, total if query.with_total else None)

    async def page(self, query: EventsQuery) -> Page:
        """See Store."""
        self._refuse_when_down()
        return page_of(query, [event for event in self.events.values() if event.site_id == query.site_id])

    async def sequences(self, question: Sequence) -> Table:
        """See Store."""
        self._refuse_when_down()
        return answer(question, [event for event in self.events.values() if event.site_id == question.site_id])

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
