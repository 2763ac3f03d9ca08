"""The way to Amazon SQS: one client, batch calls whose partial failures are sent again, and the one place where the
driver's failures become ours."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, MutableSequence, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
)

from footfall.errors import Misconfigured, Unavailable

BATCH_ENTRIES_MAX = 10
BATCH_BYTES_MAX = 256 * 1024
"""Of one call, all messages with their attributes; it is the limit of one message as well."""
POLL_S = 5
"""How long one receive waits. SQS would let it be 20; but a receive that is cut off may take messages with it, which
then nobody sees before their visibility ends, so close() waits for the end of the last one."""
CONNECT_TIMEOUT_S = 3
ANSWER_TIMEOUT_S = POLL_S + 10
SEND_TIMEOUT_S = 5.0
"""Of a send, the driver's second try included: somebody waits for the answer, and should soon hear of a failure."""
SENDS_MAX = 4
"""How often the entries of a batch that SQS did not take are sent, the first time included."""
PAUSE_S = 0.1
RETENTION_S = 14 * 24 * 3600
"""The longest that SQS keeps a message, in whatever queue."""

_REFUSED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "InvalidClientTokenId",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_TRANSIENT = _REFUSED | {
    "ExpiredToken",
    "InternalError",
    "InternalFailure",
    "KmsThrottled",
    "OverLimit",
    "RequestThrottled",
    "ServiceUnavailable",
    "Throttling",
    "ThrottlingException",
    "AWS.SimpleQueueService.NonExistentQueue",
    "QueueDoesNotExist",
}
_MISSING = frozenset({"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"})


@contextmanager
def translated() -> Iterator[None]:
    """Raise Unavailable for what SQS or the way to it is to blame for; a wrong call stays the bug that it is."""
    try:
        yield
    except TimeoutError as error:  # says nothing by itself
        raise Unavailable("SQS did not answer in time") from error
    except (BotoCoreError, OSError) as error:
        raise Unavailable(f"SQS can not be reached: {error}") from error
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
        if status < 500 and code_of(error) not in _TRANSIENT:
            raise
        raise Unavailable(f"SQS can not be used now: {error}") from error


def code_of(error: ClientError) -> str:
    """What SQS calls the failure."""
    return str(error.response.get("Error", {}).get("Code", ""))


