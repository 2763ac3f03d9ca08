"""What this process knows of the leases it has from SQS: how long each lasts, and what was answered for already.

SQS answers a delete of what is deleted with success, so it can not tell an answer that is given twice. All of it is in
memory: another process, or this one after a start, goes by what the delivery says of itself.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from footfall.queue.base import Delivery
from footfall.queue.sqs_messages import ticket_of

SETTLED_MAX = 10_000
COPIES_MAX = 1_000
"""So many are remembered; the oldest goes first. The worker gives an answer again within seconds, or never."""

Copy = tuple[str, int]
"""Message id and hash of the payloads that were copied into the failed queue."""


class _Lease(NamedTuple):
    put_at_ms: int
    until_ms: int


class SqsLeases:
    """Leases by receipt, which is Delivery.token."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._open: dict[str, _Lease] = {}
        self._settled: dict[str, None] = {}
        self._copies: dict[Copy, bool] = {}
        """Copies of messages that are not deleted yet -> whether the ledger has them."""

    def hold(self, deliveries: Iterable[Delivery]) -> None:
        """These were leased, until when they say."""
        now_ms = self._now_ms()
        self._open = {token: lease for token, lease in self._open.items() if lease.until_ms > now_ms}
        for one in deliveries:
            ticket = ticket_of(one)
            self._open[one.token] = _Lease(ticket.put_at_ms, ticket.until_ms)

    def extend(self, deliveries: Iterable[Delivery], until_ms: int) -> None:
        """SQS has made these longer. One that was settled meanwhile stays settled."""
        for one in deliveries:
            if one.token not in self._settled:
                self._open[one.token] = _Lease(ticket_of(one).put_at_ms, until_ms)

    def is_open(self, delivery: Delivery) -> bool:
        """Whether there is still something to answer: the lease is not over, and it was not settled."""
        if delivery.token in self._settled:
            return False
        lease = self._open.get(delivery.token)
        return self._now_ms() < (ticket_of(delivery).until_ms if lease is None else lease.until_ms)

    def settle(self, tokens: Iterable[str]) -> None:
        """SQS and the ledger know what became of these; an answer that is given again has no effect."""
        for token in tokens:
            self._open.pop(token, None)
            self._settled[token] = None
        _shorten(self._settled, SETTLED_MAX)

    def put_at_ms(self) -> list[int]:
        """When those were put that are leased."""
        return [lease.put_at_ms for lease in self._open.values()]

    def is_copied(self, copy: Copy) -> bool:
        """Whether it is in the failed queue, and its message perhaps still in its own."""
        return copy in self._copies

    def is_counted(self, copy: Copy) -> bool:
        """Whether the ledger has it."""
        return self._copies.get(copy, False)

    def note_copy(self, copy: Copy, *, is_counted: bool) -> None:
        """It is in the failed queue."""
        self._copies[copy] = is_counted
        _shorten(self._copies, COPIES_MAX)

    def forget_copy(self, copy: Copy) -> None:
        """Its message is deleted."""
        self._copies.pop(copy, None)


def _shorten(remembered: dict[Any, Any], limit: int) -> None:
    while len(remembered) > limit:
        del remembered[next(iter(remembered))]
