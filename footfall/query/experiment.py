"""Experiment: what became of the visitors who saw each variant, as a question to a store; and its JSON."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from footfall.errors import Fault, Invalid
from footfall.event import PROP_KEY_CHARS_MAX, PROP_VALUE_CHARS_MAX
from footfall.query.definitions import Definitions
from footfall.query.query import Filter, Range
from footfall.query.reading import COMMON, About, Fields, refuse, text
from footfall.query.steps import ANY_EVENT, Step, parse_step

VARIANTS_MAX: Final = 20
PART_MAX: Final = 1_000_000


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


class AskedExperiment(About, frozen=True, kw_only=True):
    """A request to POST /api/experiment."""

    prop: str
    goal: Step
    control: str = ""
    """Empty: not said."""
    split: dict[str, float] = msgspec.field(default_factory=dict)
    """Variant -> the part of the visitors that should see it, on any scale; empty: any value, each the same part."""


def parse_experiment(body: Mapping[str, Any], definitions: Definitions) -> AskedExperiment:
    """The question in a request's body, of the site that has these *definitions*. Raises Invalid with every fault."""
    fields = Fields(body, (*COMMON, "prop", "goal", "control", "split"))
    about = fields.about(definitions)
    no_split: dict[str, float] = {}
    asked = AskedExperiment(
        prop=fields.required("prop", text("prop", PROP_KEY_CHARS_MAX), ""),
        goal=fields.required("goal", lambda value: parse_step(value, definitions, "goal"), ANY_EVENT),
        control=fields.read("control", text("control", PROP_VALUE_CHARS_MAX), ""),
        split=fields.read("split", _split, no_split),
        **about,
    )
    if asked.split and asked.control and asked.control not in asked.split:
        fields.fault("control", "must be one of the variants in split")
    fields.done()
    return asked


def _split(value: object) -> dict[str, float]:
    if not isinstance(value, dict) or not 2 <= len(value) <= VARIANTS_MAX:
        refuse("split", f'must have 2 to {VARIANTS_MAX} variants, like {{"control": 50, "new": 50}}')
    faults = []
    for name, part in value.items():
        if not 1 <= len(name) <= PROP_VALUE_CHARS_MAX:
            faults.append(Fault("split", f"must have names of 1 to {PROP_VALUE_CHARS_MAX} characters"))
        elif type(part) not in {int, float} or not 0 < part <= PART_MAX:
            faults.append(Fault(f"split.{name[:64]}", f"must be a number above 0, at most {PART_MAX}"))
    if faults:
        raise Invalid(*faults)
    return {name: float(part) for name, part in value.items()}
