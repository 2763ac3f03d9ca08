"""The sample data of `footfall demo`, recounted, and sent to a server that makes trouble."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from footfall.collect.dialects.footfall import decode_many
from footfall.enrich.bot import is_bot
from footfall.enrich.client import client_of
from footfall.enrich.place import Places
from footfall.enrich.source import source_of
from footfall.errors import Forbidden, Invalid, Unavailable
from footfall.tools import demo_world as world
from footfall.tools.demo import demo_events, send_demo

NOW = datetime(2026, 6, 17, 18, 0, tzinfo=UTC)


def drawn(**changes: Any) -> list[dict[str, Any]]:
    return list(demo_events(**{"days": 28, "events": 14_000, "seed": 1, "now": NOW, **changes}))


def test_the_same_seed_draws_the_same_events_and_another_seed_others() -> None:
    assert drawn() == drawn()
    assert drawn(seed=2) != drawn()


def test_there_are_about_as_many_as_were_asked_for_and_each_has_its_own_id() -> None:
    events = drawn()
    assert 12_600 <= len(events) <= 15_400
    assert len({event["event_id"] for event in events}) == len(events)


def test_a_run_on_a_later_day_sends_the_same_past() -> None:
    today = {event["event_id"]: event for event in drawn()}
    later = {event["event_id"]: event for event in drawn(now=datetime(2026, 6, 19, 6, 0, tzinfo=UTC))}
    common = today.keys() & later.keys()
    assert len(common) > 0.9 * 26 / 28 * len(today)
    assert all(today[event_id] == later[event_id] for event_id in common)


def test_nothing_lies_in_the_future_or_before_the_first_day() -> None:
    stamps = [event["timestamp"] for event in drawn()]
    assert max(stamps) <= NOW.timestamp() * 1_000
    assert min(stamps) >= datetime(2026, 5, 21, tzinfo=UTC).timestamp() * 1_000


def test_the_collector_takes_every_event_as_it_is() -> None:
    events = drawn()
    for start in range(0, len(events), 1_000):
        body = json.dumps(events[start : start + 1_000]).encode()
        batch = decode_many(body, int(NOW.timestamp() * 1_000), is_strict=True)
        assert list(batch.rejected) == []
        assert len(batch.incoming) == len(events[start : start + 1_000])


def test_weekends_are_quieter_and_people_sleep_in_their_own_zone() -> None:
    events = drawn()
    weekdays = Counter(datetime.fromtimestamp(event["timestamp"] / 1_000, UTC).weekday() for event in events)
    assert weekdays[5] + weekdays[6] < 0.8 * (weekdays[1] + weekdays[0])
    zones = {country.address_prefix: country.zone for country in world.COUNTRIES.values()}
    own_hours = Counter(
        datetime.fromtimestamp(event["timestamp"] / 1_000, ZoneInfo(zones[".".join(event["ip"].split(".")[:2])])).hour
        for event in events
    )
    assert sum(own_hours[hour] for hour in range(1, 6)) < 0.1 * len(events)


def test_pages_sources_devices_and_custom_events_are_of_many_kinds() -> None:
    events = drawn()
    kinds = Counter(event["event_type"] for event in events)
    assert {"pageview", "scroll", "add_to_cart", "signup", "purchase", "outbound_link"} <= kinds.keys()
    assert kinds["pageview"] > kinds["add_to_cart"] > kinds["purchase"] > 0
    views = [event for event in events if event["event_type"] == "pageview"]
    channels = Counter(
        source_of(event.get("referrer", ""), event["path"].partition("?")[2], world.HOSTNAME).channel for event in views
    )
    assert {"Direct", "Organic Search", "Paid Search", "Organic Social", "Email", "AI Assistants", "Referral"} <= (
        channels.keys()
    )
    assert {client_of(event["user_agent"]).device for event in events} == {"Desktop", "Mobile", "Tablet"}
    assert not any(is_bot(event["user_agent"]) for event in events)
    signed_in = Counter(event["user_id"] for event in events if "user_id" in event)
    assert len(signed_in) > 50
    assert signed_in.most_common(1)[0][1] > 20


def test_purchases_are_paid_and_scrolling_ends_no_bounce() -> None:
    for event in drawn():
        if event["event_type"] == "purchase":
            assert event["revenue"]["amount"] > 0
        if event["event_type"] == "scroll":
            assert event["interactive"] is False


def test_a_session_walks_along_links_that_exist() -> None:
    steps = 0
    for event in drawn():
        if event["event_type"] != "pageview" or not event.get("referrer", "").startswith(f"https://{world.HOSTNAME}"):
            continue
        before = event["referrer"].removeprefix(f"https://{world.HOSTNAME}")
        here = event["path"].removeprefix(f"https://{world.HOSTNAME}")
        assert here in {page for _, page in world.NEXT[before]}
        steps += 1
    assert steps > 2_000


def test_every_page_has_a_title_and_a_way_on_and_every_country_its_address() -> None:
    assert world.TITLES.keys() == world.NEXT.keys()
    for links in world.NEXT.values():
        assert all(page in world.TITLES for _, page in links)
    places = Places()
    for code, country in world.COUNTRIES.items():
        assert all(places.of(f"{country.address_prefix}.{third}.{fourth}").country == code
                   for third in range(0, 256, 5) for fourth in (1, 128, 254)), code  # fmt: skip
    assert sum(world.WEEKDAYS) == pytest.approx(7)


@pytest.mark.parametrize("changes", [{"days": 0}, {"days": 99_999}, {"events": 0}, {"events": 10**9}])
def test_numbers_out_of_bounds_are_refused_by_name(changes: dict[str, int]) -> None:
    with pytest.raises(Invalid, match=next(iter(changes))):
        drawn(**changes)


# --- sending ---------------------------------------------------------------------------------------------------------

Answer = tuple[int, dict[str, str], Any]


@asynccontextmanager
async def a_server(answer: Callable[[list[dict[str, Any]]], Answer]) -> AsyncIterator[str]:
    """A small HTTP server of the test's own, which says what it is told to say."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                fields = dict(line.split(": ", 1) for line in head.decode().lower().split("\r\n")[1:] if line)
                body = json.loads(await reader.readexactly(int(fields["content-length"])))
                status, headers, content = answer(body)
                raw = json.dumps(content).encode()
                lines = [f"HTTP/1.1 {status} X", f"content-length: {len(raw)}", "content-type: application/json"]
                lines += [f"{name}: {value}" for name, value in headers.items()]
                writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + raw)
                await writer.drain()
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def accepted(body: list[dict[str, Any]]) -> Answer:
    return 202, {}, {"success": True, "accepted": len(body), "rejected": []}


