"""Filters -> SQL: one expression for each operator; every value and every key is a parameter."""

from collections.abc import Callable

from footfall.event import ENGAGEMENT
from footfall.query.query import (
    FIELDS,
    All,
    AnyDimension,
    Compare,
    Dimension,
    Filter,
    HasDone,
    Not,
    Operator,
    Scope,
    Some,
    Taken,
    scopes,
)


class Values:
    """The values of a statement, each under a name of its own."""

    def __init__(self) -> None:
        self.params: dict[str, str | int] = {}

    def text(self, value: str) -> str:
        """The placeholder for *value*."""
        return self._placeholder(value, "String")

    def number(self, value: int) -> str:
        """The placeholder for a whole number."""
        return self._placeholder(value, "Int64")

    def _placeholder(self, value: str | int, kind: str) -> str:
        for name, known in self.params.items():
            if known == value and name.endswith(kind[0]):
                return f"{{{name}:{kind}}}"
        name = f"v{len(self.params)}{kind[0]}"
        self.params[name] = value
        return f"{{{name}:{kind}}}"


def condition(
    part: Filter, column: Callable[[AnyDimension], str], has_done: Callable[[HasDone], str], values: Values
) -> str:
    """*part* as an expression; *column* and *has_done* say how what it speaks of is called where it is asked."""
    if isinstance(part, Compare):
        return _compare(part, column(part.dimension), values)
    if isinstance(part, HasDone):
        return has_done(part)
    if isinstance(part, Not):
        return f"(NOT {condition(part.part, column, has_done, values)})"
    if not part.parts:
        return "true" if isinstance(part, All) else "false"
    word = " AND " if isinstance(part, All) else " OR "
    return f"({word.join(condition(each, column, has_done, values) for each in part.parts)})"


def _compare(part: Compare, column: str, values: Values) -> str:
    column = f"toString({column})"
    if part.operator in {Operator.MATCHES, Operator.MATCHES_NOT}:
        patterns = part.values if part.case_sensitive else tuple(f"(?i){pattern}" for pattern in part.values)
        said = " OR ".join(f"match({column}, {values.text(pattern)})" for pattern in patterns)
    else:
        if not part.case_sensitive:
            column = f"lowerUTF8({column})"
        wanted = part.values if part.case_sensitive else tuple(value.lower() for value in part.values)
        if part.operator in {Operator.IS, Operator.IS_NOT}:
            said = f"{column} IN ({', '.join(map(values.text, wanted))})"
        else:
            said = " OR ".join(f"position({column}, {values.text(value)}) > 0" for value in wanted)
    return f"(NOT ({said}))" if part.operator.is_negative else f"({said})"


_OF_FIRST = {dimension for dimension, (_, taken) in FIELDS.items() if taken is Taken.FIRST}


def split(condition: Filter | None) -> tuple[Filter | None, Filter | None, Filter | None]:
    """What *condition* says of events alone, of sessions alone, and of both at once; all three have to be met."""
    parts: dict[frozenset[Scope], list[Filter]] = {}

    def sort(part: Filter) -> None:
        if isinstance(part, All):
            for each in part.parts:
                sort(each)
        else:
            parts.setdefault(scopes(part), []).append(part)

    if condition is not None:
        sort(condition)
    kinds = (frozenset({Scope.EVENT}), frozenset({Scope.SESSION}), frozenset({Scope.EVENT, Scope.SESSION}))
    events, sessions, both = (All(tuple(parts[kind])) if kind in parts else None for kind in kinds)
    return events, sessions, both


def parts_of(condition: Filter | None) -> tuple[Filter, ...]:
    """What has to be met all of it."""
    return condition.parts if isinstance(condition, All) else ()


def met_by_an_event(part: Filter | None) -> Filter | None:
    """What some event of a session has to meet, by itself, where the session meets *part*; None: nothing that is known.

    An attribute of a session is one of its first event. Not so pages of entry and exit, which are empty where there is
    no pageview.
    """
    if part is None:
        return None
    if isinstance(part, HasDone):
        return part.part
    if isinstance(part, Compare) and part.dimension in _OF_FIRST:
        return part
    return part if scopes(part) == {Scope.EVENT} else None


def asks_for_reports(condition: Filter) -> bool:
    """Is there something in it that sessions have done, and that a report of engagement can be?"""
    if isinstance(condition, HasDone):
        return True in _of_a_report(condition.part)
    if isinstance(condition, Not):
        return asks_for_reports(condition.part)
    return isinstance(condition, All | Some) and any(map(asks_for_reports, condition.parts))


def _of_a_report(condition: Filter) -> set[bool]:
    """Which answers a report of engagement can give to a condition on events alone: only its name is known."""
    if isinstance(condition, Compare):
        if condition.dimension is Dimension.NAME and condition.operator in {Operator.IS, Operator.IS_NOT}:
            wanted = condition.values if condition.case_sensitive else tuple(map(str.lower, condition.values))
            return {(ENGAGEMENT in wanted) is not condition.operator.is_negative}
        return {True, False}
    if isinstance(condition, Not):
        return {not answer for answer in _of_a_report(condition.part)}
    if isinstance(condition, HasDone):
        return {True, False}
    # One part that says so settles it: a no settles All, a yes settles Some; else every part has to say the opposite.
    settles = isinstance(condition, Some)
    answers = [_of_a_report(part) for part in condition.parts]
    found = {settles} if any(settles in each for each in answers) else set()
    return found | ({not settles} if all((not settles) in each for each in answers) else set())


def compares(condition: Filter) -> bool:
    """Does it look at an attribute of sessions, outside of what sessions have done?"""
    if isinstance(condition, Compare):
        return True
    if isinstance(condition, Not):
        return compares(condition.part)
    return isinstance(condition, All | Some) and any(compares(part) for part in condition.parts)


def size(condition: Filter | None) -> int:
    """How many comparisons and deeds."""
    if condition is None:
        return 0
    if isinstance(condition, Not):
        return size(condition.part)
    return sum(map(size, condition.parts)) if isinstance(condition, All | Some) else 1
