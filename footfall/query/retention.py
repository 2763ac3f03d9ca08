"""Retention: who comes back, by when they first came, as a question to a store; and how it is read from JSON."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from footfall.query.definitions import Definitions
from footfall.query.query import Dimension, Filter, Range
from footfall.query.reading import COMMON, About, Fields, refuse
from footfall.query.steps import ANY_EVENT, Step, parse_step

PERIODS_MAX: Final = 366
"""Of one range: so many cohorts with so many periods are 67,000 figures."""
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


class AskedRetention(About, frozen=True, kw_only=True):
    """A request to POST /api/retention."""

    period: Dimension
    start: Step | None = None
    returned: Step = ANY_EVENT


def parse_retention(body: Mapping[str, Any], definitions: Definitions) -> AskedRetention:
    """The question in a request's body, of the site that has these *definitions*. Raises Invalid with every fault."""
    fields = Fields(body, (*COMMON, "period", "start", "return"))
    about = fields.about(definitions)
    period = fields.read("period", _period, Dimension.DAY)
    start = fields.read("start", lambda value: parse_step(value, definitions, "start"), None)
    returned = fields.read("return", lambda value: parse_step(value, definitions, "return"), ANY_EVENT)
    fields.done()
    return AskedRetention(period=period, start=start, returned=returned, **about)


def _period(value: object) -> Dimension:
    words = {period.value.removeprefix("time:"): period for period in PERIODS}
    if not isinstance(value, str) or value not in words:
        refuse("period", "must be one of " + ", ".join(words))
    return words[value]
