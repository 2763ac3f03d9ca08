"""Who: a visitor id made of the user id, or of address and user agent under a random salt that lives a day.

Nothing here is stored but the resulting 64 bits: with its salt gone, an id can not be led back to an address.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import date, timedelta
from hashlib import blake2b

from footfall.registry.base import Registry

DAY_MS = 86_400_000
GRACE_MS = 3_600_000
"""How long after its day the salt of a live day is still there: the registry's promise."""
PAST_SALT_KEPT_MS = 60_000
"""The registry destroys the salt of a past day 24 hours after it was made; when that was, only it knows. So it is asked
again every minute, which is also the longest that two processes can differ about such a day."""
SALTS_MAX = 512

_EPOCH_ON = date(1970, 1, 1)
_user_digest = blake2b(digest_size=8, person=b"footfall user")
_NOT_UTF8 = "surrogatepass"
"""Text that came in by another way than JSON may hold lone surrogates; it still names somebody."""


def day_of(at_ms: int) -> int:
    """The UTC day of an instant, counted from 1970-01-01."""
    return at_ms // DAY_MS


def user_visitor_id(site_id: str, user_id: str) -> int:
    """Unsigned 64 bits for a user whom the sender named: the same for ever, different on every site."""
    digest = _user_digest.copy()  # half the time of a new one
    digest.update(f"{site_id}\0{user_id}".encode("utf-8", _NOT_UTF8))
    return int.from_bytes(digest.digest())


def daily_visitor_id(salt: bytes, site_id: str, ip: str, user_agent: str) -> int:
    """Unsigned 64 bits for whoever sends from *ip* with *user_agent*, for as long as *salt* exists.

    The user agent comes last, for it alone may hold a NUL: so no two triples are hashed as the same bytes.
    """
    text = f"{site_id}\0{ip}\0{user_agent}".encode("utf-8", _NOT_UTF8)
    return int.from_bytes(blake2b(text, digest_size=8, key=salt, person=b"footfall daily").digest())


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class Salts:
    """The salts that are in use, over the registry: at most SALTS_MAX of them, each forgotten when it is destroyed.

    Two processes, and one before and after a restart, get the same salt for a day, because the registry says so.
    """

    def __init__(self, registry: Registry, *, now_ms: Callable[[], int] = _wall_ms) -> None:
        self._registry = registry
        self._now_ms = now_ms
        self._salts: dict[int, tuple[bytes, int]] = {}
        """Day -> salt, and when to forget it."""
        self._loading: dict[int, asyncio.Task[bytes]] = {}

    def known(self, day: int) -> bytes | None:
        """The salt of *day* (counted from 1970-01-01) if it is at hand and still in force; None: `load` it."""
        entry = self._salts.get(day)
        if entry is None:
            return None
        salt, forget_at_ms = entry
        if self._now_ms() < forget_at_ms:
            return salt
        del self._salts[day]
        return None

    async def load(self, day: int) -> bytes:
        """The salt of *day*, asked of the registry where it is not at hand. Raises Unavailable when that is down."""
        salt = self.known(day)
        if salt is not None:
            return salt
        task = self._loading.get(day)
        if task is None:
            task = self._loading[day] = asyncio.create_task(self._ask(day))
            task.add_done_callback(lambda _: self._loading.pop(day, None))
        # Many requests wait for the first salt of a day; one that hangs up must not take it from the others.
        return await asyncio.shield(task)

    async def _ask(self, day: int) -> bytes:
        salt = await self._registry.salt(_EPOCH_ON + timedelta(days=day))
        now_ms = self._now_ms()
        live_until_ms = (day + 1) * DAY_MS + GRACE_MS
        forget_at_ms = live_until_ms if now_ms < live_until_ms else now_ms + PAST_SALT_KEPT_MS
        while len(self._salts) >= SALTS_MAX:
            del self._salts[next(iter(self._salts))]
        self._salts[day] = (salt, forget_at_ms)
        # A process that nobody sends anything to has to forget as well.
        asyncio.get_running_loop().call_later((forget_at_ms - now_ms) / 1000 + 1, self.known, day)
        return salt
