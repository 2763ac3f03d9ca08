"""`footfall import log`: the pageviews of access logs, through the same steps as those that come by HTTP.

An event's id is made of its line and of how many equal lines came before it in the file, so the same file again, or one
that has grown, was rotated or overlaps, changes nothing. Lines that are dropped are counted here and queued nowhere: a
second run would otherwise count them in the ledger again.
"""

import asyncio
import io
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from hashlib import blake2b
from typing import TypeVar
from uuid import uuid4

import msgspec
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from footfall.collect.admit import USER_AGENT_CHARS_MAX, Admission, Incoming, Origin
from footfall.collect.dialects.values import SITE_ID_MESSAGE, is_site_id
from footfall.errors import Fault, Invalid, Unavailable
from footfall.event import PAGEVIEW, TEXT_CHARS_MAX, Event, encode
from footfall.queue.base import Lane, Queue
from footfall.tools.access_log import Unreadable, parse
from footfall.tools.log_files import LINE_BYTES_MAX, File, LogFile, check, opened
from footfall.tools.pages import no_page

T = TypeVar("T")

EVENTS_PER_PUT = 2_000
TWINS_MAX = 200_000
"""Different lines whose number of occurrences is remembered. Equal lines bear the same second, and a server writes them
within minutes; two that lie more than so many other pages apart count as one."""
UNREADABLE_SHOWN_MAX = 20
PATIENCE_S = 600.0
"""How long a full queue or a registry that is down may stop everything before the import gives up."""
PAUSE_MAX_S = 5.0
ADDRESS_CHARS_MAX = 255

_HOST_LIKE = re.compile(r"(?:[a-z0-9-]+\.)+[a-z]{2,}", re.IGNORECASE)


class Place(msgspec.Struct, frozen=True):
    """A line that could not be read."""

    file: str
    line: int
    reason: str


class Summary(msgspec.Struct):
    """What became of the lines: lines = accepted + all dropped + unreadable."""

    import_id: str
    lines: int = 0
    """Blank ones not counted."""
    accepted: int = 0
    """Durable in the queue. The store leaves out those that it has already."""
    dropped: Counter[str] = msgspec.field(default_factory=Counter)
    """By reason: no_request, not_get, status, asset, path_too_long, ahead, and the reasons of admission (bot …)."""
    unreadable: int = 0
    first_unreadable: list[Place] = msgspec.field(default_factory=list)
    """At most UNREADABLE_SHOWN_MAX."""
    broken: list[str] = msgspec.field(default_factory=list)
    """Files that ended before their end, as sentences; what was readable of them is in."""
    waited_s: float = 0.0
    """For a full queue."""
    took_s: float = 0.0
    first_at_ms: int | None = None
    last_at_ms: int | None = None
    """The span of the accepted events."""


class _Twins:
    """How often each line came so far, in a bounded memory of 16-byte hashes."""

    def __init__(self) -> None:
        self._seen: dict[bytes, int] = {}

    def event_id(self, line: bytes) -> str:
        digest = blake2b(line, digest_size=16, person=b"footfall log").digest()
        occurrence = self._seen.get(digest, 0) + 1
        if occurrence == 1 and len(self._seen) >= TWINS_MAX:
            del self._seen[next(iter(self._seen))]
        self._seen[digest] = occurrence
        return f"log-{digest.hex()}-{occurrence}"


class _Import:
    """One run: lines in, events into the queue, everything counted."""

    def __init__(self, like: Incoming, admission: Admission, queue: Queue, summary: Summary, patience_s: float) -> None:
        self._like = like
        """What all events of this import have in common."""
        self._admission = admission
        self._queue = queue
        self._summary = summary
        self._patience_s = patience_s
        self._waiting: list[Event] = []

    async def take(self, file: LogFile, numbered: list[tuple[int, bytes]], twins: _Twins) -> None:
        """Admit these lines; full groups go into the queue."""
        now_ms = time.time_ns() // 1_000_000
        for number, raw in numbered:
            self._summary.lines += 1
            line = Unreadable(f"is longer than {LINE_BYTES_MAX} bytes") if len(raw) > LINE_BYTES_MAX else parse(raw)
            if isinstance(line, Unreadable):
                self._summary.unreadable += 1
                if len(self._summary.first_unreadable) < UNREADABLE_SHOWN_MAX:
                    self._summary.first_unreadable.append(Place(file.name, number, line.reason))
                continue
            if reason := no_page(line, now_ms):
                self._summary.dropped[reason] += 1
                continue
            incoming = msgspec.structs.replace(
                self._like,
                path=line.target,
                occurred_at_ms=line.at_ms,
                event_id=twins.event_id(raw),
                referrer=line.referrer[:TEXT_CHARS_MAX],
                hostname=line.hostname or self._like.hostname,
            )
            origin = Origin(
                line.address[:ADDRESS_CHARS_MAX],
                (line.user_agent or "")[:USER_AGENT_CHARS_MAX],
                now_ms,
                # A format without user agents says as little of its absence as a server with a key does.
                has_key=line.user_agent is None,
            )
            known = self._admission.known(incoming, origin)
            if known is None:
                known = await self._patiently(partial(self._admission.prepare, incoming, origin))
            event = self._admission.admit(incoming, origin, known)
            if event.drop_reason:
                self._summary.dropped[str(event.drop_reason)] += 1
                continue
            self._waiting.append(event)
            if len(self._waiting) >= EVENTS_PER_PUT:
                await self.put()

    async def put(self) -> None:
        """What waits goes into the queue. Raises Unavailable when that stayed full or down for too long."""
        if not self._waiting:
            return
        payloads = [encode(event) for event in self._waiting]
        await self._patiently(lambda: self._queue.put(payloads, Lane.IMPORT))
        summary = self._summary
        summary.accepted += len(payloads)
        times = [event.occurred_at_ms for event in self._waiting]
        summary.first_at_ms = min(times) if summary.first_at_ms is None else min(summary.first_at_ms, *times)
        summary.last_at_ms = max(times) if summary.last_at_ms is None else max(summary.last_at_ms, *times)
        self._waiting = []

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """The answer of *call*; while it is Unavailable, again after a pause that doubles."""
        pause_s = 0.05
        waited_s = 0.0
        while True:
            try:
                return await call()
            except Unavailable:
                if waited_s >= self._patience_s:
                    raise
            await asyncio.sleep(pause_s)
            waited_s += pause_s
            self._summary.waited_s += pause_s
            pause_s = min(pause_s * 2, PAUSE_MAX_S)


