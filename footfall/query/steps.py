"""Steps: one condition on a single event, under a name; what funnels, journeys and cohorts are made of."""

from typing import Final

import msgspec

from footfall.errors import Fault, Invalid
from footfall.event import ENGAGEMENT, PROP_KEY_CHARS_MAX, PROP_VALUE_CHARS_MAX
from footfall.event import NAME_CHARS_MAX as EVENT_CHARS_MAX
from footfall.query.definitions import GOAL_PROPS_MAX, NAME_CHARS_MAX, PAGE_CHARS_MAX, WILDCARDS_MAX, Definitions, Goal
from footfall.query.filters import parse_filters
from footfall.query.goals import condition
from footfall.query.query import All, Compare, Dimension, Filter, Operator, Scope, Some, scopes
from footfall.query.reading import Fields, refuse, text

FIELDS: Final = ("goal", "event", "page", "props", "filters", "name")
FORM: Final = 'must be like {"goal": "Signup"}, {"page": "/pricing"}, {"event": "buy"} or {"filters": […]}'


class Step(msgspec.Struct, frozen=True):
    """What an event has to be."""

    name: str
    """For people."""
    condition: Filter
    """On events alone: dimensions of Scope.EVENT, without HasDone."""
    takes_engagement: bool = False
    """False: no report of engagement meets it, whatever the condition says."""


ANY_EVENT: Final = Step("any event", All(()))


def a_step(name: str, condition: Filter) -> Step:
    """The step that *condition* means: not met by reports of engagement, unless it asks for them by name."""
    return Step(name, condition, takes_engagement=_names_engagement(condition))


def _names_engagement(condition: Filter) -> bool:
    if isinstance(condition, Compare):
        is_name = condition.dimension is Dimension.NAME and condition.operator is Operator.IS
        return is_name and ENGAGEMENT in condition.values
    return isinstance(condition, All | Some) and any(_names_engagement(part) for part in condition.parts)


def parse_step(value: object, definitions: Definitions, field: str) -> Step:
    """A step of a request: the name of a goal, or an object with a goal, an event or a page, and filters on events.

    Raises Invalid, naming *field* and what is below it, with everything that is wrong.
    """
    if isinstance(value, str):
        return _of_goal(value, definitions, field)
    if not isinstance(value, dict) or not value.keys() & {"goal", "event", "page", "filters"}:
        refuse(field, FORM)
    below = {f"{field}.{name}": each for name, each in value.items()}
    fields = Fields(below, tuple(f"{field}.{name}" for name in FIELDS))
    goal = fields.read(f"{field}.goal", lambda each: _of_goal(each, definitions, f"{field}.goal"), None)
    name = fields.read(f"{field}.name", text(f"{field}.name", NAME_CHARS_MAX), "")
    inline = Goal(
        name="",
        event=fields.read(f"{field}.event", text(f"{field}.event", EVENT_CHARS_MAX), ""),
        page=fields.read(f"{field}.page", lambda each: _page(each, f"{field}.page"), ""),
        props=fields.read(f"{field}.props", lambda each: _props(each, f"{field}.props"), {}),
    )
    only = fields.read(f"{field}.filters", lambda each: _filters(each, definitions, f"{field}.filters"), None)
    if len({"goal", "event", "page"} & value.keys()) > 1:
        fields.fault(field, "must have only one of goal, event and page")
    if inline.props and not value.keys() & {"event", "page"}:
        fields.fault(f"{field}.props", "goes with event or page")
    fields.done()
    if goal is None and not (inline.event or inline.page) and only is None:
        refuse(field, FORM)
    met = [goal.condition] if goal is not None else [condition(inline)] if inline.event or inline.page else []
    met += [only] if only is not None else []
    named = name or (goal.name if goal is not None else inline.event or inline.page) or "filters"
    return a_step(named, All(tuple(met)))


def _of_goal(value: object, definitions: Definitions, field: str) -> Step:
    found = next((goal for goal in definitions.goals if goal.name == value), None)
    if found is None:
        known = ", ".join(goal.name for goal in definitions.goals[:20]) or "none"
        refuse(field, f"must be the name of a goal of this site; known are {known}")
    return a_step(found.name, condition(found))


def _page(value: object, field: str) -> str:
    found = text(field, PAGE_CHARS_MAX)(value)
    if found.count("*") - found.count("**") > WILDCARDS_MAX:
        refuse(field, f"must have at most {WILDCARDS_MAX} wildcards")
    return found


def _props(value: object, field: str) -> dict[str, str]:
    if not isinstance(value, dict) or not 1 <= len(value) <= GOAL_PROPS_MAX:
        refuse(field, f"must be an object of 1 to {GOAL_PROPS_MAX} properties")
    faults = []
    for key, each in value.items():
        if not 1 <= len(key) <= PROP_KEY_CHARS_MAX:
            faults.append(Fault(f"{field}.{key[:64]}", f"must have a key of 1 to {PROP_KEY_CHARS_MAX} characters"))
        elif not isinstance(each, str) or len(each) > PROP_VALUE_CHARS_MAX:
            faults.append(Fault(f"{field}.{key}", f"must be a text of at most {PROP_VALUE_CHARS_MAX} characters"))
    if faults:
        raise Invalid(*faults)
    return value


def _filters(value: object, definitions: Definitions, field: str) -> Filter | None:
    found = parse_filters(value, definitions, field)
    if found is not None and not scopes(found) <= {Scope.EVENT}:
        refuse(field, "must speak of event:… only, for a step is one event")
    return found
