"""Retention: who comes back, by when they first came, as a question to a store."""

from typing import Final

import msgspec

from footfall.query.query import Dimension, Filter, Range
from footfall.query.steps import ANY_EVENT, Step

PERIODS_MAX: Final = 366
PERIODS: Final = (Dimension.DAY, Dimension.WEEK, Dimension.MONTH)


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """How many of those who started in one period return in the next ones.

    The periods are the buckets of *period* in *range*, numbered from 0. A visitor starts once: with *start* at the
    first event in the range that meets it; without, at the first event ever in all of the site's data, if that is in
    the range (reports of engagement left out). Equal times go by id. With *filter*, only those starts count that happen
    in a session, made of the events in the range, that has an event which meets it; a visitor whose start does not
    count has none, though a later event might do. A visitor returns in a period who has an event in it that meets
    *returned* and is not earlier, to the millisecond, than the start.

    The answer has the columns cohort, period, visitors, last. A row with the period None is a cohort's size: visitors
    who started in the period *cohort*; `last` is None. Every other row says how many of them returned in *period*, a
    number not below *cohort*, and for how many it was the last one in which they did. Rows without visitors are left
    out.
    """

    site_id: str
    range: Range
    period: Dimension
    """One of PERIODS."""
    start: Step | None = None
    returned: Step = ANY_EVENT
    filter: Filter | None = None
