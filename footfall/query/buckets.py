"""Buckets: into which stretches of time each time dimension cuts a range, and what they are called."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

from footfall.errors import Fault, Invalid
from footfall.query.definitions import WeekStart
from footfall.query.query import Dimension, Range
from footfall.query.ranges import day_key, day_start, day_starts, hour_key, hour_starts

MINUTES_MAX = 2 * 24 * 60 + 60
"""Two days, one of which may have 25 hours."""

_MINUTE = timedelta(minutes=1)
_WEEKDAYS = {WeekStart.MONDAY: 0, WeekStart.SUNDAY: 6}
Key = str | int


def minute_starts(span: Range) -> list[datetime]:
    """The first instant (in UTC) of every minute that *span* touches, ascending. Since 1972 all zones share minutes."""
    if (span.end - span.start) > MINUTES_MAX * _MINUTE:
        raise Invalid(Fault("date_range", "must be at most 2 days for time:minute"))
    start = span.start.astimezone(UTC).replace(second=0, microsecond=0)
    return [start + number * _MINUTE for number in range(-((start - span.end) // _MINUTE))]


def _starts_of(following: Callable[[date], date]) -> Callable[[Range], list[datetime]]:
    """Beginnings of whole weeks, months and so on; *following*: the first day of the one after that of a day."""

    def starts(span: Range) -> list[datetime]:
        day = span.start.astimezone(span.zone).date()
        last = (span.end - timedelta(milliseconds=1)).astimezone(span.zone).date()
        found = [day_start(day, span.zone)]
        while (day := following(day)) <= last:
            found.append(day_start(day, span.zone))
        return found

    return starts


def _months_on(day: date, count: int) -> date:
    """The first day of the stretch of *count* months after the one that *day* is in."""
    months = day.year * 12 + (day.month - 1) // count * count + count
    return date(months // 12, months % 12 + 1, 1)


def _minute_key(start: datetime, span: Range) -> Key:
    return start.astimezone(span.zone).isoformat(timespec="seconds")


def week_of(day: date, week_start: WeekStart) -> date:
    """The first day of the week that *day* is in."""
    return day - timedelta(days=(day.weekday() - _WEEKDAYS[week_start]) % 7)


def _week_starts(span: Range) -> list[datetime]:
    return _starts_of(lambda day: week_of(day, span.week_start) + timedelta(days=7))(span)


def _week_key(start: datetime, span: Range) -> Key:
    return week_of(start.astimezone(span.zone).date(), span.week_start).isoformat()


def _month_key(start: datetime, span: Range) -> Key:
    return start.astimezone(span.zone).date().replace(day=1).isoformat()


def _quarter_key(start: datetime, span: Range) -> Key:
    day = start.astimezone(span.zone).date()
    return day.replace(month=day.month - (day.month - 1) % 3, day=1).isoformat()


def _year_key(start: datetime, span: Range) -> Key:
    return start.astimezone(span.zone).date().replace(month=1, day=1).isoformat()


BUCKETS: dict[Dimension, tuple[Callable[[Range], list[datetime]], Callable[[datetime, Range], Key]]] = {
    Dimension.MINUTE: (minute_starts, _minute_key),
    Dimension.HOUR: (hour_starts, lambda start, span: hour_key(start, span.zone)),
    Dimension.DAY: (day_starts, lambda start, span: day_key(start, span.zone)),
    Dimension.WEEK: (_week_starts, _week_key),
    Dimension.MONTH: (_starts_of(lambda day: _months_on(day, 1)), _month_key),
    Dimension.QUARTER: (_starts_of(lambda day: _months_on(day, 3)), _quarter_key),
    Dimension.YEAR: (_starts_of(lambda day: _months_on(day, 12)), _year_key),
    Dimension.DAY_OF_WEEK: (day_starts, lambda start, span: start.astimezone(span.zone).isoweekday()),
    Dimension.HOUR_OF_DAY: (hour_starts, lambda start, span: start.astimezone(span.zone).hour),
}
"""Where the stretches begin, and what each is called.

A week begins on the day that the range says and is called by that day's date, a month, quarter or year by its first
day, also where the range begins within it; days of the week count from 1, Monday.
"""


def buckets(dimension: Dimension, span: Range) -> list[tuple[datetime, Key]]:
    """Every stretch of *span* with its beginning, ascending. Two that are called the same are one bucket.

    Raises Invalid where there would be too many.
    """
    starts, key = BUCKETS[dimension]
    found: list[tuple[datetime, Key]] = []
    for start in starts(span):
        name = key(start, span)
        if not found or found[-1][1] != name:
            found.append((start, name))
    return found


def keys(dimension: Dimension, span: Range) -> list[Key]:
    """What the buckets of *span* are called, each once, in their order; days of the week and hours by number."""
    names = list(dict.fromkeys(name for _, name in buckets(dimension, span)))
    return sorted(names, key=int) if dimension in {Dimension.DAY_OF_WEEK, Dimension.HOUR_OF_DAY} else names


def resolve_time(span: Range) -> Dimension:
    """What the dimension `time` stands for: hours up to two days, days up to 40, weeks up to a year, else months."""
    length = span.end - span.start
    # An hour more, for the two days in which clocks fall back.
    if length <= timedelta(hours=49):
        return Dimension.HOUR
    if length <= timedelta(days=40, hours=1):
        return Dimension.DAY
    return Dimension.WEEK if length <= timedelta(weeks=53) else Dimension.MONTH
