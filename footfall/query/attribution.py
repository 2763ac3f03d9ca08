"""Attribution: by which ways conversions come about, as a question to a store."""

from enum import StrEnum
from typing import Final

import msgspec

from footfall.query.query import Dimension, Filter, Range
from footfall.query.steps import Step

TOUCHES_MAX: Final = 50
"""Of a longer path the first is kept, and the last of all but one of these."""
PATHS_MAX: Final = 20_000
DIRECT: Final = ("Direct", "")
"""The channels of a session that nothing led to, or of which nothing is known."""


class Counting(StrEnum):
    """Which of a visitor's conversions count."""

    EVERY = "every"
    FIRST = "first"
    """The first in the range."""


class Attribution(msgspec.Struct, frozen=True, kw_only=True):
    """The paths to conversions.

    Sessions are made of the events from *lookback_ms* before the range to its end. A conversion is an event in the
    range that meets *goal*, of a session that has an event which meets *filter*. Its path is the visitor's sessions
    that had begun by then, at most *lookback_ms* before it, and its own session, in order of time; each is called by
    its value of *dimension*. With *with_lost*, a visitor with an event in such a session in the range, and without a
    conversion, has a path that ends with the last such event (no report of engagement), in a conversion lost.

    The answer has the columns touches, non_direct, currency, conversions, lost, visitors, revenue, decayed,
    decayed_revenue, took_ms, met, cut: a row for each group of the first three, which are the values of the path, the
    place in it (from 0) of the last session whose channel is not one of DIRECT (the last place where there is none),
    and the currency of the conversions ("" where they brought no revenue, as of what is lost). *visitors* counts
    those whose first conversion it is. *decayed* are the parts of the conversions, and *decayed_revenue* of the
    revenue, for each place, where a session weighs half as much as one that began *half_life_ms* later; as floats.
    *took_ms* adds up the times from the beginning of the path's first session to the conversion, *met* the touches of
    the conversions; *cut* counts those paths (lost ones too) that have more than TOUCHES_MAX touches. Of these the
    first stays and the last TOUCHES_MAX - 1, and the other columns but took_ms and met are of what stays.
    Only the *limit* rows with most conversions stand for themselves, ties by most lost, then by touches, currency,
    non_direct; the others are added up by currency, with None for touches, 0 for non_direct, and one place.
    """

    site_id: str
    range: Range
    goal: Step
    dimension: Dimension
    """Of Scope.SESSION."""
    lookback_ms: int
    half_life_ms: int
    counting: Counting = Counting.EVERY
    with_lost: bool = False
    filter: Filter | None = None
    limit: int = PATHS_MAX
