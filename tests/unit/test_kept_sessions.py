"""Kept sessions: whatever is kept, given up or missing, the answer is the one that all events give."""

import random
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest

from footfall.event import Event, encode, new_id
from footfall.query.query import Compare, Dimension, HasDone, Metric, Operator, Query, Range
from footfall.store.base import Batch
from footfall.store.clickhouse import answers
from footfall.store.clickhouse.engine import ChdbEngine
from footfall.store.clickhouse.spans import Cover
from footfall.store.clickhouse.store import ClickHouseStore
from footfall.store.clickhouse.time_buckets import milliseconds
from tests.fakes_questions import Questioner

START = datetime(2024, 3, 30, 20, tzinfo=UTC)
HOURS = 14
SESSIONS = (Metric.VISITORS, Metric.VISITS, Metric.PAGEVIEWS, Metric.BOUNCE_RATE, Metric.VISIT_DURATION)
OF_FR = Compare(Operator.IS, Dimension.COUNTRY, ("FR",))
ON_A = Compare(Operator.IS, Dimension.PAGE, ("/a",))
_sites = count()


class Kept(NamedTuple):
    """A store whose sessions are kept when a test says so, and the door behind it."""

    store: ClickHouseStore
    door: ChdbEngine

    async def keep(self, site_id: str) -> None:
        assert self.store.keeper is not None
        await self.store.keeper.keep(site_id)

    async def both(self, query: Query) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]], Cover | None]:
        """The answer by what is kept, the one without it, and what was kept."""
        assert self.store.keeper is not None
        asked = (query.site_id, milliseconds(query.range.start), milliseconds(query.range.end))
        cover = self.store.keeper.cover(*asked)
        by_kept = await self.store.rows(query)
        made = await answers.rows(self.door, query)
        return _in_order(by_kept.rows), _in_order(made.rows), cover


def _in_order(rows: object) -> list[tuple[object, ...]]:
    assert isinstance(rows, list)
    return sorted(rows, key=repr)


async def open_store(path: Path) -> Kept:
    door = ChdbEngine(path / "events", memory_bytes=1_000_000_000)
    store = await ClickHouseStore.open(door, fsync=False)
    assert store.keeper is not None
    await store.keeper.stop()  # only when a test says so
    store.keeper.span_events = 3
    return Kept(store, door)


def an_event(draw: random.Random, site_id: str, minute: int) -> Event:
    at_ms = milliseconds(START) + minute * 60_000 + draw.choice((0, 0, 1, 59_999))
    kind = draw.choice(("pageview", "pageview", "click", "engagement"))
    return Event(
        id=new_id(),
        key=b"",
        site_id=site_id,
        name=kind,
        occurred_at_ms=at_ms,
        received_at_ms=at_ms,
        visitor_id=draw.choice((1, 1, 2, 3, 4, 5)),
        path=draw.choice(("/a", "/b", "/c")),
        hostname=draw.choice(("x.example", "y.example")),
        country=draw.choice(("FR", "DE")),
        interactive=kind != "engagement",
    )


def questions(draw: random.Random, site_id: str) -> list[Query]:
    minutes = sorted(draw.sample(range(-60, HOURS * 60 + 60, 15), 2))
    start, end = (START + timedelta(minutes=minute) for minute in minutes)
    span = Range(start, end, ZoneInfo("Asia/Kolkata"))
    dimensions = ((), (Dimension.ENTRY_PAGE,), (Dimension.COUNTRY,), (Dimension.PAGE,), (Dimension.HOUR,))
    conditions = (None, OF_FR, ON_A, HasDone(ON_A), Compare(Operator.IS, Dimension.EXIT_PAGE, ("/b", "/c")))
    return [Query(site_id, span, SESSIONS, draw.choice(dimensions), filter=condition) for condition in conditions]


