"""Tickets: what lets a browser's EventSource, which can send no header, in to one site's stream, for a minute.

A key in an address ends up in logs and histories. A ticket is worth nothing there: it is over soon, and it is signed
with what the registry keeps of a key, so every process can judge it and none has to remember it.
"""

import hmac
import re
from typing import Final

from footfall.door import Caller, Door
from footfall.errors import Unauthorized
from footfall.registry.base import Key

LIFE_MS: Final = 60_000
_TICKET: Final = re.compile(r"([0-9a-f]{4,32})\.([0-9]{1,15})\.([0-9a-f]{64})")


def make_ticket(key: Key, site_id: str, now_ms: int) -> str:
    """A ticket for *site_id*, as good as *key* for LIFE_MS from now."""
    ends_at_ms = now_ms + LIFE_MS
    return f"{key.id}.{ends_at_ms}.{_signature(key, site_id, ends_at_ms)}"


async def holder(door: Door, ticket: str, site_id: str, now_ms: int) -> Caller:
    """The caller whose key made *ticket*. Raises Unauthorized for one that is not valid for *site_id* now."""
    found = _TICKET.fullmatch(ticket)
    key = await door.key_named(found[1]) if found else None
    if found is None or key is None or not hmac.compare_digest(found[3], _signature(key, site_id, int(found[2]))):
        raise Unauthorized("this ticket is not valid for this site")
    if int(found[2]) <= now_ms or (key.expires_at_ms is not None and key.expires_at_ms <= now_ms):
        raise Unauthorized("this ticket is over; ask for another")
    return Caller(is_open=False, key=key)


def _signature(key: Key, site_id: str, ends_at_ms: int) -> str:
    return hmac.digest(key.secret_hash, f"live\0{site_id}\0{ends_at_ms}".encode(), "sha256").hex()
