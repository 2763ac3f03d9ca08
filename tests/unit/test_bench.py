"""The benchmark's own instruments: a yardstick that is wrong measures nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bench import pace as generator
from bench.http import answer_bytes, post
from bench.pace import pace
from bench.rows import NotMeasured, median, percentile

GOOD = b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\n{}"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"


def an_event(number: int) -> bytes:
    return post("/api/event", b'{"n":%d}' % number)


@asynccontextmanager
async def answering(answer: bytes, hold: asyncio.Event | None = None) -> AsyncIterator[int]:
    """A server that answers everything alike, once *hold* is set; its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly((answer_bytes(head) or 0) - len(head))
                if hold is not None:
                    await hold.wait()
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert [percentile(values, share) for share in (0.5, 0.95, 0.99, 1.0)] == [50, 95, 99, 100]
    assert percentile([7.0], 0.99) == 7
    assert median([4.0, 1.0, 3.0, 2.0]) == 2.5


def test_nothing_measured_is_no_figure() -> None:
    with pytest.raises(NotMeasured):
        percentile([], 0.5)
    with pytest.raises(NotMeasured):
        median([])


def test_the_end_of_an_answer_is_found_wherever_it_was_cut() -> None:
    for cut in range(len(GOOD)):
        length = answer_bytes(GOOD[:cut])
        assert length is None or length == len(GOOD)
    assert answer_bytes(GOOD) == answer_bytes(GOOD + BUSY) == len(GOOD)


async def test_every_event_of_an_open_loop_is_answered_and_timed() -> None:
    async with answering(GOOD) as port:
        paced = await asyncio.to_thread(pace, port, 400.0, 0.5, an_event)
    assert (paced.refused, paced.lost) == (0, 0)
    assert len(paced.took_ms) == len(paced.own_lag_ms) > 100


async def test_events_that_find_every_connection_busy_count_their_wait() -> None:
    hold = asyncio.Event()
    async with answering(GOOD, hold) as port:
        asyncio.get_running_loop().call_later(1.5, hold.set)
        paced = await asyncio.to_thread(pace, port, 1_000.0, 0.6, an_event)
    # Nothing was answered before all of them were due; a closed loop would have sent one on each connection.
    assert sum(took_ms > 200 for took_ms in paced.took_ms) > 2 * generator.CONNECTIONS


async def test_refused_events_spoil_the_figure() -> None:
    async with answering(BUSY) as port:
        paced = await asyncio.to_thread(pace, port, 200.0, 0.3, an_event)
    assert paced.refused > 0
    with pytest.raises(NotMeasured):
        paced.check(200.0)


async def test_events_that_are_never_answered_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generator, "LATE_S_MAX", 0.2)
    hold = asyncio.Event()
    async with answering(GOOD, hold) as port:
        paced = await asyncio.to_thread(pace, port, 200.0, 0.3, an_event)
        hold.set()
    assert paced.lost == len(paced.own_lag_ms) > 0
    with pytest.raises(NotMeasured):
        paced.check(200.0)