class SqsClient:
    """Calls of SQS that fail as Unavailable. Made by `open`."""

    def __init__(self, client: Any, stack: AsyncExitStack) -> None:  # noqa: ANN401 - made from a data file: no types
        self._client = client
        self._stack = stack
        self._is_closed = False

    @classmethod
    async def open(cls, region: str | None, endpoint_url: str | None) -> "SqsClient":
        """A client with the credentials of the environment, a profile or the machine, as every AWS tool finds them."""
        stack = AsyncExitStack()
        config = AioConfig(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=ANSWER_TIMEOUT_S,
            retries={"total_max_attempts": 2, "mode": "standard"},
            max_pool_connections=50,
        )
        try:
            made = get_session().create_client("sqs", region_name=region, endpoint_url=endpoint_url, config=config)
            client = await stack.enter_async_context(made)
        except NoRegionError as error:
            raise Misconfigured("AWS_REGION: SQS needs to know the region; set it, eu-central-1 for one") from error
        except BotoCoreError as error:
            raise Misconfigured(f"USE_SQS: {error}") from error
        return cls(client, stack)

    async def call(self, name: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401
        """What the operation *name* (send_message_batch and so on) answers."""
        if self._is_closed:
            raise Unavailable("the queue is closed")
        timeout_s = SEND_TIMEOUT_S if name == "send_message_batch" else None
        with translated():
            async with asyncio.timeout(timeout_s):
                answer: dict[str, Any] = await getattr(self._client, name)(**arguments)
            return answer

    async def find(self, name: str) -> str:
        """The URL of the queue *name*, which is made if need be. Raises Misconfigured if it can be neither."""
        try:
            with translated():
                try:
                    return str((await self._client.get_queue_url(QueueName=name))["QueueUrl"])
                except ClientError as error:
                    if code_of(error) not in _MISSING:
                        raise
                attributes = {"MessageRetentionPeriod": str(RETENTION_S)}
                return str((await self._client.create_queue(QueueName=name, Attributes=attributes))["QueueUrl"])
        except Unavailable as error:
            cause = error.__cause__
            if isinstance(cause, NoCredentialsError | PartialCredentialsError):
                raise Misconfigured(f"USE_SQS: there are no AWS credentials: {cause}") from error
            if isinstance(cause, ClientError) and code_of(cause) in _REFUSED:
                raise Misconfigured(f"USE_SQS: the SQS queue {name!r} may not be used or made: {cause}") from error
            raise

    async def batch(
        self, name: str, url: str, entries: Sequence[dict[str, Any]], done: MutableSequence[int] | None = None
    ) -> None:
        """Send *entries* (at most a batch), and those that SQS did not take again; *done* gets the Id of each it took.

        An entry that the sender is to blame for is not sent again: a receipt that is no longer good, above all. Raises
        Unavailable when SQS does not take an entry in SENDS_MAX sends.
        """
        left = {entry["Id"]: entry for entry in entries}
        for send in range(SENDS_MAX):
            if send:
                await asyncio.sleep(PAUSE_S * 2 ** (send - 1))
            answer = await self.call(name, QueueUrl=url, Entries=list(left.values()))
            for taken in answer.get("Successful", []):
                if left.pop(taken["Id"], None) is not None and done is not None:
                    done.append(int(taken["Id"]))
            for refused in answer.get("Failed", []):
                if refused.get("SenderFault"):
                    left.pop(refused["Id"], None)
            if not left:
                return
        raise Unavailable(f"SQS did not take {len(left)} of {len(entries)} entries of a batch")

    async def close(self) -> None:
        """Let go of the connections. Again: no effect."""
        self._is_closed = True
        await self._stack.aclose()


async def in_batches(
    entries: Sequence[dict[str, Any]], sizes: Sequence[int], send: Callable[[Sequence[dict[str, Any]]], Awaitable[None]]
) -> None:
    """*send* the *entries* in order, in batches within SQS's limits; *sizes* in bytes."""
    start = size = 0
    for index, entry_bytes in enumerate(sizes):
        if index > start and (index - start == BATCH_ENTRIES_MAX or size + entry_bytes > BATCH_BYTES_MAX):
            await send(entries[start:index])
            start, size = index, 0
        size += entry_bytes
    if start < len(entries):
        await send(entries[start:])


async def counts(client: SqsClient, url: str) -> list[int]:
    """Messages of the queue at *url* that are visible, hidden, delayed."""
    names = [f"ApproximateNumberOfMessages{kind}" for kind in ("", "NotVisible", "Delayed")]
    answer = await client.call("get_queue_attributes", QueueUrl=url, AttributeNames=names)
    return [int(answer.get("Attributes", {}).get(name, 0)) for name in names]


async def redrive_advice(client: SqsClient, url: str, attempts: int) -> str:
    """What to change where SQS would take jobs away from us before their last attempt; empty when all is well."""
    answer = await client.call("get_queue_attributes", QueueUrl=url, AttributeNames=["RedrivePolicy"])
    policy = json.loads(answer.get("Attributes", {}).get("RedrivePolicy", "{}"))
    receives_max = int(policy.get("maxReceiveCount", attempts + 1))
    if receives_max > attempts:
        return ""
    return (
        f"SQS moves a job to a dead-letter queue of its own after {receives_max} receives, where Footfall neither "
        f"counts nor replays it: give {url.rpartition('/')[2]} a maxReceiveCount over QUEUE_ATTEMPTS ({attempts})"
    )
