"""Which queue the settings name, and what is said where its packages are not installed."""

import subprocess
import sys
from pathlib import Path

import pytest

from footfall import wire
from footfall.settings import Settings
from tests.processes import footfall_on
from tests.servers import aws, valkey

_WITHOUT = """
import asyncio, sys
from pathlib import Path
sys.modules[{package!r}] = None
from footfall import wire
from footfall.errors import Misconfigured
from footfall.settings import Settings
try:
    asyncio.run(wire.open_queue(Settings(data_dir=Path({folder!r}), {setting})))
except Misconfigured as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("package", "setting", "extra"),
    [("bullmq", "redis_host='127.0.0.1'", "footfall[redis]"), ("aiobotocore", "use_sqs=True", "footfall[aws]")],
)
def test_a_missing_extra_is_named_with_the_command_that_brings_it(
    package: str, setting: str, extra: str, tmp_path: Path
) -> None:
    script = _WITHOUT.format(package=package, folder=str(tmp_path), setting=setting)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert f"pip install '{extra}'" in done.stdout


async def test_sqs_wins_over_redis(tmp_path: Path) -> None:
    settings = Settings(
        data_dir=tmp_path,
        redis_host="127.0.0.1",
        redis_port=valkey().port,
        use_sqs=True,
        aws_region=aws().region,
        aws_endpoint_url=aws().url,
        queue_name="wire",
    )
    queue = await wire.open_queue(settings)
    assert queue.kind == "sqs"
    await queue.close()


def test_everything_in_one_process_runs_on_sqs_with_the_embedded_store(tmp_path: Path) -> None:
    settings = {
        "USE_SQS": "true",
        "AWS_REGION": aws().region,
        "AWS_ENDPOINT_URL": aws().url,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "REDIS_HOST": "127.0.0.1",
        "QUEUE_NAME": "whole",
    }
    with footfall_on(tmp_path / "data", settings) as running:
        event = {"site_id": "shop", "event_type": "pageview", "user_id": "anna"}
        assert running.http.post("/api/event", json=event).status_code == 202
        ledger = running.settle()
        assert (ledger["received"], ledger["stored"]) == (1, 1)
        assert running.http.get("/api/health").json()["queue"]["kind"] == "sqs"
        assert "USE_SQS wins" in running.log_path.read_text()
