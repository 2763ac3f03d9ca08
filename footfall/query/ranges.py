"""Ranges, zones and buckets: the only place that knows when a local day or hour begins.

A store gets instants and hands back instants; so every engine agrees with Python's zone data, and with each other.
"""

from datetime import UTC, date, datetime, timedelta, timezone
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from footfall.errors import Fault, Invalid
from footfall.query.query import Range

DAYS_MAX = 3_660
"""Ten years in one question."""
HOURS_MAX = 24 * 366
FIRST_DAY = date(1970, 1, 1)
LAST_DAY = date(2148, 12, 30)
"""Where the dates of 16 bits end that some stores hold."""

_SECOND = timedelta(seconds=1)
_HOUR = timedelta(hours=1)


def day_start(day: date, zone: ZoneInfo) -> datetime:
    """The first instant (in UTC) at which the clocks of *zone* show *day* or later.

    Midnight is skipped in some zones on some days, and a whole day in a few (Samoa, 30 December 2011): then this is the
    instant of the change. Where midnight comes twice, it is the first.
    """
    # Offsets are within a day; the date on the wall can step back by an hour after the first midnight, so a search by
    # halves over days could miss it: start from the offsets in force around that day.
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    candidates = []
    for hours in (-36, 36):
        offset = (noon + timedelta(hours=hours)).astimezone(zone).utcoffset() or timedelta()
        candidates.append(noon - timedelta(hours=12) - offset)
    early, late = min(candidates), max(candidates)
    if early == late:
        return early
    if early.astimezone(zone).date() >= day:
        return (
            early
            if (early - _SECOND).astimezone(zone).date() < day
            else _first_of(day, zone, early - timedelta(days=1))
        )
    return _first_of(day, zone, early)


def _first_of(day: date, zone: ZoneInfo, low: datetime) -> datetime:
    """The second after *low* from which on the date is *day* or later; within 15 minutes the date turns once."""
    high = low
    while high.astimezone(zone).date() < day:
        high += timedelta(minutes=15)
    low = high - timedelta(minutes=15)
    while high - low > _SECOND:
        middle = (low + (high - low) / 2).replace(microsecond=0)
        if middle.astimezone(zone).date() >= day:
            high = middle
        else:
            low = middle
    return high


def day_range(from_on: date, to_on: date, zone: ZoneInfo) -> Range:
    """Both days and all between them, as they pass in *zone*: days of 23 and 25 hours are what they are.

    Raises Invalid (fields `from`, `to`) when they are in the wrong order, too far apart, or outside 1970 to 2148.
    """
    faults = [
        Fault(field, f"must be between {FIRST_DAY} and {LAST_DAY}")
        for field, day in (("from", from_on), ("to", to_on))
        if not FIRST_DAY <= day <= LAST_DAY
    ]
    if to_on < from_on:
        faults.append(Fault("to", "must not be before from"))
    elif (to_on - from_on).days >= DAYS_MAX:
        faults.append(Fault("to", f"must be at most {DAYS_MAX} days after from"))
    if faults:
        raise Invalid(*faults)
    return Range(start=day_start(from_on, zone), end=day_start(to_on + timedelta(days=1), zone), zone=zone)


def today(zone: ZoneInfo, now: datetime) -> date:
    """The date that the clocks of *zone* show at the aware instant *now*."""
    return now.astimezone(zone).date()


def parse_day(text: str, field: str) -> date:
    """YYYY-MM-DD, and nothing else. Raises Invalid naming *field*."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise Invalid(Fault(field, "must be a date like 2024-01-15")) from None
    if day.isoformat() != text:
        raise Invalid(Fault(field, "must be a date like 2024-01-15"))
    return day


@lru_cache(maxsize=1)
def _zone_names() -> frozenset[str]:
    return frozenset(available_timezones() - {"localtime", "posixrules", "Factory"})


def parse_zone(name: str, field: str) -> ZoneInfo:
    """The zone of that IANA name. Raises Invalid naming *field*."""
    # Asked of the list first: ZoneInfo takes its argument for a path, and a request must not choose files.
    if name not in _zone_names():
        raise Invalid(Fault(field, "must be a time zone like Europe/Paris"))
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Invalid(Fault(field, "must be a time zone like Europe/Paris")) from None


def day_starts(span: Range) -> list[datetime]:
    """The first instant (in UTC) of every local day that *span* touches, ascending; a day that was skipped has none."""
    starts: list[datetime] = []
    day = span.start.astimezone(span.zone).date()
    last = (span.end - _SECOND / 1000).astimezone(span.zone).date()
    # Where clocks fall back over midnight, a span may end on the earlier of its two dates.
    last = max(last, day)
    while day <= last:
        start = day_start(day, span.zone)
        if starts and starts[-1] >= start:
            starts.pop()
        starts.append(start)
        day += timedelta(days=1)
        if len(starts) > DAYS_MAX + 1:
            raise Invalid(Fault("date_range", f"must be at most {DAYS_MAX} days"))
    return starts


def day_key(start: datetime, zone: ZoneInfo) -> str:
    """What a row of time:day is called: the date on the wall, 2024-01-15."""
    return start.astimezone(zone).date().isoformat()


def hour_starts(span: Range) -> list[datetime]:
    """The first instant (in UTC) of every local clock hour that *span* touches, ascending.

    A bucket is one clock hour under one UTC offset: an hour that is repeated when clocks fall back is two buckets, and
    where an offset changes by half an hour, the hour in which it does is two shorter ones.
    """
    if (span.end - span.start) > HOURS_MAX * _HOUR:
        raise Invalid(Fault("date_range", f"must be at most {HOURS_MAX // 24} days for time:hour"))
    starts = [_hour_floor(span.start, span.zone)]
    while True:
        at = starts[-1]
        local = at.astimezone(span.zone)
        after = at + _HOUR - timedelta(minutes=local.minute, seconds=local.second)
        if (after - _SECOND).astimezone(span.zone).utcoffset() != local.utcoffset():
            after = _offset_change(at, after, span.zone)
        if after >= span.end:
            return starts
        starts.append(after)


def _hour_floor(at: datetime, zone: ZoneInfo) -> datetime:
    local = at.astimezone(zone)
    start = at.astimezone(UTC) - timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
    if start.astimezone(zone).utcoffset() == local.utcoffset():
        return start
    return _offset_change(start, at.astimezone(UTC), zone)


def _offset_change(low: datetime, high: datetime, zone: ZoneInfo) -> datetime:
    """The second in (low, high] at which the UTC offset of *zone* becomes another than it is at *low*."""
    before = low.astimezone(zone).utcoffset()
    while high - low > _SECOND:
        middle = (low + (high - low) / 2).replace(microsecond=0)
        if middle.astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high


def hour_key(start: datetime, zone: ZoneInfo) -> str:
    """What a row of time:hour is called: the clock hour with its UTC offset, 2024-11-03T01:00:00-04:00."""
    local = start.astimezone(zone)
    # The offset is that of *start*: the full hour itself may have had another, where clocks turn by half an hour.
    fixed = timezone(local.utcoffset() or timedelta())
    return local.replace(minute=0, second=0, microsecond=0, tzinfo=fixed).isoformat()
