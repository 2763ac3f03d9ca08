"""SIGKILL at any moment: what was answered with 202 is stored, and nothing is stored twice."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import httpx

from tests.processes import Footfall

ROUNDS = 6
SENDERS = 6
DAY = "2026-03-14"


class Sender(threading.Thread):
    """Sends one event after the other, each with its own id, until told to stop; keeps what was answered."""

    def __init__(self, url: str, number: int, start_at: int) -> None:
        super().__init__(daemon=True)
        self.url, self.number, self.next = url, number, start_at
        self.accepted: list[str] = []
        self.unanswered: list[str] = []
        self.stopping = threading.Event()

    def run(self) -> None:
        with httpx.Client(base_url=self.url, timeout=10) as http:
            while not self.stopping.is_set():
                event_id = f"{self.number}-{self.next}"
                self.next += 1
                try:
                    answer = http.post("/api/event", json=event_with(event_id))
                except httpx.TransportError:
                    self.unanswered.append(event_id)
                    time.sleep(0.005)
                    continue
                (self.accepted if answer.status_code == 202 else self.unanswered).append(event_id)


def event_with(event_id: str) -> dict[str, str]:
    return {
        "site_id": "crash",
        "event_type": "pageview",
        "event_id": event_id,
        "user_id": f"user-{event_id}",
        "path": f"/page/{event_id}",
        "timestamp": f"{DAY}T12:00:00Z",
    }


def stored_paths(footfall: Footfall, limit: int) -> Counter[str]:
    found: Counter[str] = Counter()
    data = footfall.stats("crash", date=DAY, limit=limit)
    for row in data["top_paths"]:
        found[row["path"]] = row["views"]
    assert data["total_views"] == sum(found.values()), "the limit of the test's own question was too small"
    return found


def test_sigkill_under_load_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    dice = random.Random(20260314)
    accepted: list[str] = []
    unanswered: list[str] = []
    footfall = Footfall(tmp_path / "data")
    with footfall:
        for round_number in range(ROUNDS):
            senders = [Sender(footfall.url, round_number * SENDERS + n, 0) for n in range(SENDERS)]
            for sender in senders:
                sender.start()
            time.sleep(0.3 + dice.random() * 0.8)
            footfall.kill(signal.SIGKILL)
            for sender in senders:
                sender.stopping.set()
            for sender in senders:
                sender.join(timeout=20)
                accepted += sender.accepted
                unanswered += sender.unanswered[:3]
            footfall.start()
        ledger = footfall.settle()
        assert len(accepted) > ROUNDS * SENDERS, "the load was too small to prove anything"
        assert ledger["balanced"], ledger
        before = stored_paths(footfall, 1000) if len(accepted) < 900 else None
        # A sender that got no answer sends again with the same id, and half of those that did get one do so too.
        for event_id in unanswered + accepted[::2]:
            assert footfall.http.post("/api/event", json=event_with(event_id)).status_code == 202
        ledger = footfall.settle()
        assert ledger["balanced"], ledger
        assert ledger["failed"] == 0
        expected = set(accepted) | set(unanswered)
        visitors = footfall.stats("crash", date=DAY)["unique_users_count"]
        views = footfall.stats("crash", date=DAY)["total_views"]
        assert visitors >= len(expected), f"lost {len(expected) - visitors}"
        assert views == visitors, f"doubled {views - visitors}: every event has a visitor of its own"
        # Beyond what was sent again there may be events whose answer the kill swallowed, and no others.
        assert visitors <= len(expected) + ROUNDS * SENDERS
        assert before is None or max(before.values()) == 1


def test_a_kill_between_write_and_ack_stores_once(tmp_path: Path) -> None:
    """The worker's process dies after the store has the batch and before the queue knows it."""
    script = Path(__file__).with_name("die_before_ack.py")
    child = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "data")],
        capture_output=True,
        check=False,
        timeout=60,
        env=os.environ,
    )
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    assert b"written 200" in child.stdout
    with Footfall(tmp_path / "data") as footfall:
        ledger = footfall.settle()
        assert (ledger["received"], ledger["stored"], ledger["failed"]) == (200, 200, 0)
        assert ledger["balanced"]
        assert footfall.stats("crash", date=DAY)["total_views"] == 200


def test_sigterm_stops_within_ten_seconds_and_loses_nothing(tmp_path: Path) -> None:
    footfall = Footfall(tmp_path / "data")
    with footfall:
        senders = [Sender(footfall.url, n, 0) for n in range(SENDERS)]
        for sender in senders:
            sender.start()
        time.sleep(1)
        started = time.monotonic()
        status = footfall.kill(signal.SIGTERM)
        took_s = time.monotonic() - started
        for sender in senders:
            sender.stopping.set()
        for sender in senders:
            sender.join(timeout=20)
        accepted = sum(len(sender.accepted) for sender in senders)
        assert status == 0
        assert took_s < 10
        footfall.start()
        ledger = footfall.settle()
        assert ledger["balanced"]
        assert accepted > 0
        assert accepted <= ledger["stored"] <= accepted + SENDERS
