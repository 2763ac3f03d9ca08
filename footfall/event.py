"""Event: the one record, from the collector to the store; its limits, its encoding, its reasons to be dropped."""

import itertools
import os
from decimal import Decimal
from enum import StrEnum
from hashlib import blake2b

import msgspec

PAGEVIEW = "pageview"
ENGAGEMENT = "engagement"
"""An event of this name that is not interactive is a report about a page that is being read: how far it was scrolled
(the property `scroll_depth`, per cent) and for how long it was in front (`engagement_ms`). It keeps a session open and
never begins one, and only the metrics of a page within a session look at it."""
SCROLL_DEPTH_MAX = 100
"""A property that says more is taken for this."""
ENGAGEMENT_MS_MAX = 30 * 24 * 3600 * 1000
"""Of one report; a property that says more is taken for this."""

SITE_ID_PATTERN = r"^[A-Za-z0-9._:-]{1,128}$"
NAME_CHARS_MAX = 64
PATH_CHARS_MAX = 2_048
USER_ID_CHARS_MAX = 256
EVENT_ID_CHARS_MAX = 64
TEXT_CHARS_MAX = 2_048
"""Referrer, title: cut to this, never refused, for the sender has no say in how long a referrer is."""
SHORT_TEXT_CHARS_MAX = 255
"""Hostname, screen, language, campaign parameters: cut to this."""
PROPS_MAX = 50
PROP_KEY_CHARS_MAX = 64
PROP_VALUE_CHARS_MAX = 1_024
REVENUE_ABS_MAX = Decimal(10) ** 12
REVENUE_DECIMALS = 6
FUTURE_MAX_S = 24 * 3600


class DropReason(StrEnum):
    """Why an event that is valid is not counted. Closed: a new reason is a new member and a test."""

    BOT = "bot"
    SPAM_REFERRER = "spam_referrer"
    BLOCKED = "blocked"
    UNKNOWN_SITE = "unknown_site"
    DUPLICATE = "duplicate"


class Event(msgspec.Struct, array_like=True, gc=False):
    """One thing that happened.

    Encoded as one MessagePack array in this order, and queued like that: while jobs of an older version may wait in a
    queue, fields are only ever appended, with a default. An empty string means that nothing is known.
    A dropped event travels the same road with its *drop_reason*, so that the ledger is kept by the same transactions.
    """

    id: bytes
    """16 bytes, ours, one per acceptance: what makes a redelivery count once."""
    key: bytes
    """16 bytes made of site and the sender's `event_id`, or empty: what makes a repeated send count once."""
    site_id: str
    name: str
    occurred_at_ms: int
    """Milliseconds since 1970-01-01 UTC."""
    received_at_ms: int
    visitor_id: int
    """Unsigned 64 bits: a hash of user id, or of address and user agent under the day's salt."""
    user_id: str = ""
    hostname: str = ""
    path: str = "/"
    title: str = ""
    referrer: str = ""
    source: str = ""
    channel: str = ""
    utm_source: str = ""
    utm_medium: str = ""
    utm_campaign: str = ""
    utm_content: str = ""
    utm_term: str = ""
    click_id: str = ""
    """The name of the advertising click parameter that was there (gclid, fbclid …), not its value."""
    browser: str = ""
    browser_version: str = ""
    os: str = ""
    os_version: str = ""
    device: str = ""
    country: str = ""
    """ISO 3166-1 alpha-2, upper case."""
    region: str = ""
    city: str = ""
    language: str = ""
    screen: str = ""
    props: dict[str, str] = {}
    """Values as text: numbers as JSON writes them, booleans as true and false; nulls left out."""
    revenue: Decimal | None = None
    currency: str = ""
    """ISO 4217, upper case."""
    interactive: bool = True
    drop_reason: str = ""
    """A DropReason, or empty for an event that counts."""
    import_id: str = ""
    """Which import brought it; empty for live traffic."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Event)

encode = _encoder.encode
"""Event -> bytes, about a microsecond."""


def decode(payload: bytes) -> Event:
    """The event in *payload*. Raises msgspec.DecodeError (ValidationError is one) where there is none."""
    return _decoder.decode(payload)


_process_prefix = os.urandom(8)
_counter = itertools.count(int.from_bytes(os.urandom(4)))


def new_id() -> bytes:
    """A fresh Event.id: eight random bytes of this process, then a counter, so that the column compresses."""
    return _process_prefix + next(_counter).to_bytes(8)


def _renew_prefix() -> None:
    global _process_prefix  # noqa: PLW0603 - a forked child must not repeat its parent's ids
    _process_prefix = os.urandom(8)


os.register_at_fork(after_in_child=_renew_prefix)


def key_of(site_id: str, event_id: str) -> bytes:
    """The Event.key of a sender's own *event_id*: 128 bits, for at 64 a billion events make a false twin likely."""
    return blake2b(f"{site_id}\0{event_id}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
