"""Funnel: how many go through a list of steps, as a question to a store; and how its steps are read from JSON."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec

from footfall.errors import Fault, Invalid
from footfall.query.definitions import Definitions, SavedFunnel
from footfall.query.filters import dimension_named
from footfall.query.query import Dimension, Filter, Prop, Range
from footfall.query.reading import COMMON, About, Fields, length_of_time, one_of, refuse, whole_number
from footfall.query.steps import Step, parse_step

STEPS_MIN: Final = 2
STEPS_MAX: Final = 10
LIMIT_DEFAULT: Final = 10
LIMIT_MAX: Final = 100
WINDOW_DAYS_MAX: Final = 366
WINDOW_MS_DEFAULT: Final = 14 * 86_400_000


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
    limit: int = LIMIT_DEFAULT


class Options(msgspec.Struct, frozen=True):
    """What of a funnel is asked for beside its steps; None: not said."""

    order: Order | None = None
    by: Unit | None = None
    window_ms: int | None = None

    def over(self, other: "Options") -> "Options":
        """These, and where they say nothing, *other*'s."""
        return Options(self.order or other.order, self.by or other.by, self.window_ms or other.window_ms)


class AskedFunnel(About, frozen=True, kw_only=True):
    """A request to POST /api/funnel."""

    steps: tuple[Step, ...]
    options: Options
    breakdown: Dimension | Prop | None = None
    limit: int = LIMIT_DEFAULT
    name: str = ""
    """Of the saved funnel that was asked for."""


def parse_funnel_steps(value: object, definitions: Definitions, field: str = "steps") -> tuple[Step, ...]:
    """The steps of a funnel, in a request or saved. Raises Invalid with every fault below *field*."""
    if not isinstance(value, list) or not STEPS_MIN <= len(value) <= STEPS_MAX:
        refuse(field, f"must be a list of {STEPS_MIN} to {STEPS_MAX} steps")
    faults: list[Fault] = []
    steps: list[Step] = []
    for place, each in enumerate(value):
        try:
            steps.append(parse_step(each, definitions, f"{field}[{place}]"))
        except Invalid as error:
            faults.extend(error.faults)
    if faults:
        raise Invalid(*faults)
    return tuple(steps)


def parse_funnel_options(value: object, field: str = "options") -> Options:
    """The options of a saved funnel: order, by and window. Raises Invalid with every fault below *field*."""
    if not isinstance(value, dict):
        refuse(field, "must be an object")
    fields = Fields({f"{field}.{name}": each for name, each in value.items()}, tuple(f"{field}.{n}" for n in _OPTIONS))
    found = _options(fields, f"{field}.")
    fields.done()
    return found


def parse_funnel(body: Mapping[str, Any], definitions: Definitions) -> AskedFunnel:
    """The question in a request's body, of the site that has these *definitions*. Raises Invalid with every fault."""
    fields = Fields(body, (*COMMON, "steps", "funnel", *_OPTIONS, "breakdown", "limit"))
    about = fields.about(definitions)
    no_steps: tuple[Step, ...] = ()
    options = _options(fields, "")
    steps = fields.read("steps", lambda value: parse_funnel_steps(value, definitions), no_steps)
    saved = fields.read("funnel", lambda value: _saved(value, definitions), None)
    breakdown = fields.read("breakdown", lambda value: dimension_named(value, "breakdown"), None)
    limit = fields.read("limit", whole_number("limit", 1, LIMIT_MAX), LIMIT_DEFAULT)
    if fields.has("steps") == fields.has("funnel"):
        fields.fault("steps", "is required, or funnel with the name of a saved one, and not both")
    if saved is not None:
        steps = fields.catch(lambda: _steps_of(saved, definitions), no_steps)
        options = options.over(fields.catch(lambda: parse_funnel_options(saved.options, "funnel"), Options()))
    fields.done()
    return AskedFunnel(
        steps=steps,
        options=options.over(_USUAL),
        breakdown=breakdown,
        limit=limit,
        name="" if saved is None else saved.name,
        **about,
    )


_OPTIONS = ("order", "by", "window")
_USUAL = Options(Order.ORDERED, Unit.VISITOR, WINDOW_MS_DEFAULT)


def _options(fields: Fields, above: str) -> Options:
    return Options(
        order=fields.read(f"{above}order", one_of(Order, f"{above}order"), None),
        by=fields.read(f"{above}by", one_of(Unit, f"{above}by"), None),
        window_ms=fields.read(f"{above}window", length_of_time(f"{above}window", WINDOW_DAYS_MAX), None),
    )


def _saved(value: object, definitions: Definitions) -> SavedFunnel:
    found = next((funnel for funnel in definitions.funnels if funnel.name == value), None)
    if found is None:
        known = ", ".join(funnel.name for funnel in definitions.funnels[:20]) or "none"
        refuse("funnel", f"must be the name of a saved funnel of this site; known are {known}")
    return found


def _steps_of(saved: SavedFunnel, definitions: Definitions) -> tuple[Step, ...]:
    try:
        return parse_funnel_steps(saved.steps, definitions)
    except Invalid as error:
        why = "; ".join(f"{fault.field} {fault.message}" for fault in error.faults)
        refuse("funnel", f"is saved with steps that can not be asked any more: {why}")
