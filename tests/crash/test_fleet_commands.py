"""Every command on servers: an API and a worker as processes of their own, and what a person types beside them."""

import json
import re
import secrets
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.clickhouse_server import clickhouse
from tests.processes import Footfall
from tests.servers import aws, mongo, valkey

DAY = "2026-03-14"
REVOKED_WITHIN_S = 30.0


def redis_settings(name: str) -> dict[str, str]:
    return {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(valkey().port), "QUEUE_NAME": name}


def sqs_settings(name: str) -> dict[str, str]:
    return {
        "USE_SQS": "true",
        "QUEUE_NAME": name,
        "AWS_REGION": aws().region,
        "AWS_ENDPOINT_URL": aws().url,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
    }


def settings_of(setup: str) -> dict[str, str]:
    """Settings of a queue and a store on servers, under a name that nobody else has."""
    name = f"fleet_{secrets.token_hex(6)}"
    if setup == "redis and mongodb":
        return redis_settings(name) | {"MONGODB_URI": mongo().uri(name)}
    if setup == "sqs and clickhouse":
        return sqs_settings(name) | {"CLICKHOUSE_URL": clickhouse().database(name)}
    return redis_settings(name) | {"MONGODB_URI": mongo().uri(name), "CLICKHOUSE_URL": clickhouse().database(name)}


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def started(stack: ExitStack, *processes: Footfall) -> None:
    for process in processes:
        process.launch()
        stack.push(process.__exit__)
    for process in processes:
        process.until_status("/api/health/ready", 200)


def line(second: int) -> str:
    return (
        f"198.51.100.{second % 7} - - [14/Mar/2026:10:00:{second:02} +0000] "
        f'"GET /page/{second % 3} HTTP/1.1" 200 1 "-" '
        '"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"\n'
    )


@pytest.mark.slow
@pytest.mark.parametrize("setup", ["redis and mongodb", "sqs and clickhouse"])
def test_every_command_works_beside_the_processes(setup: str, stack: ExitStack, tmp_path: Path) -> None:
    settings = settings_of(setup)
    api = Footfall(tmp_path / "data", "api", name="-api", **settings)
    worker = Footfall(tmp_path / "data", "worker", name="-worker", **settings)
    started(stack, api, worker)

    made = api.footfall("keys", "create", "mine", "--scope", "read")
    assert made.returncode == 0, made.stderr
    token = {"authorization": f"Bearer {made.stdout.strip()}"}
    question = {"site_id": "shop", "date": DAY}
    assert api.http.get("/api/stats", params=question, headers=token).status_code == 200
    (key,) = json.loads(api.footfall("keys", "list", "--json").stdout)
    assert api.footfall("keys", "revoke", key["id"]).returncode == 0
    deadline = time.monotonic() + REVOKED_WITHIN_S
    while api.http.get("/api/stats", params=question, headers=token).status_code != 401:
        assert time.monotonic() < deadline, "a revoked key went on working"
        time.sleep(0.1)

    assert api.footfall("sites", "set", "shop", "--timezone", "Asia/Tehran").returncode == 0
    (site,) = json.loads(api.footfall("sites", "list", "--json").stdout)
    assert (site["id"], site["timezone"]) == ("shop", "Asia/Tehran")

    log = tmp_path / "access.log"
    log.write_text("".join(line(second) for second in range(50)))
    first = api.footfall("import", "log", str(log), "--site", "shop")
    assert "50 stored" in first.stdout, first.stdout + first.stderr
    again = api.footfall("import", "log", str(log), "--site", "shop")
    assert "50 were there already" in again.stdout or "0 stored" in again.stdout, again.stdout + again.stderr
    stats = api.stats("shop", date=DAY)
    views = Counter(f"/page/{second % 3}" for second in range(50))
    assert stats["total_views"] == 50
    assert stats["unique_users_count"] == 7
    assert {row["path"]: row["views"] for row in stats["top_paths"]} == views

    if setup == "redis and mongodb":  # these speak HTTP alone, so once is enough
        demo = api.footfall("demo", "--events", "300", "--days", "2", "--url", api.url)
        assert demo.returncode == 0, demo.stdout + demo.stderr
        smoke = api.footfall("smoke", api.url)
        assert smoke.returncode == 0, smoke.stdout + smoke.stderr

    ledger = api.settle()
    assert ledger["balanced"], ledger
    status = json.loads(api.footfall("queue", "status", "--json").stdout)
    assert status["unfinished_events"] == 0
    assert status["received_events"] == ledger["received"] >= 100
    assert "No failed jobs" in api.footfall("queue", "failed").stdout
    shown = api.footfall("config").stdout
    assert not [name for name in settings if name not in shown and not name.startswith("AWS_")]
    for secret in re.findall(r"//[^/@\s]*:([^@/\s]+)@", " ".join(settings.values())):
        assert secret not in shown + api.log_path.read_text() + worker.log_path.read_text()
    for process in (api, worker):
        assert process.kill(15) == 0
        assert "Traceback" not in process.log_path.read_text()


@pytest.mark.slow
def test_events_may_live_in_clickhouse_and_the_registry_in_mongodb(stack: ExitStack, tmp_path: Path) -> None:
    settings = settings_of("clickhouse with mongodb's registry")
    api = Footfall(tmp_path / "no" / "data", "api", name="-api", **settings)
    worker = Footfall(tmp_path / "no" / "data", "worker", name="-worker", **settings)
    api.data_dir.parent.mkdir()
    started(stack, api, worker)
    assert api.http.post("/api/event", json={"site_id": "shop", "event_type": "pageview"}).status_code == 202
    assert api.settle()["received"] == 1
    assert api.http.get("/api/health").json()["store"]["kind"] == "clickhouse"
    assert "registry=mongodb" in api.log_path.read_text()
    assert not api.data_dir.exists(), "nothing of a process on servers belongs on its disk"


@pytest.mark.slow
def test_sqs_and_clickhouse_count_exactly_though_a_worker_is_killed(stack: ExitStack, tmp_path: Path) -> None:
    settings = settings_of("sqs and clickhouse")
    apis = [Footfall(tmp_path / "data", "api", name=f"-api-{number}", **settings) for number in range(2)]
    workers = [Footfall(tmp_path / "data", "worker", name=f"-worker-{number}", **settings) for number in range(2)]
    started(stack, *apis, *workers)
    events = [
        {
            "site_id": "shop",
            "event_type": "pageview",
            "event_id": str(number),
            "user_id": f"user-{number % 300}",
            "path": f"/{number % 9}",
            "timestamp": f"{DAY}T12:00:00Z",
        }
        for number in range(3_000)
    ]
    batches = [events[start : start + 100] for start in range(0, len(events), 100)]
    for number, batch in enumerate([*batches, *batches[::2]]):
        answer = apis[number % 2].http.post("/api/events", json=batch)
        assert (answer.status_code, answer.json()["accepted"]) == (202, 100)
        if number == len(batches) // 2:
            workers[0].kill()
    aws().now_ms += 60_000  # for SQS the lease of what it held is over
    for api in apis:
        ledger = api.settle()
        assert (ledger["stored"], ledger["failed"]) == (len(events), 0)
        stats = api.stats("shop", date=DAY)
        assert (stats["total_views"], stats["unique_users_count"]) == (len(events), 300)
        views = Counter(event["path"] for event in events)
        assert {row["path"]: row["views"] for row in stats["top_paths"]} == views