async def rounds(path: Path, seed: int, times: int) -> int:
    """Random events in random parts, kept after some; every question twice. How many questions used what is kept."""
    kept = await open_store(path)
    draw = random.Random(seed)
    used = 0
    assert kept.store.keeper is not None
    try:
        for _ in range(times):
            site_id = f"site-{next(_sites)}"
            kept.store.keeper.step_events = draw.choice((1, 8, 1_000))
            kept.store.keeper.tails_ms = draw.choice(((900_000,), (3_600_000, 8 * 3_600_000)))
            kept.store.keeper.dead_s = draw.choice((0, 60))
            density = draw.choice((0.1, 0.5, 1.0))
            events = [an_event(draw, site_id, minute) for minute in range(0, HOURS * 60, 5) if draw.random() < density]
            draw.shuffle(events)
            cut = draw.randrange(len(events) + 1) if draw.random() < 0.5 else max(0, len(events) - draw.randrange(3))
            written: list[Event] = []
            for part in (events[:cut], events[cut:]):
                await kept.store.write(Batch([encode(event) for event in part], redelivered=False))
                written += part
                for query in questions(draw, site_id):
                    by_kept, made, cover = await kept.both(query)
                    used += cover is not None
                    assert by_kept == made, (query, cover)
                if draw.random() < 0.8:
                    await kept.keep(site_id)
                for query in questions(draw, site_id):
                    by_kept, made, cover = await kept.both(query)
                    used += cover is not None
                    assert by_kept == made, (query, cover)
                    counted = {row[: len(query.dimensions)] for row in Questioner(query, written).rows()[0]}
                    assert {row[: len(query.dimensions)] for row in by_kept} == counted
    finally:
        await kept.store.close()
    return used


@pytest.mark.parametrize("seed", range(3))
async def test_answers_are_the_same_with_and_without_what_is_kept(tmp_path: Path, seed: int) -> None:
    assert await rounds(tmp_path, seed, 8) > 30


MONTH = Range(START - timedelta(days=15), START + timedelta(days=15), ZoneInfo("UTC"))


async def with_kept_sessions(path: Path) -> Kept:
    """A store with what is kept of a site "shop"."""
    kept = await open_store(path)
    draw = random.Random(3)
    events = [an_event(draw, "shop", minute) for minute in range(0, HOURS * 60, 5)]
    await kept.store.write(Batch([encode(event) for event in events], redelivered=False))
    await kept.keep("shop")
    return kept


async def test_rows_that_a_late_event_has_ended_are_deleted_when_no_question_can_be_at_them(tmp_path: Path) -> None:
    kept = await with_kept_sessions(tmp_path)
    assert kept.store.keeper is not None
    try:
        rows = "SELECT count(), uniqExact(visitor_id, begun_at) FROM sessions"
        late = an_event(random.Random(4), "shop", 300)
        await kept.store.write(Batch([encode(late)], redelivered=False))
        await kept.keep("shop")
        ((twice, _),) = await kept.door.select(rows)
        kept.store.keeper.dead_s = 0
        await kept.keep("shop")
        ((once, different),) = await kept.door.select(rows)
        assert once == different < twice
    finally:
        await kept.store.close()


async def test_what_is_kept_outlives_a_stop_in_order(tmp_path: Path) -> None:
    kept = await with_kept_sessions(tmp_path)
    query = Query("shop", MONTH, SESSIONS, (Dimension.ENTRY_PAGE,))
    by_kept, _, cover = await kept.both(query)
    await kept.store.close()
    again = await open_store(tmp_path)
    try:
        assert cover is not None
        assert await again.both(query) == (by_kept, by_kept, cover)
    finally:
        await again.store.close()


async def test_nothing_kept_is_used_after_a_stop_that_was_none(tmp_path: Path) -> None:
    kept = await with_kept_sessions(tmp_path)
    await kept.store.close()
    again = await open_store(tmp_path)
    await again.door.close()  # as a kill would
    third = await open_store(tmp_path)
    try:
        _, _, cover = await third.both(Query("shop", MONTH, SESSIONS))
        assert cover is None
        assert await third.door.select("SELECT count() FROM sessions") == [[0]]
    finally:
        await third.store.close()


async def test_nothing_kept_is_used_where_an_event_came_since(tmp_path: Path) -> None:
    kept = await with_kept_sessions(tmp_path)
    assert kept.store.keeper is not None
    await kept.store.keeper.close()
    late = an_event(random.Random(4), "shop", 300)
    await kept.store.write(Batch([encode(late)], redelivered=False))
    await kept.door.close()
    again = await open_store(tmp_path)
    try:
        by_kept, made, cover = await again.both(Query("shop", MONTH, SESSIONS))
        assert (by_kept, cover) == (made, None)
    finally:
        await again.store.close()
