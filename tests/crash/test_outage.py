"""A full disk and a locked file: a clear 503, nothing lost, and work goes on by itself afterwards."""

import resource
import sqlite3
import time
from pathlib import Path

import pytest

from footfall.queue.intake import CHECK_EVERY_S
from tests.processes import Footfall, free_port

DAY = "2026-03-14"
RECOVERY_MAX_S = 30.0


def send(footfall: Footfall, number: int, size: int = 10) -> int:
    """One pageview; the status of the answer."""
    answer = footfall.http.post(
        "/api/event",
        json={
            "site_id": "outage",
            "event_type": "pageview",
            "event_id": f"e{number}",
            "user_id": f"u{number}",
            "timestamp": f"{DAY}T08:00:00Z",
            "props": {f"p{n}": "x" * 1000 for n in range(size)},
        },
    )
    if answer.status_code == 503:
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["success"] is False
    return answer.status_code


def test_a_full_disk_turns_into_503_and_everything_accepted_is_stored_afterwards(tmp_path: Path) -> None:
    """The limit on file size makes every write past it fail, as a full disk does, for queue and store alike."""
    with Footfall(tmp_path / "data") as footfall:
        assert send(footfall, 0) == 202
        footfall.settle()
        process = footfall.process
        assert process is not None
        _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (4_096, hard))
        refused = [number for number in range(1, 40) if send(footfall, number) == 503]
        accepted = set(range(40)) - set(refused)
        assert refused, "the disk was not full"
        assert footfall.http.get("/api/health/live").status_code == 200
        for _ in range(3):  # also when the queue was asked again, which it is once a second
            assert footfall.http.get("/api/health/ready").status_code == 503
            health = footfall.http.get("/api/health")
            assert (health.status_code, health.json()["status"]) == (503, "down")
            assert health.json()["queue"]["status"] == "down"
            assert "no event can be accepted" in health.json()["queue"]["message"]
            time.sleep(CHECK_EVERY_S)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        deadline = time.monotonic() + RECOVERY_MAX_S
        while footfall.http.get("/api/health/ready").status_code != 200:
            assert time.monotonic() < deadline, "without an event it did not see that there is room again"
            time.sleep(0.1)
        for number in refused:
            assert send(footfall, number) == 202, "it did not recover by itself"
        ledger = footfall.settle()
        assert ledger["balanced"]
        assert ledger["failed"] == 0
        assert footfall.stats("outage", date=DAY)["total_views"] == len(accepted) + len(refused) == 40


def test_a_queue_file_locked_by_another_process_is_a_503_until_it_is_free(tmp_path: Path) -> None:
    with Footfall(tmp_path / "data") as footfall:
        assert send(footfall, 1) == 202
        footfall.settle()
        other = sqlite3.connect(tmp_path / "data" / "queue.sqlite", isolation_level=None)
        try:
            other.execute("BEGIN EXCLUSIVE")
            assert send(footfall, 2) == 503
            other.execute("ROLLBACK")
        finally:
            other.close()
        assert send(footfall, 2) == 202
        ledger = footfall.settle()
        assert ledger["balanced"]
        assert footfall.stats("outage", date=DAY)["total_views"] == 2


def test_a_second_process_on_one_folder_is_refused_by_name(tmp_path: Path) -> None:
    with Footfall(tmp_path / "data") as footfall:
        second = footfall.footfall("up", PORT=str(free_port()))
        assert second.returncode == 2
        assert "DATA_DIR" in second.stderr
        assert send(footfall, 1) == 202


@pytest.mark.parametrize(
    ("half", "settings", "named"),
    [
        ("worker", {}, ("REDIS_HOST or USE_SQS", "CLICKHOUSE_URL or MONGODB_URI")),
        ("api", {"REDIS_HOST": "127.0.0.1"}, ("CLICKHOUSE_URL or MONGODB_URI",)),
        ("worker", {"CLICKHOUSE_URL": "http://127.0.0.1:8123"}, ("REDIS_HOST or USE_SQS",)),
    ],
)
def test_half_of_footfall_is_refused_on_embedded_parts_with_the_setting_to_change(
    half: str, settings: dict[str, str], named: tuple[str, ...], tmp_path: Path
) -> None:
    refused = Footfall(tmp_path / "data", **settings).footfall(half)
    assert refused.returncode == 2
    assert "footfall up" in refused.stderr
    assert refused.stderr.count("Can not start") == len(named)
    for setting in named:
        assert f"set {setting}" in refused.stderr
