"""Experiment: what became of the visitors who saw each variant, as a question to a store."""

from typing import Final

import msgspec

from footfall.query.query import Filter, Range
from footfall.query.steps import Step

VARIANTS_MAX: Final = 20


class Experiment(msgspec.Struct, frozen=True, kw_only=True):
    """Visitors by the variant they saw.

    An event in the range, no report of engagement, whose property *prop* has one of the values *variants* (any but ""
    where none are named) shows the visitor that variant. The exposure is the first such event of a session that has an
    event which meets *filter*. A visitor who was shown two variants is mixed, and counts nowhere else. What comes after
    the exposure in the range, events of the same millisecond by their ids, is the visitor's outcome: converted by an
    event that meets *goal*; and the revenue of all events, by currency.

    The answer has the columns kind, variant, currency, visitors, converted, revenue, squares.
    ("variant", its value, "", visitors, how many converted, 0, 0.0) for each of the *limit* variants with most
    visitors, ties by value. ("revenue", its value, currency, visitors with revenue, 0, the sum, the sum of the squares
    of each visitor's sum as a float) for each currency of these. ("mixed", "", "", visitors, 0, 0, 0.0) and
    ("left_out", "", "", visitors of all other variants, 0, 0, 0.0), each only where there are any.
    """

    site_id: str
    range: Range
    prop: str
    variants: tuple[str, ...] = ()
    goal: Step
    filter: Filter | None = None
    limit: int = VARIANTS_MAX
