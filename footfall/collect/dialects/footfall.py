"""Our own wire format: one JSON object an event, or many in an array, in {"events": [...]} or one a line.

The quick way is one typed decoding of the whole body. Only what fails it is looked at again, value by value, to name
every wrong field (explain.py). Both ways accept exactly the same events, and a property test holds them to it.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from footfall.collect.admit import USER_AGENT_CHARS_MAX, Incoming, Override
from footfall.collect.dialects import explain
from footfall.collect.dialects.values import address_of, is_site_id, props_of, revenue_of
from footfall.collect.timestamps import timestamp_ms
from footfall.errors import Fault, Invalid
from footfall.event import (
    EVENT_ID_CHARS_MAX,
    NAME_CHARS_MAX,
    PATH_CHARS_MAX,
    PROP_KEY_CHARS_MAX,
    PROP_VALUE_CHARS_MAX,
    PROPS_MAX,
    SHORT_TEXT_CHARS_MAX,
    TEXT_CHARS_MAX,
    USER_ID_CHARS_MAX,
)

EVENTS_MAX = 1_000
"""In one batch."""

Scalar = Annotated[str, Meta(max_length=PROP_VALUE_CHARS_MAX)] | int | float | bool | None


class Revenue(msgspec.Struct, gc=False):
    """The body's `revenue`."""

    amount: str | int | float
    currency: str


class Body(msgspec.Struct, gc=False):
    """One event as it is sent. null is the same as leaving the field out. Unknown fields are ignored."""

    site_id: str
    event_type: Annotated[str, Meta(min_length=1, max_length=NAME_CHARS_MAX)]
    path: Annotated[str, Meta(max_length=PATH_CHARS_MAX)] | None = None
    user_id: Annotated[str, Meta(max_length=USER_ID_CHARS_MAX)] | None = None
    timestamp: str | int | float | None = None
    event_id: Annotated[str, Meta(max_length=EVENT_ID_CHARS_MAX)] | None = None
    referrer: str | None = None
    title: str | None = None
    hostname: str | None = None
    screen: str | None = None
    language: str | None = None
    props: (
        Annotated[
            dict[Annotated[str, Meta(min_length=1, max_length=PROP_KEY_CHARS_MAX)], Scalar], Meta(max_length=PROPS_MAX)
        ]
        | None
    ) = None
    revenue: Revenue | None = None
    interactive: bool | None = None
    ip: str | None = None
    user_agent: str | None = None


class Rejected(msgspec.Struct, frozen=True):
    """One event of a batch that was refused: its place in what was sent, from 0, and why."""

    index: int
    errors: tuple[Fault, ...]


class Batch(NamedTuple):
    """What became of a body of many events."""

    indices: Sequence[int]
    incoming: Sequence[Incoming]
    """The valid ones, in the order of *indices*."""
    rejected: Sequence[Rejected]


class _Envelope(msgspec.Struct):
    events: list[Body]


class _RawEnvelope(msgspec.Struct):
    events: list[msgspec.Raw]


_one = msgspec.json.Decoder(Body)
_many = msgspec.json.Decoder(list[Body])
_enveloped = msgspec.json.Decoder(_Envelope)
_raw_many = msgspec.json.Decoder(list[msgspec.Raw])
_raw_enveloped = msgspec.json.Decoder(_RawEnvelope)
_UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError)
"""What msgspec raises for bytes that are not the JSON asked for; ValueError also is what our own values raise."""


def decode_one(body: bytes, received_at_ms: int, *, is_strict: bool = False) -> Incoming:
    """The event in *body*. Raises Invalid that names every wrong field; *is_strict* also refuses unknown ones."""
    try:
        if not is_strict:
            return _understood(_one.decode(body), received_at_ms)
    except _UNDECODABLE:
        raise Invalid(*explain.faults_of(body, received_at_ms, is_strict=False)) from None
    faults = explain.faults_of(body, received_at_ms, is_strict=True)
    if faults:
        raise Invalid(*faults)
    return _understood(_one.decode(body), received_at_ms)


