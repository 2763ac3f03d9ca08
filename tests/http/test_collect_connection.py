"""What a connection alone may take of us: bytes of a head, and time."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from footfall.collect import watch
from footfall.collect.protocol import HEAD_BYTES_MAX, HEADERS_MAX
from tests.http.collecting import EVENT, Collecting, collecting


@pytest.fixture
async def collector(tmp_path: Path) -> AsyncIterator[Collecting]:
    async with collecting(tmp_path) as running:
        yield running


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits of time, made short."""
    for name in ("LOOK_S", "IDLE_S", "HEAD_S", "BODY_S"):
        monkeypatch.setattr(watch, name, 0.05)


async def _answered(collector: Collecting, *parts: bytes) -> bytes:
    """Send *parts*, wait for the server to close, and return what it said."""
    reader, writer = await asyncio.open_connection("127.0.0.1", collector.port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.01)
        async with asyncio.timeout(30):
            return await reader.read()
    finally:
        writer.close()


def _head(*lines: bytes) -> bytes:
    return b"\r\n".join([b"POST /api/event HTTP/1.1", b"Host: h", *lines]) + b"\r\n\r\n"


def _error(told: bytes, status: int) -> dict[str, object]:
    head, _, body = told.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), told[:200]
    assert b"content-type: application/json" in head
    assert b"connection: close" in head
    error: dict[str, object] = msgspec.json.decode(body)
    assert (list(error), error["success"]) == (["success", "error", "details"], False)
    return error


@pytest.mark.parametrize(
    "parts",
    [
        (_head(b"X-Big: " + b"x" * HEAD_BYTES_MAX),),
        (b"POST /api/event HTTP/1.1\r\nX-Big: ", b"x" * 40_000, b"x" * 40_000),
        (_head(b"Transfer-Encoding: chunked") + b"2\r\n{}\r\n0\r\nX-Big: ", b"x" * 40_000, b"x" * 40_000),
        (b"GET /" + b"x" * HEAD_BYTES_MAX + b" HTTP/1.1\r\n\r\n",),
        (_head(*[b"X-%d: 1" % number for number in range(HEADERS_MAX)]),),
    ],
    ids=["one header", "unfinished", "trailers", "the request line", "many headers"],
)
async def test_a_head_over_the_limit_is_a_431_and_the_connection_closed(
    collector: Collecting, parts: tuple[bytes, ...]
) -> None:
    error = _error(await _answered(collector, *parts), 431)
    assert "65536 bytes or 100 headers" in str(error["error"])
    assert collector.events() == []


async def test_a_large_head_within_the_limit_is_taken_also_after_a_large_body(collector: Collecting) -> None:
    body = msgspec.json.encode({**EVENT, "ignored": "x" * 60_000})
    request = _head(b"Content-Length: %d" % len(body), b"X-Big: " + b"x" * 60_000) + body
    last = _head(b"Content-Length: %d" % len(body), b"Connection: close", b"X-Big: " + b"x" * 60_000) + body
    told = await _answered(collector, request[:50_000], request[50_000:] + last[:30_000], last[30_000:])
    assert told.count(b"HTTP/1.1 202") == 2


async def test_a_trailer_does_not_pass_for_a_header(tmp_path: Path) -> None:
    body = msgspec.json.encode(EVENT)
    chunk = b"%x\r\n%b\r\n0\r\n" % (len(body), body)
    async with collecting(tmp_path) as collector:
        head = _head(b"Transfer-Encoding: chunked", b"Connection: close")
        assert (await _answered(collector, head + chunk + b"\r\n")).startswith(b"HTTP/1.1 202")
        told = await _answered(collector, head + chunk + b"Authorization: Bearer x\r\n\r\n")
        assert told.startswith(b"HTTP/1.1 202"), "a header of this name would be a 401"


async def test_what_is_not_http_is_a_400_in_the_shape_of_every_error(collector: Collecting) -> None:
    error = _error(await _answered(collector, b"how do you do\r\n\r\n"), 400)
    assert error["details"] == [{"field": "request", "message": "is not valid HTTP/1.1"}]


@pytest.mark.usefixtures("hasty")
async def test_a_connection_that_says_nothing_is_closed(collector: Collecting) -> None:
    assert await _answered(collector) == b""


@pytest.mark.usefixtures("hasty")
async def test_a_head_that_does_not_end_is_a_408_and_the_connection_closed(collector: Collecting) -> None:
    _error(await _answered(collector, _head(b"X-A: ")[:-4]), 408)


@pytest.mark.usefixtures("hasty")
async def test_a_body_that_does_not_end_is_a_408_and_the_connection_closed(collector: Collecting) -> None:
    _error(await _answered(collector, _head(b"Content-Length: 9") + b"{"), 408)


@pytest.mark.usefixtures("hasty")
async def test_a_connection_without_a_next_request_is_closed(collector: Collecting) -> None:
    body = msgspec.json.encode(EVENT)
    for _ in range(2):
        told = await _answered(collector, _head(b"Content-Length: %d" % len(body)) + body)
        assert told.count(b"HTTP/1.1 202") == 1
