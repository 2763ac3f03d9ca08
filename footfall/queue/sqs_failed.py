"""The failed set of SqsQueue: a queue of its own, which can only be received from."""

from collections.abc import Awaitable, Callable, Sequence

from footfall.queue.base import FailedJob
from footfall.queue.sqs_client import BATCH_ENTRIES_MAX, SqsClient, counts
from footfall.queue.sqs_ledger import SqsLedger
from footfall.queue.sqs_messages import Message, message

SendBack = Callable[[Message], Awaitable[None]]
"""Puts a failed job back to wait."""

LOOK_S = 60
"""How long the failed set is hidden from others while one looks through it."""
FAILED_MAX = 10_000
"""Of the failed set, as many jobs are looked through at once."""


class SqsFailedJobs:
    """FailedJobs of a SqsQueue. SQS can not be browsed: its queue is received, looked through, and shown again."""

    def __init__(self, client: SqsClient, url: str, ledger: SqsLedger, send_back: SendBack) -> None:
        self._client = client
        self._url = url
        self._ledger = ledger
        self._send_back = send_back

    async def list(self, limit: int) -> Sequence[FailedJob]:
        """FailedJobs.list, of the FAILED_MAX jobs that SQS gives first."""
        found = sorted(await self._all(), key=lambda one: one.failed_at_ms, reverse=True)
        await self._show(found)
        return [
            FailedJob(one.id, len(one.payloads), one.earlier, one.error.strip(), one.failed_at_ms, one.payloads)
            for one in found[:limit]
        ]

    async def replay(self, ids: Sequence[str] | None) -> int:
        """FailedJobs.replay: into its lane, then out of the failed one; killed in between, it is in both."""
        chosen = await self._take(ids)
        for one in chosen:
            if one.payloads:
                await self._send_back(one)
            await self._delete(one)
            self._ledger.add(failed=-len(one.payloads))
        return len(chosen)

    async def purge(self, ids: Sequence[str]) -> int:
        """FailedJobs.purge."""
        chosen = await self._take(ids)
        for one in chosen:
            await self._delete(one)
            self._ledger.add(failed=-len(one.payloads), purged=len(one.payloads))
        return sum(len(one.payloads) for one in chosen)

    async def _take(self, ids: Sequence[str] | None) -> Sequence[Message]:
        """The jobs that are meant, hidden; the others are shown again."""
        found = await self._all()
        wanted = None if ids is None else frozenset(ids)
        await self._show([one for one in found if wanted is not None and one.id not in wanted])
        return [one for one in found if wanted is None or one.id in wanted]

    async def _all(self) -> Sequence[Message]:
        found: dict[str, Message] = {}
        # A receive that does not wait asks only some of SQS's servers; one that waits for nothing costs time.
        wait_s = 1 if any(await counts(self._client, self._url)) else 0
        while len(found) < FAILED_MAX:
            answer = await self._client.call(
                "receive_message",
                QueueUrl=self._url,
                MaxNumberOfMessages=BATCH_ENTRIES_MAX,
                WaitTimeSeconds=0 if found else wait_s,
                VisibilityTimeout=LOOK_S,
                MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
                MessageAttributeNames=["All"],
            )
            raws = answer.get("Messages", [])
            if not raws:
                break
            found.update({raw["MessageId"]: message(raw) for raw in raws})
        return tuple(found.values())

    async def _show(self, found: Sequence[Message]) -> None:
        for start in range(0, len(found), BATCH_ENTRIES_MAX):
            entries = [
                {"Id": str(number), "ReceiptHandle": one.receipt, "VisibilityTimeout": 0}
                for number, one in enumerate(found[start : start + BATCH_ENTRIES_MAX])
            ]
            await self._client.batch("change_message_visibility_batch", self._url, entries)

    async def _delete(self, one: Message) -> None:
        receipt = {"Id": "0", "ReceiptHandle": one.receipt}
        await self._client.batch("delete_message_batch", self._url, [receipt])