async def import_logs(
    files: Sequence[File],
    site_id: str,
    admission: Admission,
    queue: Queue,
    *,
    hostname: str | None = None,
    import_id: str | None = None,
    console: Console | None = None,
    stdin: io.BufferedReader | None = None,
    patience_s: float = PATIENCE_S,
) -> Summary:
    """Put the pageviews of *files* into the queue's import lane, and say what became of every line.

    *hostname* is the site's own, so that clicks from page to page do not count as referrals; without it the site id
    serves where it looks like a host name. With a *console* that is a terminal, a progress bar runs on it. It may be
    stopped at any time and begun again: what is in stays in, once. Memory is bounded however long the files are.

    Raises Invalid for a wrong site id or a file that can not be opened, before anything is taken in; Unavailable when
    queue or registry stayed so for *patience_s*.
    """
    if not is_site_id(site_id):
        raise Invalid(Fault("site_id", SITE_ID_MESSAGE))
    if hostname is None:
        hostname = site_id.lower() if _HOST_LIKE.fullmatch(site_id) else ""
    total_bytes = check(files)
    summary = Summary(import_id or f"log-{uuid4().hex[:16]}")
    started_s = time.monotonic()
    like = Incoming(site_id, PAGEVIEW, hostname=hostname.lower(), import_id=summary.import_id)
    work = _Import(like, admission, queue, summary, patience_s)
    with _progress(console) as progress:
        bar = progress.add_task("Reading", total=total_bytes)
        done_bytes = 0
        for name in files:
            twins = _Twins()
            with opened(name, stdin) as file:
                while numbered := await asyncio.to_thread(file.read):
                    await work.take(file, numbered, twins)
                    if total_bytes is not None:
                        progress.update(bar, completed=done_bytes + file.position_bytes())
                    progress.update(bar, description=f"{summary.accepted:,} pageviews")
                if file.broken:
                    summary.broken.append(file.broken)
                done_bytes += file.position_bytes() if total_bytes is not None else 0
        await work.put()
    summary.took_s = time.monotonic() - started_s
    return summary


def _progress(console: Console | None) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    return Progress(
        *columns, console=console or Console(stderr=True), disable=console is None or not console.is_terminal
    )


def render(summary: Summary, console: Console) -> None:
    """Print *summary* as a table, with the first lines that could not be read."""
    table = Table("lines", "", title="Import", title_justify="left")
    table.add_row("read", f"{summary.lines:,}")
    table.add_row("accepted", f"{summary.accepted:,}", style="green")
    for reason, count in summary.dropped.most_common():
        table.add_row(f"dropped: {reason}", f"{count:,}")
    table.add_row("unreadable", f"{summary.unreadable:,}", style="red" if summary.unreadable else None)
    console.print(table)
    if summary.first_at_ms is not None and summary.last_at_ms is not None:
        first, last = _instant(summary.first_at_ms), _instant(summary.last_at_ms)
        console.print(f"Pageviews from {first} to {last}; import {summary.import_id}.", highlight=False)
    for place in summary.first_unreadable:
        console.print(f"{place.file}, line {place.line}: {place.reason}", highlight=False, markup=False, soft_wrap=True)
    if summary.unreadable > len(summary.first_unreadable):
        console.print(f"... and {summary.unreadable - len(summary.first_unreadable):,} more")
    for sentence in summary.broken:
        console.print(sentence, style="red", highlight=False, markup=False, soft_wrap=True)
    rate = summary.lines / summary.took_s if summary.took_s else 0
    waited = f", {summary.waited_s:.0f} s of it waiting for the queue" if summary.waited_s >= 1 else ""
    console.print(f"{summary.took_s:.1f} s{waited}, {rate:,.0f} lines a second.", highlight=False)


def _instant(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1_000, UTC):%Y-%m-%d %H:%M:%S}Z"
