"""What every store must prove. The same functions for each adapter; stores.py says which there are."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from footfall.errors import Invalid, Unstorable
from footfall.event import Event, encode, key_of
from footfall.query.query import Dimension, Direction, Metric, Query, Range
from footfall.query.ranges import day_range
from footfall.reports.stats import daily_stats
from footfall.store.base import Batch, Ledger, Store, Written
from tests.conformance.stores import DURABLE, NOON, STORES, an_event, at_ms, encoded

UTC_ZONE = ZoneInfo("UTC")
DAY = date(2024, 1, 15)
ALL = (Metric.PAGEVIEWS, Metric.VISITORS, Metric.EVENTS)
HOSTILE = [
    'it\'s "quoted" `so`',
    "back\\slash \\n \\0 \\' end\\",
    "tab\tnew\nline\rreturn",
    "nul\0inside",
    "\0",
    "$set.name{x:String}",
    "🦊 𝔘 é 漢",
    "'); DROP TABLE events; --",
    "%s %(x)s {0} ? :name @x",
    "\u2028 \ufeff \x7f",
]


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    made = await STORES[request.param](tmp_path)
    yield made
    await made.close()


@pytest.fixture(params=DURABLE)
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Awaitable[Store]]:
    return lambda: DURABLE[request.param](tmp_path)


async def write(store: Store, *events: Event, redelivered: bool = False) -> Written:
    return await store.write(Batch(encoded(*events), redelivered))


async def totals(store: Store, site_id: str = "shop", day: date = DAY, zone: ZoneInfo = UTC_ZONE) -> tuple[object, ...]:
    """Pageviews, visitors, events of a day."""
    table = await store.rows(Query(site_id, day_range(day, day, zone), ALL))
    (row,) = table.rows
    return row


async def by(store: Store, dimension: Dimension, span: Range | None = None) -> dict[object, object]:
    """Events for each value of *dimension*."""
    table = await store.rows(Query("shop", span or day_range(DAY, DAY, UTC_ZONE), (Metric.EVENTS,), (dimension,)))
    return {row[0]: row[1] for row in table.rows}


async def test_what_is_written_is_counted(store: Store) -> None:
    written = await write(store, an_event(), an_event(visitor_id=2), an_event(name="signup"))
    assert written == Written(stored=3, dropped=0, duplicates=0, already=0)
    assert await totals(store) == (2, 2, 3)
    assert await store.ledger() == Ledger(stored=3, dropped={})


async def test_an_empty_batch_changes_nothing(store: Store) -> None:
    assert await store.write(Batch([], redelivered=False)) == Written(0, 0, 0, 0)
    assert await store.ledger() == Ledger(0, {})


async def test_the_same_batch_twice_counts_once(store: Store) -> None:
    events = [an_event(visitor_id=i, drop_reason="bot" if i % 3 == 0 else "") for i in range(30)]
    await write(store, *events)
    assert await write(store, *events, redelivered=True) == Written(stored=0, dropped=0, duplicates=0, already=30)
    assert await totals(store) == (20, 20, 20)
    assert await store.ledger("shop") == Ledger(20, {"bot": 10})


async def test_a_redelivery_completes_what_a_failed_write_began(store: Store) -> None:
    key = key_of("shop", "order-1")
    batch = [
        an_event(drop_reason="bot"),
        an_event(key=key),
        an_event(key=key),
        an_event(datetime(1971, 1, 1, tzinfo=UTC)),
        an_event(datetime(2030, 1, 1, tzinfo=UTC)),
    ]
    await write(store, batch[1], batch[3])
    assert await write(store, *batch, redelivered=True) == Written(stored=1, dropped=1, duplicates=1, already=2)
    assert await write(store, *batch, redelivered=True) == Written(stored=0, dropped=0, duplicates=0, already=5)
    assert await store.ledger() == Ledger(3, {"bot": 1, "duplicate": 1})


async def test_a_payload_that_is_twice_in_one_batch_counts_once(store: Store) -> None:
    event, dropped = an_event(), an_event(drop_reason="bot")
    written = await write(store, event, dropped, event, dropped)
    assert written == Written(stored=1, dropped=1, duplicates=0, already=2)
    assert await store.ledger() == Ledger(1, {"bot": 1})


async def test_a_redelivery_at_the_same_time_as_the_first_write_counts_once(store: Store) -> None:
    events = [an_event(visitor_id=i) for i in range(100)]
    both = await asyncio.gather(write(store, *events), write(store, *events, redelivered=True))
    assert [written.stored for written in both] == [100, 0]
    assert await totals(store) == (100, 100, 100)


async def test_the_first_of_twins_in_a_batch_counts_and_the_others_are_kept_as_duplicates(store: Store) -> None:
    key = key_of("shop", "a")
    twins = [an_event(key=key, path="/first"), an_event(key=key, path="/second"), an_event(key=key, path="/third")]
    assert await write(store, *twins) == Written(stored=1, dropped=0, duplicates=2, already=0)
    assert await by(store, Dimension.PAGE) == {"/first": 1}
    assert await store.ledger() == Ledger(1, {"duplicate": 2})


async def test_a_dropped_event_does_not_take_the_key_from_one_that_counts(store: Store) -> None:
    key = key_of("shop", "a")
    written = await write(store, an_event(key=key, drop_reason="bot"), an_event(key=key, path="/counts"))
    assert written == Written(stored=1, dropped=1, duplicates=0, already=0)
    assert await by(store, Dimension.PAGE) == {"/counts": 1}


@pytest.mark.parametrize("away", [timedelta(days=30), -timedelta(days=30), timedelta()])
async def test_a_key_counts_once_within_thirty_days_of_receipt_whatever_the_time_of_the_event(
    store: Store, away: timedelta
) -> None:
    key = key_of("shop", "a")
    await write(store, an_event(key=key))
    again = an_event(NOON - timedelta(days=900), key=key, received_at_ms=at_ms(NOON + away))
    assert await write(store, again) == Written(stored=0, dropped=0, duplicates=1, already=0)


@pytest.mark.parametrize("away", [timedelta(days=30, milliseconds=1), -timedelta(days=30, milliseconds=1)])
async def test_a_key_counts_again_after_more_than_thirty_days(store: Store, away: timedelta) -> None:
    key = key_of("shop", "a")
    await write(store, an_event(key=key))
    again = an_event(key=key, received_at_ms=at_ms(NOON + away))
    assert await write(store, again) == Written(stored=1, dropped=0, duplicates=0, already=0)


async def test_keys_that_share_their_first_bytes_are_different_keys(store: Store) -> None:
    await write(store, an_event(key=b"same" + b"a" * 12))
    assert (await write(store, an_event(key=b"same" + b"b" * 12), an_event(key=b"\0" * 15 + b"x"))).stored == 2


async def test_hostile_text_comes_back_as_it_went_in(store: Store) -> None:
    await write(
        store,
        *[
            an_event(visitor_id=i, path=text, hostname=text, referrer=text, source=text)
            for i, text in enumerate(HOSTILE)
        ],
    )
    for dimension in (Dimension.PAGE, Dimension.HOSTNAME, Dimension.REFERRER, Dimension.SOURCE):
        assert await by(store, dimension) == dict.fromkeys(HOSTILE, 1)


@pytest.mark.parametrize("text", HOSTILE)
async def test_a_hostile_site_and_everything_else_hostile_is_stored_and_found(store: Store, text: str) -> None:
    names = (
        "name",
        "user_id",
        "title",
        "channel",
        "utm_source",
        "utm_term",
        "click_id",
        "browser",
        "os_version",
        "city",
    )
    fields: dict[str, Any] = dict.fromkeys(names, text)
    odd = an_event(site_id=text, props={text: text, "a.b": "$x"}, **fields)
    assert (await write(store, odd, an_event(site_id="other"))).stored == 2
    assert await totals(store, site_id=text) == (0, 1, 1)
    assert (await store.ledger(text)).stored == 1
    assert await store.sites() == {text: at_ms(NOON), "other": at_ms(NOON)}


@pytest.mark.parametrize("amount", ["12.5", "-0.000001", "1000000000000", "1E+3", "0"])
async def test_every_amount_of_money_is_taken(store: Store, amount: str) -> None:
    assert (await write(store, an_event(revenue=Decimal(amount), currency="EUR"))).stored == 1


async def test_visitors_use_all_their_64_bits(store: Store) -> None:
    await write(store, *[an_event(visitor_id=number) for number in (0, 1, 2**63, 2**64 - 1, 2**64 - 2)])
    assert await totals(store) == (5, 5, 5)


async def test_a_payload_of_an_older_version_with_fewer_fields_is_stored(store: Store) -> None:
    fields = msgspec.msgpack.decode(encode(an_event(path="/old")))
    short = msgspec.msgpack.encode(fields[:10])
    written = await store.write(Batch([*encoded(an_event()), short], redelivered=False))
    assert written.stored == 2
    assert await by(store, Dimension.PAGE) == {"/": 1, "/old": 1}


async def test_a_payload_of_a_newer_version_with_more_fields_is_stored(store: Store) -> None:
    longer = msgspec.msgpack.encode([*msgspec.msgpack.decode(encode(an_event(path="/new"))), "what is this"])
    assert (await store.write(Batch([longer, *encoded(an_event())], redelivered=False))).stored == 2
    assert await by(store, Dimension.PAGE) == {"/": 1, "/new": 1}


def _poison() -> dict[str, bytes]:
    good = encode(an_event())
    return {
        "empty": b"",
        "text": b"what?",
        "cut off": good[:-5],
        "with a tail": good + b"\xc0",
        "two in one": good + good,
        "another shape": msgspec.msgpack.encode({"a": 1}),
        "text for a number": good[:3] + msgspec.msgpack.encode("x") + good[3:],
        "an id that is short": encode(an_event(id=b"short")),
        "a key that is short": encode(an_event(key=b"short")),
        "before 1970": encode(an_event(occurred_at_ms=-1)),
        "after 2148": encode(an_event(occurred_at_ms=10**14)),
    }


@pytest.mark.parametrize("kind", _poison())
@pytest.mark.parametrize("place", [0, 1, 2])
async def test_a_batch_with_poison_in_it_is_unstorable_and_leaves_nothing(store: Store, kind: str, place: int) -> None:
    payloads = encoded(an_event(), an_event())
    payloads.insert(place, _poison()[kind])
    with pytest.raises(Unstorable):
        await store.write(Batch(payloads, redelivered=False))
    assert await store.ledger() == Ledger(0, {})
    assert (await write(store, an_event())).stored == 1


async def test_two_broken_payloads_do_not_make_up_for_each_other(store: Store) -> None:
    good = encode(an_event())
    without_its_last_field, with_one_in_front = good[:-1], good[:3] + b"\xa0" + good[3:]
    with pytest.raises(Unstorable):
        await store.write(Batch([without_its_last_field, with_one_in_front], redelivered=False))
    assert await store.ledger() == Ledger(0, {})


async def test_a_batch_may_hold_events_of_every_month_since_1970(store: Store) -> None:
    events = [an_event(datetime(1970 + i // 12, 1 + i % 12, 3, tzinfo=UTC)) for i in range(56 * 12)]
    assert (await write(store, *events)).stored == len(events)
    assert await totals(store, day=date(1970, 1, 3)) == (1, 1, 1)
    assert await totals(store, day=date(2025, 12, 3)) == (1, 1, 1)
    assert (await write(store, *events, redelivered=True)).already == len(events)


@pytest.mark.parametrize(
    ("name", "day", "hours"),
    [
        ("America/New_York", date(2024, 3, 10), 23),
        ("America/New_York", date(2024, 11, 3), 25),
        ("America/St_Johns", date(2024, 11, 3), 25),
        ("America/Sao_Paulo", date(2018, 11, 4), 23),
        ("America/Sao_Paulo", date(2018, 2, 17), 25),
        ("Asia/Tehran", date(2022, 3, 22), 23),
        ("Asia/Kathmandu", date(2024, 1, 1), 24),
        ("Australia/Lord_Howe", date(2024, 4, 7), 24.5),
        ("Pacific/Apia", date(2011, 12, 29), 24),
    ],
)
async def test_a_day_has_the_hours_that_its_zone_gives_it(store: Store, name: str, day: date, hours: float) -> None:
    zone = ZoneInfo(name)
    span = day_range(day, day, zone)
    assert (span.end - span.start) / timedelta(hours=1) == hours
    edges = [span.start - timedelta(milliseconds=1), span.start, span.end - timedelta(milliseconds=1), span.end]
    await write(store, *[an_event(at) for at in edges])
    assert await totals(store, day=day, zone=zone) == (2, 1, 2)
    wide = Range(span.start - timedelta(hours=1), span.end + timedelta(hours=1), zone)
    assert (await by(store, Dimension.DAY, wide))[day.isoformat()] == 2


async def test_an_hour_that_the_clocks_repeat_is_two_buckets(store: Store) -> None:
    zone = ZoneInfo("America/New_York")
    first = datetime(2024, 11, 3, 5, 59, 59, tzinfo=UTC)
    await write(store, an_event(first), an_event(first + timedelta(seconds=1)), an_event(first + timedelta(hours=1)))
    span = day_range(date(2024, 11, 3), date(2024, 11, 3), zone)
    assert await by(store, Dimension.HOUR, span) == {"2024-11-03T01:00:00-04:00": 1, "2024-11-03T01:00:00-05:00": 2}


@pytest.mark.parametrize(("name", "minute"), [("Asia/Tehran", 30), ("Asia/Kathmandu", 15), ("Asia/Kolkata", 30)])
async def test_hours_begin_when_the_local_clock_says_so(store: Store, name: str, minute: int) -> None:
    edge = datetime(2024, 1, 15, 6, minute, tzinfo=UTC)
    await write(store, an_event(edge - timedelta(milliseconds=1)), an_event(edge))
    zone = ZoneInfo(name)
    found = await by(store, Dimension.HOUR, day_range(DAY, DAY, zone))
    local = edge.astimezone(zone)
    assert found == {(local - timedelta(hours=1)).isoformat(): 1, local.isoformat(): 1}


async def test_a_late_event_lands_in_its_own_hour(store: Store) -> None:
    await write(store, an_event())
    await write(store, an_event(NOON - timedelta(hours=5), received_at_ms=at_ms(NOON + timedelta(days=3))))
    span = day_range(DAY, DAY, UTC_ZONE)
    assert await by(store, Dimension.HOUR, span) == {"2024-01-15T07:00:00+00:00": 1, "2024-01-15T12:00:00+00:00": 1}


async def test_rows_without_a_pageview_are_left_out_where_only_pageviews_are_asked_for(store: Store) -> None:
    await write(store, an_event(path="/seen"), an_event(path="/clicked", name="click"))
    query = Query("shop", day_range(DAY, DAY, UTC_ZONE), (Metric.PAGEVIEWS,), (Dimension.PAGE,))
    assert list((await store.rows(query)).rows) == [("/seen", 1)]


async def test_order_and_limit_are_kept_and_ties_go_by_the_dimension(store: Store) -> None:
    paths = ["/b", "/a", "/c", "/c", "/é", "/Z"]
    await write(store, *[an_event(path=path, visitor_id=i) for i, path in enumerate(paths)])
    query = Query(
        "shop",
        day_range(DAY, DAY, UTC_ZONE),
        (Metric.EVENTS, Metric.VISITORS),
        (Dimension.PAGE,),
        ((Metric.EVENTS, Direction.DESC),),
        limit=3,
    )
    table = await store.rows(query)
    assert table.columns == ("event:page", "events", "visitors")
    assert list(table.rows) == [("/c", 2, 2), ("/Z", 1, 1), ("/a", 1, 1)]


async def test_a_million_visitors_on_one_day_are_counted_exactly(store: Store) -> None:
    # What stands in for MongoDB takes a millisecond and a half an event; no document grows with their number there.
    many, size = (20_000, 10_000) if store.kind == "mongodb" else (1_000_000, 100_000)
    for start in range(0, many, size):
        await write(store, *[an_event(visitor_id=start + i) for i in range(size)])
    assert await totals(store) == (many, many, many)


async def test_sites_and_ledgers_are_kept_apart(store: Store) -> None:
    later = NOON + timedelta(days=1)
    await write(
        store, an_event(), an_event(later), an_event(site_id="blog"), an_event(site_id="blog", drop_reason="bot")
    )
    assert await store.sites() == {"shop": at_ms(later), "blog": at_ms(NOON)}
    assert await store.ledger("blog") == Ledger(1, {"bot": 1})
    assert await store.ledger("nobody") == Ledger(0, {})
    assert await totals(store, site_id="nobody") == (0, 0, 0)


async def test_an_import_has_a_ledger_of_its_own(store: Store) -> None:
    ours: dict[str, Any] = {"import_id": "log-1"}
    await write(
        store, an_event(), an_event(**ours), an_event(site_id="blog", **ours), an_event(drop_reason="bot", **ours)
    )
    assert await store.ledger(import_id="log-1") == Ledger(2, {"bot": 1})
    assert await store.ledger("shop", "log-1") == Ledger(1, {"bot": 1})
    assert await store.ledger(import_id="log-2") == Ledger(0, {})


async def test_a_store_that_is_up_says_so(store: Store) -> None:
    check = await store.check()
    assert (check.ok, check.message) == (True, "")
    assert check.latency_ms >= 0


async def test_a_visitor_who_only_read_on_counts_for_the_day(store: Store) -> None:
    report = an_event(name="engagement", interactive=False, visitor_id=2)
    await store.write(Batch(encoded(an_event(), report), redelivered=False))
    for zone in (UTC_ZONE, ZoneInfo("Asia/Kathmandu")):
        stats = await daily_stats(store, "shop", DAY, DAY, zone, limit=2)
        assert (stats.total_views, stats.unique_users_count) == (1, 2)
    span = day_range(DAY, DAY, UTC_ZONE)
    asked = await store.rows(Query("shop", span, (Metric.PAGEVIEWS, Metric.VISITORS, Metric.EVENTS)))
    assert list(asked.rows) == [(1, 1, 1)]


async def test_daily_statistics_have_the_shape_of_the_contract(store: Store) -> None:
    await write(
        store,
        *[an_event(path="/home", visitor_id=i) for i in range(3)],
        an_event(path="/about"),
        an_event(path="/a"),
        an_event(name="signup", visitor_id=9),
    )
    stats = await daily_stats(store, "shop", DAY, DAY, UTC_ZONE, limit=2)
    assert msgspec.to_builtins(stats) == {
        "site_id": "shop",
        "date": "2024-01-15",
        "total_views": 5,
        "unique_users_count": 4,
        "top_paths": [{"path": "/home", "views": 3}, {"path": "/a", "views": 1}],
    }
    span = msgspec.to_builtins(await daily_stats(store, "nobody", DAY, date(2024, 2, 1), UTC_ZONE, limit=2))
    assert span == {
        "site_id": "nobody",
        "from": "2024-01-15",
        "to": "2024-02-01",
        "total_views": 0,
        "unique_users_count": 0,
        "top_paths": [],
    }
    with pytest.raises(Invalid):
        await daily_stats(store, "shop", DAY, date(2024, 1, 14), UTC_ZONE, limit=2)


async def test_reopening_keeps_everything(reopen: Callable[[], Awaitable[Store]]) -> None:
    first = await reopen()
    events = [an_event(key=key_of("shop", "a")), an_event(visitor_id=2), an_event(drop_reason="bot")]
    await write(first, *events)
    before = (await totals(first), await first.ledger(), await first.sites())
    await first.close()
    again = await reopen()
    assert (await totals(again), await again.ledger(), await again.sites()) == before
    assert (await write(again, *events, redelivered=True)).already == 3
    assert (await write(again, an_event(key=key_of("shop", "a")))).duplicates == 1
    await again.close()
