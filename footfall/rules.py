"""The rules of a site, as a request or a file gives them."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from footfall.errors import Fault, Invalid
from footfall.query.definitions import WeekStart
from footfall.query.ranges import parse_zone
from footfall.query.reading import one_of, refuse, whole_number, yes_or_no
from footfall.registry.base import Site

ORIGINS_MAX: Final = 100
ORIGIN_CHARS_MAX: Final = 255
RATE_MAX: Final = 1_000_000_000


def _timezone(value: object, field: str) -> str:
    return str(parse_zone(value if isinstance(value, str) else "", field))


def _origins(value: object, field: str) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > ORIGINS_MAX:
        refuse(field, f"must be a list of at most {ORIGINS_MAX} origins")
    wrong = [
        Fault(f"{field}[{place}]", "must be an origin; https://example.org is one")
        for place, one in enumerate(value)
        if not isinstance(one, str) or len(one) > ORIGIN_CHARS_MAX or not re.fullmatch(r"https?://[^\s/]+", one)
    ]
    if wrong:
        raise Invalid(*wrong)
    return tuple(dict.fromkeys(value))


def _rate(value: object, field: str) -> int | None:
    return None if value is None else whole_number(field, 0, RATE_MAX)(value)


_READERS: Final[dict[str, Callable[[Any, str], Any]]] = {
    "timezone": _timezone,
    "week_start": lambda value, field: one_of(WeekStart, field)(value),
    "requires_key": lambda value, field: yes_or_no(field)(value),
    "allowed_origins": _origins,
    "rate_per_minute": _rate,
}
RULES: Final = tuple(_READERS)


def parse_rules(value: object, field: str = "") -> dict[str, Any]:
    """Those rules that *value* has, by the names of Site. Raises Invalid with every fault below *field*."""
    if not isinstance(value, Mapping):
        refuse(field or "body", "must be an object")
    above = f"{field}." if field else ""
    faults: list[Fault] = []
    found = {}
    for name, each in value.items():
        if name not in _READERS:
            faults.append(Fault(f"{above}{name[:64]}", "is not known here; known are " + ", ".join(RULES)))
            continue
        try:
            found[name] = _READERS[name](each, f"{above}{name}")
        except Invalid as error:
            faults.extend(error.faults)
    if faults:
        raise Invalid(*faults)
    return found


def rules_of(site: Site) -> dict[str, Any]:
    """The rules of *site* as JSON has them."""
    return {name: msgspec.to_builtins(getattr(site, name)) for name in RULES}
