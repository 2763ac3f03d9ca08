"""SqsQueue where it differs from other queues: limits, partial failures, and a service that is gone or refuses us."""

import json
import os
import threading
import urllib.request
from collections.abc import AsyncIterator, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from footfall.errors import Misconfigured, TooLarge, Unavailable
from footfall.queue import sqs_client
from footfall.queue.base import Lane
from footfall.queue.sqs import NOT_OURS, SqsQueue
from footfall.queue.sqs_client import SENDS_MAX
from tests.conformance.queues import SqsHarness
from tests.running import running
from tests.servers import aws

LEASE_S = 60.0


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[SqsHarness]:
    made = SqsHarness(tmp_path)
    yield made
    await made.close()


@pytest.fixture
async def queue(harness: SqsHarness) -> SqsQueue:
    return await harness.open()


class Proxy:
    """Stands before moto's server and has the first entry of a batch fail, as many times as it is told."""

    def __init__(self) -> None:
        self.passes = 0
        """So many are let through first."""
        self.kind = "Batch"
        """How the name of a call ends that may fail."""
        self.failures = 0
        self.is_sender_fault = False
        self.batches = 0
        self.answers = threading.Event()
        """While it is not set, calls wait."""
        self.answers.set()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                proxy.answers.wait()
                target = self.headers["X-Amz-Target"]
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                refused: list[dict[str, Any]] = []
                if target.endswith("Batch"):
                    proxy.batches += 1
                    if not target.endswith(proxy.kind):
                        pass
                    elif proxy.passes:
                        proxy.passes -= 1
                    elif proxy.failures > 0:
                        proxy.failures -= 1
                        first = body["Entries"].pop(0)
                        refused = [{"Id": first["Id"], "Code": "InternalError", "SenderFault": proxy.is_sender_fault}]
                status, answer = 200, dict[str, Any](Successful=[])
                if body.get("Entries", True):
                    status, answer = proxy.forward(dict(self.headers), body)
                if refused:
                    answer["Failed"] = refused + answer.get("Failed", [])
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.0")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def forward(self, headers: dict[str, str], body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        kept = {key: value for key, value in headers.items() if key.lower() not in {"content-length", "host"}}
        request = urllib.request.Request(aws().url, json.dumps(body).encode(), kept)
        try:
            with urllib.request.urlopen(request) as response:
                return response.status, json.loads(response.read() or b"{}")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read() or b"{}")

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    made = Proxy()
    yield made
    made.close()


async def opened(harness: SqsHarness, folder: Path, **changes: Any) -> SqsQueue:
    options: dict[str, Any] = {
        "url": None,
        "region": aws().region,
        "endpoint_url": aws().url,
        "ledger_path": folder / "ledger.sqlite",
        "attempts": 5,
        "backoff_ms": 1_000,
        "poll_s": 1,
    }
    queue = await SqsQueue.open(harness.name, **(options | changes))
    harness.queues.append(queue)
    return queue


def incompressible(events: int) -> list[bytes]:
    return [os.urandom(1_000) for _ in range(events)]


async def test_a_part_of_a_batch_that_fails_is_sent_again_and_only_that(
    harness: SqsHarness, proxy: Proxy, tmp_path: Path
) -> None:
    queue = await opened(harness, tmp_path, endpoint_url=proxy.url)
    proxy.failures = SENDS_MAX - 1
    await queue.put([b"1"])
    assert proxy.batches == SENDS_MAX
    (delivery,) = await queue.reserve(10, LEASE_S)
    assert delivery.payloads == (b"1",)
    proxy.failures = 1
    await queue.ack([delivery])
    depth = await queue.depth()
    assert (depth.waiting, depth.active, depth.received_events, depth.unfinished_events) == (0, 0, 1, 0)


@pytest.mark.parametrize("is_sender_fault", [True, False])
async def test_a_put_that_sqs_does_not_take_is_unavailable_and_not_counted(
    harness: SqsHarness, proxy: Proxy, tmp_path: Path, is_sender_fault: bool
) -> None:
    queue = await opened(harness, tmp_path, endpoint_url=proxy.url)
    proxy.failures, proxy.is_sender_fault = SENDS_MAX, is_sender_fault
    with pytest.raises(Unavailable):
        await queue.put([b"1"])
    proxy.failures = 0
    depth = await queue.depth()
    assert (depth.waiting, depth.received_events) == (0, 0)


