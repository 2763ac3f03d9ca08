"""CONTRACT "Ingestion" over real HTTP: each field, each status, drops, batches; by the short cut and by plain ASGI."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from footfall.event import key_of
from footfall.queue.base import Lane
from footfall.visitor import user_visitor_id
from tests.fakes_queue import MemoryQueue
from tests.http.collecting import BROWSER, EVENT, Collecting, collecting


@pytest.fixture(params=["short cut", "httptools", "h11"])
async def collector(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Collecting]:
    """The same answers are asked of our protocol and of uvicorn's own."""
    async with collecting(tmp_path, http=None if request.param == "short cut" else request.param) as running:
        yield running


async def test_the_seeds_event_is_answered_as_the_seed_shows(collector: Collecting) -> None:
    answer = await collector.post(headers={"user-agent": "curl/8.5.0"})
    assert answer.status_code == 202
    assert answer.headers["content-type"] == "application/json"
    assert "x-footfall-dropped" not in answer.headers
    told = answer.json()
    assert told.pop("processing_time_ms") >= 0
    assert told == {"success": True, "message": "Event queued successfully"}
    [event] = collector.events()
    assert (event.site_id, event.name, event.path, event.user_id) == ("my-website", "pageview", "/products", "user-123")
    assert event.visitor_id == user_visitor_id("my-website", "user-123")
    assert abs(event.received_at_ms - time.time() * 1000) < 60_000
    assert event.occurred_at_ms == event.received_at_ms


async def test_every_field_arrives_as_it_was_sent(collector: Collecting) -> None:
    event = await collector.event_of(
        {
            "event_type": "purchase",
            "path": "https://Shop.example/cart?utm_campaign=spring&sid=1",
            "timestamp": "2024-01-15T11:30:00.123+01:00",
            "event_id": "order-1",
            "referrer": "https://duckduckgo.com/?q=x",
            "title": "Ünïcödé 😀 \u0000 '\"\\",
            "screen": "1920x1080",
            "language": "de-DE",
            "props": {"plan": "pro", "n": 1, "ok": True, "none": None},
            "revenue": {"amount": "12.50", "currency": "eur"},
            "interactive": False,
        }
    )
    assert event.name == "purchase"
    assert (event.hostname, event.path, event.utm_campaign) == ("shop.example", "/cart", "spring")
    assert event.occurred_at_ms == 1_705_314_600_123
    assert event.key == key_of("my-website", "order-1")
    assert event.title == "Ünïcödé 😀 \u0000 '\"\\"
    assert (event.screen, event.language) == ("1920x1080", "de-DE")
    assert event.props == {"plan": "pro", "n": "1", "ok": "true"}
    assert (str(event.revenue), event.currency) == ("12.500000", "EUR")
    assert event.interactive is False
    assert event.browser == "Firefox"


async def test_an_event_without_a_user_gets_a_daily_visitor_id_that_stays_the_same(collector: Collecting) -> None:
    body: dict[str, object] = {"user_id": None}
    one, two = await collector.event_of(body), await collector.event_of(body)
    other = await collector.event_of(body, headers={"user-agent": BROWSER.replace("128", "127")})
    assert one.visitor_id == two.visitor_id != other.visitor_id
    assert one.id != two.id


@pytest.mark.parametrize(
    "content_type", ["application/json", "text/plain;charset=UTF-8", "Application/JSON; a=b", None]
)
async def test_json_text_and_no_content_type_at_all_are_taken(collector: Collecting, content_type: str | None) -> None:
    headers = {"user-agent": BROWSER} | ({"content-type": content_type} if content_type else {})
    answer = await collector.http.post("/api/event", content=msgspec.json.encode(EVENT), headers=headers)
    assert answer.status_code == 202


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "application/x-ndjson", "multipart/form-data"]
)
async def test_another_content_type_is_refused_with_what_would_do(collector: Collecting, content_type: str) -> None:
    faults = await collector.faults_of(EVENT, headers={"content-type": content_type})
    assert faults == {"Content-Type": "must be application/json or text/plain"}


async def test_every_wrong_field_is_named_and_nothing_is_accepted(collector: Collecting) -> None:
    faults = await collector.faults_of({"event_type": "x" * 65, "props": {"a": []}, "interactive": 1})
    assert faults == {
        "site_id": "is required",
        "event_type": "must be at most 64 characters",
        "props.a": "must be a text, a number, true, false or null",
        "interactive": "must be true or false",
    }
    assert collector.events() == []


