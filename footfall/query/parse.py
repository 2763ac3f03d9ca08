"""JSON -> Asked: every fault of a request by its path, such as filters[0][1], and all of them at once."""

import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from footfall.errors import Fault, Invalid
from footfall.event import SITE_ID_PATTERN
from footfall.query.asked import (
    LIMIT_DEFAULT,
    LIMIT_MAX,
    METRICS,
    OFFSET_MAX,
    TIME,
    Asked,
    AskedDimension,
    AskedMetric,
    Share,
)
from footfall.query.definitions import Definitions
from footfall.query.filters import GOAL, NOTHING_DEFINED, Conditions, dimension_named, parse_conditions
from footfall.query.names import goals_dimension
from footfall.query.periods import Comparison, Mode, parse_date_range
from footfall.query.query import Dimension, Direction, Goals, Metric, Scope
from footfall.query.ranges import parse_zone

METRICS_MAX = 20
DIMENSIONS_MAX = 4

_FIELDS = (
    "site_id",
    "metrics",
    "date_range",
    "dimensions",
    "filters",
    "order_by",
    "compare",
    "timezone",
    "pagination",
    "include",
)
T = TypeVar("T")


def site_of(body: bytes) -> str | None:
    """The site that a request's body names, before anything else of it is looked at; None where it names none."""
    try:
        return _site_id(_object_of(body).get("site_id"))
    except Invalid:
        return None


def parse_query(body: bytes, definitions: Definitions = NOTHING_DEFINED) -> Asked:
    """The question in a request's body; *definitions*: the site's. Raises Invalid with everything that is wrong."""
    return read_query(_object_of(body), definitions)


def read_query(body: Mapping[str, Any], definitions: Definitions = NOTHING_DEFINED) -> Asked:
    """The same of a body that is decoded."""
    return _Request(body, definitions).asked()


