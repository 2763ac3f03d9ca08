"""Logs to CloudWatch Logs, through watchtower's handler: never waiting in the caller, never without a bound, and never
losing a line without a word.

watchtower batches lines in a thread of its own. Its client is ours: while CloudWatch is down or refuses us it waits and
tries again, the lines meanwhile are kept up to LINES_MAX, and what is over that is counted and told of.
"""

import json
import logging
import os
import platform
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import structlog
import watchtower
from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoRegionError

from footfall.errors import Misconfigured
from footfall.metrics import LOG_LINES_DROPPED

LINES_MAX: Final = 10_000
LINE_CHARS_MAX: Final = 16_000
SEND_EVERY_S: Final = 2
CONNECT_TIMEOUT_S: Final = 3
ANSWER_TIMEOUT_S: Final = 5
PAUSE_FIRST_S: Final = 0.5
PAUSE_MAX_S: Final = 30.0
"""Pauses while CloudWatch takes nothing: doubled from the first to the longest."""
CLOSE_S: Final = 5.0
"""For what is left when the process stops."""
_MISSING: Final = "ResourceNotFoundException"
_THERE: Final = frozenset({"ResourceAlreadyExistsException", "OperationAbortedException"})
_WRONG: Final = frozenset({"InvalidParameterException"})
"""Lines that CloudWatch will never take: those of more than a day in one batch, for one."""

log = structlog.stdlib.get_logger(__name__)


class PatientClient:
    """boto3's client for CloudWatch Logs, but that sending goes on until it succeeds or *stop* is called."""

    def __init__(self, client: Any, on_drop: Callable[[int], None]) -> None:  # noqa: ANN401 - made from a data file
        self._client = client
        self._on_drop = on_drop
        self._stopping = threading.Event()
        self._give_up_at = float("inf")
        self._is_failing = False

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._client, name)

    def stop(self, after_s: float) -> None:
        """From *after_s* seconds from now on, give up what can not be sent."""
        self._give_up_at = time.monotonic() + after_s
        self._stopping.set()

    def put_log_events(self, **request: Any) -> dict[str, Any]:  # noqa: ANN401
        """Send a batch, with its group and stream made where they are missing."""
        events: Sequence[object] = request["logEvents"]
        pause_s = PAUSE_FIRST_S
        while not (self._is_failing and time.monotonic() >= self._give_up_at):
            try:
                answer = self._send(request)
            except (BotoCoreError, ClientError) as error:
                self._say_failing(error)
                if _code(error) in _WRONG:
                    break
            else:
                self._say_well(answer)
                return {}
            self._pause(pause_s)
            pause_s = min(2 * pause_s, PAUSE_MAX_S)
        self._on_drop(len(events))
        return {}

    def _send(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            return dict(self._client.put_log_events(**request))
        except ClientError as error:
            if _code(error) != _MISSING:
                raise
        group = {"logGroupName": request["logGroupName"]}
        self._make(self._client.create_log_group, group)
        self._make(self._client.create_log_stream, {**group, "logStreamName": request["logStreamName"]})
        return dict(self._client.put_log_events(**request))

    def _make(self, create: Callable[..., object], names: dict[str, str]) -> None:
        try:
            create(**names)
        except ClientError as error:
            if _code(error) not in _THERE:
                raise

    def _pause(self, pause_s: float) -> None:
        """Sleep, but for what is left until it is time to give up."""
        if self._stopping.wait(pause_s):
            time.sleep(max(0.0, min(PAUSE_FIRST_S, self._give_up_at - time.monotonic())))

    def _say_failing(self, error: Exception) -> None:
        if not self._is_failing:
            self._is_failing = True
            log.warning("CloudWatch takes no logs, and is tried again; they go on to the console", error=str(error))

    def _say_well(self, answer: dict[str, Any]) -> None:
        if self._is_failing:
            self._is_failing = False
            log.info("CloudWatch takes logs again")
        if rejected := answer.get("rejectedLogEventsInfo"):
            log.warning("CloudWatch has rejected some lines", info=rejected)


class CloudWatchHandler(watchtower.CloudWatchLogHandler):
    """watchtower's handler with a bound. Made by `open`."""

    def __init__(self, client: Any, group: str, stream: str) -> None:  # noqa: ANN401
        self.dropped = 0
        """Lines that were never sent."""
        self._told = 0
        self._patient = PatientClient(client, self._drop)
        super().__init__(
            log_group_name=group,
            log_stream_name=stream.replace("{", "").replace("}", ""),
            send_interval=SEND_EVERY_S,
            boto3_client=self._patient,
            create_log_group=False,  # when the first batch is sent: the start does not wait for it
        )

    @classmethod
    def open(cls, group: str, *, region: str | None, endpoint_url: str | None, process: str) -> "CloudWatchHandler":
        """The handler for *group*; its stream is named after *process*, the machine and the process id.

        Nothing is sent yet, so CloudWatch may be down. Raises Misconfigured where the region is missing.
        """
        config = Config(
            connect_timeout=CONNECT_TIMEOUT_S, read_timeout=ANSWER_TIMEOUT_S, retries={"total_max_attempts": 1}
        )
        try:
            client = Session().client("logs", region_name=region, endpoint_url=endpoint_url, config=config)
        except NoRegionError as error:
            raise Misconfigured("AWS_REGION: CloudWatch needs to know the region; set it") from error
        except BotoCoreError as error:
            raise Misconfigured(f"ENABLE_CLOUDWATCH: {error}") from error
        return cls(client, group, f"{process}-{platform.node()}-{os.getpid()}".replace(":", "-").replace("*", "-"))

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line, or drop it where too many wait."""
        if sum(lines.qsize() for lines in self.queues.values()) >= LINES_MAX:
            self._drop(1)
            return
        if self.dropped > self._told:
            self._tell_drops()
        super().emit(record)  # type: ignore[no-untyped-call]

    def format(self, record: logging.LogRecord) -> str:
        """The line, whole JSON also where it has to be cut."""
        text = super().format(record)
        return text if len(text) <= LINE_CHARS_MAX else json.dumps({"event": text[:LINE_CHARS_MAX], "cut": True})

    def close(self) -> None:
        """Send what is left, for CLOSE_S at most while CloudWatch takes nothing; then say how much that was."""
        self._patient.stop(CLOSE_S)
        super().close()  # type: ignore[no-untyped-call]
        if self.dropped > self._told:
            self._tell_drops()

    def _drop(self, lines: int) -> None:
        self.dropped += lines
        LOG_LINES_DROPPED.inc(lines)

    def _tell_drops(self) -> None:
        lines, self._told = self.dropped - self._told, self.dropped
        log.warning("log lines were not sent to CloudWatch; the console has them", lines=lines)


def _code(error: Exception) -> str:
    """What CloudWatch calls the failure; empty where it did not answer."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""
