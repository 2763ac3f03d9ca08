"""JSON -> Filter: the tree of conditions in a request, with a bound on everything that costs.

Goals and segments are known by their names here and never after: what is handed on are conditions on events.
"""

from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import msgspec
import re2

from footfall.errors import Fault, Invalid
from footfall.event import PROP_KEY_CHARS_MAX
from footfall.query.definitions import Definitions, Goal, Segment
from footfall.query.names import goals_meant, segments_meant
from footfall.query.query import (
    All,
    Compare,
    Dimension,
    Filter,
    HasDone,
    Not,
    Operator,
    Prop,
    Scope,
    Some,
)

CONDITIONS_MAX = 50
DEPTH_MAX = 8
VALUES_MAX = 200
VALUE_CHARS_MAX = 2_048
PATTERN_CHARS_MAX = 512
PATTERN_BYTES_MAX = 256 * 1024
"""Of memory for one compiled pattern: it bounds what repetitions within repetitions may cost."""
_PROPS = "event:props:"
_TREES = {"and", "or", "not", "has_done", "has_not_done"}

GOAL = "event:goal"
SEGMENT = "segment"
MISSING_DIMENSIONS = {
    SEGMENT: "stands in filters only",
    "visit:country_name": "is not kept; ask for visit:country",
    "visit:region_name": "is not kept; ask for visit:region",
    "visit:city_name": "is not kept; ask for visit:city",
}
"""Words of Plausible's that are refused, each with its reason."""
_BY_NAME = {dimension.value: dimension for dimension in Dimension}
NOTHING_DEFINED = Definitions()
T = TypeVar("T")


class Conditions(msgspec.Struct, frozen=True):
    """What `filters` asks for, and what of it conversion rates look at."""

    whole: Filter | None = None
    of_all: Filter | None = None
    """*whole* without those of its conditions that speak of goals or properties: whom a conversion rate divides by."""
    names_goal: bool = False
    """Does a condition speak of a goal, other than as something that was done?"""
    goals: tuple[Goal, ...] = ()
    """Those of the site that its conditions leave, the rows of the dimension event:goal."""


def dimension_named(name: object, field: str) -> Dimension | Prop:
    """The dimension of that name, but for event:goal. Raises Invalid naming *field*."""
    if not isinstance(name, str):
        _refuse(field, "must be the name of a dimension")
    if name in _BY_NAME:
        return _BY_NAME[name]
    if name.startswith(_PROPS):
        key = name.removeprefix(_PROPS)
        if not 1 <= len(key) <= PROP_KEY_CHARS_MAX:
            _refuse(field, f"must have a key of 1 to {PROP_KEY_CHARS_MAX} characters after {_PROPS}")
        return Prop(key)
    known = ", ".join([GOAL, *_BY_NAME, f"{_PROPS}KEY"])
    said = MISSING_DIMENSIONS.get(name) or f"is not known; known are {known}"
    raise Invalid(Fault(field, f"{name[:64]!r} {said}"))


def parse_filters(value: object, definitions: Definitions = NOTHING_DEFINED, field: str = "filters") -> Filter | None:
    """The list of conditions, all of which have to be met; None for an empty one. Raises Invalid naming *field*."""
    return parse_conditions(value, definitions, field).whole


def parse_conditions(value: object, definitions: Definitions, field: str = "filters") -> Conditions:
    """The same, and what a conversion rate has to know of them."""
    if not isinstance(value, list):
        _refuse(field, 'must be a list like [["is", "visit:country", ["FR"]]]')
    return _Tree(definitions, field).conditions(value)


class _Top(msgspec.Struct, frozen=True):
    """One of the conditions that all have to be met."""

    part: Filter
    speaks_of: frozenset[str]
    """Of GOAL, of properties, of both or neither."""


