"""What is sent: requests with events in them, built before the clock starts."""

import random
from collections.abc import Callable
from enum import StrEnum

import msgspec

from bench.http import post
from footfall.tools.demo_world import COUNTRIES, DEVICES

SITE = "my-website"
BATCH_EVENTS = 1_000
PATHS = 200
_SEED = 20_240_115


class Kind(StrEnum):
    """How a batch is written, and how it names its visitors."""

    LINES = "NDJSON, user ids"
    ARRAY = "JSON array, user ids"
    HASHED = "NDJSON, visitor hashes"


class _Named(msgspec.Struct):
    site_id: str
    event_type: str
    path: str
    user_id: str


class _Hashed(msgspec.Struct):
    site_id: str
    event_type: str
    path: str
    ip: str
    user_agent: str


def batches(kind: Kind, count: int) -> list[bytes]:
    """*count* requests of 1,000 events each; every event is another visitor's."""
    draw = random.Random(_SEED)
    return [_batch(kind, number, draw) for number in range(count)]


def _batch(kind: Kind, number: int, draw: random.Random) -> bytes:
    first = number * BATCH_EVENTS
    if kind is Kind.HASHED:
        return _as_lines([_hashed(draw) for _ in range(BATCH_EVENTS)])
    events = [
        _Named(SITE, "pageview", f"/products/{draw.randrange(PATHS)}", f"user-{first + n}") for n in range(BATCH_EVENTS)
    ]
    return post("/api/events", msgspec.json.encode(events)) if kind is Kind.ARRAY else _as_lines(events)


def _as_lines(events: list[_Named] | list[_Hashed]) -> bytes:
    return post("/api/events", b"\n".join(map(msgspec.json.encode, events)), "application/x-ndjson")


def _hashed(draw: random.Random) -> _Hashed:
    """As a server of the site's own sends it for its visitor: with the address and the browser, and no name."""
    country = draw.choice(list(COUNTRIES.values()))
    address = f"{country.address_prefix}.{draw.randrange(256)}.{draw.randrange(1, 255)}"
    _, _, user_agent = draw.choice(DEVICES)
    return _Hashed(SITE, "pageview", f"/products/{draw.randrange(PATHS)}", address, user_agent)


def single(prefix: str, site_id: str = SITE, path: str | None = None) -> Callable[[int], bytes]:
    """The n-th request with one event, by visitor n of *prefix*."""

    def request(number: int) -> bytes:
        named = _Named(site_id, "pageview", path or f"/products/{number % PATHS}", f"user-{prefix}-{number}")
        return post("/api/event", msgspec.json.encode(named))

    return request
