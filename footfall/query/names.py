"""Names in a filter -> conditions: which of a site's goals and segments are meant, by any operator."""

from collections.abc import Sequence

import re2

from footfall.errors import Fault, Invalid
from footfall.query.definitions import Goal, Segment
from footfall.query.goals import condition
from footfall.query.query import Filter, Goals, Not, Operator, Some

_SHOWN_MAX = 20
"""So many known names are listed where one is not known."""


def goals_dimension(goals: Sequence[Goal]) -> Goals:
    """The dimension with a row for each of *goals*."""
    return Goals(tuple(sorted((goal.name, condition(goal)) for goal in goals)))


def goals_meant(
    operator: Operator, values: Sequence[str], goals: Sequence[Goal], field: str, *, is_sensitive: bool
) -> tuple[Filter, frozenset[str]]:
    """The condition on an event that it meets a goal which is named so, and the names of the goals whose rows are left.

    `is_not`, `contains_not` and `matches_not`: that it meets none of them. Raises Invalid for a name after `is` or
    `is_not` that no goal has.
    """
    if operator in {Operator.IS, Operator.IS_NOT}:
        names = [goal.name if is_sensitive else goal.name.lower() for goal in goals]
        wanted = values if is_sensitive else [value.lower() for value in values]
        _refuse_unknown(wanted, names, field, "goal")
    meant = [goal for goal in goals if _is_named(goal.name, operator, values, is_sensitive=is_sensitive)]
    found: Filter = Some(tuple(condition(goal) for goal in meant))
    kept = frozenset(goal.name for goal in meant)
    if operator.is_negative:
        return Not(found), frozenset(goal.name for goal in goals) - kept
    return found, kept


def segments_meant(values: Sequence[str], segments: Sequence[Segment], field: str) -> list[Segment]:
    """The segments of these names. Raises Invalid for a name that none has."""
    _refuse_unknown(values, [segment.name for segment in segments], field, "segment")
    return [segment for segment in segments if segment.name in values]


def _refuse_unknown(wanted: Sequence[str], known: Sequence[str], field: str, what: str) -> None:
    shown = ", ".join(known[:_SHOWN_MAX]) + (", …" if len(known) > _SHOWN_MAX else "") or "none"
    faults = [
        Fault(f"{field}[{place}]", f"{name[:64]!r} is no {what} of this site; known are {shown}")
        for place, name in enumerate(wanted)
        if name not in known
    ]
    if faults:
        raise Invalid(*faults)


def _is_named(name: str, operator: Operator, values: Sequence[str], *, is_sensitive: bool) -> bool:
    if operator in {Operator.MATCHES, Operator.MATCHES_NOT}:
        options = re2.Options()
        options.dot_nl = True
        options.case_sensitive = is_sensitive
        return any(re2.compile(value, options).search(name) is not None for value in values)
    if not is_sensitive:
        name, values = name.lower(), [value.lower() for value in values]
    if operator in {Operator.IS, Operator.IS_NOT}:
        return name in values
    return any(value in name for value in values)