class _Tree:
    """Reads one tree, and counts."""

    def __init__(self, definitions: Definitions, field: str) -> None:
        self._definitions = definitions
        self._field = field
        self._conditions = 0
        self._segment = ""
        """The one that is being read, for a segment names no other."""
        self._speaks_of: set[str] = set()
        self._goals_left = {goal.name for goal in definitions.goals}

    def conditions(self, value: list[Any]) -> Conditions:
        """All of it."""
        tops = self._tops(value, self._field, 1) if value else []
        of_all = tuple(top.part for top in tops if not top.speaks_of)
        return Conditions(
            whole=All(tuple(top.part for top in tops)) if tops else None,
            of_all=All(of_all) if of_all else None,
            names_goal=any(GOAL in top.speaks_of for top in tops),
            goals=tuple(goal for goal in self._definitions.goals if goal.name in self._goals_left),
        )

    def _tops(self, value: object, field: str, depth: int) -> list[_Top]:
        """*value*, a list, as conditions that all have to be met; those within an `and` or a segment each by itself."""
        faults: list[Fault] = []
        tops: list[_Top] = []
        for place, each in enumerate(self._list(value, field)):
            try:
                tops += self._top(each, f"{field}[{place}]", depth)
            except Invalid as error:
                faults.extend(error.faults)
            self._count(0)
        if faults:
            raise Invalid(*faults)
        return tops

    def _top(self, value: object, field: str, depth: int) -> list[_Top]:
        if isinstance(value, list) and len(value) == 2 and value[0] == "and":
            self._count(1)
            self._check_depth(field, depth)
            return self._tops(value[1], f"{field}[1]", depth + 1)
        if isinstance(value, list) and value[:2] == [Operator.IS, SEGMENT] and not self._segment:
            segments = self._segments_named(value, field)
            if len(segments) == 1:
                self._count(1)
                return self._within(segments[0], value, field, lambda each: self._tops(each, "filters", depth + 1))
        self._speaks_of = set()
        part = self._filter(value, field, depth, within_done=False)
        if isinstance(value, list) and value[1] == GOAL:
            self._goals_left &= self._goals_met(value, field)[1]
        return [_Top(part, frozenset(self._speaks_of))]

    def _list(self, value: object, field: str) -> list[Any]:
        if not isinstance(value, list) or not value:
            _refuse(field, "must be a list of at least one filter")
        return value

    def _count(self, more: int) -> None:
        self._conditions += more
        if self._conditions > CONDITIONS_MAX:
            _refuse(self._field, f"must have at most {CONDITIONS_MAX} conditions")

    def _check_depth(self, field: str, depth: int) -> None:
        if depth > DEPTH_MAX:
            _refuse(field, f"is nested deeper than {DEPTH_MAX}")

    def _parts(self, value: object, field: str, depth: int, *, within_done: bool) -> tuple[Filter, ...]:
        faults: list[Fault] = []
        parts: list[Filter] = []
        for place, each in enumerate(self._list(value, field)):
            try:
                parts.append(self._filter(each, f"{field}[{place}]", depth, within_done=within_done))
            except Invalid as error:
                faults.extend(error.faults)
            self._count(0)
        if faults:
            raise Invalid(*faults)
        return tuple(parts)

    def _filter(self, value: object, field: str, depth: int, *, within_done: bool) -> Filter:
        self._conditions += 1
        self._check_depth(field, depth)
        if not isinstance(value, list) or not value or not isinstance(value[0], str):
            _refuse(field, 'must be a list like ["is", "event:page", ["/"]]')
        name = value[0]
        if name in _TREES:
            return self._tree(name, value, field, depth, within_done=within_done)
        if name not in set(Operator):
            known = ", ".join([*Operator, "and", "or", "not", "has_done", "has_not_done"])
            _refuse(f"{field}[0]", f"must be one of {known}")
        _check_length(value, field)
        if value[1] == SEGMENT:
            return self._of_segments(value, field, depth, within_done=within_done)
        if value[1] == GOAL:
            self._speaks_of.add(GOAL)
            return self._goals_met(value, field)[0]
        found = _compare(Operator(name), value, field, within_done=within_done)
        if isinstance(found.dimension, Prop):
            self._speaks_of.add(_PROPS)
        return found

    def _tree(self, name: str, value: list[Any], field: str, depth: int, *, within_done: bool) -> Filter:
        if len(value) != 2:
            _refuse(field, f"must be {name!r} and what it is about")
        inner = f"{field}[1]"
        if name in {"and", "or"}:
            parts = self._parts(value[1], inner, depth + 1, within_done=within_done)
            return All(parts) if name == "and" else Some(parts)
        if name == "not":
            return Not(self._filter(value[1], inner, depth + 1, within_done=within_done))
        if within_done:
            _refuse(f"{field}[0]", "can not stand within has_done or has_not_done")
        spoken_of = set(self._speaks_of)
        done = HasDone(self._filter(value[1], inner, depth + 1, within_done=True))
        # Who has done something is a part of everybody, so a conversion rate keeps that condition.
        self._speaks_of = spoken_of
        return done if name == "has_done" else Not(done)

    def _goals_met(self, value: list[Any], field: str) -> tuple[Filter, frozenset[str]]:
        operator, is_sensitive = Operator(value[0]), _case(value, field)
        values = _values(operator, value[2], f"{field}[2]")
        return goals_meant(operator, values, self._definitions.goals, f"{field}[2]", is_sensitive=is_sensitive)

    def _segments_named(self, value: list[Any], field: str) -> list[Segment]:
        _check_length(value, field)
        operator = Operator(value[0])
        if operator not in {Operator.IS, Operator.IS_NOT}:
            _refuse(f"{field}[0]", "must be is or is_not before segment")
        if self._segment:
            _refuse(f"{field}[1]", "is a segment within a segment, which can not be")
        return segments_meant(_values(operator, value[2], f"{field}[2]"), self._definitions.segments, f"{field}[2]")

    def _of_segments(self, value: list[Any], field: str, depth: int, *, within_done: bool) -> Filter:
        def read(filters: list[Any]) -> Filter:
            return All(self._parts(filters, "filters", depth + 1, within_done=within_done))

        parts = [self._within(each, value, field, read) for each in self._segments_named(value, field)]
        found = parts[0] if len(parts) == 1 else Some(tuple(parts))
        return Not(found) if Operator(value[0]).is_negative else found

    def _within(self, segment: Segment, value: list[Any], field: str, read: Callable[[list[Any]], T]) -> T:
        """What *read* makes of the filters of *segment*; its faults are those of the segment's name in *value*."""
        self._segment = segment.name
        try:
            return read(segment.filters)
        except Invalid as error:
            said = "; ".join(f"{fault.field} {fault.message}" for fault in error.faults)
            _refuse(f"{field}[2][{value[2].index(segment.name)}]", f"stands for what can not be asked here: {said}")
        finally:
            self._segment = ""


