"""AskedGoals: a request to POST /api/goals/report, and how it is read from JSON."""

from collections.abc import Mapping
from typing import Any, Final

from footfall.query.definitions import Definitions
from footfall.query.filters import Conditions, dimension_named, parse_conditions
from footfall.query.parse import parse_comparison
from footfall.query.periods import Comparison
from footfall.query.query import Dimension, Prop, Scope
from footfall.query.reading import COMMON, About, Fields, refuse, whole_number

VALUES_DEFAULT: Final = 10
VALUES_MAX: Final = 100


class AskedGoals(About, frozen=True, kw_only=True):
    """How the goals of a site are met. Its filter is in *conditions*, with what rates have to know of it."""

    conditions: Conditions
    breakdown: Dimension | Prop | None = None
    limit: int = VALUES_DEFAULT
    """Of values of the breakdown, for each goal."""
    compare: Comparison | None = None


def parse_goals(body: Mapping[str, Any], definitions: Definitions) -> AskedGoals:
    """The question in a request's body, of the site that has these *definitions*. Raises Invalid with every fault."""
    fields = Fields(body, (*COMMON, "breakdown", "limit", "compare"))
    about = fields.about(definitions)
    every_goal = Conditions(goals=definitions.goals)
    conditions = every_goal
    if about["filter"] is not None:
        conditions = fields.read("filters", lambda value: parse_conditions(value, definitions), every_goal)
    breakdown = fields.read("breakdown", _breakdown, None)
    limit = fields.read("limit", whole_number("limit", 1, VALUES_MAX), VALUES_DEFAULT)
    compare = fields.read("compare", lambda value: parse_comparison(value, "compare"), None)
    fields.done()
    return AskedGoals(conditions=conditions, breakdown=breakdown, limit=limit, compare=compare, **about)


def _breakdown(value: object) -> Dimension | Prop:
    found = dimension_named(value, "breakdown")
    if found.scope is Scope.TIME:
        refuse("breakdown", "can not be of time; POST /api/query has a row for each bucket of it")
    return found
