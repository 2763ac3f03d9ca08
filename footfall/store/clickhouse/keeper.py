"""The keeper: makes sessions of what lies behind us once, so that no question has to make them again.

Only where one process alone writes, which then knows of every event that comes late: the spans that it could change are
given up at once, and made anew a little later. Nothing kept is needed: without it every answer is the same, and slower.
"""
# ruff: noqa: S608 - what is put together here are constants and our own numbers

import asyncio
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress

import msgspec
import structlog

from footfall.errors import FootfallError
from footfall.query.query import SESSION_GAP_MS
from footfall.store.clickhouse import kept
from footfall.store.clickhouse.conditions import Values
from footfall.store.clickhouse.door import Door, Params
from footfall.store.clickhouse.sessions import Sessions
from footfall.store.clickhouse.spans import Cover, SavedSpans, Span, Spans
from footfall.store.clickhouse.statements import durable

SPAN_EVENTS = 20_000
"""A span has at least so many events, a site with fewer none: making sessions of these takes some 10 ms."""
STEP_EVENTS = 200_000
"""So many at once, or one span: the store does not write for the half second that it takes."""
BUCKET_MS = 60_000
"""How finely the times are told of events that were written."""
HOUR_MS = 3_600_000
TAILS_MS: tuple[int, ...] = (HOUR_MS, 8 * HOUR_MS, 26 * HOUR_MS)
"""How far behind a span the ends of its runs are looked for, one after the other; whose run goes on is set apart."""
APART_MAX = 1_000
"""A site with more visitors than this whose runs never end keeps nothing."""
DEAD_S = 60.0
"""Rows of a span that was given up are left for so long: a question that uses them may be under way."""
QUIET_S = 1.0
BUSY_S_MAX = 30.0
"""Sessions are made when nothing has been written for a second, and at the latest after half a minute."""
LATE_S = 15.0
"""Spans that late events have ended are made anew at most so often."""
AGAIN_S = 600.0
"""After so long it is looked again whether runs have ended that were not over."""

log = structlog.stdlib.get_logger(__name__)

_OF_SITE = "site_id = {site_id:String}"
_AT_MS = "toUnixTimestamp64Milli(occurred_at)"
_LARGE = f"SELECT site_id, count() AS n FROM events GROUP BY site_id HAVING n >= {SPAN_EVENTS}"
_HOURS = f"""
SELECT intDiv({_AT_MS}, {HOUR_MS}) AS hour, count() FROM events
WHERE {_OF_SITE} AND occurred_at >= fromUnixTimestamp64Milli({{from_ms:Int64}}, 'UTC')
  AND occurred_at < fromUnixTimestamp64Milli({{to_ms:Int64}}, 'UTC')
GROUP BY hour ORDER BY hour SETTINGS max_threads = 1"""
TOUCHED = f"SELECT site_id, intDiv(occurred_at_ms, {BUCKET_MS}), count() FROM incoming GROUP BY ALL"


class _Runs(msgspec.Struct, frozen=True):
    """What a stretch of spans to be made has in it."""

    ends_ms: dict[int, int]
    """Place of a span -> where the last run ends that begins in it; -1: of those that began before the first."""
    unended: list[int]
    """Visitors whose run may go on behind the last event that was looked at."""


class _Site:
    """What is known of one site."""

    def __init__(self, spans: Spans) -> None:
        self.spans = spans
        self.fresh = 0
        """Events since the last look."""
        self.has_given_up = False
        self.kept_s = 0.0
        """When it was last looked at."""
        self.again_s = 0.0
        """When to look again though nothing came; 0: not."""