async def test_a_service_that_does_not_answer_is_unavailable(harness: SqsHarness, tmp_path: Path) -> None:
    proxy = Proxy()
    queue = await opened(harness, tmp_path, endpoint_url=proxy.url)
    proxy.close()
    with pytest.raises(Unavailable, match="can not be reached"):
        await queue.put([b"1"])
    with pytest.raises(Unavailable):
        await queue.reserve(1, LEASE_S)
    with pytest.raises(Unavailable):
        await queue.wait(30)
    with pytest.raises(Unavailable):
        await queue.depth()
    with pytest.raises(Unavailable):
        await opened(harness, tmp_path, endpoint_url=proxy.url)


async def test_a_send_that_hangs_is_unavailable_long_before_a_poll_would_be(
    harness: SqsHarness, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = await opened(harness, tmp_path, endpoint_url=proxy.url)
    monkeypatch.setattr(sqs_client, "SEND_TIMEOUT_S", 0.2)
    proxy.answers.clear()
    try:
        with pytest.raises(Unavailable, match="in time"):
            await queue.put([b"1"])
    finally:
        proxy.answers.set()


async def test_an_ack_that_failed_in_part_and_is_given_again_counts_each_job_once(
    harness: SqsHarness, proxy: Proxy, tmp_path: Path
) -> None:
    queue = await opened(harness, tmp_path, endpoint_url=proxy.url)
    for number in range(15):
        await queue.put([b"%d" % number])
    deliveries = [*await queue.reserve(10, LEASE_S), *await queue.reserve(5, LEASE_S)]
    assert len(deliveries) == 15
    await queue.put([b"later"])
    proxy.kind, proxy.passes, proxy.failures = "DeleteMessageBatch", 1, SENDS_MAX
    with pytest.raises(Unavailable):
        await queue.ack(deliveries)
    assert proxy.failures == 0
    assert 10 <= queue.ledger.sums().done < 15, "it did not fail in part"
    for _ in range(2):
        await queue.ack(deliveries)
        depth = await queue.depth()
        assert (queue.ledger.sums().done, depth.waiting, depth.active, depth.unfinished_events) == (15, 1, 0, 1)


@pytest.mark.parametrize("answer", ["ack", "retry", "bury"])
async def test_an_answer_that_failed_once_is_good_until_an_extended_lease_ends(
    harness: SqsHarness, proxy: Proxy, tmp_path: Path, answer: str
) -> None:
    queue = await opened(harness, tmp_path, endpoint_url=proxy.url, now_ms=lambda: round(aws().now_ms))
    await queue.put([b"1"])
    (delivery,) = await queue.reserve(1, 30)
    await harness.pass_time(20)
    await queue.extend([delivery], 300)
    await harness.pass_time(15)
    asks = {
        "ack": partial(queue.ack, [delivery]),
        "retry": partial(queue.retry, delivery, "try again"),
        "bury": partial(queue.bury, delivery, "poison"),
    }
    proxy.kind, proxy.failures = (
        "ChangeMessageVisibilityBatch" if answer == "retry" else "DeleteMessageBatch",
        SENDS_MAX,
    )
    with pytest.raises(Unavailable):
        await asks[answer]()
    await asks[answer]()
    await harness.pass_time(100)
    assert len(await queue.reserve(1, LEASE_S)) == (answer == "retry")
    sums = queue.ledger.sums()
    assert (sums.done, sums.failed) == (answer == "ack", answer == "bury")


@pytest.mark.parametrize("is_back", [False, True])
async def test_a_bury_that_failed_in_the_middle_and_is_given_again_leaves_one_copy(
    harness: SqsHarness, proxy: Proxy, tmp_path: Path, is_back: bool
) -> None:
    queue = await opened(harness, tmp_path, endpoint_url=proxy.url, now_ms=lambda: round(aws().now_ms))
    await queue.put([b"good", b"bad"])
    (delivery,) = await queue.reserve(1, LEASE_S)
    proxy.kind, proxy.failures = "DeleteMessageBatch", SENDS_MAX
    with pytest.raises(Unavailable):
        await queue.bury(delivery, "poison", [b"bad"])
    if is_back:
        await harness.pass_time(LEASE_S + 1)
        (delivery,) = await queue.reserve(1, LEASE_S)
    await queue.bury(delivery, "poison", [b"bad"])
    await queue.bury(delivery, "poison", [b"bad"])
    assert [job.payloads for job in await queue.failed.list(10)] == [(b"bad",)]
    assert (queue.ledger.sums().done, (await queue.depth()).failed_events) == (1, 1)
    assert await queue.failed.replay(None) == 1
    depth = await queue.depth()
    assert (depth.failed_events, depth.waiting, depth.active, depth.unfinished_events) == (0, 1, 0, 1)


async def test_a_bury_of_which_only_the_copy_was_made_is_counted_as_failed(
    harness: SqsHarness, proxy: Proxy, tmp_path: Path
) -> None:
    queue = await opened(harness, tmp_path, endpoint_url=proxy.url)
    await queue.put([b"1"])
    (delivery,) = await queue.reserve(1, LEASE_S)
    proxy.kind, proxy.failures = "DeleteMessageBatch", SENDS_MAX
    with pytest.raises(Unavailable):
        await queue.bury(delivery, "poison")
    assert queue.ledger.sums().failed == 1
    await queue.failed.replay(None)
    assert queue.ledger.sums().failed == 0


async def test_a_put_over_the_limit_of_a_message_becomes_several(queue: SqsQueue) -> None:
    payloads = incompressible(1_000)
    await queue.put(payloads)
    assert (await queue.depth()).waiting == 5
    deliveries = await queue.reserve(10, LEASE_S)
    assert [payload for delivery in deliveries for payload in delivery.payloads] == payloads


async def test_an_event_over_the_limit_of_a_message_is_refused(queue: SqsQueue) -> None:
    with pytest.raises(TooLarge):
        await queue.put([os.urandom(300_000)])
    assert (await queue.depth()).received_events == 0


async def test_a_failed_job_at_the_limit_still_fits_with_its_error(queue: SqsQueue) -> None:
    await queue.put(incompressible(199))
    (delivery,) = await queue.reserve(1, LEASE_S)
    await queue.bury(delivery, "🚶\0\ud800" * 10_000)
    (job,) = await queue.failed.list(1)
    assert job.payloads == delivery.payloads
    assert job.error.startswith("🚶  🚶")


async def test_what_a_long_poll_brought_is_leased_from_the_reserve_on(harness: SqsHarness, queue: SqsQueue) -> None:
    await queue.put([b"import"], Lane.IMPORT)
    await queue.wait(30)
    await harness.pass_time(50)
    (delivery,) = await queue.reserve(10, LEASE_S)
    await harness.pass_time(50)
    assert await queue.reserve(10, LEASE_S) == []
    await queue.ack([delivery])
    assert (await queue.depth()).unfinished_events == 0


async def test_what_the_last_long_poll_brings_is_there_for_others_at_once(harness: SqsHarness, queue: SqsQueue) -> None:
    await queue.wait(0)  # the poll goes on
    other = await harness.open()
    await other.put([b"1"])
    await queue.close()
    (delivery,) = await other.reserve(10, LEASE_S)
    assert delivery.payloads == (b"1",)


async def test_a_message_that_is_not_ours_is_set_aside(harness: SqsHarness, queue: SqsQueue) -> None:
    url = await queue.client.find(harness.name)
    await queue.client.call("send_message", QueueUrl=url, MessageBody="hello")
    assert await queue.reserve(1, LEASE_S) == []
    (job,) = await queue.failed.list(1)
    assert (job.error, job.payloads) == (NOT_OURS, ())


async def test_a_check_is_a_message_that_nobody_meets(queue: SqsQueue) -> None:
    await queue.check()
    await queue.put([b"1"])
    (delivery,) = await queue.reserve(10, LEASE_S)
    assert delivery.payloads == (b"1",)
    await queue.ack([delivery])
    depth = await queue.depth()
    assert (depth.waiting, depth.active, depth.failed, depth.received_events) == (0, 0, 0, 1)


async def test_a_lost_queue_is_unavailable_until_it_is_back(harness: SqsHarness, queue: SqsQueue) -> None:
    url = await queue.client.find(harness.name)
    await queue.client.call("delete_queue", QueueUrl=url)
    for ask in (queue.check, queue.depth, partial(queue.put, [b"1"]), partial(queue.reserve, 1, LEASE_S)):
        with pytest.raises(Unavailable):
            await ask()
    assert await queue.client.find(harness.name) == url
    await queue.check()
    await queue.put([b"1"])
    assert (await queue.depth()).received_events == 1


async def test_a_put_that_was_half_in_and_is_sent_again_counts_once(
    harness: SqsHarness, proxy: Proxy, tmp_path: Path
) -> None:
    """SQS takes 256 KiB a call; a batch over that may be half in when SQS fails. The senders' own ids decide."""
    queue = await opened(harness, tmp_path, endpoint_url=proxy.url)
    events = [
        {"site_id": "shop", "event_type": "pageview", "user_id": "anna", "event_id": str(number), "title": title}
        for number, title in enumerate(os.urandom(900).hex() for _ in range(500))
    ]
    async with running(tmp_path, queue=queue) as footfall:
        proxy.kind, proxy.passes, proxy.failures = "SendMessageBatch", 1, SENDS_MAX
        refused = await footfall.http.post("/api/events", json=events)
        assert refused.status_code == 503
        assert proxy.failures == 0
        assert 0 < (await queue.depth()).received_events < len(events), "nothing of it was in"
        assert (await footfall.http.post("/api/events", json=events)).status_code == 202

        async def is_drained() -> bool:
            return (await queue.depth()).unfinished_events == 0

        await footfall.until(is_drained)
        ledger = await footfall.store.ledger()
        assert ledger.stored == len(events)
        assert ledger.dropped["duplicate"] == (await queue.depth()).received_events - len(events) > 0


async def test_a_dead_letter_queue_that_would_take_jobs_too_early_is_advised_against(
    harness: SqsHarness, queue: SqsQueue, tmp_path: Path
) -> None:
    assert queue.advice == ()
    url = await queue.client.find(harness.name)
    names = ["QueueArn"]
    answer = await queue.client.call("get_queue_attributes", QueueUrl=queue.failed_url, AttributeNames=names)
    for receives_max, is_advised in ((5, True), (6, False)):
        policy = {"deadLetterTargetArn": answer["Attributes"]["QueueArn"], "maxReceiveCount": receives_max}
        attributes = {"RedrivePolicy": json.dumps(policy)}
        await queue.client.call("set_queue_attributes", QueueUrl=url, Attributes=attributes)
        (*sentences,) = (await opened(harness, tmp_path)).advice
        assert [("maxReceiveCount" in sentence) for sentence in sentences] == [True] * is_advised


async def test_an_import_that_is_replayed_stays_behind_live_events(queue: SqsQueue) -> None:
    await queue.put([b"import"], Lane.IMPORT)
    await queue.bury((await queue.reserve(1, LEASE_S))[0], "poison")
    await queue.failed.replay(None)
    await queue.put([b"live"])
    assert [delivery.payloads for delivery in await queue.reserve(10, LEASE_S)] == [(b"live",), (b"import",)]


async def test_the_queue_can_be_named_by_its_url(harness: SqsHarness, queue: SqsQueue, tmp_path: Path) -> None:
    url = await queue.client.find(harness.name)
    other = await opened(harness, tmp_path, url=url)
    await other.put([b"1"])
    assert (await queue.depth()).waiting == 1


async def test_missing_credentials_are_a_wrong_setting(
    harness: SqsHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(Misconfigured, match="credentials"):
        await opened(harness, tmp_path)


async def test_a_missing_region_is_a_wrong_setting(
    harness: SqsHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(Misconfigured, match="AWS_REGION"):
        await opened(harness, tmp_path, region=None)
