"""`footfall smoke` against a real server, and against ones that are none."""

import asyncio
import io
from pathlib import Path

import pytest
from rich.console import Console

from footfall.errors import Unavailable
from footfall.tools.demo import send_demo
from footfall.tools.smoke import CHECKS, check_server, run_smoke
from tests.processes import footfall_on, free_port


def a_console() -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, width=160), text


def test_a_running_server_passes_everything(tmp_path: Path) -> None:
    console, text = a_console()
    with footfall_on(tmp_path / "data") as server:
        status = asyncio.run(run_smoke(server.url, console=console))
        assert status == 0, text.getvalue()
        ledger = server.settle()
        assert ledger["balanced"] is True
        assert ledger["dropped"]["duplicate"] == 2
    assert f"{len(CHECKS)} passed, 0 failed" in text.getvalue()


def test_a_demo_sent_twice_is_stored_once(tmp_path: Path) -> None:
    with footfall_on(tmp_path / "data") as server:
        first = asyncio.run(send_demo(server.url, days=3, events=1_500, seed=7))
        assert first.accepted == first.events
        stored = server.settle()["stored"]
        assert stored == first.events
        again = asyncio.run(send_demo(server.url, days=3, events=1_500, seed=7))
        assert again.rejected == 0
        assert server.settle()["stored"] == stored + again.events - first.events


async def test_a_server_that_is_another_one_fails_by_name_and_status() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello")
        await writer.drain()
        writer.close()

    console, text = a_console()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert await run_smoke(url, console=console) == 1
        outcomes = {outcome.name: outcome for outcome in await check_server(url)}
    assert "FAIL" in text.getvalue()
    assert not outcomes["An event as in the README"].passed
    assert "answered 200, not 202" in outcomes["An event as in the README"].message
    assert "is no JSON" in outcomes["GET /api/health/live"].message


async def test_nothing_at_the_address_is_one_clear_sentence() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(Unavailable, match=r"nothing answers at .*footfall up"):
        await check_server(url)


def test_every_check_has_a_name_of_its_own() -> None:
    names = [check.__doc__ for check in CHECKS]
    assert all(names)
    assert len(set(names)) == len(names)
