"""Places: how many long answers of a kind may be under way at once, in this process."""

from collections.abc import Hashable, Mapping
from typing import Any

from footfall.address import sender_of
from footfall.api.context import ApiContext
from footfall.door import Caller
from footfall.errors import Overloaded


class Places:
    """So many in all, and so many for each who asks."""

    def __init__(self, what: str, limit: int, limit_each: int, retry_after_s: int) -> None:
        """*what* they are, for whom there is none left."""
        self._what = what
        self._limit = limit
        self._limit_each = limit_each
        self._retry_after_s = retry_after_s
        self._taken: dict[Hashable, int] = {}

    def take(self, who: Hashable) -> None:
        """Take one for *who*. Raises Overloaded where none is left."""
        own = self._taken.get(who, 0)
        if own >= self._limit_each:
            raise Overloaded(f"{self._limit_each} {self._what} are under way for you already", self._retry_after_s)
        if sum(self._taken.values()) >= self._limit:
            raise Overloaded(f"{self._limit} {self._what} are under way already", self._retry_after_s)
        self._taken[who] = own + 1

    def give_back(self, who: Hashable) -> None:
        """Let go of one."""
        self._taken[who] -= 1
        if not self._taken[who]:
            del self._taken[who]


def who_asks(context: ApiContext, caller: Caller, scope: Mapping[str, Any]) -> Hashable:
    """By what the askers are told apart: a key, or else an address, which is kept no longer than the answer takes."""
    return caller.key.id if caller.key is not None else sender_of(scope, context.settings.trusted_proxies).ip
