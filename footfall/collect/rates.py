"""Rate limits: so many events a minute for each address and each site, or so many new sites, in bounded memory.

The `limits` package was measured first: 4.2 to 7.6 µs a hit on the machine where a whole request costs about 50, and
every key it ever saw waits for a timer thread. This is the generic cell rate algorithm (ITU-T I.371): one number a key.
"""

import math
import time
from collections.abc import Callable

from footfall.errors import Overloaded

BURST_S = 60.0
"""A key that was quiet may send a whole minute's events at once."""
KEYS_MAX = 100_000


class Rates:
    """How much each key has used. Limits hold for one process; N of them together let N times as much through."""

    def __init__(
        self,
        what: str,
        *,
        period_s: float = BURST_S,
        keys_max: int = KEYS_MAX,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what = what
        self._period_s = period_s
        self._keys_max = keys_max
        self._now_s = now_s
        self._free_at_s: dict[str | bytes, float] = {}
        """Key -> when all that it sent will be paid off. Before now means that it has its whole burst."""

    def __len__(self) -> int:
        return len(self._free_at_s)

    def wait_s(self, key: str | bytes, events: int, limit: int) -> int:
        """How many whole seconds *key* has to wait before it may send so many; 0 for now. A *limit* of 0 is none.

        More events at once than a minute allows are let through when nothing is owed, and then owed: else a large
        batch could never be sent.
        """
        if not limit:
            return 0
        owed_s = max(0.0, self._free_at_s.get(key, 0.0) - self._now_s())
        over_s = owed_s + min(events, limit) * self._period_s / limit - self._period_s
        return max(1, math.ceil(over_s)) if over_s > 1e-6 else 0

    def check(self, key: str | bytes, events: int, per_minute: int) -> None:
        """Raise Overloaded if *key* has to wait before it may send so many events. 0 a minute: no limit."""
        wait_s = self.wait_s(key, events, per_minute)
        if wait_s:
            raise Overloaded(f"more than {per_minute} events per minute from this {self._what}", wait_s)

    def take(self, key: str | bytes, events: int, limit: int) -> None:
        """Count *events* for *key*, or give them back where they are negative."""
        if not limit:
            return
        now_s = self._now_s()
        free_at_s = self._free_at_s
        if key not in free_at_s and len(free_at_s) >= self._keys_max:
            self._make_room(now_s)
        free_at_s[key] = max(now_s, free_at_s.get(key, 0.0)) + events * self._period_s / limit

    def _make_room(self, now_s: float) -> None:
        """Forget who owes nothing, and if everybody does, the half that was first seen longest ago."""
        kept = {key: free_at_s for key, free_at_s in self._free_at_s.items() if free_at_s > now_s}
        if len(kept) >= self._keys_max:
            kept = dict(list(kept.items())[self._keys_max // 2 :])
        self._free_at_s = kept
