"""Periods: what `date_range` and `compare` of a request mean as instants, in a zone and at a moment."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import TypeAlias
from zoneinfo import ZoneInfo

import msgspec

from footfall.errors import Fault, Invalid
from footfall.query.buckets import week_of
from footfall.query.definitions import WeekStart
from footfall.query.query import Range
from footfall.query.ranges import DAYS_MAX, FIRST_DAY, LAST_DAY, day_range, day_start, today

REALTIME_MINUTES = 5
MONTHS_MAX = 120
_DAY = timedelta(days=1)
_FORMS = (
    'must be one of "day", "24h", "7d" (any number of days), "week", "month", "6mo" (any number of months), "year", '
    '"all", "30m", "realtime", or two dates, or two instants with offset'
)


class Named(msgspec.Struct, frozen=True):
    """A range that moves with the clock: a count of "m", "h", "d" or "mo", or one of the words."""

    word: str
    count: int = 0


class Days(msgspec.Struct, frozen=True):
    """Both days and all between them."""

    first: date
    last: date


class Instants(msgspec.Struct, frozen=True):
    """From the first on, up to but without the second."""

    start: datetime
    end: datetime


DateRange: TypeAlias = Named | Days | Instants


class Mode(StrEnum):
    """With which former stretch of time a range is compared."""

    PREVIOUS_PERIOD = "previous_period"
    YEAR_OVER_YEAR = "year_over_year"
    CUSTOM = "custom"


class Comparison(msgspec.Struct, frozen=True):
    """What `compare` asks for."""

    mode: Mode
    date_range: DateRange | None = None
    """Of CUSTOM."""
    match_day_of_week: bool = False


def parse_date_range(value: object, field: str) -> DateRange:
    """Any form that a request may have. Raises Invalid naming *field*."""
    if isinstance(value, str):
        if value in {"day", "week", "month", "year", "all", "realtime"}:
            return Named(value)
        found = re.fullmatch(r"([1-9][0-9]{0,3})(mo|[mhd])", value, re.ASCII)
        if found and _is_allowed(int(found[1]), found[2]):
            return Named(found[2], int(found[1]))
    elif isinstance(value, list) and len(value) == 2 and all(isinstance(part, str) for part in value):
        first, last = (_moment(part) for part in value)
        if isinstance(first, datetime) and isinstance(last, datetime):
            return _instants(first, last, field)
        if type(first) is date and type(last) is date:
            return Days(first, last)
    raise Invalid(Fault(field, _FORMS))


def _is_allowed(count: int, unit: str) -> bool:
    return count <= {"m": 60, "h": 48, "d": DAYS_MAX, "mo": MONTHS_MAX}[unit]


def _moment(text: str) -> date | datetime | None:
    """YYYY-MM-DD, or an instant with an offset; None for anything else."""
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
            return date.fromisoformat(text)
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def _instants(start: datetime, end: datetime, field: str) -> Instants:
    if start >= end:
        raise Invalid(Fault(field, "must end after it begins"))
    if not FIRST_DAY <= start.date() <= end.date() <= LAST_DAY:
        raise Invalid(Fault(field, f"must be between {FIRST_DAY} and {LAST_DAY}"))
    if end - start > DAYS_MAX * _DAY:
        raise Invalid(Fault(field, f"must be at most {DAYS_MAX} days"))
    return Instants(start, end)


def resolve(
    asked: DateRange, zone: ZoneInfo, now: datetime, first_on: date | None, week_start: WeekStart = WeekStart.MONDAY
) -> Days | Instants:
    """*asked* as days on the clocks of *zone*, or as instants; *first_on*: the site's first day, None without events.

    `7d` and `6mo` are whole days and months that have ended: they end yesterday, and with last month. `week`,
    `month` and `year` are the current ones, to their end. The same as Plausible's API reads them.
    """
    if not isinstance(asked, Named):
        return asked
    day = today(zone, now)
    if asked.word in _MOVING:
        return Instants(now - asked.count * _MOVING[asked.word], now)
    if asked.word == "realtime":
        return Instants(now - timedelta(minutes=REALTIME_MINUTES), now)
    if asked.word == "d":
        return Days(day - asked.count * _DAY, day - _DAY)
    if asked.word == "mo":
        return Days(_months_before(day.replace(day=1), asked.count), day.replace(day=1) - _DAY)
    first = week_of(day, week_start)
    return Days(first, first + 6 * _DAY) if asked.word == "week" else _CALENDAR[asked.word](day, first_on)


_MOVING = {"m": timedelta(minutes=1), "h": timedelta(hours=1)}
_CALENDAR: dict[str, Callable[[date, date | None], Days]] = {
    "day": lambda day, _: Days(day, day),
    "month": lambda day, _: Days(day.replace(day=1), _months_before(day.replace(day=1), -1) - _DAY),
    "year": lambda day, _: Days(day.replace(month=1, day=1), day.replace(month=12, day=31)),
    "all": lambda day, first_on: Days(min(max(first_on or day, day - (DAYS_MAX - 1) * _DAY), day), day),
}


def _months_before(first: date, count: int) -> date:
    months = first.year * 12 + first.month - 1 - count
    return date(months // 12, months % 12 + 1, 1)


def compared(
    period: Days | Instants,
    comparison: Comparison,
    zone: ZoneInfo,
    now: datetime,
    week_start: WeekStart = WeekStart.MONDAY,
) -> Days | Instants:
    """The former stretch of time.

    The previous period is as long and ends where *period* begins; a year before has the same date a year earlier (28
    February for the 29th) and the same length. Where the day of the week is to match, it is moved back to the last
    stretch that begins on the same weekday: whole weeks before, or 52 weeks instead of a year.
    """
    if comparison.date_range is not None:
        return resolve(comparison.date_range, zone, now, None, week_start)
    matches = comparison.match_day_of_week
    if isinstance(period, Instants):
        length = period.end - period.start
        back = 364 * _DAY if matches else 365 * _DAY
        if comparison.mode is Mode.PREVIOUS_PERIOD:
            back = -(-length // (7 * _DAY)) * 7 * _DAY if matches else length
        return Instants(period.start - back, period.end - back)
    days = (period.last - period.first).days + 1
    if comparison.mode is Mode.PREVIOUS_PERIOD:
        first = period.first - (-(-days // 7) * 7 if matches else days) * _DAY
    elif matches:
        first = period.first - 364 * _DAY
    else:
        is_leap_day = (period.first.month, period.first.day) == (2, 29)
        first = period.first.replace(year=period.first.year - 1, day=28 if is_leap_day else period.first.day)
    return Days(first, first + (days - 1) * _DAY)


def span_of(period: Days | Instants, zone: ZoneInfo, field: str, week_start: WeekStart = WeekStart.MONDAY) -> Range:
    """The instants of *period*. Raises Invalid naming *field*."""
    try:
        if isinstance(period, Days):
            days = day_range(period.first, period.last, zone)
            return Range(days.start, days.end, zone, week_start)
        if period.start < day_start(FIRST_DAY, zone):
            raise Invalid(Fault(field, f"must be between {FIRST_DAY} and {LAST_DAY}"))
        return Range(period.start, period.end, zone, week_start)
    except Invalid as error:
        raise Invalid(*(Fault(field, fault.message) for fault in error.faults)) from None
