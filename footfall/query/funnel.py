"""Funnel: how many go through a list of steps, as a question to a store; and how its steps are read from JSON."""

from enum import StrEnum
from typing import Final

import msgspec

from footfall.query.query import Dimension, Filter, Prop, Range
from footfall.query.steps import Step

STEPS_MIN: Final = 2
STEPS_MAX: Final = 10


class Order(StrEnum):
    """What may happen between two steps."""

    ORDERED = "ordered"
    """Anything."""
    STRICT = "strict"
    """Nothing: a step is the very next event, of those that take part."""


class Unit(StrEnum):
    """Who walks: a visitor, through all events in the range, or each session for itself."""

    VISITOR = "visitor"
    SESSION = "session"


class Funnel(msgspec.Struct, frozen=True, kw_only=True):
    """How many units get how far.

    What takes part: the events in the range, of sessions that have an event that meets *filter*; not reports of
    engagement, unless they meet a step. They stand in order of time, equal times in order of their ids.
    A run begins at an event that meets the first step. ORDERED: each further step is the first event after the one of
    the step before that meets it. STRICT: it is the very next one. The run ends before the step whose event there is
    not, or which is later than *window_ms* after the run's first (exactly as long is not later). Of all the runs of a
    unit, that one counts which has most steps; of those, the one whose last step came first; of those, the one that
    began last.

    The answer has the columns place, value, step, units, mean_s, median_s, p90_s: for each place a row for each step
    (0 is the first). Place 0 is all units. With *breakdown* the units are also grouped by its value at the first step
    of the run: the *limit* groups with most units at the first step, ties by value, are places 1 to *limit* in that
    order, and all the others together place *limit* + 1, with the value None. Places without units are left out, but
    not place 0. The times are from the step before to this one, in seconds as floats, over the units that reached it;
    the quantiles interpolate between the two nearest (R's type 7); None for the first step and where units is 0.
    """

    site_id: str
    range: Range
    steps: tuple[Step, ...]
    """STEPS_MIN to STEPS_MAX."""
    order: Order = Order.ORDERED
    unit: Unit = Unit.VISITOR
    window_ms: int
    filter: Filter | None = None
    breakdown: Dimension | Prop | None = None
    """Of time: the bucket of the first step."""
    limit: int = 10
