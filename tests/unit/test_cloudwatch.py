"""Logs to CloudWatch, as moto plays it: every line arrives, or is counted; and nobody waits for it."""

import io
import json
import logging
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import structlog
from moto.server import ThreadedMotoServer

from footfall import logs, wire
from footfall.cloudwatch import LINE_CHARS_MAX, CloudWatchHandler
from footfall.errors import Misconfigured
from footfall.settings import Settings
from footfall.wire import Half
from tests.processes import Footfall, free_port
from tests.servers import aws

log = structlog.stdlib.get_logger("footfall.test")


@pytest.fixture
def console(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Where the console's lines go."""
    made = io.StringIO()
    monkeypatch.setattr(sys, "stderr", made)
    return made


@pytest.fixture
def settings(tmp_path: Path, console: io.StringIO) -> Iterator[Settings]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    made = Settings(
        data_dir=tmp_path,
        enable_cloudwatch=True,
        cloudwatch_log_group=f"/footfall/{secrets.token_hex(6)}",
        aws_region=aws().region,
        aws_endpoint_url=aws().url,
    )
    logs.configure(made)
    yield made
    root.handlers = before
    root.setLevel(level)
    structlog.reset_defaults()


def lines_of(group: str) -> dict[str, list[dict[str, Any]]]:
    """What CloudWatch has in *group*: for each stream its lines in order."""
    client = boto3.session.Session().client("logs", region_name=aws().region, endpoint_url=aws().url)
    found: dict[str, list[dict[str, Any]]] = {}
    for page in client.get_paginator("describe_log_streams").paginate(logGroupName=group):
        for stream in page["logStreams"]:
            name = stream["logStreamName"]
            events = client.get_log_events(logGroupName=group, logStreamName=name, startFromHead=True, limit=10_000)
            found[name] = [json.loads(event["message"]) for event in events["events"]]
    return found


def test_every_line_arrives_as_json_in_the_stream_of_the_process(settings: Settings) -> None:
    with logs.also_to(wire.open_log_handler(settings, Half.API)):
        for number in range(3_000):
            log.info("a line", number=number)
        logging.getLogger("somebody.else").warning("theirs: %s", "x")
        try:
            raise ValueError("a bug")
        except ValueError:
            log.exception("it failed")
        log.info("long", text="y" * 2 * LINE_CHARS_MAX)
    ((stream, lines),) = lines_of(settings.cloudwatch_log_group).items()
    assert stream.startswith("api-")
    assert [line["number"] for line in lines[:3_000]] == list(range(3_000))
    assert {key: lines[0][key] for key in ("event", "level", "logger")} == {
        "event": "a line",
        "level": "info",
        "logger": "footfall.test",
    }
    assert lines[3_000]["event"] == "theirs: x"
    assert "ValueError: a bug" in lines[3_001]["exception"]
    assert lines[3_002]["cut"] is True
    assert len(lines) == 3_003


def test_a_cloudwatch_that_is_down_holds_nobody_up_and_what_is_lost_is_told(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, console: io.StringIO
) -> None:
    monkeypatch.setattr("footfall.cloudwatch.CLOSE_S", 0.0)
    monkeypatch.setattr("footfall.cloudwatch.LINES_MAX", 100)
    handler = CloudWatchHandler.open(
        "group", region="us-east-1", endpoint_url=f"http://127.0.0.1:{free_port()}", process="up"
    )
    with logs.also_to(handler):
        for number in range(500):
            log.info("a line", number=number)
    assert handler.dropped >= 500
    assert console.getvalue().count("a line") == 500
    assert "log lines were not sent to CloudWatch" in console.getvalue()


def test_what_was_said_while_cloudwatch_was_down_arrives_when_it_is_back(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("footfall.cloudwatch.PAUSE_MAX_S", 0.2)
    monkeypatch.setattr("footfall.cloudwatch.SEND_EVERY_S", 0.1)
    monkeypatch.setattr("footfall.cloudwatch.CLOSE_S", 30.0)
    port = free_port()
    settings = Settings(
        **{name: getattr(settings, name) for name in settings.__struct_fields__}
        | {"aws_endpoint_url": f"http://127.0.0.1:{port}"}
    )
    with logs.also_to(wire.open_log_handler(settings, Half.WORKER)):
        log.info("while it was down")
        back = ThreadedMotoServer("127.0.0.1", port, verbose=False)
        back.start()
        log.info("when it was back")
    ((_, lines),) = lines_of(settings.cloudwatch_log_group).items()
    said = [line["event"] for line in lines]
    assert said[:2] == ["while it was down", "when it was back"]
    back.stop()


def test_a_missing_region_is_a_wrong_setting(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    with pytest.raises(Misconfigured, match="AWS_REGION"):
        wire.open_log_handler(Settings(enable_cloudwatch=True), Half.BOTH)


def test_a_process_sends_its_lines_from_start_to_stop_and_no_address_among_them(tmp_path: Path) -> None:
    group = f"footfall-{secrets.token_hex(6)}"
    footfall = Footfall(
        tmp_path / "data",
        ENABLE_CLOUDWATCH="true",
        CLOUDWATCH_LOG_GROUP=group,
        AWS_REGION=aws().region,
        AWS_ENDPOINT_URL=aws().url,
        AWS_ACCESS_KEY_ID="testing",
        AWS_SECRET_ACCESS_KEY="s3cr3t-key",
        TRUSTED_PROXIES="127.0.0.1",
        LOG_LEVEL="debug",
    )
    with footfall:
        event = {"site_id": "shop", "event_type": "pageview"}
        headers = {"x-forwarded-for": "203.0.113.77", "user-agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"}
        assert footfall.http.post("/api/event", json=event, headers=headers).status_code == 202
        footfall.http.get("/api/stats?site_id=shop", headers=headers)
        footfall.settle()
        assert footfall.kill(15) == 0
    ((stream, lines),) = lines_of(group).items()
    said = [line["event"] for line in lines]
    assert stream.startswith("up-")
    assert (said[0], said[-1]) == ("starting", "stopped")
    assert {"working", "request", "wrote events"} <= set(said)
    whole = json.dumps(lines)
    assert "203.0.113.77" not in whole
    assert "s3cr3t-key" not in whole
