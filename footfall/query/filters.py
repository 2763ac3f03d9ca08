"""JSON -> Filter: the tree of conditions in a request, with a bound on everything that costs."""

from typing import Any, NoReturn

import re2

from footfall.errors import Fault, Invalid
from footfall.event import PROP_KEY_CHARS_MAX
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

MISSING_DIMENSIONS = {
    "event:goal": "needs goals, which there are not yet",
    "segment": "needs segments, which there are not yet",
    "visit:country_name": "is not kept; ask for visit:country",
    "visit:region_name": "is not kept; ask for visit:region",
    "visit:city_name": "is not kept; ask for visit:city",
}
"""Words of Plausible's that are refused, each with its reason."""
_BY_NAME = {dimension.value: dimension for dimension in Dimension}


def dimension_named(name: object, field: str) -> Dimension | Prop:
    """The dimension of that name. Raises Invalid naming *field*."""
    if not isinstance(name, str):
        _refuse(field, "must be the name of a dimension")
    if name in _BY_NAME:
        return _BY_NAME[name]
    if name.startswith(_PROPS):
        key = name.removeprefix(_PROPS)
        if not 1 <= len(key) <= PROP_KEY_CHARS_MAX:
            _refuse(field, f"must have a key of 1 to {PROP_KEY_CHARS_MAX} characters after {_PROPS}")
        return Prop(key)
    known = ", ".join([*_BY_NAME, f"{_PROPS}KEY"])
    said = MISSING_DIMENSIONS.get(name) or f"is not known; known are {known}"
    raise Invalid(Fault(field, f"{name[:64]!r} {said}"))


def parse_filters(value: object) -> Filter | None:
    """The list of conditions, all of which have to be met; None for an empty one. Raises Invalid."""
    if not isinstance(value, list):
        _refuse("filters", 'must be a list like [["is", "visit:country", ["FR"]]]')
    return _Tree().all_of(value) if value else None


class _Tree:
    """Reads one tree, and counts."""

    def __init__(self) -> None:
        self._conditions = 0

    def all_of(self, value: list[Any]) -> Filter:
        return All(self._parts(value, "filters", 1, within_done=False))

    def _parts(self, value: object, field: str, depth: int, *, within_done: bool) -> tuple[Filter, ...]:
        if not isinstance(value, list) or not value:
            _refuse(field, "must be a list of at least one filter")
        faults: list[Fault] = []
        parts: list[Filter] = []
        for place, each in enumerate(value):
            try:
                parts.append(self._filter(each, f"{field}[{place}]", depth, within_done=within_done))
            except Invalid as error:
                faults.extend(error.faults)
            if self._conditions > CONDITIONS_MAX:
                _refuse("filters", f"must have at most {CONDITIONS_MAX} conditions")
        if faults:
            raise Invalid(*faults)
        return tuple(parts)

    def _filter(self, value: object, field: str, depth: int, *, within_done: bool) -> Filter:
        self._conditions += 1
        if depth > DEPTH_MAX:
            _refuse(field, f"is nested deeper than {DEPTH_MAX}")
        if not isinstance(value, list) or not value or not isinstance(value[0], str):
            _refuse(field, 'must be a list like ["is", "event:page", ["/"]]')
        name = value[0]
        if name in _TREES:
            return self._tree(name, value, field, depth, within_done=within_done)
        if name not in set(Operator):
            known = ", ".join([*Operator, "and", "or", "not", "has_done", "has_not_done"])
            _refuse(f"{field}[0]", f"must be one of {known}")
        return _compare(Operator(name), value, field, within_done=within_done)

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
        done = HasDone(self._filter(value[1], inner, depth + 1, within_done=True))
        return done if name == "has_done" else Not(done)


def _compare(operator: Operator, value: list[Any], field: str, *, within_done: bool) -> Compare:
    if len(value) not in {3, 4}:
        _refuse(field, "must be an operator, a dimension, a list of values, and options if there are any")
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
