"""Timestamps as senders write them: ISO 8601 with an offset, or seconds or milliseconds since 1970."""

import math
import re
from datetime import UTC, datetime, timedelta

from footfall.event import FUTURE_MAX_S

MILLISECONDS_FROM = 100_000_000_000
"""A number from here on counts milliseconds, below it seconds. As seconds it is the year 5138, as milliseconds March
1973: so instants of the first three years alone can not be sent as milliseconds, but as seconds or ISO 8601."""
TIMESTAMP_CHARS_MAX = 64

_ISO = re.compile(
    r"\d{4}-\d{2}-\d{2}"
    r"(?:[Tt ](?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:[.,]\d{1,12})?)?"
    r"(?P<offset>[Zz]|[+-](?:[01]\d|2[0-3])(?::?[0-5]\d)?)?)?",
    re.ASCII,
)
_NUMBER = re.compile(r"-?\d{1,20}(?:\.\d{1,12})?", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

_WHAT = "must be ISO 8601 with an offset, like 2024-01-15T10:30:00Z, or seconds or milliseconds since 1970"


def timestamp_ms(sent: str | float, received_at_ms: int) -> int:
    """Milliseconds since 1970-01-01 UTC; what is finer is cut off.

    Raises ValueError, with a message for the sender, for anything but an instant from 1970 to a day after it was
    received. Leap seconds are refused: no clock that we compare with knows them.
    """
    at_ms = _of_text(sent) if isinstance(sent, str) else _of_number(sent)
    if at_ms < 0:
        raise ValueError("must not be before 1970")
    if at_ms > received_at_ms + FUTURE_MAX_S * 1000:
        raise ValueError("must not be more than 24 hours ahead")
    return at_ms


def _of_number(number: float) -> int:
    if isinstance(number, int):
        return number if abs(number) >= MILLISECONDS_FROM else number * 1000
    if not math.isfinite(number):
        raise ValueError(_WHAT)
    if abs(number) >= MILLISECONDS_FROM:
        return math.floor(number)
    # To the microsecond first: 1705314600.123 is a little less in binary, and its milliseconds would come out as 122.
    return round(number * 1_000_000) // 1000


def _of_text(text: str) -> int:
    if len(text) > TIMESTAMP_CHARS_MAX:
        raise ValueError(_WHAT)
    match = _ISO.fullmatch(text)
    if match is None:
        if _NUMBER.fullmatch(text):
            return _of_number(float(text) if "." in text else int(text))
        raise ValueError(_WHAT)
    if match["offset"] is None:
        raise ValueError("must have an offset, like 2024-01-15T10:30:00Z or 2024-01-15T10:30:00+01:00")
    try:
        instant = datetime.fromisoformat(text.upper().replace(",", "."))
    except ValueError:
        raise ValueError("is a date that does not exist") from None
    return (instant - _EPOCH) // _MILLISECOND