def decode_many(body: bytes, received_at_ms: int, *, is_strict: bool = False) -> Batch:
    """The events of an array or of {"events": [...]}. Raises Invalid for what is neither, or holds none or too many."""
    if not is_strict:
        try:
            bodies = _enveloped.decode(body).events if body.lstrip()[:1] == b"{" else _many.decode(body)
            _check_count(len(bodies))
            return Batch(range(len(bodies)), [_understood(one, received_at_ms) for one in bodies], ())
        except Invalid:
            raise
        except _UNDECODABLE:
            pass
    return _one_by_one(_raw_events(body, is_strict=is_strict), received_at_ms, is_strict=is_strict)


def decode_lines(body: bytes, received_at_ms: int, *, is_strict: bool = False) -> Batch:
    """The events of NDJSON: one object a line, blank lines left out and not counted."""
    lines = [line for line in body.split(b"\n") if line and not line.isspace()]
    _check_count(len(lines))
    return _one_by_one(lines, received_at_ms, is_strict=is_strict)


def _check_count(count: int) -> None:
    if not 1 <= count <= EVENTS_MAX:
        raise Invalid(Fault("events", f"must hold 1 to {EVENTS_MAX} events, and holds {count}"))


def _raw_events(body: bytes, *, is_strict: bool) -> Sequence[bytes]:
    value = explain.parsed(body)
    if isinstance(value, dict):
        if not isinstance(value.get("events"), list):
            raise Invalid(Fault("events", "must be an array of events" if "events" in value else "is required"))
        if is_strict and (faults := explain.unknown(value, ("events",))):
            raise Invalid(*faults)
    elif not isinstance(value, list):
        raise Invalid(Fault("body", 'must be an array of events or {"events": [...]}'))
    events = _raw_enveloped.decode(body).events if isinstance(value, dict) else _raw_many.decode(body)
    _check_count(len(events))
    return [bytes(event) for event in events]


def _one_by_one(events: Sequence[bytes], received_at_ms: int, *, is_strict: bool) -> Batch:
    indices: list[int] = []
    incoming: list[Incoming] = []
    rejected: list[Rejected] = []
    for index, event in enumerate(events):
        try:
            incoming.append(decode_one(event, received_at_ms, is_strict=is_strict))
        except Invalid as error:
            rejected.append(Rejected(index, error.faults))
        else:
            indices.append(index)
    return Batch(indices, incoming, rejected)


def rejected_faults(rejected: Sequence[Rejected], faults_max: int) -> Iterator[Fault]:
    """The faults of many events as those of one body: `events[3].site_id`."""
    for one in rejected:
        for fault in one.errors:
            if faults_max <= 0:
                return
            faults_max -= 1
            yield Fault(f"events[{one.index}].{fault.field}", fault.message)


def _understood(body: Body, received_at_ms: int) -> Incoming:
    """Raises ValueError where a value is of the right type and still wrong; explain.py then says which."""
    if not is_site_id(body.site_id):
        raise ValueError(body.site_id)
    incoming = Incoming(
        body.site_id,
        body.event_type,
        body.path or "/",
        body.user_id or "",
        None if body.timestamp is None else timestamp_ms(body.timestamp, received_at_ms),
        body.event_id or "",
    )
    if body.referrer:
        incoming.referrer = body.referrer[:TEXT_CHARS_MAX]
    if body.title:
        incoming.title = body.title[:TEXT_CHARS_MAX]
    if body.hostname:
        incoming.hostname = body.hostname[:SHORT_TEXT_CHARS_MAX].lower()
    if body.screen:
        incoming.screen = body.screen[:SHORT_TEXT_CHARS_MAX]
    if body.language:
        incoming.language = body.language[:SHORT_TEXT_CHARS_MAX]
    if body.props:
        incoming.props = props_of(body.props)
    if body.revenue is not None:
        incoming.revenue, incoming.currency = revenue_of(body.revenue.amount, body.revenue.currency)
    if body.interactive is not None:
        incoming.interactive = body.interactive
    if body.ip or body.user_agent:
        user_agent = (body.user_agent or "")[:USER_AGENT_CHARS_MAX]
        incoming.override = Override(address_of(body.ip) if body.ip else "", user_agent)
    return incoming