async def test_every_event_is_sent_once_in_batches() -> None:
    seen: list[dict[str, Any]] = []

    def answer(body: list[dict[str, Any]]) -> Answer:
        assert len(body) <= 1_000
        seen.extend(body)
        return accepted(body)

    async with a_server(answer) as url:
        sent = await send_demo(url, days=28, events=14_000, seed=1, now=NOW)
    assert seen == drawn()
    assert sent.events == sent.accepted == len(seen)


async def test_a_busy_server_is_waited_for_and_the_same_batch_sent_again() -> None:
    bodies: list[list[dict[str, Any]]] = []

    def answer(body: list[dict[str, Any]]) -> Answer:
        bodies.append(body)
        if len(bodies) in {1, 2}:
            return (429, 503)[len(bodies) - 1], {"retry-after": "0"}, {}
        return accepted(body)

    async with a_server(answer) as url:
        sent = await send_demo(url, days=2, events=200, seed=1, now=NOW)
    assert sent.waits == 2
    assert all(one == other for one, other in pairwise(bodies))
    assert sent.accepted == len(bodies[-1])


async def test_a_server_that_stays_busy_is_given_up() -> None:
    async with a_server(lambda _: (503, {"retry-after": "1"}, {})) as url:
        with pytest.raises(Unavailable, match="503"):
            await send_demo(url, days=1, events=10, now=NOW, patience_s=0.5)


async def test_a_missing_key_is_said_with_the_command_that_makes_one() -> None:
    async with a_server(lambda _: (403, {}, {"success": False})) as url:
        with pytest.raises(Forbidden, match="footfall keys create"):
            await send_demo(url, days=1, events=10, now=NOW)


async def test_what_the_server_refuses_is_counted_with_the_first_reasons() -> None:
    refused = {"index": 0, "errors": [{"field": "path", "message": "is bad"}]}
    async with a_server(lambda body: (202, {}, {"accepted": len(body) - 1, "rejected": [refused]})) as url:
        sent = await send_demo(url, days=1, events=50, now=NOW)
    assert sent.rejected == 1
    assert "is bad" in sent.first_errors[0]


async def test_nothing_at_the_address_is_said_in_words() -> None:
    async with a_server(accepted) as url:
        pass
    with pytest.raises(Unavailable, match="nothing answers at http://127"):
        await send_demo(url, days=1, events=10, now=NOW)
