"""Steps: one condition on a single event, under a name; what funnels, journeys and cohorts are made of."""

import msgspec

from footfall.event import ENGAGEMENT
from footfall.query.query import All, Compare, Dimension, Filter, Operator, Some


class Step(msgspec.Struct, frozen=True):
    """What an event has to be."""

    name: str
    """For people."""
    condition: Filter
    """On events alone: dimensions of Scope.EVENT, without HasDone."""
    takes_engagement: bool = False
    """False: no report of engagement meets it, whatever the condition says."""


ANY_EVENT = Step("any event", All(()))


def a_step(name: str, condition: Filter) -> Step:
    """The step that *condition* means: not met by reports of engagement, unless it asks for them by name."""
    return Step(name, condition, takes_engagement=_names_engagement(condition))


def _names_engagement(condition: Filter) -> bool:
    if isinstance(condition, Compare):
        is_name = condition.dimension is Dimension.NAME and condition.operator is Operator.IS
        return is_name and ENGAGEMENT in condition.values
    return isinstance(condition, All | Some) and any(_names_engagement(part) for part in condition.parts)