@pytest.mark.parametrize(
    "body", [b"", b"{", b"null", b"[]", b"\xff", b'{"site_id":"\\ud800"}', b"[" * 60_000, b"{}", b"NaN"]
)
async def test_a_broken_body_is_a_400_that_says_how(collector: Collecting, body: bytes) -> None:
    assert await collector.faults_of(body)


@pytest.mark.parametrize("offset_s", [25 * 3600, -(60 * 365 * 86400)])
async def test_a_timestamp_out_of_bounds_is_refused(collector: Collecting, offset_s: int) -> None:
    assert "timestamp" in await collector.faults_of({**EVENT, "timestamp": int(time.time()) + offset_s})


async def test_strict_refuses_unknown_fields_by_name_and_else_they_are_ignored(collector: Collecting) -> None:
    body = {**EVENT, "user-id": "typo"}
    assert (await collector.post(body)).status_code == 202
    assert await collector.faults_of(body, path="/api/event?strict=1") == {"user-id": "is not a known field"}
    assert (await collector.post(path="/api/event?strict=1")).status_code == 202
    answer = await collector.post([body, EVENT], path="/api/events?x=y&strict=1")
    assert [one["index"] for one in answer.json()["rejected"]] == [0]


async def test_a_body_over_64_kib_is_a_413_however_it_is_sent(collector: Collecting) -> None:
    fitting = {**EVENT, "ignored": ""}
    fitting["ignored"] = "x" * (64 * 1024 - len(msgspec.json.encode(fitting)))
    encoded = msgspec.json.encode(fitting)
    assert len(encoded) == 64 * 1024
    assert (await collector.post(encoded)).status_code == 202

    async def in_parts(body: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(body), 10_000):
            yield body[start : start + 10_000]

    headers = {"content-type": "application/json", "user-agent": BROWSER}
    chunked = await collector.http.post("/api/event", content=in_parts(encoded), headers=headers)
    assert chunked.status_code == 202
    for content in (encoded + b" ", in_parts(encoded + b" ")):
        answer = await collector.http.post("/api/event", content=content, headers=headers)
        assert answer.status_code == 413
        assert answer.json() == {"success": False, "error": "the body is over the limit of 65536 bytes", "details": []}
    assert (await collector.post()).status_code == 202, "the connection is still good"


async def test_a_batch_over_5_mib_is_a_413(collector: Collecting) -> None:
    answer = await collector.post(b"[" + b" " * (5 * 1024 * 1024) + b"]", path="/api/events")
    assert answer.status_code == 413


