"""`footfall up` with the queue in Redis and the store embedded, while Redis is killed and comes back."""

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bullmq
import httpx
import pytest

from tests.processes import START_TIMEOUT_S, Footfall, footfall_on
from tests.servers import Valkey


@pytest.fixture
def server() -> Iterator[Valkey]:
    made = Valkey("--appendonly", "yes", "--appendfsync", "always")
    made.start()
    yield made
    made.close()


@pytest.fixture
def running(server: Valkey, tmp_path: Path) -> Iterator[Footfall]:
    settings = {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(server.port)}
    with footfall_on(tmp_path / "data", settings) as made:
        yield made


def send(running: Footfall, user_id: str) -> httpx.Response:
    event = {"site_id": "shop", "event_type": "pageview", "user_id": user_id}
    return running.http.post("/api/event", json=event)


def health(running: Footfall) -> dict[str, Any]:
    found: dict[str, Any] = running.http.get("/api/health").json()
    return found


def until_logged(running: Footfall, text: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while text not in running.log_path.read_text():
        assert time.monotonic() < deadline, f"{text!r} was not logged"
        time.sleep(0.05)


def pause(server: Valkey, *, resume: bool = False) -> None:
    """As a person does at a dashboard: what is put stays where it is."""

    async def work() -> None:
        queue = bullmq.Queue("footfall", {"connection": {"port": server.port}})
        await (queue.resume() if resume else queue.pause())
        await queue.close()

    asyncio.run(work())


def test_events_are_refused_while_redis_is_down_and_accepted_when_it_is_back(running: Footfall, server: Valkey) -> None:
    assert send(running, "anna").status_code == 202
    running.settle()
    assert health(running)["queue"]["kind"] == "bullmq"
    server.kill()
    refused = send(running, "bert")
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) > 0
    assert health(running)["status"] == "down"
    server.start()
    assert send(running, "cleo").status_code == 202
    ledger = running.settle()
    assert (ledger["received"], ledger["stored"]) == (2, 2)
    assert running.stats("shop")["unique_users_count"] == 2
    assert running.kill() != 0  # by the signal


def test_a_redis_that_is_down_at_the_start_is_waited_for_with_503(server: Valkey, tmp_path: Path) -> None:
    server.kill()
    footfall = Footfall(tmp_path / "data", REDIS_HOST="127.0.0.1", REDIS_PORT=str(server.port))
    try:
        footfall.launch()
        footfall.until_status("/api/health/live", 200)
        refused = send(footfall, "anna")
        assert (refused.status_code, refused.json()["success"]) == (503, False)
        assert int(refused.headers["retry-after"]) > 0
        assert refused.headers["access-control-allow-origin"] == "*", "a page could not read that it is to try again"
        for path in ("/api/health", "/api/health/ready", "/api/stats?site_id=shop", "/"):
            assert footfall.http.get(path).status_code == 503
        assert footfall.http.get("/api/health").json() == {"status": "down"}
        until_logged(footfall, "waited for")
        server.start()
        footfall.until_status("/api/health/ready", 200)
        assert send(footfall, "anna").status_code == 202
        assert footfall.settle()["stored"] == 1
        assert f"on Redis at 127.0.0.1:{server.port}" in footfall.log_path.read_text()
        assert footfall.kill(signal.SIGTERM) == 0
        server.kill()
        footfall.launch()
        footfall.until_status("/api/health/live", 200)
        assert footfall.kill(signal.SIGTERM) == 0, "it could not be stopped while it waited"
    finally:
        if footfall.process is not None:
            footfall.kill()
        footfall.http.close()


def test_events_that_were_accepted_before_both_are_killed_are_stored_after(running: Footfall, server: Valkey) -> None:
    pause(server)
    for number in range(20):
        assert send(running, f"user-{number}").status_code == 202
    running.kill()
    server.kill()
    server.start()
    running.start()
    assert running.ledger()["waiting"] == 20
    pause(server, resume=True)
    ledger = running.settle()
    assert ledger["received"] == ledger["stored"] == 20
