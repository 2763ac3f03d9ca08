"""SqsQueue: the queue in Amazon SQS, or in what speaks its language.

Three queues: NAME for live events, NAME-import, which is asked when the first is empty, and NAME-failed for what was
set aside. A lease is SQS's visibility, an attempt a receive, a back-off a longer visibility.

What SQS can not do, and so this queue does not: a put of more than 256 KiB may be accepted in part when SQS fails in
the middle of it, and that part comes twice when its sender sends it again (and counts once where it has an event_id);
nothing is kept for longer than 14 days, failed jobs included; a back-off is whole seconds, and a job in it counts as
active for every process but the one that put it off; events are counted beside SQS, see sqs_ledger.py; and order is
SQS's best effort. An answer after the lease ran out changes nothing, even when nobody has the job yet.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import structlog

from footfall.errors import Unavailable
from footfall.metrics import JOBS_FAILED
from footfall.queue.base import Delivery, Depth, FailedJobs, Lane
from footfall.queue.split import split
from footfall.queue.sqs_client import BATCH_ENTRIES_MAX, POLL_S, SqsClient, counts, in_batches, redrive_advice
from footfall.queue.sqs_failed import SqsFailedJobs
from footfall.queue.sqs_leases import SqsLeases
from footfall.queue.sqs_ledger import SqsLedger
from footfall.queue.sqs_messages import (
    JOB_BYTES_MAX,
    JOB_EVENTS_MAX,
    Message,
    Ticket,
    check_entry,
    delivery,
    entry,
    message,
    ticket_of,
)

HOLD_S = 60
"""Visibility of a message that a long poll brought, until reserve() leases it."""
VISIBILITY_MAX_S = 43_200
LEASE_RAN_OUT = "the lease ran out on the last attempt: the worker died, or its write took longer than the lease"
NOT_OURS = "this is no job of Footfall: somebody else sends to this queue"

log = structlog.stdlib.get_logger(__name__)


def wall_ms() -> int:
    """Milliseconds since 1970-01-01 UTC, by the wall clock."""
    return time.time_ns() // 1_000_000


class SqsQueue:
    """Queue in SQS. Made by `open`."""

    kind = "sqs"

    def __init__(
        self,
        client: SqsClient,
        urls: dict[Lane, str],
        failed_url: str,
        ledger: SqsLedger,
        *,
        attempts: int,
        backoff_ms: int,
        now_ms: Callable[[], int],
        poll_s: int,
    ) -> None:
        self.client = client
        self.failed_url = failed_url
        self.ledger = ledger
        self._urls = urls
        self._attempts = attempts
        self._backoff_ms = backoff_ms
        self.now_ms = now_ms
        self._poll_s = poll_s
        self.advice: Sequence[str] = ()
        self._polls: dict[Lane, asyncio.Task[list[Message]]] = {}
        self._found: list[Message] = []
        """What long polls have brought and reserve() has not leased yet; at most one answer for each lane."""
        self._put_off: dict[str, int] = {}
        """Message id -> when its back-off ends, of those that this process put off."""
        self._leases = SqsLeases(now_ms)
        self._busy_since_ms: int | None = None
        self.failed: FailedJobs = SqsFailedJobs(client, failed_url, ledger, self._send_back)

    @classmethod
    async def open(
        cls,
        name: str,
        *,
        url: str | None,
        region: str | None,
        endpoint_url: str | None,
        ledger_path: Path,
        attempts: int,
        backoff_ms: int,
        now_ms: Callable[[], int] = wall_ms,
        poll_s: int = POLL_S,
    ) -> "SqsQueue":
        """The queue at *url*, or the one called *name*; the two beside it are called after it, and made where missing.

        Raises Misconfigured where credentials or rights are missing, Unavailable where SQS does not answer.
        """
        client = await SqsClient.open(region, endpoint_url)
        try:
            base = url.rstrip("/").rpartition("/")[2] if url else name
            urls = {Lane.LIVE: url or await client.find(base), Lane.IMPORT: await client.find(f"{base}-import")}
            failed_url = await client.find(f"{base}-failed")
            advice = [await redrive_advice(client, one, attempts) for one in urls.values()]
            ledger = SqsLedger(ledger_path, failed_url)
        except BaseException:
            await client.close()
            raise
        queue = cls(
            client, urls, failed_url, ledger, attempts=attempts, backoff_ms=backoff_ms, now_ms=now_ms, poll_s=poll_s
        )
        queue.advice = tuple(sentence for sentence in advice if sentence)
        return queue

    # --- in ---

    async def put(self, payloads: Sequence[bytes], lane: Lane = Lane.LIVE) -> None:
        """Queue.put. All of it or nothing up to 256 KiB, which are one call with one message; else see above."""
        if not payloads:
            return
        now_ms = self.now_ms()
        parts = list(split(payloads, JOB_EVENTS_MAX, JOB_BYTES_MAX))
        made = [entry(number, part, lane, put_at_ms=now_ms) for number, part in enumerate(parts)]

        async def send(entries: Sequence[dict[str, Any]]) -> None:
            taken: list[int] = []
            try:
                await self.client.batch("send_message_batch", self._urls[lane], entries, taken)
                if len(taken) < len(entries):
                    raise Unavailable("SQS refused a message of ours")
            finally:
                if taken:
                    self.ledger.add(received=sum(len(parts[number]) for number in taken))

        await in_batches([one for one, _ in made], [size for _, size in made], send)

    async def check(self) -> None:
        """Checkable.check: a message without events, for SQS tells in no other way whether it would take one. Whoever
        receives it deletes it."""
        await self.client.batch("send_message_batch", self._urls[Lane.LIVE], [check_entry()])

    # --- out ---

    async def wait(self, timeout_s: float) -> None:
        """Queue.wait, by long polls that go on from one call to the next: cut off, one could take a message with it."""
        if self._found:
            return
        for lane in Lane:
            if lane not in self._polls:
                self._polls[lane] = asyncio.create_task(self._receive(lane, BATCH_ENTRIES_MAX, self._poll_s, HOLD_S))
        await asyncio.wait(self._polls.values(), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        self._gather_polls()

    def _gather_polls(self) -> None:
        """Take over what long polls have brought. Raises what one of them raised."""
        for lane, poll in list(self._polls.items()):
            if poll.done():
                del self._polls[lane]
                self._found += poll.result()

    async def _receive(self, lane: Lane, limit: int, wait_s: int, visibility_s: int) -> list[Message]:
        answer = await self.client.call(
            "receive_message",
            QueueUrl=self._urls[lane],
            MaxNumberOfMessages=limit,
            WaitTimeSeconds=wait_s,
            VisibilityTimeout=visibility_s,
            MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
            MessageAttributeNames=["All"],
        )
        return [message(raw, lane) for raw in answer.get("Messages", [])]

    async def reserve(self, limit: int, lease_s: float) -> Sequence[Delivery]:
        """Queue.reserve. What a long poll brought comes first. Cancelled, it leaves what was leased to the lease."""
        visibility_s = min(max(1, math.ceil(lease_s)), VISIBILITY_MAX_S)
        deliveries: list[Delivery] = []
        try:
            self._gather_polls()
            await self._lease_found(limit, visibility_s, deliveries)
            for lane in Lane:
                while len(deliveries) < limit:
                    until_ms = self.now_ms() + visibility_s * 1000
                    found = await self._receive(lane, min(limit - len(deliveries), BATCH_ENTRIES_MAX), 0, visibility_s)
                    if not found:
                        break
                    await self._accept(found, until_ms, deliveries)
        except Unavailable:
            if not deliveries:  # else these are leased; the next call will meet the failure again
                raise
        return sorted(deliveries, key=lambda one: ticket_of(one).lane)

    async def _lease_found(self, limit: int, visibility_s: int, deliveries: list[Delivery]) -> None:
        """Lease what long polls brought: from now on, and not from when it came."""
        self._found.sort(key=lambda one: one.lane)
        while self._found and len(deliveries) < limit:
            count = min(limit - len(deliveries), BATCH_ENTRIES_MAX)
            part, self._found = self._found[:count], self._found[count:]
            until_ms = self.now_ms() + visibility_s * 1000
            still: list[int] = []
            entries = [
                {"Id": str(number), "ReceiptHandle": one.receipt, "VisibilityTimeout": visibility_s}
                for number, one in enumerate(part)
            ]
            for lane in Lane:
                of_lane = [entries[number] for number, one in enumerate(part) if one.lane is lane]
                if of_lane:
                    await self.client.batch(
                        "change_message_visibility_batch",
                        self._urls[lane],
                        of_lane,
                        still,
                    )
            await self._accept([part[number] for number in sorted(still)], until_ms, deliveries)

    async def _accept(self, found: Sequence[Message], until_ms: int, deliveries: list[Delivery]) -> None:
        """Add *found* to *deliveries*, but what had its last attempt or is not ours, which is set aside."""
        for one in found:
            self._put_off.pop(one.id, None)
            leased = delivery(one, until_ms)
            if one.is_check:
                await self._delete(one.lane, one.receipt)
            elif not one.payloads:
                await self._set_aside(ticket_of(leased), one.receipt, (), 0, NOT_OURS)
            elif one.tries > self._attempts:
                spent = msgspec.structs.replace(ticket_of(leased), tries=self._attempts)
                await self._set_aside(spent, one.receipt, one.payloads, len(one.payloads), LEASE_RAN_OUT)
            else:
                self._leases.hold([leased])
                deliveries.append(leased)

    async def extend(self, deliveries: Sequence[Delivery], lease_s: float) -> None:
        """Queue.extend, ten at a time. SQS lets nobody hold a message for more than twelve hours in all."""
        visibility_s = min(max(1, math.ceil(lease_s)), VISIBILITY_MAX_S)
        for lane in Lane:
            of_lane = [one for one in deliveries if ticket_of(one).lane is lane and self._leases.is_open(one)]
            for start in range(0, len(of_lane), BATCH_ENTRIES_MAX):
                part = of_lane[start : start + BATCH_ENTRIES_MAX]
                entries = [
                    {"Id": str(number), "ReceiptHandle": one.token, "VisibilityTimeout": visibility_s}
                    for number, one in enumerate(part)
                ]
                taken: list[int] = []
                until_ms = self.now_ms() + visibility_s * 1000
                try:
                    await self.client.batch("change_message_visibility_batch", self._urls[lane], entries, taken)
                finally:
                    self._leases.extend([part[number] for number in taken], until_ms)

    # --- what became of it ---

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Queue.ack, ten at a time. Given again after it failed, it goes on where it was, and counts nothing twice."""
        good = [one for one in deliveries if self._leases.is_open(one)]
        for lane in Lane:
            of_lane = [one for one in good if ticket_of(one).lane is lane]
            for start in range(0, len(of_lane), BATCH_ENTRIES_MAX):
                part = of_lane[start : start + BATCH_ENTRIES_MAX]
                taken: list[int] = []
                entries = [{"Id": str(number), "ReceiptHandle": one.token} for number, one in enumerate(part)]
                try:
                    await self.client.batch("delete_message_batch", self._urls[lane], entries, taken)
                finally:
                    self.ledger.add(done=sum(len(part[number].payloads) for number in taken))
                    self._leases.settle(part[number].token for number in taken)
                # The others' receipts are no longer good.
                self._leases.settle(one.token for one in part)

    async def retry(self, delivery: Delivery, error: str) -> None:
        """Queue.retry, by visibility."""
        if not self._leases.is_open(delivery):
            return
        ticket = ticket_of(delivery)
        if ticket.tries >= self._attempts:
            await self._set_aside(ticket, delivery.token, delivery.payloads, len(delivery.payloads), error)
            return
        wait_s = min(math.ceil(self._backoff_ms * 2 ** (ticket.tries - 1) / 1000), VISIBILITY_MAX_S)
        change = {"Id": "0", "ReceiptHandle": delivery.token, "VisibilityTimeout": wait_s}
        await self.client.batch("change_message_visibility_batch", self._urls[ticket.lane], [change])
        self._leases.settle([delivery.token])
        now_ms = self.now_ms()
        self._put_off = {key: until_ms for key, until_ms in self._put_off.items() if until_ms > now_ms}
        self._put_off[ticket.message_id] = now_ms + wait_s * 1000

    async def bury(self, delivery: Delivery, error: str, payloads: Sequence[bytes] | None = None) -> None:
        """Queue.bury: into the failed queue first, then out of its own. Given again after it failed in between, it goes
        on there; killed in between, it is buried twice."""
        if payloads is not None and not payloads:
            await self.ack([delivery])
        elif self._leases.is_open(delivery):
            chosen = delivery.payloads if payloads is None else payloads
            await self._set_aside(ticket_of(delivery), delivery.token, chosen, len(delivery.payloads), error)

    async def _set_aside(
        self, ticket: Ticket, receipt: str, payloads: Sequence[bytes], events: int, error: str
    ) -> None:
        """Move *payloads* of a message of *events* to the failed queue, where an earlier try may have put them."""
        copy = (ticket.message_id, hash(tuple(payloads)))
        if not self._leases.is_copied(copy):
            one, _ = entry(
                0,
                payloads,
                ticket.lane,
                put_at_ms=ticket.put_at_ms,
                earlier=ticket.earlier + ticket.tries,
                error=error or " ",
                failed_at_ms=self.now_ms(),
            )
            await self.client.batch("send_message_batch", self.failed_url, [one])
            self._leases.note_copy(copy, is_counted=False)
        if not self._leases.is_counted(copy):
            # Before the delete, which may fail for good: failed_events are those of the failed queue, whatever happens.
            self.ledger.add(failed=len(payloads))
            self._leases.note_copy(copy, is_counted=True)
            JOBS_FAILED.inc()
        await self._delete(ticket.lane, receipt)
        self.ledger.add(done=events - len(payloads))
        self._leases.settle([receipt])
        self._leases.forget_copy(copy)

    async def _delete(self, lane: Lane, receipt: str) -> None:
        await self.client.batch("delete_message_batch", self._urls[lane], [{"Id": "0", "ReceiptHandle": receipt}])

    async def _show(self, found: Sequence[Message]) -> None:
        """Let anybody receive these."""
        for lane in Lane:
            of_lane = [one for one in found if one.lane is lane]
            for start in range(0, len(of_lane), BATCH_ENTRIES_MAX):
                entries = [
                    {"Id": str(number), "ReceiptHandle": one.receipt, "VisibilityTimeout": 0}
                    for number, one in enumerate(of_lane[start : start + BATCH_ENTRIES_MAX])
                ]
                await self.client.batch("change_message_visibility_batch", self._urls[lane], entries)

    # --- how much ---

    async def depth(self) -> Depth:
        """Queue.depth. Jobs as SQS counts them: it calls that approximate, and exact a minute after the last change."""
        now_ms = self.now_ms()
        waiting, hidden, delayed = (
            sum(column) for column in zip(*[await counts(self.client, url) for url in self._urls.values()], strict=True)
        )
        failed = sum(await counts(self.client, self.failed_url))
        put_off = min(hidden, sum(until_ms > now_ms for until_ms in self._put_off.values()))
        sums = self.ledger.sums()
        jobs = waiting + hidden + delayed
        unfinished = max(0, sums.received - sums.done - sums.failed - sums.purged) if jobs else 0
        return Depth(
            waiting=waiting,
            active=hidden - put_off,
            delayed=delayed + put_off,
            failed=failed,
            unfinished_events=unfinished,
            failed_events=sums.failed,
            purged_events=sums.purged,
            received_events=sums.received,
            oldest_s=self._oldest_s(jobs, now_ms),
        )

    def _oldest_s(self, jobs: int, now_ms: int) -> float:
        """SQS does not tell how old its messages are: the oldest that was held here since it was last seen empty."""
        if not jobs:
            self._busy_since_ms = None
            return 0.0
        known = [self._busy_since_ms or now_ms, *self._leases.put_at_ms(), *(one.put_at_ms for one in self._found)]
        self._busy_since_ms = min(known)
        return max(0, now_ms - self._busy_since_ms) / 1000

    async def _send_back(self, job: Message) -> None:
        """Put a failed job back to wait, in its lane."""
        one, _ = entry(0, job.payloads, job.lane, put_at_ms=job.put_at_ms, earlier=max(1, job.earlier))
        await self.client.batch("send_message_batch", self._urls[job.lane], [one])

    async def close(self) -> None:
        """Queue.close. What the last long polls bring is shown to the others at once. Again: no effect."""
        polls = tuple(self._polls.values())
        self._polls.clear()
        if polls:
            await asyncio.wait(polls, timeout=self._poll_s + 1)
        for poll in polls:
            poll.cancel()
        results = await asyncio.gather(*polls, return_exceptions=True)
        found = self._found + [one for brought in results if isinstance(brought, list) for one in brought]
        self._found = []
        try:
            await self._show(found)
        except Unavailable as error:
            log.warning("jobs come back after their visibility, in a minute", jobs=len(found), error=str(error))
        await self.client.close()
        self.ledger.close()