class Keeper:
    """Keeps sessions of the sites with many events, in the background."""

    def __init__(self, door: Door, writing: asyncio.Lock) -> None:
        """*writing*: held by whoever writes events."""
        self.span_events = SPAN_EVENTS
        self.step_events = STEP_EVENTS
        self.tails_ms = TAILS_MS
        self.dead_s = DEAD_S
        self._door = door
        self._writing = writing
        self._sites: dict[str, _Site] = {}
        self._keeping = asyncio.Lock()
        self._written_s = time.monotonic()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def open(self, *, fsync: bool) -> None:
        """Go on with what was kept when the store was closed in order, if not one event came since; else begin anew."""
        for statement in (kept.CREATE_SAVED, durable(kept.SAVED, fsync)):
            await self._door.define(statement)
        found = await self._door.select(kept.RESTORE, {"form": kept.FORM}, writer=True)
        if found:
            now_s = time.monotonic()
            for site_id, saved in msgspec.json.decode(str(found[0][0]), type=dict[str, SavedSpans]).items():
                self._sites[site_id] = _Site(Spans.restored(saved, now_s))
        else:
            await self._door.define(kept.DROP)
        # Whatever becomes of this process, the next one finds only what was saved after the last write.
        for statement in (kept.EMPTY_SAVED, kept.CREATE, durable(kept.TABLE, fsync)):
            await self._door.define(statement)

    def start(self) -> None:
        """Work in the background from now on."""
        self._task = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Stop working, in the middle of it if need be."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def close(self) -> None:
        """Stop, and leave what is kept for the next start."""
        await self.stop()
        sites = {site_id: site.spans.saved() for site_id, site in self._sites.items() if len(site.spans)}
        if sites:
            text = msgspec.json.encode(sites).decode()
            async with self._writing:
                await self._door.command(kept.SAVE, {"form": kept.FORM, "sites": text})

    def cover(self, site_id: str, start_ms: int, end_ms: int) -> Cover | None:
        """What is kept for a question about [start_ms, end_ms) of a site."""
        site = self._sites.get(site_id)
        return None if site is None else site.spans.cover(start_ms, end_ms)

    def touch(self, written: Mapping[str, Mapping[int, int]]) -> None:
        """Events were written, or may have been: for each site how many in each BUCKET_MS of time."""
        self._written_s = time.monotonic()
        for site_id, buckets in written.items():
            site = self._sites.setdefault(site_id, _Site(Spans()))
            site.fresh += sum(buckets.values())
            if len(site.spans):
                stretches = [(bucket * BUCKET_MS, (bucket + 1) * BUCKET_MS) for bucket in buckets]
                site.has_given_up |= site.spans.touch(_joined(stretches), self._written_s)
        self._wake.set()

    async def _work(self) -> None:
        try:
            for site_id, count in await self._door.select(_LARGE):
                self._sites.setdefault(str(site_id), _Site(Spans())).fresh += int(count)
            while True:
                await self._wait_for_quiet()
                for site_id, site in list(self._sites.items()):
                    if self._has_work(site):
                        await self._try(site_id, site)
                await self._wait_for_work()
        except FootfallError as error:
            log.warning("sessions are not kept until the next start", reason=str(error))

    async def _try(self, site_id: str, site: _Site) -> None:
        try:
            await self.keep(site_id)
        except FootfallError as error:
            # What is not kept is made when asked: the answers are the same.
            log.warning("sessions could not be kept", site_id=site_id, reason=str(error))
            site.again_s = time.monotonic() + AGAIN_S

    def _has_work(self, site: _Site) -> bool:
        now_s = time.monotonic()
        is_due = 0 < site.again_s <= now_s or (site.has_given_up and now_s >= site.kept_s + LATE_S)
        return is_due or site.fresh >= self.span_events

    async def _wait_for_quiet(self) -> None:
        began_s = now_s = time.monotonic()
        while (rest_s := min(self._written_s + QUIET_S, began_s + BUSY_S_MAX) - now_s) > 0:
            await asyncio.sleep(rest_s)
            now_s = time.monotonic()

    async def _wait_for_work(self) -> None:
        self._wake.clear()
        due = [site.again_s for site in self._sites.values() if site.again_s]
        due += [site.kept_s + LATE_S for site in self._sites.values() if site.has_given_up]
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), max(1.0, min(due) - time.monotonic()) if due else None)
        # Events come many times a second; they are looked at together.
        await asyncio.sleep(QUIET_S)

    async def keep(self, site_id: str) -> None:
        """Make the sessions of all that is past, and lacks them; newest last, so that time is cut in one way."""
        async with self._keeping:
            site = self._sites.setdefault(site_id, _Site(Spans()))
            site.fresh, site.has_given_up, site.again_s = 0, False, 0.0
            site.kept_s = time.monotonic()
            await self._forget(site_id, site.spans)
            now_ms = time.time_ns() // 1_000_000
            settled_ms = now_ms // HOUR_MS * HOUR_MS
            for start_ms, end_ms in site.spans.holes(0, settled_ms):
                steps = await self._steps(site_id, start_ms, end_ms, is_open=end_ms == settled_ms)
                for bounds in steps:
                    if not await self._make(site_id, site.spans, bounds, now_ms):
                        site.again_s = time.monotonic() + AGAIN_S
                        return

    async def _steps(self, site_id: str, start_ms: int, end_ms: int, *, is_open: bool) -> list[list[tuple[int, int]]]:
        """The spans to be made in a hole, as many together as are made at once.

        A hole between spans is filled to its end, a small one by one span; what is open waits until it is a whole one.
        """
        asked: Params = {"site_id": site_id, "from_ms": start_ms, "to_ms": end_ms}
        hours = [(int(hour) * HOUR_MS, int(n)) for hour, n in await self._door.select(_HOURS, asked)]
        bounds: list[tuple[int, int, int]] = []
        begin_ms, count = start_ms, 0
        for hour_ms, n in hours:
            if not bounds and count == 0 and start_ms == 0:
                begin_ms = hour_ms  # before the first event there is nothing to keep
            count += n
            if count >= self.span_events:
                bounds.append((begin_ms, min(hour_ms + HOUR_MS, end_ms), count))
                begin_ms, count = bounds[-1][1], 0
        if not is_open and begin_ms < end_ms:
            bounds.append((begin_ms, end_ms, count))
        steps: list[list[tuple[int, int]]] = []
        size = 0
        for begin_ms, until_ms, n in bounds:
            if not steps or size + n > self.step_events:
                steps.append([])
                size = 0
            steps[-1].append((begin_ms, until_ms))
            size += n
        return steps

    async def _make(self, site_id: str, spans: Spans, bounds: list[tuple[int, int]], now_ms: int) -> bool:
        """Keep the sessions of spans that follow each other; False where some runs are not over yet, or never are."""
        async with self._writing:
            tail_ms, runs = 0, _Runs({}, [])
            for tail_ms in self.tails_ms:
                runs = await self._runs(site_id, spans, bounds, tail_ms)
                if not runs.unended:
                    break
            else:
                spans.set_apart(runs.unended)
                if len(spans.apart) > APART_MAX:
                    log.info("a site's runs of events never end: its sessions are not kept", site_id=site_id)
                    return False
                runs = await self._runs(site_id, spans, bounds, tail_ms)
            made = _spans(bounds, runs.ends_ms, spans.newest + 1, now_ms - SESSION_GAP_MS)
            if made:
                # Until all is written the numbers are dead ones, and stay so if the engine fails midway.
                spans.give_up([span.number for span in made], time.monotonic())
                await self._write(site_id, made, spans.apart, tail_ms)
                spans.add(made)
            return len(made) == len(bounds)

    async def _runs(self, site_id: str, spans: Spans, bounds: list[tuple[int, int]], tail_ms: int) -> _Runs:
        first_ms, last_ms = bounds[0][0], bounds[-1][1]
        starts = ", ".join(str(start) for start, _ in bounds)
        apart = f" AND visitor_id NOT IN ({', '.join(map(str, spans.apart))})" if spans.apart else ""
        events = (
            f"SELECT visitor_id, arraySort(groupArray({_AT_MS})) AS times FROM events WHERE "
            f"{_between(first_ms - SESSION_GAP_MS, last_ms + tail_ms)}{apart} GROUP BY visitor_id"
        )
        runs = (
            f"SELECT visitor_id, run[1] AS begun_ms, run[-1] AS ended_ms FROM ({events}) ARRAY JOIN "
            f"arraySplit((x, gap) -> gap > {SESSION_GAP_MS}, times, arrayDifference(times)) AS run "
            f"WHERE begun_ms < {last_ms}"
        )
        found = await self._door.select(
            f"SELECT arrayFirstIndex(x -> begun_ms < x, [{starts}, {last_ms}]::Array(Int64)) - 2 AS place, "
            "max(ended_ms), "
            f"groupUniqArrayIf({APART_MAX + 1})(visitor_id, ended_ms >= {last_ms + tail_ms - SESSION_GAP_MS}) "
            f"FROM ({runs}) GROUP BY place SETTINGS max_threads = 1",
            {"site_id": site_id},
            writer=True,
        )
        unended = sorted({int(visitor) for _, _, visitors in found for visitor in visitors})
        return _Runs({int(place): int(ended) for place, ended, _ in found}, unended)

    async def _write(self, site_id: str, made: list[Span], apart: Iterable[int], tail_ms: int) -> None:
        """The rows of *made*, which follow each other."""
        first_ms, last_ms = made[0].start_ms, made[-1].end_ms
        values = Values()
        where = _between(first_ms - SESSION_GAP_MS, last_ms + tail_ms)
        if apart:
            where += f" AND visitor_id NOT IN ({', '.join(map(str, apart))})"
        sessions = Sessions(values, where, is_packed=False)
        attributes = {column: sessions.attribute(d) for d, column in kept.ATTRIBUTES.items()}
        counted, offsets = sessions.counted(), sessions.offsets_ms()
        arrays = {f"each.{field}": sessions.whole(sql) for field, sql in kept.ARRAYS.items()}
        starts = ", ".join(str(span.start_ms) for span in made)
        numbers = ", ".join(str(span.number) for span in made)
        chosen = {
            "site_id": "{site_id:String}",
            "span": f"[{numbers}][arrayLastIndex(x -> x <= begun_ms, [{starts}]::Array(Int64))]",
            "begun_at": "fromUnixTimestamp64Milli(begun_ms, 'UTC')",
            "lead_ms": "started_ms - begun_ms",
            "visitor_id": "visitor_id",
            "duration_ms": "duration_ms",
            "pageviews": "pageviews",
            "others": "others",
            "counted": counted,
            **attributes,
            **arrays,
            "each.offset_ms": offsets,
        }
        await self._door.command(
            f"INSERT INTO {kept.TABLE} ({', '.join(chosen)}) SELECT {', '.join(chosen.values())} "
            f"FROM ({sessions.runs(where)}) WHERE begun_ms >= {first_ms} AND begun_ms < {last_ms} "
            "SETTINGS max_threads = 1",
            {"site_id": site_id, **values.params},
        )

    async def _forget(self, site_id: str, spans: Spans) -> None:
        """Delete rows that have been dead for long enough."""
        now_s = time.monotonic()
        gone = [number for number, since_s in spans.dead.items() if now_s - since_s > self.dead_s]
        if gone:
            await self._door.command(kept.FORGET % ", ".join(map(str, gone)), {"site_id": site_id})
            for number in gone:
                del spans.dead[number]


def _between(from_ms: int, to_ms: int) -> str:
    moments = [f"fromUnixTimestamp64Milli({max(at_ms, 0)}, 'UTC')" for at_ms in (from_ms, to_ms)]
    return f"{_OF_SITE} AND occurred_at >= {moments[0]} AND occurred_at < {moments[1]}"


def _joined(stretches: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same time in as few stretches as it takes."""
    found: list[tuple[int, int]] = []
    for start, end in sorted(stretches):
        if found and found[-1][1] >= start:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def _spans(bounds: list[tuple[int, int]], ends_ms: Mapping[int, int], number: int, over_ms: int) -> list[Span]:
    """The spans within *bounds*, up to the first with a run that may not be *over*."""
    made: list[Span] = []
    carry_ms = ends_ms.get(-1, -1)
    for place, (start_ms, end_ms) in enumerate(bounds):
        reach_ms = max(ends_ms.get(place, -1), carry_ms)
        if max(reach_ms, end_ms) > over_ms:
            break
        made.append(Span(number + place, start_ms, end_ms, carry_ms, reach_ms))
        carry_ms = reach_ms
    return made
