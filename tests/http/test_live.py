"""Live: the figures of now against a recount, and the stream: each event once, whoever reads it, however it ends."""

import asyncio
import json
import random
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from footfall.api import live as live_routes
from footfall.api.audience import Audience
from footfall.errors import Unauthorized
from footfall.event import Event
from footfall.registry.base import Key, Scope
from footfall.reports.live import Feed, now_on
from footfall.settings import AuthMode, Settings
from footfall.store.base import Batch, Store
from footfall.ticket import LIFE_MS, holder, make_ticket
from tests.conformance.stores import NOON, STORES, an_event, at_ms, encoded
from tests.fakes_store import MemoryStore
from tests.running import Running, running


@pytest.fixture
async def footfall(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as made:
        yield made


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    made = await STORES[request.param](tmp_path)
    yield made
    await made.close()


async def write(store: Store, *events: Event) -> None:
    await store.write(Batch(encoded(*events), redelivered=False))


def top(events: list[Event], field: str) -> list[tuple[str, int]]:
    pairs = {(getattr(event, field), event.visitor_id) for event in events}
    counts = Counter(name for name, _ in pairs)
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:10]


async def test_the_figures_are_those_of_a_recount(store: Store) -> None:
    chance = random.Random(7)
    now = NOON + timedelta(seconds=30)
    events = [
        an_event(
            now - timedelta(milliseconds=chance.randrange(-60_000, 40 * 60_000)),
            visitor_id=visitor,
            name=chance.choice(["pageview", "pageview", "signup"]),
            path=f"/{chance.randrange(15)}",
            # The same in all of a visitor's events, so that it makes no difference which of a session says it.
            source=f"s{visitor % 3}",
            country=["DE", "FR", ""][visitor % 3],
            device=["mobile", "desktop"][visitor % 2],
        )
        for visitor in [chance.randrange(60) for _ in range(400)]
    ]
    edges = [an_event(now - timedelta(minutes=minutes), visitor_id=900 + minutes) for minutes in (0, 5, 30)]
    await write(store, *events, *edges, an_event(now - timedelta(seconds=1), site_id="other", visitor_id=999))
    told = await now_on(store, "shop", ZoneInfo("Asia/Kathmandu"), now)

    def since(minutes: int) -> list[Event]:
        start = at_ms(now) - minutes * 60_000
        return [event for event in [*events, *edges] if start <= event.occurred_at_ms < at_ms(now)]

    assert told.visitors_5m == len({event.visitor_id for event in since(5)})
    assert told.visitors_30m == len({event.visitor_id for event in since(30)})
    views = [event for event in since(30) if event.name == "pageview"]
    assert told.pageviews_30m == len(views)
    assert len(told.pageviews_by_minute) == 30
    by_minute = Counter(event.occurred_at_ms // 60_000 for event in views)
    for number, minute in enumerate(told.pageviews_by_minute):
        start = at_ms(now) // 60_000 - 29 + number
        assert minute.pageviews == by_minute[start]
        assert datetime.fromisoformat(minute.minute) == datetime.fromtimestamp(start * 60, UTC)
    assert told.pageviews_by_minute[-1].minute == "2024-01-15T17:45:00+05:45"
    for rows, field in (
        (told.pages, "path"),
        (told.sources, "source"),
        (told.countries, "country"),
        (told.devices, "device"),
    ):
        assert [(row.name, row.visitors) for row in rows] == top(since(30), field), field


async def test_a_feed_shows_each_event_once_however_late_it_is_stored(store: Store) -> None:
    chance = random.Random(3)
    now_ms = at_ms(NOON)
    before = [an_event(NOON - timedelta(seconds=second)) for second in range(20)]
    await write(store, *before)
    feed = Feed(store, "shop", now_ms)
    assert list(await feed.poll(now_ms)) == []
    # Received within half a minute, stored in any order and in pieces, some of the same millisecond.
    events = [
        an_event(NOON, received_at_ms=now_ms - 30_000 + chance.randrange(30) * 1_000, visitor_id=number)
        for number in range(90)
    ]
    seen: list[str] = []
    waiting = list(events)
    chance.shuffle(waiting)
    while waiting:
        count = chance.randrange(1, 20)
        await write(store, *waiting[:count])
        del waiting[:count]
        now_ms += 1_000
        seen += [event.event_id for event in await feed.poll(now_ms)]
    assert sorted(seen) == sorted(event.id.hex() for event in events)
    assert list(await feed.poll(now_ms)) == []


async def test_a_feed_goes_on_where_too_much_came_at_once(store: Store) -> None:
    now_ms = at_ms(NOON)
    feed = Feed(store, "shop", now_ms)
    await feed.poll(now_ms)
    events = [an_event(NOON, received_at_ms=now_ms + number // 3) for number in range(5_200)]
    await write(store, *events)
    seen = [event.event_id for _ in range(3) for event in await feed.poll(now_ms + 1_000)]
    assert sorted(seen) == sorted(event.id.hex() for event in events)


class Stream:
    """One open stream."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def message(self, kind: str | None = None) -> dict[str, str]:
        """The next message (of that kind), its fields."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(30):
            async for line in self._lines:
                name, _, value = line.partition(": ")
                if line:
                    fields[name] = value
                elif "data" in fields and kind in {None, fields["event"]}:
                    return fields
                else:
                    fields = {}
        raise EOFError

    async def event(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((await self.message("event"))["data"])
        return found


@asynccontextmanager
async def streaming(footfall: Running, headers: dict[str, str] | None = None, **params: str) -> AsyncIterator[Stream]:
    asked = {"site_id": "shop", **params}
    async with footfall.http.stream("GET", "/api/live/stream", params=asked, headers=headers or {}) as response:
        assert response.status_code == 200, await response.aread()
        yield Stream(response)


async def test_the_stream_shows_what_is_stored_and_nobodys_name(footfall: Running) -> None:
    await footfall.send(path="/before")
    async with streaming(footfall) as stream:
        await footfall.send(path="/now?a=1", user_id="anna@example.org", props={"mail": "anna@example.org"})
        message = await stream.message("event")
        told = json.loads(message["data"])
        assert set(told) == {
            "id", "time", "name", "hostname", "path", "source", "country", "device", "browser", "visitor",
        }  # fmt: skip
        assert (told["path"], told["name"]) == ("/now?a=1", "pageview")
        assert message["id"].endswith(f"-{told['id']}")
        assert "anna" not in json.dumps(message)
        await footfall.send(path="/later", user_id="anna@example.org")
        later = await stream.event()
        assert (later["path"], later["visitor"]) == ("/later", told["visitor"])
        assert stream.response.headers["content-type"] == "text/event-stream; charset=utf-8"


async def test_the_stream_tells_the_figures_again_and_again(footfall: Running) -> None:
    async with streaming(footfall) as stream:
        await footfall.send()
        figures = [json.loads((await stream.message("now"))["data"]) for _ in range(3)]
        assert figures[-1]["visitors_5m"] == 1
        assert figures[-1] == {
            **(await footfall.http.get("/api/live?site_id=shop")).json()["data"],
            "at": figures[-1]["at"],
        }


async def test_who_comes_back_is_told_what_was_missed_and_nothing_twice(footfall: Running) -> None:
    async with streaming(footfall) as stream:
        await footfall.send(path="/1")
        last = (await stream.message("event"))["id"]
    for path in ("/2", "/3"):
        await footfall.send(path=path)
    async with streaming(footfall, {"last-event-id": last}) as stream:
        await footfall.send(path="/4")
        assert [(await stream.event())["path"] for _ in range(3)] == ["/2", "/3", "/4"]


async def test_many_listeners_of_a_site_are_one_audience(footfall: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    class Counted(Audience):
        async def run(self) -> None:
            made.append("an audience")
            await super().run()

    monkeypatch.setattr("footfall.api.audience.Audience", Counted)
    async with streaming(footfall) as one, streaming(footfall), streaming(footfall) as last:
        await footfall.send(path="/a")
        assert (await one.event())["path"] == (await last.event())["path"] == "/a"
        assert len(made) == 1
        async with streaming(footfall, site_id="other"):
            assert len(made) == 2


async def test_a_stream_needs_a_key_or_a_ticket_for_its_site(tmp_path: Path) -> None:
    async with running(tmp_path, Settings(auth=AuthMode.ON)) as footfall:
        key = await footfall.key(Scope.READ, site_ids=("shop",))
        http = footfall.http

        async def status(site: str, **params: str) -> int:
            asked = {"site_id": site, **params}
            async with http.stream("GET", "/api/live/stream", params=asked) as response:
                return response.status_code

        assert (await http.get("/api/live?site_id=shop")).status_code == 401
        assert (await http.get("/api/live?site_id=other", headers=key)).status_code == 403
        assert (await http.post("/api/live/ticket?site_id=shop")).status_code == 401
        assert (await http.post("/api/live/ticket?site_id=other", headers=key)).status_code == 403
        made = (await http.post("/api/live/ticket?site_id=shop", headers=key)).json()["data"]
        assert made["expires_in_s"] == 60
        assert await status("shop") == 401
        assert await status("shop", ticket=made["ticket"]) == 200
        assert await status("other", ticket=made["ticket"]) == 401
        assert await status("shop", ticket=made["ticket"][:-1] + "x") == 401
        async with streaming(footfall, key) as stream:
            assert stream.response.headers["access-control-allow-origin"] == "*"


async def test_where_the_door_is_open_no_ticket_is_needed_and_a_wrong_one_is_refused(footfall: Running) -> None:
    made = (await footfall.http.post("/api/live/ticket?site_id=shop")).json()["data"]
    assert made["ticket"] is None
    response = await footfall.http.get("/api/live/stream?site_id=shop&ticket=wrong")
    assert response.status_code == 401


async def test_a_ticket_is_over_after_a_minute_and_with_its_key() -> None:
    key = Key("00ff00ff00", "test", (Scope.READ,), (), 0, None, None, b"\1" * 32)

    class OneKey:
        def __init__(self) -> None:
            self.key: Key | None = key

        async def key_named(self, key_id: str) -> Key | None:
            return self.key if key_id == key.id else None

    door: Any = OneKey()
    ticket = make_ticket(key, "shop", 1_000)
    assert (await holder(door, ticket, "shop", 1_000 + LIFE_MS - 1)).key == key
    with pytest.raises(Unauthorized, match="over"):
        await holder(door, ticket, "shop", 1_000 + LIFE_MS)
    longer = ticket.replace(str(1_000 + LIFE_MS), str(2_000 + LIFE_MS))
    with pytest.raises(Unauthorized, match="not valid"):
        await holder(door, longer, "shop", 1_000)
    door.key = None
    with pytest.raises(Unauthorized, match="not valid"):
        await holder(door, ticket, "shop", 1_000)


async def test_a_key_that_is_revoked_listens_no_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_routes, "RECHECK_S", 0.0)
    async with running(tmp_path, Settings(auth=AuthMode.ON)) as footfall:
        key = await footfall.key(Scope.READ)
        async with streaming(footfall, key) as stream:
            await stream.message("now")
            for each in await footfall.registry.keys.all():
                await footfall.registry.keys.delete(each.id)
            with pytest.raises((EOFError, httpx.TransportError)):
                await stream.message("none of this kind comes before the end")


async def test_so_many_streams_for_one_caller_and_each_place_is_given_back(footfall: Running) -> None:
    limit = live_routes.STREAMS_EACH_MAX
    async with httpx.AsyncClient(base_url=footfall.url, trust_env=False, timeout=30) as http:
        for _ in range(2):
            opened = [http.stream("GET", "/api/live/stream?site_id=shop") for _ in range(limit)]
            responses = [await each.__aenter__() for each in opened]
            assert {response.status_code for response in responses} == {200}
            refused = await http.get("/api/live/stream?site_id=shop")
            assert refused.status_code == 429
            assert refused.headers["retry-after"]
            for each in opened:
                await each.__aexit__(None, None, None)

            async def is_free() -> bool:
                async with http.stream("GET", "/api/live/stream?site_id=shop") as response:
                    return response.status_code == 200

            await footfall.until(is_free)
            await footfall.until(lambda: _all_free(http, limit))


async def _all_free(http: httpx.AsyncClient, limit: int) -> bool:
    opened = [http.stream("GET", "/api/live/stream?site_id=shop") for _ in range(limit)]
    responses = [await each.__aenter__() for each in opened]
    for each in opened:
        await each.__aexit__(None, None, None)
    return {response.status_code for response in responses} == {200}


async def test_a_store_that_is_down_is_503_at_the_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("footfall.api.audience.BEGIN_S", 0.05)
    async with running(tmp_path) as footfall:
        assert isinstance(footfall.store, MemoryStore)
        footfall.store.is_down = True
        response = await footfall.http.get("/api/live/stream?site_id=shop")
        assert response.status_code == 503
        footfall.store.is_down = False

        async def is_there_again() -> bool:
            async with footfall.http.stream("GET", "/api/live/stream?site_id=shop") as response:
                return response.status_code == 200

        await footfall.until(is_there_again)


async def test_a_reader_that_stops_reading_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("footfall.api.outflow.SLOW_S", 0.2)
    monkeypatch.setattr(live_routes, "STREAMS_EACH_MAX", 1)
    async with running(tmp_path) as footfall:
        address = httpx.URL(footfall.url)
        with socket.create_connection((address.host, address.port)) as reader:
            reader.sendall(b"GET /api/live/stream?site_id=shop HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert await asyncio.to_thread(reader.recv, 12) == b"HTTP/1.1 200"

            async def its_place_is_free() -> bool:
                now = datetime.now(UTC)
                # Soon more than the sockets of both sides hold.
                await write(footfall.store, *(an_event(now, path="/" + "x" * 2_000) for _ in range(500)))
                return (await footfall.http.head("/api/live/stream?site_id=shop")).status_code == 200

            await footfall.until(its_place_is_free)
            reader.settimeout(10)
            with suppress(ConnectionResetError):
                while await asyncio.to_thread(reader.recv, 1_000_000):
                    pass


async def test_streams_end_in_order_when_the_server_stops(tmp_path: Path) -> None:
    async with running(tmp_path) as footfall:
        reading = asyncio.create_task(_read_to_the_end(footfall.url))
        await footfall.until(lambda: _has_begun(reading))
    # It is over because the server stopped, and the end was sent: nothing is raised.
    assert b"retry: 2000" in await reading


_BEGUN: set[asyncio.Task[bytes]] = set()


async def _has_begun(task: asyncio.Task[bytes]) -> bool:
    return task in _BEGUN


async def _read_to_the_end(url: str) -> bytes:
    task: Any = asyncio.current_task()
    body = b""
    async with (
        httpx.AsyncClient(trust_env=False, timeout=30) as http,
        http.stream("GET", f"{url}/api/live/stream?site_id=shop") as response,
    ):
        async for part in response.aiter_raw():
            body += part
            _BEGUN.add(task)
    return body


async def test_the_head_of_a_stream_is_no_stream(footfall: Running) -> None:
    response = await footfall.http.head("/api/live/stream?site_id=shop")
    assert (response.status_code, response.content) == (200, b"")


async def test_every_wrong_parameter_is_named(footfall: Running) -> None:
    check: Callable[[httpx.Response], set[str]] = lambda response: {  # noqa: E731
        fault["field"] for fault in response.json()["details"]
    }
    for path in ("/api/live", "/api/live/stream"):
        response = await footfall.http.get(path, params={"timezone": "Mars", "x": "1"})
        assert response.status_code == 400
        assert check(response) == {"site_id", "timezone", "x"}
