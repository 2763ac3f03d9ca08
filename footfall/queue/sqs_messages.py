"""How payloads become SQS messages and come out again; no word to the server here."""

import json
import re
import zlib
from collections.abc import Sequence
from typing import Any

import msgspec

from footfall.errors import TooLarge
from footfall.queue.base import Delivery, Lane
from footfall.queue.sqs_client import BATCH_BYTES_MAX

JOB_EVENTS_MAX = 5_000
JOB_BYTES_MAX = 200_000
"""With MessagePack's five bytes for each event this stays under SQS's limit even where nothing can be compressed."""
OVERHEAD_BYTES = 1_024
"""For the body and the names and types of attributes."""
ERROR_CHARS_MAX = 500
ERROR_BYTES_MAX = 4 * ERROR_CHARS_MAX
_NOT_SENDABLE = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
UNPACKED_BYTES_MAX = 64 * 1024**2
_CHECK = '{"check": true}'

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[bytes, ...]).decode


class Message(msgspec.Struct, frozen=True):
    """A message as it was received."""

    id: str
    receipt: str
    lane: Lane
    payloads: tuple[bytes, ...]
    tries: int
    """Times received since it was put or replayed, this one included."""
    earlier: int
    """Attempts before it was replayed."""
    put_at_ms: int
    error: str = ""
    failed_at_ms: int = 0
    is_check: bool = False
    """Sent to find out whether SQS takes messages."""

    @property
    def attempts(self) -> int:
        """Delivery.attempt."""
        return self.earlier + self.tries


class Ticket(msgspec.Struct, frozen=True, array_like=True):
    """What Delivery.id says, so that any process can answer for it."""

    lane: Lane
    tries: int
    earlier: int
    put_at_ms: int
    until_ms: int
    """When the lease ends. SQS may let an old receipt delete what somebody else has by now, so we do not ask it to."""
    message_id: str


def entry(
    number: int,
    payloads: Sequence[bytes],
    lane: Lane,
    *,
    put_at_ms: int,
    earlier: int = 0,
    error: str = "",
    failed_at_ms: int = 0,
) -> tuple[dict[str, Any], int]:
    """An entry of SendMessageBatch and its size in bytes. Raises TooLarge for what does not fit into a message."""
    packed = zlib.compress(_encode(payloads), 1)
    if len(packed) > BATCH_BYTES_MAX - OVERHEAD_BYTES - (ERROR_BYTES_MAX if error else 0):
        raise TooLarge(f"an event of {max(map(len, payloads))} bytes does not fit into an SQS message")
    summary = {"events": len(payloads), "lane": int(lane), "put_at_ms": put_at_ms, "earlier": earlier}
    if error:
        summary |= {"failed_at_ms": failed_at_ms}
    attributes: dict[str, Any] = {"payloads": {"DataType": "Binary", "BinaryValue": packed}}
    if error:
        attributes["error"] = {"DataType": "String", "StringValue": _sendable(error)}
    size = len(packed) + OVERHEAD_BYTES + (ERROR_BYTES_MAX if error else 0)
    return {"Id": str(number), "MessageBody": json.dumps(summary), "MessageAttributes": attributes}, size


def check_entry() -> dict[str, Any]:
    """An entry of SendMessageBatch that carries nothing."""
    return {"Id": "0", "MessageBody": _CHECK}


def _sendable(error: str) -> str:
    """SQS takes the characters of XML 1.0, and no empty text."""
    return _NOT_SENDABLE.sub(" ", error[:ERROR_CHARS_MAX]) or " "


def message(raw: dict[str, Any], lane: Lane | None = None) -> Message:
    """The message in an answer of ReceiveMessage; without payloads where it is not ours. *lane* None: as it says."""
    attributes, system = raw.get("MessageAttributes", {}), raw.get("Attributes", {})
    is_check = raw.get("Body") == _CHECK
    try:
        summary = json.loads(raw["Body"])
        unpack = zlib.decompressobj()
        payloads = _decode(unpack.decompress(attributes["payloads"]["BinaryValue"], UNPACKED_BYTES_MAX))
        put_at_ms, earlier, failed_at_ms = (
            int(summary.get(key, 0)) for key in ("put_at_ms", "earlier", "failed_at_ms")
        )
        lane = Lane(summary.get("lane", 0)) if lane is None else lane
    except (ValueError, KeyError, TypeError, AttributeError, zlib.error):
        payloads, put_at_ms, earlier, failed_at_ms = (), int(system.get("SentTimestamp", 0)), 0, 0
    return Message(
        raw["MessageId"],
        raw["ReceiptHandle"],
        lane or Lane.LIVE,
        payloads,
        int(system.get("ApproximateReceiveCount", 1)),
        earlier,
        put_at_ms,
        attributes.get("error", {}).get("StringValue", ""),
        failed_at_ms,
        is_check,
    )


_ticket = msgspec.json.Decoder(Ticket).decode


def delivery(message: Message, until_ms: int) -> Delivery:
    """*message*, leased until then."""
    ticket = Ticket(message.lane, message.tries, message.earlier, message.put_at_ms, until_ms, message.id)
    return Delivery(msgspec.json.encode(ticket).decode(), message.receipt, message.payloads, message.attempts)


def ticket_of(delivery: Delivery) -> Ticket:
    """The way back."""
    return _ticket(delivery.id)
