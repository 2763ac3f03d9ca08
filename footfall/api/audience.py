"""Audience: all who listen to one site in this process; the store is asked once for all of them.

A listener who does not keep up is cut, not waited for: what is kept for each has a limit. Nothing of an audience is
shared between processes, so any number of them may serve streams, wherever the events are stored.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from functools import partial
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec
import structlog

from footfall.errors import Unavailable
from footfall.query.events import Place
from footfall.registry.base import Registry
from footfall.reports.live import Feed, Now, Stored, now_on, received_since, shown
from footfall.store.base import Store

POLL_S: Final = 1.0
NOW_S: Final = 5.0
NOW_FRESH_S: Final = 1.0
"""An answer so young is given again, to whoever asks."""
LINGER_S: Final = 10.0
"""Without a listener for so long an audience is over."""
MESSAGES_MAX: Final = 2_000
"""For one listener, not yet sent."""
BEGIN_S: Final = 10.0
LOOK_BACK_MS: Final = 5 * 60_000
"""Who comes back within this time is told what happened meanwhile."""

_encode = msgspec.json.Encoder().encode

log = structlog.stdlib.get_logger(__name__)


def wall_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class TooSlow(TimeoutError):
    """A listener has not kept up."""


class Listener:
    """One stream: messages that wait for it."""

    def __init__(self) -> None:
        self._messages: asyncio.Queue[bytes] = asyncio.Queue(MESSAGES_MAX)
        self._is_cut = False

    def tell(self, message: bytes) -> None:
        """Let it wait; a listener for whom too many wait is cut."""
        try:
            self._messages.put_nowait(message)
        except asyncio.QueueFull:
            self._is_cut = True

    async def next(self) -> bytes:
        """All that waits, one message at least. Raises TooSlow."""
        parts = [await self._messages.get()]
        while not self._messages.empty():
            parts.append(self._messages.get_nowait())
        if self._is_cut:
            raise TooSlow("more waits for this listener than is kept")
        return b"".join(parts)


class Audience:
    """Those who listen to one site."""

    def __init__(self, store: Store, registry: Registry, site_id: str, zone: ZoneInfo) -> None:
        self._store = store
        self._registry = registry
        self._site_id = site_id
        self._zone = zone
        self._feed = Feed(store, site_id, wall_ms())
        self._listeners: set[Listener] = set()
        self._begun = asyncio.Event()
        self._asking: asyncio.Task[Now] | None = None
        self._now: tuple[float, Now] | None = None
        self._told_s = float("-inf")
        self._idle_s = time.monotonic()
        self._salt: tuple[date, bytes] = (date.min, b"")

    @property
    def is_over(self) -> bool:
        """Has there been nobody for a while?"""
        return not self._listeners and time.monotonic() - self._idle_s > LINGER_S

    async def now(self) -> Now:
        """What happens now; several who ask at once get one answer. Raises Unavailable."""
        if self._now is not None and time.monotonic() - self._now[0] < NOW_FRESH_S:
            return self._now[1]
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
            self._asking.add_done_callback(_note_failure)
        return await asyncio.shield(self._asking)

    async def _ask(self) -> Now:
        try:
            found = await now_on(self._store, self._site_id, self._zone, datetime.now(UTC))
            self._now = (time.monotonic(), found)
            return found
        finally:
            self._asking = None

    def stay(self) -> None:
        """Somebody is about to join."""
        self._idle_s = time.monotonic()

    async def begun(self) -> None:
        """Return when it is known what is new. Raises Unavailable where the store does not say so in time."""
        try:
            async with asyncio.timeout(BEGIN_S):
                await self._begun.wait()
        except TimeoutError:
            raise Unavailable("the store does not say what is new") from None

    @asynccontextmanager
    async def joined(self, last: Place | None) -> AsyncIterator[Listener]:
        """Listen, once it has begun: from now on, or from after the event at *last* on. Raises Unavailable."""
        listener = Listener()
        self._listeners.add(listener)
        try:
            if self._now is not None:
                listener.tell(_message("now", self._now[1]))
            if last is not None:
                await self._catch_up(listener, last)
            yield listener
        finally:
            self._listeners.discard(listener)
            self._idle_s = time.monotonic()

    async def _catch_up(self, listener: Listener, last: Place) -> None:
        """Tell what *listener* has missed, without what it will be told anyway."""
        turn = self._feed.turn
        begin = max(last, Place(wall_ms() - LOOK_BACK_MS, b""))
        await self._renew_salt()
        found, _ = await received_since(self._store, self._site_id, wall_ms(), begin)
        for event in found[-MESSAGES_MAX // 2 :]:
            if self._feed.knew(event, turn):
                listener.tell(self._told(event))

    async def run(self) -> None:
        """Ask the store and tell the listeners, until there are none any more."""
        is_down = False
        while not self.is_over:
            try:
                await self._renew_salt()
                for event in await self._feed.poll(wall_ms()):
                    message = self._told(event)
                    for listener in self._listeners:
                        listener.tell(message)
                self._begun.set()
                await self._tell_now()
                is_down = False
            except Unavailable as error:
                if not is_down:
                    log.warning("the store could not be asked for what is new", error=str(error))
                is_down = True
            await asyncio.sleep(POLL_S)

    async def _tell_now(self) -> None:
        if self._listeners and time.monotonic() - self._told_s >= NOW_S:
            self._told_s = time.monotonic()
            message = _message("now", await self.now())
            for listener in self._listeners:
                listener.tell(message)

    async def _renew_salt(self) -> None:
        day = datetime.now(UTC).date()
        if self._salt[0] != day:
            self._salt = (day, await self._registry.salt(day))

    def _told(self, event: Stored) -> bytes:
        place = event.place
        return _message("event", shown(event, self._salt[1]), f"id: {place.at_ms}-{event.event_id}\n".encode())


class Audiences:
    """One for each site that somebody listens to."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self._store = store
        self._registry = registry
        self._by_site: dict[tuple[str, str], Audience] = {}
        self._running: dict[Audience, asyncio.Task[None]] = {}

    def of(self, site_id: str, zone: ZoneInfo) -> Audience:
        """Those who listen to that site now; the first one begins it."""
        audience = self._by_site.get((site_id, zone.key))
        if audience is None or audience.is_over:
            audience = self._by_site[site_id, zone.key] = Audience(self._store, self._registry, site_id, zone)
            task = self._running[audience] = asyncio.create_task(audience.run())
            task.add_done_callback(partial(self._forget, (site_id, zone.key), audience))
        audience.stay()
        return audience

    async def now(self, site_id: str, zone: ZoneInfo) -> Now:
        """What happens on that site, with or without listeners. Raises Unavailable."""
        audience = self._by_site.get((site_id, zone.key))
        return await (audience or Audience(self._store, self._registry, site_id, zone)).now()

    def _forget(self, name: tuple[str, str], audience: Audience, task: asyncio.Task[None]) -> None:
        if self._by_site.get(name) is audience:
            del self._by_site[name]
        del self._running[audience]
        _note_failure(task)


def _note_failure(task: asyncio.Task[Any]) -> None:
    """Say what went wrong where nobody may be left who waits for it."""
    if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, Unavailable):
        log.error("an audience failed for a reason of ours", exc_info=error)


def _message(name: str, body: msgspec.Struct, head: bytes = b"") -> bytes:
    return b"event: " + name.encode() + b"\n" + head + b"data: " + _encode(body) + b"\n\n"
