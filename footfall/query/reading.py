"""Reading the body of a report's request: field by field, and everything that is wrong said at once."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from footfall.errors import Fault, Invalid
from footfall.event import SITE_ID_PATTERN
from footfall.query.definitions import Definitions
from footfall.query.filters import parse_filters
from footfall.query.periods import DateRange, parse_date_range
from footfall.query.query import Filter
from footfall.query.ranges import parse_zone

E = TypeVar("E")
T = TypeVar("T")
COMMON = ("site_id", "date_range", "timezone", "filters")
"""The fields that every report has."""


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What every report is asked about."""

    site_id: str
    date_range: DateRange
    zone: ZoneInfo | None = None
    """None: the site's."""
    filter: Filter | None = None


def decoded(body: bytes) -> dict[str, Any]:
    """The JSON object that *body* is. Raises Invalid."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        refuse("body", "must be JSON")
    if not isinstance(found, dict):
        refuse("body", "must be a JSON object")
    return found


def site_id_in(body: Mapping[str, Any]) -> str | None:
    """The site that is asked about; None where that can not be said, which `Fields` then does."""
    value = body.get("site_id")
    return value if isinstance(value, str) and re.fullmatch(SITE_ID_PATTERN, value) else None


class Fields:
    """One request, and what was found wrong with it so far."""

    def __init__(self, body: Mapping[str, Any], known: Sequence[str]) -> None:
        self._body = body
        self._faults = [
            Fault(name[:64], "is not known here; known are " + ", ".join(known)) for name in body if name not in known
        ]

    def read(self, name: str, parse: Callable[[Any], T], default: T) -> T:
        """What *parse* makes of that field; *default* where it is missing, null or faulty."""
        value = self._body.get(name)
        return default if value is None else self.catch(lambda: parse(value), default)

    def required(self, name: str, parse: Callable[[Any], T], default: T) -> T:
        """The same; that it is missing is a fault."""
        if self._body.get(name) is None:
            self.fault(name, "is required")
        return self.read(name, parse, default)

    def has(self, name: str) -> bool:
        """Is the field there, and not null?"""
        return self._body.get(name) is not None

    def catch(self, parse: Callable[[], T], default: T) -> T:
        """What *parse* returns; *default* where it raises Invalid, whose faults are kept."""
        try:
            return parse()
        except Invalid as error:
            self._faults.extend(error.faults)
            return default

    def fault(self, field: str, message: str) -> None:
        """Keep a fault."""
        self._faults.append(Fault(field, message))

    def about(self, definitions: Definitions) -> dict[str, Any]:
        """The values of `About`."""
        return {
            "site_id": self.required("site_id", _site_id, ""),
            "date_range": self.required("date_range", lambda value: parse_date_range(value, "date_range"), None),
            "zone": self.read(
                "timezone", lambda value: parse_zone(value if isinstance(value, str) else "", "timezone"), None
            ),
            "filter": self.read("filters", lambda value: parse_filters(value, definitions), None),
        }

    def done(self) -> None:
        """Raises Invalid with every fault that was kept."""
        if self._faults:
            raise Invalid(*self._faults)


def _site_id(value: object) -> str:
    found = site_id_in({"site_id": value})
    return found if found is not None else refuse("site_id", "must be 1 to 128 of A-Z a-z 0-9 . _ : -")


def refuse(field: str, message: str) -> NoReturn:
    """Raises Invalid with one fault."""
    raise Invalid(Fault(field, message))


def one_of(kind: type[E], field: str) -> Callable[[Any], E]:
    """A reader of a word of the enumeration *kind*."""

    def parse(value: object) -> E:
        words = {str(member): member for member in kind}  # type: ignore[attr-defined]
        if not isinstance(value, str) or value not in words:
            refuse(field, "must be one of " + ", ".join(words))
        found: E = words[value]
        return found

    return parse


def whole_number(field: str, low: int, high: int) -> Callable[[Any], int]:
    """A reader of a whole number from *low* to *high*."""

    def parse(value: object) -> int:
        if type(value) is not int or not low <= value <= high:
            refuse(field, f"must be a whole number from {low} to {high}")
        return value

    return parse


def yes_or_no(field: str) -> Callable[[Any], bool]:
    """A reader of true or false."""

    def parse(value: object) -> bool:
        if not isinstance(value, bool):
            refuse(field, "must be true or false")
        return value

    return parse


def text(field: str, chars_max: int) -> Callable[[Any], str]:
    """A reader of a text that is not empty."""

    def parse(value: object) -> str:
        if not isinstance(value, str) or not 1 <= len(value) <= chars_max:
            refuse(field, f"must be a text of 1 to {chars_max} characters")
        return value

    return parse


_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def length_of_time(field: str, days_max: int) -> Callable[[Any], int]:
    """A reader of a time like "90s", "30m", "1h" or "14d", in milliseconds."""

    def parse(value: object) -> int:
        found = re.fullmatch(r"([1-9][0-9]{0,8})([smhd])", value, re.ASCII) if isinstance(value, str) else None
        length_ms = int(found[1]) * _UNITS_MS[found[2]] if found else 0
        if not 0 < length_ms <= days_max * _UNITS_MS["d"]:
            refuse(field, f'must be a time like "90s", "30m", "1h" or "14d", of at most {days_max} days')
        return length_ms

    return parse


def said_time(length_ms: int) -> str:
    """The shortest way to write it."""
    unit = next(unit for unit in "dhms" if length_ms % _UNITS_MS[unit] == 0)
    return f"{length_ms // _UNITS_MS[unit]}{unit}"
