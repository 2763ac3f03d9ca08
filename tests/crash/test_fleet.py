"""Two APIs and three workers on Redis and MongoDB: one is killed, both servers fail, and every number is exact."""

import queue
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.processes import Footfall
from tests.servers import Mongo, Valkey

SITE = "fleet"
DAY = "2026-03-14"
EVENTS = 20_000
REPEATED = 3_000
BATCH_EVENTS = 250
OUTAGE_S = 5.0
GIVE_UP_S = 120.0


class Fleet:
    """The processes, and two senders that send every batch until it is accepted."""

    def __init__(self, apis: Sequence[Footfall], workers: Sequence[Footfall]) -> None:
        self.apis = apis
        self.workers = workers
        self.refused = 0
        self._batches: queue.Queue[tuple[Footfall, list[dict[str, Any]]]] = queue.Queue()
        self._sent = self._allowed = 0
        self._changed = threading.Condition()
        self._errors: list[str] = []

    def begin(self, events: list[dict[str, Any]]) -> None:
        """Send *events*, batch by batch, to one API and the other, as far as it is allowed."""
        starts = range(0, len(events), BATCH_EVENTS)
        for number, start in enumerate(starts):
            self._batches.put((self.apis[number % len(self.apis)], events[start : start + BATCH_EVENTS]))
        for _ in self.apis:
            threading.Thread(target=self._send, daemon=True).start()

    def _send(self) -> None:
        with httpx.Client(timeout=30) as http:
            while True:
                try:
                    api, batch = self._batches.get_nowait()
                except queue.Empty:
                    return
                with self._changed:
                    self._changed.wait_for(lambda: self._sent < self._allowed, GIVE_UP_S)
                self._send_one(http, api, batch)
                with self._changed:
                    self._sent += len(batch)
                    self._changed.notify_all()

    def _send_one(self, http: httpx.Client, api: Footfall, batch: list[dict[str, Any]]) -> None:
        give_up_at = time.monotonic() + GIVE_UP_S
        while time.monotonic() < give_up_at:
            answer = http.post(f"{api.url}/api/events", json=batch)
            if answer.status_code == 202:
                assert answer.json()["accepted"] == len(batch)
                return
            with self._changed:
                self.refused += 1
                self._changed.notify_all()
            assert answer.status_code == 503, answer.text
            assert int(answer.headers["retry-after"]) > 0
            time.sleep(0.2)
        self._errors.append(answer.text)

    def allow(self, events: int) -> None:
        """Let so many events be sent, all in all."""
        with self._changed:
            self._allowed = events
            self._changed.notify_all()

    def until_sent(self, events: int) -> None:
        """Wait until so many events were accepted."""
        self.allow(events)
        with self._changed:
            assert self._changed.wait_for(lambda: self._sent >= events, GIVE_UP_S), f"{self._sent} were accepted"
        assert not self._errors, self._errors

    def until_refused(self) -> None:
        """Wait until a batch was refused with 503."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.refused > 0, GIVE_UP_S)


def made_events(dice: random.Random) -> list[dict[str, Any]]:
    """EVENTS different ones, of which REPEATED come twice, in no order."""
    events: list[dict[str, Any]] = [
        {
            "site_id": SITE,
            "event_type": "pageview" if dice.random() < 0.8 else "click",
            "event_id": f"e{number}",
            "user_id": f"user-{int(dice.random() ** 2 * 900)}",
            "path": f"/page/{int(dice.random() ** 2 * 30)}",
            "timestamp": f"{DAY}T{dice.randrange(24):02}:{dice.randrange(60):02}:{dice.randrange(60):02}Z",
        }
        for number in range(EVENTS)
    ]
    sent = events + dice.sample(events, REPEATED)
    dice.shuffle(sent)
    return sent


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    made = Valkey("--appendonly", "yes", "--appendfsync", "always")
    made.start()
    yield made
    made.close()


@pytest.fixture
def mongo() -> Iterator[Mongo]:
    made = Mongo()
    made.start()
    yield made
    made.close()


@pytest.fixture
def fleet(valkey: Valkey, mongo: Mongo, tmp_path: Path) -> Iterator[Fleet]:
    settings = {
        "REDIS_HOST": "127.0.0.1",
        "REDIS_PORT": str(valkey.port),
        "MONGODB_URI": mongo.uri("fleet"),
    }
    apis = [Footfall(tmp_path / "data", "api", name=f"-api-{number}", **settings) for number in range(2)]
    workers = [Footfall(tmp_path / "data", "worker", name=f"-worker-{number}", **settings) for number in range(3)]
    with ExitStack() as stack:
        for process in (*apis, *workers):
            process.launch()
            stack.push(process.__exit__)
        for process in (*apis, *workers):
            process.until_status("/api/health/ready", 200)
        yield Fleet(apis, workers)


@pytest.mark.slow
def test_a_fleet_counts_exactly_through_a_kill_and_outages_of_both_servers(
    fleet: Fleet, valkey: Valkey, mongo: Mongo
) -> None:
    sent = made_events(random.Random(20260314))
    fleet.begin(sent)
    fleet.until_sent(len(sent) // 5)
    fleet.workers[0].kill()
    fleet.until_sent(len(sent) * 2 // 5)
    mongo.kill()
    down_at = time.monotonic()
    fleet.until_sent(len(sent) * 3 // 5)  # no API needs the store to accept events
    time.sleep(max(0.0, OUTAGE_S - (time.monotonic() - down_at)))
    mongo.start()
    assert fleet.refused == 0
    valkey.kill()
    fleet.allow(len(sent))
    fleet.until_refused()
    valkey.start()
    fleet.until_sent(len(sent))
    different = {event["event_id"]: event for event in sent}.values()
    views = Counter(event["path"] for event in different if event["event_type"] == "pageview")
    top = [{"path": path, "views": count} for path, count in sorted(views.items(), key=lambda one: (-one[1], one[0]))]
    for api in fleet.apis:
        ledger = api.settle()
        assert ledger["balanced"], ledger
        assert (ledger["stored"], ledger["failed"], ledger["purged"]) == (EVENTS, 0, 0)
        assert ledger["dropped"] == {"duplicate": ledger["received"] - EVENTS}
        assert ledger["received"] >= len(sent)
        stats = api.stats(SITE, date=DAY, limit=100)
        assert stats["total_views"] == views.total()
        assert stats["unique_users_count"] == len({event["user_id"] for event in different})
        assert stats["top_paths"] == top
        health = api.http.get("/api/health").json()
        assert (health["status"], health["worker"]["status"]) == ("ok", "elsewhere")
        assert (health["queue"]["kind"], health["store"]["kind"]) == ("bullmq", "mongodb")
    for worker in fleet.workers[1:]:
        assert worker.http.get("/api/health").json()["worker"]["status"] == "running"
        assert "footfall_events_stored_total" in worker.http.get("/metrics").text
        assert worker.http.get("/api/stats", params={"site_id": SITE}).status_code == 404
        assert worker.kill(15) == 0


def test_a_worker_that_is_told_to_stop_while_its_store_is_away_ends_in_order(
    valkey: Valkey, mongo: Mongo, tmp_path: Path
) -> None:
    settings = {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(valkey.port), "MONGODB_URI": mongo.uri("stopped")}
    event = {"site_id": SITE, "event_type": "pageview", "timestamp": f"{DAY}T12:00:00Z"}
    with Footfall(tmp_path / "data", "api", name="-api", **settings) as api:
        with Footfall(tmp_path / "data", "worker", name="-worker", **settings) as worker:
            assert api.http.post("/api/event", json={**event, "user_id": "anna"}).status_code == 202
            api.settle()
            mongo.kill()
            assert api.http.post("/api/event", json={**event, "user_id": "ben"}).status_code == 202
            time.sleep(1)  # it is tried by then
            assert worker.kill(signal.SIGTERM) == 0, worker.log_path.read_text()
            assert "Traceback" not in worker.log_path.read_text()
        mongo.start()
        with Footfall(tmp_path / "data", "worker", name="-worker-2", **settings):
            api.until_status("/api/health/ready", 200)
            api.settle()
        assert api.stats(SITE, date=DAY)["unique_users_count"] == 2