def _object_of(body: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise Invalid(Fault("body", "must be JSON")) from None
    if not isinstance(found, dict):
        raise Invalid(Fault("body", "must be a JSON object"))
    return found


class _Request:
    """One request, and what was found wrong with it so far."""

    def __init__(self, body: Mapping[str, Any], definitions: Definitions) -> None:
        self._body = body
        self._definitions = definitions
        self._faults: list[Fault] = []

    def asked(self) -> Asked:
        """All of it. Raises Invalid."""
        for name in self._body:
            if name not in _FIELDS:
                self._faults.append(Fault(name[:64], "is not known here; known are " + ", ".join(_FIELDS)))
        nothing: tuple[Any, ...] = ()
        metrics = self._read("metrics", _metrics, nothing)
        conditions = self._read("filters", lambda value: parse_conditions(value, self._definitions), Conditions())
        if self._body.get("filters") is None:
            conditions = Conditions(goals=self._definitions.goals)
        goals = goals_dimension(conditions.goals)
        dimensions = self._read("dimensions", lambda value: _dimensions(value, goals), nothing)
        if not any(fault.field.startswith("filters") for fault in self._faults):
            self._faults += _mismatches(metrics, dimensions, conditions)
        include: dict[str, Any] = self._read("include", _include, {})
        total, labels = bool(include.get("total_rows")), bool(include.get("time_labels"))
        compare_field = "include.comparisons" if "comparisons" in include else "compare"
        compare = include.get("comparisons", self._body.get("compare"))
        limit, offset = self._read("pagination", _pagination, (LIMIT_DEFAULT, 0))
        values: dict[str, Any] = {
            "site_id": self._read("site_id", _site_id, ""),
            "date_range": self._read("date_range", lambda value: parse_date_range(value, "date_range"), None),
            "conditions": conditions,
            "zone": self._read("timezone", _zone, None),
            "order_by": self._read("order_by", lambda value: _order(value, metrics, dimensions), nothing),
            "compare": self._catch(lambda: None if compare is None else parse_comparison(compare, compare_field), None),
        }
        for name in ("site_id", "metrics", "date_range"):
            if self._body.get(name) is None:
                self._faults.append(Fault(name, "is required"))
        if self._faults:
            raise Invalid(*self._faults)
        return Asked(
            metrics=metrics, dimensions=dimensions, limit=limit, offset=offset, with_total=total, with_labels=labels,
            **values,
        )  # fmt: skip

    def _read(self, name: str, parse: Callable[[Any], T], default: T) -> T:
        value = self._body.get(name)
        return default if value is None else self._catch(lambda: parse(value), default)

    def _catch(self, parse: Callable[[], T], default: T) -> T:
        try:
            return parse()
        except Invalid as error:
            self._faults.extend(error.faults)
            return default


def _refuse(field: str, message: str) -> NoReturn:
    raise Invalid(Fault(field, message))


def _list_of_text(value: object, field: str, size_max: int) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        _refuse(field, "must be a list of texts")
    if len(value) > size_max:
        _refuse(field, f"must have at most {size_max}")
    if len(set(value)) != len(value):
        _refuse(field, "must name each once")
    return value


def _metrics(value: object) -> tuple[AskedMetric, ...]:
    names = _list_of_text(value, "metrics", METRICS_MAX)
    if not names:
        _refuse("metrics", "must name at least one metric")
    faults = [
        Fault(f"metrics[{place}]", f"{name[:64]!r} is not known; known are {', '.join(METRICS)}")
        for place, name in enumerate(names)
        if name not in METRICS
    ]
    if faults:
        raise Invalid(*faults)
    return tuple(METRICS[name] for name in names)


def _mismatches(
    metrics: tuple[AskedMetric, ...], dimensions: tuple[AskedDimension, ...], conditions: Conditions
) -> list[Fault]:
    """Metrics that say nothing by these dimensions under these filters."""
    has_goal = conditions.names_goal or any(isinstance(each, Goals) for each in dimensions)
    faults = []
    for place, metric in enumerate(metrics):
        if isinstance(metric, Share) and metric.needs_goal and not has_goal:
            faults.append(Fault(f"metrics[{place}]", f"{metric} needs {GOAL} as a dimension or in a filter"))
        if metric is Metric.EXIT_RATE and {Dimension.EXIT_PAGE, Dimension.EXIT_HOSTNAME} & set(dimensions):
            faults.append(Fault(f"metrics[{place}]", "exit_rate is of pages: ask for it by event:page"))
    return faults


def _dimensions(value: object, goals: Goals) -> tuple[AskedDimension, ...]:
    names = _list_of_text(value, "dimensions", DIMENSIONS_MAX)
    found: list[AskedDimension] = []
    faults: list[Fault] = []
    for place, name in enumerate(names):
        try:
            own: dict[str, AskedDimension] = {TIME: TIME, GOAL: goals}
            found.append(own.get(name) or dimension_named(name, f"dimensions[{place}]"))
        except Invalid as error:
            faults.extend(error.faults)
    times = [each for each in found if each == TIME or getattr(each, "scope", None) is Scope.TIME]
    if len([each for each in times if not str(each).endswith(("day_of_week", "hour_of_day"))]) > 1:
        faults.append(Fault("dimensions", "must have at most one of time:minute to time:year"))
    if faults:
        raise Invalid(*faults)
    return tuple(found)


def _order(
    value: object, metrics: tuple[AskedMetric, ...], dimensions: tuple[AskedDimension, ...]
) -> tuple[tuple[AskedMetric | AskedDimension, Direction], ...]:
    if not isinstance(value, list):
        _refuse("order_by", 'must be a list like [["visitors", "desc"]]')
    asked: dict[str, AskedMetric | AskedDimension] = {str(each): each for each in (*metrics, *dimensions)}
    order: list[tuple[AskedMetric | AskedDimension, Direction]] = []
    faults: list[Fault] = []
    for place, pair in enumerate(value[: METRICS_MAX + DIMENSIONS_MAX]):
        field = f"order_by[{place}]"
        if not isinstance(pair, list) or len(pair) != 2 or pair[1] not in ("asc", "desc"):
            faults.append(Fault(field, 'must be like ["visitors", "desc"]'))
        elif not isinstance(pair[0], str) or pair[0] not in asked:
            faults.append(Fault(f"{field}[0]", "must be one of the metrics and dimensions that are asked for"))
        elif isinstance(found := asked[pair[0]], Metric) and found.is_money:
            faults.append(Fault(f"{field}[0]", "is an amount in each currency, which has no order"))
        else:
            order.append((asked[pair[0]], Direction(pair[1])))
    if faults:
        raise Invalid(*faults)
    return tuple(order)


def _site_id(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(SITE_ID_PATTERN, value):
        _refuse("site_id", "must be 1 to 128 of A-Z a-z 0-9 . _ : -")
    return value


def _zone(value: object) -> ZoneInfo:
    return parse_zone(value if isinstance(value, str) else "", "timezone")


def _pagination(value: object) -> tuple[int, int]:
    found = _object(value, "pagination", ("limit", "offset"))
    limit, offset = found.get("limit", LIMIT_DEFAULT), found.get("offset", 0)
    if type(limit) is not int or not 1 <= limit <= LIMIT_MAX:
        _refuse("pagination.limit", f"must be a whole number from 1 to {LIMIT_MAX}")
    if type(offset) is not int or not 0 <= offset <= OFFSET_MAX:
        _refuse("pagination.offset", f"must be a whole number from 0 to {OFFSET_MAX}")
    return limit, offset


def _include(value: object) -> dict[str, Any]:
    found = _object(value, "include", ("total_rows", "time_labels", "comparisons", "imports"))
    for name in ("total_rows", "time_labels", "imports"):
        if name in found and not isinstance(found[name], bool):
            _refuse(f"include.{name}", "must be true or false")
    return found


def _object(value: object, field: str, known: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(value, dict):
        _refuse(field, "must be an object")
    for name in value:
        if name not in known:
            _refuse(f"{field}.{name[:64]}", "is not known here; known are " + ", ".join(known))
    return value


def parse_comparison(value: object, field: str) -> Comparison:
    """With what a range is compared. Raises Invalid naming *field* and what is below it."""
    found = {"mode": value} if isinstance(value, str) else _object(
        value, field, ("mode", "date_range", "match_day_of_week")
    )  # fmt: skip
    mode, matches = found.get("mode"), found.get("match_day_of_week", False)
    if mode not in set(Mode):
        _refuse(field if isinstance(value, str) else f"{field}.mode", "must be one of " + ", ".join(Mode))
    if not isinstance(matches, bool):
        _refuse(f"{field}.match_day_of_week", "must be true or false")
    if (mode == Mode.CUSTOM) != ("date_range" in found):
        _refuse(f"{field}.date_range", "is required with custom, and goes with nothing else")
    if mode == Mode.CUSTOM:
        return Comparison(Mode.CUSTOM, parse_date_range(found["date_range"], f"{field}.date_range"))
    return Comparison(Mode(mode), None, matches)
