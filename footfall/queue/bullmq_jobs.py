"""How a put becomes BullMQ jobs, and BullMQ jobs become a delivery; no word to the server here."""

import base64
import json
import secrets
from collections.abc import Sequence

import msgspec

from footfall.queue.base import Delivery, Lane

JOB_EVENTS_MAX = 10_000
JOB_BYTES_MAX = 4 * 1024**2
"""A put over either of these becomes several jobs, added in one step."""
IMPORT_PRIORITY = 10
"""BullMQ takes jobs without a priority first, then those with the smallest number."""
NOT_OURS = "this is no job of Footfall: somebody else adds jobs to this queue"
NAMES = {Lane.LIVE: "events", Lane.IMPORT: "import"}

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[bytes, ...]).decode


class JobData(msgspec.Struct, frozen=True):
    """What a dashboard shows of a job."""

    events: int
    payloads: str
    """Base64 of a MessagePack array of byte strings."""


_decode_data = msgspec.json.Decoder(JobData).decode


class Leased(msgspec.Struct, frozen=True, array_like=True):
    """A job as reserve.lua gives it."""

    id: str
    data: str
    events: str | None
    attempts_made: str | None
    stalled: str | None
    started: str | None
    failure: str | None
    """Why it is to be failed at once: its lease ran out on the last attempt."""
    was_failed: str | None

    def read(self) -> tuple[bytes, ...] | str:
        """Its payloads; or why it is not delivered but failed at once."""
        if self.failure:
            return self.failure
        payloads = payloads_of(self.data)
        return NOT_OURS if payloads is None else payloads

    @property
    def tries(self) -> int:
        """Which try this is since it was put or replayed; a lease that ran out was one."""
        return int(self.attempts_made or 0) + int(self.stalled or 0) + 1

    @property
    def attempt(self) -> int:
        """Delivery.attempt. BullMQ's dashboards may reset its counter when they retry a job; the mark is ours."""
        return max(int(self.started or 1), 2 if self.was_failed else 1)


def new_job_id() -> str:
    """BullMQ wants no number and no colon in an id that it has not made itself."""
    return "f" + secrets.token_hex(9)


def data_of(payloads: Sequence[bytes]) -> dict[str, object]:
    """*payloads* as the data of a job."""
    return {"events": len(payloads), "payloads": base64.b64encode(_encode(payloads)).decode()}


def data_as_json(payloads: Sequence[bytes]) -> str:
    """The same, as it is kept."""
    return json.dumps(data_of(payloads), separators=(",", ":"))


def payloads_of(data: str) -> tuple[bytes, ...] | None:
    """The way back; None for a job that is not ours."""
    try:
        return _decode(base64.b64decode(_decode_data(data).payloads, validate=True))
    except ValueError:  # msgspec's DecodeError and binascii.Error are
        return None


def delivery(jobs: Sequence[tuple[Leased, Sequence[bytes]]], token: str) -> Delivery:
    """The delivery that *jobs* with their payloads are; their ids and tries are in its id, so that any process can
    answer for it."""
    first = jobs[0][0]
    payloads = tuple(payload for _, part in jobs for payload in part)
    return Delivery(f"{first.tries}/{','.join(job.id for job, _ in jobs)}", token, payloads, first.attempt)


def tries_and_ids(delivery: Delivery) -> tuple[int, list[str]]:
    """What `delivery` put into the id."""
    tries, _, ids = delivery.id.partition("/")
    return int(tries), ids.split(",")
