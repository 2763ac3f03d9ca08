"""How it is: for people, load balancers and orchestrators, whatever the backends do."""

import asyncio
from pathlib import Path

from footfall import __version__
from footfall.errors import Unavailable
from footfall.settings import AuthMode, Settings
from footfall.store.base import Batch, Check, Written
from tests.fakes_queue import MemoryQueue
from tests.fakes_store import MemoryStore
from tests.running import Running, running


async def test_health_says_how_every_part_is(tmp_path: Path) -> None:
    async with running(tmp_path) as footfall:
        response = await footfall.http.get("/api/health")
        body = response.json()
        assert (response.status_code, body["status"], body["version"]) == (200, "ok", __version__)
        assert body["uptime_seconds"] >= 0
        assert body["queue"]["status"] == "ok"
        assert [body["queue"][name] for name in ("waiting", "active", "delayed", "failed")] == [0, 0, 0, 0]
        assert body["store"]["status"] == "ok"
        assert body["store"]["latency_ms"] >= 0
        assert body["worker"] == {"status": "running", "lag_seconds": 0.0}


async def test_who_may_not_read_is_told_the_status_alone(tmp_path: Path) -> None:
    async with running(tmp_path, Settings(auth=AuthMode.ON)) as footfall:
        assert (await footfall.http.get("/api/health")).json() == {"status": "ok"}
        for path in ("live", "ready"):
            assert (await footfall.http.get(f"/api/health/{path}")).json() == {"status": "ok"}


async def test_a_queue_that_is_down_is_down_and_not_ready_and_alive(tmp_path: Path) -> None:
    queue = MemoryQueue()
    async with running(tmp_path, queue=queue) as footfall:
        queue.is_down = True
        response = await footfall.http.get("/api/health")
        assert (response.status_code, response.json()["status"]) == (503, "down")
        assert response.json()["queue"]["status"] == "down"
        assert (await footfall.http.get("/api/health/ready")).status_code == 503
        assert (await footfall.http.get("/api/health/live")).status_code == 200
        metrics = await footfall.http.get("/metrics")
        assert 'footfall_queue_jobs{state="waiting"} NaN' in metrics.text, "an old number would pass for a new one"
        queue.is_down = False

        async def has_recovered() -> bool:
            return (await footfall.http.get("/api/health/ready")).status_code == 200

        await footfall.until(has_recovered)


class HangingStore(MemoryStore):
    """A store that never says how it is."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    async def check(self) -> Check:
        self.asked += 1
        await asyncio.Event().wait()
        raise AssertionError


async def test_a_store_that_hangs_does_not_hang_health_and_is_asked_once(tmp_path: Path) -> None:
    store = HangingStore()
    async with running(tmp_path, store=store) as footfall:
        answers = await asyncio.gather(*(footfall.http.get("/api/health") for _ in range(20)))
        assert {answer.status_code for answer in answers} == {200}
        body = answers[0].json()
        assert (body["status"], body["store"]["status"]) == ("degraded", "down")
        assert "no answer" in body["store"]["message"]
        assert store.asked == 1
        assert (await footfall.http.get("/api/health/ready")).status_code == 200, "events are still accepted"


class RefusingStore(MemoryStore):
    """A store that takes nothing."""

    async def write(self, batch: Batch) -> Written:
        raise Unavailable("no room")

    async def check(self) -> Check:
        return Check(ok=False, latency_ms=1.0, message="no room")


async def test_a_store_that_is_down_degrades_and_events_are_still_accepted(tmp_path: Path) -> None:
    async with running(tmp_path, store=RefusingStore()) as footfall:
        event = {"site_id": "a", "event_type": "pageview", "user_id": "u"}
        assert (await footfall.http.post("/api/event", json=event)).status_code == 202
        body = (await footfall.http.get("/api/health")).json()
        assert (body["status"], body["store"]["message"]) == ("degraded", "no room")

        async def fails() -> bool:
            return bool((await footfall.http.get("/api/health")).json()["worker"]["status"] == "failing")

        await footfall.until(fails)


async def test_a_wrong_key_is_told_so_even_by_health(tmp_path: Path) -> None:
    async with running(tmp_path) as footfall:
        assert await _status(footfall, "/api/health", "Bearer ff_wrong") == 401
        assert await _status(footfall, "/api/health/live", "Bearer ff_wrong") == 200


async def _status(footfall: Running, path: str, authorization: str) -> int:
    return (await footfall.http.get(path, headers={"authorization": authorization})).status_code
