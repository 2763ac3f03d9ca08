"""Attribution: by which ways conversions come about, as a question to a store; and how it is read from JSON."""

from collections.abc import Mapping
from enum import StrEnum
from fractions import Fraction
from typing import Any, Final

import msgspec

from footfall.errors import Fault, Invalid
from footfall.query.definitions import Definitions
from footfall.query.filters import dimension_named
from footfall.query.query import Dimension, Filter, Range, Scope
from footfall.query.reading import COMMON, About, Fields, length_of_time, one_of, refuse, whole_number
from footfall.query.steps import ANY_EVENT, Step, parse_step

TOUCHES_MAX: Final = 50
"""Of a longer path the first is kept, and the last of all but one of these."""
PATHS_MAX: Final = 20_000
DIRECT: Final = ("Direct", "")
"""The channels of a session that nothing led to, or of which nothing is known."""


LOOKBACK_DAYS_MAX: Final = 366
LOOKBACK_MS_DEFAULT: Final = 30 * 86_400_000
HALF_LIFE_MS_DEFAULT: Final = 7 * 86_400_000
SHOWN_PATHS_DEFAULT: Final = 10
SHOWN_PATHS_MAX: Final = 100


class Model(StrEnum):
    """Who is owed what."""

    FIRST = "first"
    """All to the first touchpoint."""
    LAST = "last"
    """All to the last."""
    LAST_NON_DIRECT = "last_non_direct"
    """All to the last that did not come directly; to the last where all did."""
    LINEAR = "linear"
    """The same to each."""
    TIME_DECAY = "time_decay"
    """To each half as much as to one a half-life later."""
    POSITION = "position"
    """A part to the first, a part to the last, the rest in between."""
    MARKOV = "markov"
    """By what would be lost without it."""


class Position(msgspec.Struct, frozen=True):
    """The parts that the model of that name gives to the ends of a path."""

    first: Fraction = Fraction(2, 5)
    last: Fraction = Fraction(2, 5)


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


class AskedAttribution(About, frozen=True, kw_only=True):
    """A request to POST /api/attribution."""

    goal: Step
    models: tuple[Model, ...] = tuple(Model)
    dimension: Dimension = Dimension.CHANNEL
    lookback_ms: int = LOOKBACK_MS_DEFAULT
    half_life_ms: int = HALF_LIFE_MS_DEFAULT
    position: Position = Position()
    counting: Counting = Counting.EVERY
    paths: int = SHOWN_PATHS_DEFAULT
    """How many of the most frequent paths are shown."""


def parse_attribution(body: Mapping[str, Any], definitions: Definitions) -> AskedAttribution:
    """The question in a request's body, of the site that has these *definitions*. Raises Invalid with every fault."""
    known = ("goal", "models", "dimension", "lookback", "half_life", "position", "conversions", "paths")
    fields = Fields(body, (*COMMON, *known))
    about = fields.about(definitions)
    asked = AskedAttribution(
        goal=fields.required("goal", lambda value: parse_step(value, definitions, "goal"), ANY_EVENT),
        models=fields.read("models", _models, tuple(Model)),
        dimension=fields.read("dimension", _dimension, Dimension.CHANNEL),
        lookback_ms=fields.read("lookback", length_of_time("lookback", LOOKBACK_DAYS_MAX), LOOKBACK_MS_DEFAULT),
        half_life_ms=fields.read("half_life", length_of_time("half_life", LOOKBACK_DAYS_MAX), HALF_LIFE_MS_DEFAULT),
        position=fields.read("position", _position, Position()),
        counting=fields.read("conversions", one_of(Counting, "conversions"), Counting.EVERY),
        paths=fields.read("paths", whole_number("paths", 0, SHOWN_PATHS_MAX), SHOWN_PATHS_DEFAULT),
        **about,
    )
    fields.done()
    return asked


def _models(value: object) -> tuple[Model, ...]:
    if not isinstance(value, list) or not value:
        refuse("models", "must be a list of at least one of " + ", ".join(Model))
    faults: list[Fault] = []
    found: list[Model] = []
    for place, each in enumerate(value[: len(Model) + 1]):
        try:
            found.append(one_of(Model, f"models[{place}]")(each))
        except Invalid as error:
            faults.extend(error.faults)
    if faults:
        raise Invalid(*faults)
    if len(set(found)) != len(found):
        refuse("models", "must name each once")
    return tuple(found)


def _dimension(value: object) -> Dimension:
    found = dimension_named(value, "dimension")
    if not isinstance(found, Dimension) or found.scope is not Scope.SESSION:
        refuse("dimension", "must be one of a visit, such as visit:channel, visit:source or visit:entry_page")
    return found


def _position(value: object) -> Position:
    if not isinstance(value, dict) or value.keys() != {"first", "last"}:
        refuse("position", 'must be like {"first": 40, "last": 40}')
    first, last = (_per_cent(value[end], f"position.{end}") for end in ("first", "last"))
    if first + last > 1:
        refuse("position", "must be at most 100 together")
    return Position(first, last)


def _per_cent(value: object, field: str) -> Fraction:
    if type(value) not in {int, float} or not 0 <= float(str(value)) <= 100:
        refuse(field, "must be a number from 0 to 100")
    return Fraction(str(value)) / 100
