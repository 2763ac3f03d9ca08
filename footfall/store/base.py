"""The store's port: what the worker and the reports may ask of any store, and what it promises.

An adapter turns its driver's failures into Unavailable (worth a retry) or Unstorable (this batch never will go in).
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from footfall.query.events import EventsQuery, Page
from footfall.query.query import Query
from footfall.query.sequence import Sequence as SequenceQuestion


class Batch(msgspec.Struct, frozen=True):
    """Encoded events to be written as one."""

    payloads: Sequence[bytes]
    """Each the encoding of one Event; dropped ones among them."""
    redelivered: bool
    """True where an earlier attempt may have written some of them: then every id is looked up first.
    Keys (the senders' own event ids) are looked up in any case."""


class Written(msgspec.Struct, frozen=True):
    """What became of a batch: stored + dropped + duplicates + already = its length."""

    stored: int
    dropped: int
    """Written as dropped, by the collector's reason."""
    duplicates: int
    """Dropped here, and kept as such: the same key was stored in the last 30 days."""
    already: int
    """Written by an earlier attempt."""


class Ledger(msgspec.Struct, frozen=True):
    """What the store has finished with, counted from its own rows."""

    stored: int
    dropped: dict[str, int]
    """By DropReason."""


class Table(msgspec.Struct, frozen=True):
    """An answer: one row per group, unsorted unless the query said how, without empty groups.

    Dimensions are text but for the numbers of time:day_of_week and time:hour_of_day. Counts are int; ratios float, per
    cent or seconds or a number, not rounded, None where there is nothing to divide by; money a dict from currency to
    Decimal, None where there is none.
    """

    columns: tuple[str, ...]
    """The dimensions, then the metrics, as the query named them."""
    rows: Sequence[tuple[object, ...]]
    total: int | None = None
    """How many rows there are without limit and offset, where the query asked."""


class Check(msgspec.Struct, frozen=True):
    """How the store is."""

    ok: bool
    latency_ms: float
    message: str = ""


class Store(Protocol):
    """Where events end up and every question is answered."""

    kind: str
    """What health and the start line call it: "chdb", "clickhouse", "mongodb"."""

    async def write(self, batch: Batch) -> Written:
        """Write what is not there yet; when it returns, the batch survives a crash and shows in every answer.

        The same batch again (redelivered=True) changes nothing. A write that raises has left nothing, or what its
        redelivery completes. Raises Unavailable or Unstorable.
        """
        ...

    async def rows(self, query: Query) -> Table:
        """The metrics of *query* for each group of its dimensions. Raises Unavailable, also when over a cost limit."""
        ...

    async def page(self, query: EventsQuery) -> Page:
        """One page of the events themselves, encoded as asked; from page to page none is shown twice or left out.

        Raises Unavailable, also where the page is over a cost limit: a smaller one may not be.
        """
        ...

    async def sequences(self, question: SequenceQuestion) -> Table:
        """The answer to a question about the order of events, with the columns that its struct says, in any order.

        Raises Invalid where time would be cut into too many buckets, Unavailable, also when over a cost limit.
        """
        ...

    async def ledger(self, site_id: str | None = None, import_id: str | None = None) -> Ledger:
        """Events stored and dropped, of one site or of all, by one import or by any road."""
        ...

    async def sites(self) -> Mapping[str, int]:
        """Every site that has events, with the time of its last one in milliseconds since 1970."""
        ...

    async def check(self) -> Check:
        """Ask the store something small. Never raises for a store that is down: it says so."""
        ...

    async def close(self) -> None:
        """Finish what is under way and let go of everything held."""
        ...