def _check_length(value: list[Any], field: str) -> None:
    if len(value) not in {3, 4}:
        _refuse(field, "must be an operator, a dimension, a list of values, and options if there are any")


def _compare(operator: Operator, value: list[Any], field: str, *, within_done: bool) -> Compare:
    dimension = dimension_named(value[1], f"{field}[1]")
    if dimension.scope is Scope.TIME:
        _refuse(f"{field}[1]", "is a dimension of time, for which there is date_range")
    if within_done and dimension.scope is Scope.SESSION:
        _refuse(f"{field}[1]", "is of a visit; within has_done and has_not_done there are events only")
    return Compare(operator, dimension, _values(operator, value[2], f"{field}[2]"), _case(value, field))


def _case(value: list[Any], field: str) -> bool:
    options = value[3] if len(value) == 4 else {}
    if not isinstance(options, dict) or set(options) - {"case_sensitive"}:
        _refuse(f"{field}[3]", 'must be like {"case_sensitive": false}')
    is_sensitive = options.get("case_sensitive", True)
    if not isinstance(is_sensitive, bool):
        _refuse(f"{field}[3].case_sensitive", "must be true or false")
    return is_sensitive


def _values(operator: Operator, value: object, field: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(each, str) for each in value):
        _refuse(field, "must be a list of at least one text")
    if len(value) > VALUES_MAX:
        _refuse(field, f"must have at most {VALUES_MAX} values")
    is_pattern = operator in {Operator.MATCHES, Operator.MATCHES_NOT}
    chars_max = PATTERN_CHARS_MAX if is_pattern else VALUE_CHARS_MAX
    faults = []
    for place, text in enumerate(value):
        if len(text) > chars_max:
            faults.append(Fault(f"{field}[{place}]", f"must be at most {chars_max} characters"))
        elif operator in {Operator.CONTAINS, Operator.CONTAINS_NOT} and not text:
            faults.append(Fault(f"{field}[{place}]", "must not be empty"))
        elif is_pattern and (said := _wrong_pattern(text)):
            faults.append(Fault(f"{field}[{place}]", said))
    if faults:
        raise Invalid(*faults)
    return tuple(dict.fromkeys(value))


def _wrong_pattern(text: str) -> str:
    """What is wrong with a regular expression; empty where nothing is. RE2's, which takes time linear in the text."""
    options = re2.Options()
    options.max_mem = PATTERN_BYTES_MAX
    options.log_errors = False
    if "\0" in text:
        return "must not have a NUL in it"
    try:
        re2.compile(text, options)
    except re2.error as error:
        return f"must be a regular expression of RE2: {_said(error)}"
    return ""


def _said(error: Exception) -> str:
    said = error.args[0] if error.args else ""
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)


def _refuse(field: str, message: str) -> NoReturn:
    raise Invalid(Fault(field, message))
