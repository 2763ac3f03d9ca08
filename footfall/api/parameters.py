"""Query parameters: one table per route, from which they are read and from which the API describes itself."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from footfall.errors import Fault, Invalid
from footfall.event import SITE_ID_PATTERN
from footfall.query.ranges import FIRST_DAY, LAST_DAY, parse_day, parse_zone

PARAMETERS_MAX: Final = 50
_NAME_SHOWN_CHARS: Final = 64


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """How one parameter is read and explained."""

    name: str
    parse: Callable[[str], Any]
    """Text -> value; raises ValueError with what is wanted, or Invalid."""
    description: str
    schema: Mapping[str, Any]
    """JSON Schema, for the description of the API."""
    example: str | int | None = None
    is_required: bool = False


def read(query: bytes, parameters: Sequence[Parameter]) -> dict[str, Any]:
    """The values in a query string, of those parameters that are there.

    Raises Invalid that names everything at once: what is wrong, missing, given twice or not known here at all.
    """
    try:
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=PARAMETERS_MAX)
    except ValueError:
        raise Invalid(Fault("query", f"must have at most {PARAMETERS_MAX} parameters")) from None
    table = {parameter.name: parameter for parameter in parameters}
    values: dict[str, Any] = {}
    faults: dict[str, Fault] = {}
    for name, text in pairs:
        try:
            if name not in table:
                raise ValueError("is not known here; known are " + ", ".join(table or ["none"]))
            if name in values:
                raise ValueError("is given twice")
            if not text and table[name].is_required:
                raise ValueError("is required")
            values[name] = table[name].parse(text)
        except Invalid as error:
            faults.setdefault(name, error.faults[0])
        except ValueError as error:
            shown = name[:_NAME_SHOWN_CHARS]
            faults.setdefault(shown, Fault(shown, str(error)))
    for parameter in parameters:
        if parameter.is_required and parameter.name not in values and parameter.name not in faults:
            faults[parameter.name] = Fault(parameter.name, "is required")
    if faults:
        raise Invalid(*faults.values())
    return values


def described(parameters: Sequence[Parameter]) -> list[dict[str, Any]]:
    """The same as OpenAPI says it."""
    return [
        {
            "name": parameter.name,
            "in": "query",
            "required": parameter.is_required,
            "description": parameter.description,
            "schema": dict(parameter.schema),
            **({} if parameter.example is None else {"example": parameter.example}),
        }
        for parameter in parameters
    ]


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """A parser of decimal integers from *low* to *high*."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) or not low <= int(text) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    return parse


def _site_id(text: str) -> str:
    if not re.fullmatch(SITE_ID_PATTERN, text):
        raise ValueError("must be 1 to 128 of A-Z a-z 0-9 . _ : -")
    return text


def site_id(*, is_required: bool) -> Parameter:
    """The parameter that says which site."""
    return Parameter(
        name="site_id",
        parse=_site_id,
        description="The site." if is_required else "Only this site; without it, all of them.",
        schema={"type": "string", "pattern": SITE_ID_PATTERN},
        example="my-website",
        is_required=is_required,
    )


def day_named(name: str, description: str) -> Parameter:
    """A parameter that is a day."""

    def parse(text: str) -> date:
        found = parse_day(text, name)
        if not FIRST_DAY <= found <= LAST_DAY:
            raise ValueError(f"must be between {FIRST_DAY} and {LAST_DAY}")
        return found

    schema = {"type": "string", "format": "date"}
    return Parameter(name=name, parse=parse, description=description, schema=schema, example="2024-01-15")


TIMEZONE: Final = Parameter(
    name="timezone",
    parse=lambda text: parse_zone(text, "timezone"),
    description="The IANA time zone in which days begin and end; default: the site's.",
    schema={"type": "string"},
    example="Europe/Paris",
)
