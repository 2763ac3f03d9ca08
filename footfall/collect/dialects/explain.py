"""What is wrong with an event that the typed decoding refused: every field by its name, in plain words."""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import msgspec

from footfall.collect.dialects.values import SITE_ID_MESSAGE, address_of, amount_of, currency_of, is_site_id, prop_text
from footfall.collect.timestamps import timestamp_ms
from footfall.errors import Fault, Invalid
from footfall.event import (
    EVENT_ID_CHARS_MAX,
    NAME_CHARS_MAX,
    PATH_CHARS_MAX,
    PROP_KEY_CHARS_MAX,
    PROPS_MAX,
    USER_ID_CHARS_MAX,
)

FAULTS_MAX = 100
"""Named for one event. A body of nothing but unknown fields would else be answered with a longer one."""
_NAME_SHOWN_CHARS_MAX = 64

Check = Callable[[Any, int], Iterator[Fault | str]]
"""Value (never None) and time of receipt in milliseconds -> messages about the field, or faults of what is in it."""


def parsed(body: bytes) -> object:
    """The JSON value in *body*. Raises Invalid, saying where it stops being JSON."""
    if not body or body.isspace():
        raise Invalid(Fault("body", "is empty"))
    try:
        return msgspec.json.decode(body)
    except UnicodeDecodeError:
        raise Invalid(Fault("body", "is not valid UTF-8")) from None
    except RecursionError:
        raise Invalid(Fault("body", "is nested too deeply")) from None
    except ValueError as error:  # msgspec.DecodeError is one, and so is an integer of more digits than Python reads
        raise Invalid(Fault("body", f"is not valid JSON: {error}")) from None


def faults_of(body: bytes, received_at_ms: int, *, is_strict: bool) -> tuple[Fault, ...]:
    """All that is wrong with the event in *body*, at most FAULTS_MAX; nothing for a valid one."""
    try:
        value = parsed(body)
    except Invalid as error:
        return error.faults
    if not isinstance(value, dict):
        return (Fault("body", "must be a JSON object"),)
    faults: list[Fault] = []
    for field, check in CHECKS.items():
        if value.get(field) is None:
            if field in REQUIRED:
                faults.append(Fault(field, "is required"))
            continue
        found = check(value[field], received_at_ms)
        faults += (Fault(field, one) if isinstance(one, str) else one for one in found)
    if is_strict:
        faults += unknown(value, CHECKS)
        revenue = value.get("revenue")
        if isinstance(revenue, dict):
            faults += unknown(revenue, ("amount", "currency"), "revenue.")
    return tuple(faults[:FAULTS_MAX])


def unknown(value: Mapping[str, object], fields: Collection[str], prefix: str = "") -> list[Fault]:
    """One fault for each field that is not among *fields*."""
    return [Fault(prefix + _shown(name), "is not a known field") for name in value if name not in fields]


def _shown(name: str) -> str:
    return name if len(name) <= _NAME_SHOWN_CHARS_MAX else name[:_NAME_SHOWN_CHARS_MAX] + "…"


def _text(chars_max: int | None = None, chars_min: int = 0) -> Check:
    def check(value: object, _: int) -> Iterator[str]:
        if not isinstance(value, str):
            yield "must be a text"
        elif len(value) < chars_min:
            yield f"must be {chars_min} to {chars_max} characters"
        elif chars_max is not None and len(value) > chars_max:
            yield f"must be at most {chars_max} characters"

    return check


def _site_id(value: object, _: int) -> Iterator[str]:
    if not isinstance(value, str):
        yield "must be a text"
    elif not is_site_id(value):
        yield SITE_ID_MESSAGE


def _timestamp(value: object, received_at_ms: int) -> Iterator[str]:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        yield "must be a text or a number"
        return
    yield from _message(timestamp_ms, value, received_at_ms)


def _props(value: object, _: int) -> Iterator[Fault | str]:
    if not isinstance(value, dict):
        yield "must be an object"
        return
    if len(value) > PROPS_MAX:
        yield f"must have at most {PROPS_MAX} keys"
    for key, prop in value.items():
        field = f"props.{_shown(key)}"
        if not 1 <= len(key) <= PROP_KEY_CHARS_MAX:
            yield Fault(field, f"must have a name of 1 to {PROP_KEY_CHARS_MAX} characters")
        if prop is None:
            continue
        if isinstance(prop, dict | list):
            yield Fault(field, "must be a text, a number, true, false or null")
        else:
            yield from (Fault(field, message) for message in _message(prop_text, prop))


def _revenue(value: object, _: int) -> Iterator[Fault | str]:
    if not isinstance(value, dict):
        yield "must be an object with amount and currency"
        return
    for name, convert in (("amount", amount_of), ("currency", currency_of)):
        if value.get(name) is None:
            yield Fault(f"revenue.{name}", "is required")
        else:
            yield from (Fault(f"revenue.{name}", message) for message in _message(convert, value[name]))


def _bool(value: object, _: int) -> Iterator[str]:
    if not isinstance(value, bool):
        yield "must be true or false"


def _address(value: object, _: int) -> Iterator[str]:
    if not isinstance(value, str):
        yield "must be a text"
    elif value:
        yield from _message(address_of, value)


def _message(convert: Callable[..., object], *arguments: object) -> Iterator[str]:
    try:
        convert(*arguments)
    except ValueError as error:
        yield str(error)


REQUIRED = ("site_id", "event_type")
CHECKS: dict[str, Check] = {
    "site_id": _site_id,
    "event_type": _text(NAME_CHARS_MAX, chars_min=1),
    "path": _text(PATH_CHARS_MAX),
    "user_id": _text(USER_ID_CHARS_MAX),
    "timestamp": _timestamp,
    "event_id": _text(EVENT_ID_CHARS_MAX),
    "referrer": _text(),
    "title": _text(),
    "hostname": _text(),
    "screen": _text(),
    "language": _text(),
    "props": _props,
    "revenue": _revenue,
    "interactive": _bool,
    "ip": _address,
    "user_agent": _text(),
}
"""Every field there is, in the order in which faults are named."""