@pytest.mark.parametrize("path", ["/api/event", "/api/events"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
async def test_a_wrong_method_is_a_405_that_names_the_right_ones(collector: Collecting, method: str, path: str) -> None:
    answer = await collector.http.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST, OPTIONS"
    assert answer.json()["success"] is False


async def test_head_is_a_405_without_a_body(collector: Collecting) -> None:
    answer = await collector.http.head("/api/event")
    assert (answer.status_code, answer.content) == (405, b"")


async def test_every_other_path_goes_to_what_stands_behind(collector: Collecting) -> None:
    for path in ("/api/stats", "/api/event/x", "/", "/api/Event"):
        assert (await collector.http.get(path)).json() == {"behind": path}


async def test_a_bot_is_answered_202_with_the_reason_and_queued_for_the_ledger(collector: Collecting) -> None:
    answer = await collector.post({**EVENT, "user_id": None}, headers={"user-agent": "Googlebot/2.1"})
    assert answer.status_code == 202
    assert answer.headers["x-footfall-dropped"] == "bot"
    assert answer.json()["success"] is True
    [event] = collector.events()
    assert (event.drop_reason, event.path, event.visitor_id) == ("bot", "/products", 0)


async def test_a_spam_referrer_is_dropped_with_its_reason(collector: Collecting) -> None:
    answer = await collector.post({**EVENT, "referrer": "http://semalt.com/"})
    assert (answer.status_code, answer.headers["x-footfall-dropped"]) == (202, "spam_referrer")


async def test_an_unknown_site_is_dropped_where_sites_are_not_created(tmp_path: Path) -> None:
    async with collecting(tmp_path, auto_create_sites=False) as collector:
        answer = await collector.post()
        assert (answer.status_code, answer.headers["x-footfall-dropped"]) == (202, "unknown_site")
        assert [event.drop_reason for event in collector.events()] == ["unknown_site"]
        assert await collector.registry.sites() == ()
        await collector.registry.ensure_site("known")
        await collector.sites.close()


async def test_an_event_for_a_new_site_creates_it(collector: Collecting) -> None:
    await collector.post()
    assert [site.id for site in await collector.registry.sites()] == ["my-website"]


async def test_a_batch_says_what_was_accepted_rejected_and_dropped(collector: Collecting) -> None:
    events: list[Any] = [
        EVENT,
        {"site_id": "my-website"},
        {**EVENT, "user_id": None},
        {**EVENT, "referrer": "http://semalt.com/"},
        "text",
    ]
    bodies: list[Any] = [events, {"events": events}, b"\n".join(map(msgspec.json.encode, events))]
    for body in bodies:
        lines = {"content-type": "application/x-ndjson"} if isinstance(body, bytes) else {}
        answer = await collector.post(body, "/api/events", headers={"user-agent": "curl/8", **lines})
        assert answer.status_code == 202
        told = answer.json()
        assert told.pop("processing_time_ms") >= 0
        assert told == {
            "success": True,
            "accepted": 3,
            "rejected": [
                {"index": 1, "errors": [{"field": "event_type", "message": "is required"}]},
                {"index": 4, "errors": [{"field": "body", "message": "must be a JSON object"}]},
            ],
            "dropped": {"bot": 1, "spam_referrer": 1},
        }
        assert answer.headers["x-footfall-dropped"] == "bot=1, spam_referrer=1"
    assert [event.drop_reason for event in collector.events()] == ["", "bot", "spam_referrer"] * 3


async def test_a_full_batch_is_one_put(collector: Collecting) -> None:
    answer = await collector.post([{**EVENT, "path": f"/{n}"} for n in range(1_000)], "/api/events")
    assert answer.json()["accepted"] == 1_000
    assert "x-footfall-dropped" not in answer.headers
    assert [event.path for event in collector.events()] == [f"/{n}" for n in range(1_000)]
    assert len({event.id for event in collector.events()}) == 1_000


async def test_a_batch_of_which_nothing_is_valid_is_a_400_that_names_all(collector: Collecting) -> None:
    faults = await collector.faults_of([{}, {"site_id": "s"}], path="/api/events")
    assert faults == {
        "events[0].site_id": "is required",
        "events[0].event_type": "is required",
        "events[1].event_type": "is required",
    }
    wrong_counts: list[Any] = [[], {"events": []}, [EVENT] * 1_001]
    for body in wrong_counts:
        assert list(await collector.faults_of(body, path="/api/events")) == ["events"]
    assert list(await collector.faults_of({"event": []}, path="/api/events")) == ["events"]
    assert list(await collector.faults_of(7, path="/api/events")) == ["body"]
    assert collector.events() == []


class HeldQueue(MemoryQueue):
    """A queue whose puts wait until they are let through."""

    def __init__(self) -> None:
        super().__init__()
        self.began = asyncio.Event()
        self.release = asyncio.Event()

    async def put(self, payloads: Sequence[bytes], lane: Lane = Lane.LIVE) -> None:
        self.began.set()
        await self.release.wait()
        await super().put(payloads, lane)


@pytest.mark.parametrize("http", [None, "httptools"])
async def test_202_comes_only_after_the_put_has_returned(tmp_path: Path, http: str | None) -> None:
    queue = HeldQueue()
    async with collecting(tmp_path, queue, http=http) as collector:
        asking = asyncio.create_task(collector.post())
        await queue.began.wait()
        done, _ = await asyncio.wait([asking], timeout=0.2)
        assert not done
        queue.release.set()
        assert (await asking).status_code == 202
        second = asyncio.create_task(collector.post())
        assert (await second).status_code == 202, "the short cut is taken by then, for the site is known"


@pytest.mark.parametrize("path", ["/api/event", "/api/events"])
async def test_a_queue_that_is_down_is_a_503_and_nothing_is_accepted(tmp_path: Path, path: str) -> None:
    queue = MemoryQueue()
    body: Any = EVENT if path == "/api/event" else [EVENT, EVENT]
    async with collecting(tmp_path, queue) as collector:
        for _ in range(2):
            queue.is_down = True
            answer = await collector.post(body, path)
            assert answer.status_code == 503
            assert answer.json() == {"success": False, "error": "the queue is down", "details": []}
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.headers["access-control-allow-origin"] == "*"
            queue.is_down = False
            before = len(collector.events())
            assert (await collector.post(body, path)).status_code == 202
            assert len(collector.events()) == before + (1 if path == "/api/event" else 2)


async def test_a_stopping_collector_answers_what_it_has_and_refuses_the_rest(tmp_path: Path) -> None:
    queue = HeldQueue()
    async with collecting(tmp_path, queue) as collector:
        asking = asyncio.create_task(collector.post())
        await queue.began.wait()
        closing = asyncio.create_task(collector.collector.close())
        await asyncio.sleep(0)
        assert (await collector.post()).status_code == 503
        queue.release.set()
        await closing
        assert (await asking).status_code == 202
        assert len(collector.events()) == 1


class BrokenQueue(MemoryQueue):
    """A queue with a bug in it."""

    async def put(self, payloads: Sequence[bytes], lane: Lane = Lane.LIVE) -> None:
        raise ZeroDivisionError("a secret of ours")


@pytest.mark.parametrize("http", [None, "httptools"])
async def test_a_bug_is_a_500_that_shows_nothing_of_it(tmp_path: Path, http: str | None) -> None:
    async with collecting(tmp_path, BrokenQueue(), http=http) as collector:
        for _ in range(2):
            answer = await collector.post()
            assert answer.status_code == 500
            assert answer.json()["success"] is False
            assert "secret" not in answer.text
            assert "Traceback" not in answer.text


async def _raw(collector: Collecting, *parts: bytes) -> bytes:
    """Send *parts* one after the other, the last of which closes; returns all that was answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", collector.port)
    for part in parts:
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(0.02)
    told = await reader.read()
    writer.close()
    await writer.wait_closed()
    return told


def _request(path: str, *headers: bytes, close: bool = False) -> bytes:
    body = msgspec.json.encode({**EVENT, "path": path})
    lines = [
        b"POST /api/event HTTP/1.1",
        b"Host: 127.0.0.1",
        b"Content-Length: %d" % len(body),
        *headers,
        *([b"Connection: close"] if close else []),
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


async def test_pipelined_requests_are_answered_one_by_one_in_order(collector: Collecting) -> None:
    await collector.post()
    get = b"GET /api/stats HTTP/1.1\r\nHost: h\r\n\r\n"
    told = await _raw(collector, _request("/1") + _request("/2") + get + _request("/3", close=True))
    assert re.findall(rb"HTTP/1.1 (\d+)", told) == [b"202", b"202", b"200", b"202"]
    assert [event.path for event in collector.events()][1:] == ["/1", "/2", "/3"]


async def test_a_body_that_comes_in_pieces_is_one_event(collector: Collecting) -> None:
    await collector.post()
    request = _request("/pieces", close=True)
    told = await _raw(collector, request[:30], request[30:90], request[90:-5], request[-5:])
    assert told.startswith(b"HTTP/1.1 202")
    assert collector.events()[-1].path == "/pieces"


async def test_a_client_that_hangs_up_in_the_middle_leaves_nothing(collector: Collecting) -> None:
    await collector.post()
    _, writer = await asyncio.open_connection("127.0.0.1", collector.port)
    writer.write(_request("/half")[:-10])
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await collector.post({**EVENT, "path": "/after"})).status_code == 202
    assert [event.path for event in collector.events()] == ["/products", "/after"]


async def test_expect_100_continue_is_answered_and_then_the_event(collector: Collecting) -> None:
    await collector.post()
    head, _, body = _request("/expected", b"Expect: 100-continue", close=True).partition(b"\r\n\r\n")
    told = await _raw(collector, head + b"\r\n\r\n", body)
    assert told.startswith(b"HTTP/1.1 100")
    assert b"HTTP/1.1 202" in told


async def test_many_requests_at_once_are_all_queued_exactly_once(collector: Collecting) -> None:
    async def send(number: int) -> int:
        answer = await collector.post({**EVENT, "path": f"/{number}"})
        return answer.status_code

    assert set(await asyncio.gather(*(send(number) for number in range(300)))) == {202}
    assert sorted(event.path for event in collector.events()) == sorted(f"/{number}" for number in range(300))


async def test_the_same_answer_comes_by_the_short_cut_and_by_asgi(tmp_path: Path) -> None:
    bodies = [EVENT, {"site_id": 1}, {**EVENT, "user_id": None}, {**EVENT, "ip": "192.0.2.1"}, b"{", [EVENT]]
    told: list[list[tuple[int, Any, dict[str, str]]]] = []
    for http in (None, "httptools"):
        folder = tmp_path / str(http)
        folder.mkdir()
        async with collecting(folder, http=http, host="0.0.0.0") as collector:
            await collector.post()
            answers = [await collector.post(body, headers={"user-agent": "curl/8"}) for body in bodies]
            told.append([(one.status_code, _told(one), _headers(one)) for one in answers])
    assert told[0] == told[1]
    assert [status for status, _, _ in told[0]] == [202, 400, 202, 403, 400, 400]


def _told(answer: httpx.Response) -> Any:
    return {key: value for key, value in answer.json().items() if key != "processing_time_ms"}


def _headers(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name not in {"date", "content-length"}}
