"""Days and hours as the clocks of a zone show them."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from footfall.errors import Invalid
from footfall.query.query import Range
from footfall.query.ranges import (
    DAYS_MAX,
    day_key,
    day_range,
    day_start,
    day_starts,
    hour_key,
    hour_starts,
    parse_day,
    parse_zone,
    today,
)

ZONES = [
    "UTC",
    "Europe/Paris",
    "America/New_York",
    "America/St_Johns",
    "America/Sao_Paulo",
    "America/Havana",
    "America/Asuncion",
    "Africa/Monrovia",
    "Africa/Casablanca",
    "Asia/Tehran",
    "Asia/Kathmandu",
    "Asia/Beirut",
    "Atlantic/Azores",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Kwajalein",
    "Antarctica/Troll",
]
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("zone", "day", "start"),
    [
        ("UTC", date(2024, 1, 15), datetime(2024, 1, 15, tzinfo=UTC)),
        ("Asia/Kathmandu", date(2024, 1, 15), datetime(2024, 1, 14, 18, 15, tzinfo=UTC)),
        # Midnight does not exist: the day begins at one o'clock.
        ("America/Sao_Paulo", date(2018, 11, 4), datetime(2018, 11, 4, 3, tzinfo=UTC)),
        ("Asia/Beirut", date(2024, 3, 31), datetime(2024, 3, 30, 22, tzinfo=UTC)),
        # Midnight comes twice: at the first, the clocks go back to the day before.
        ("America/Havana", date(2024, 11, 3), datetime(2024, 11, 3, 4, tzinfo=UTC)),
        # A day that was left out, and the one after it, begin at the same instant.
        ("Pacific/Apia", date(2011, 12, 30), datetime(2011, 12, 30, 10, tzinfo=UTC)),
        ("Pacific/Apia", date(2011, 12, 31), datetime(2011, 12, 30, 10, tzinfo=UTC)),
        # An offset with seconds: -0:44:30.
        ("Africa/Monrovia", date(1971, 6, 1), datetime(1971, 6, 1, 0, 44, 30, tzinfo=UTC)),
    ],
)
def test_a_day_begins_when_the_clocks_first_show_it(zone: str, day: date, start: datetime) -> None:
    assert day_start(day, ZoneInfo(zone)) == start


@given(st.sampled_from(ZONES), st.dates(date(1970, 1, 2), date(2147, 1, 1)))
@settings(max_examples=400)
def test_before_its_start_no_clock_shows_a_day_and_at_its_start_it_does(name: str, day: date) -> None:
    zone = ZoneInfo(name)
    start = day_start(day, zone)
    assert start.astimezone(zone).date() >= day
    assert (start - SECOND).astimezone(zone).date() < day


@given(st.sampled_from(ZONES), st.dates(date(1970, 1, 2), date(2147, 1, 1)), st.integers(0, 20))
@settings(max_examples=100)
def test_days_follow_each_other_without_gap_or_overlap(name: str, first: date, more: int) -> None:
    zone = ZoneInfo(name)
    days = [first + timedelta(days=i) for i in range(more + 1)]
    parts = [day_range(day, day, zone) for day in days]
    whole = day_range(days[0], days[-1], zone)
    assert (parts[0].start, parts[-1].end) == (whole.start, whole.end)
    assert all(part.end == after.start for part, after in pairwise(parts))


@given(
    st.sampled_from(ZONES),
    st.datetimes(datetime(1970, 1, 2), datetime(2147, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis adds it
    st.integers(1, 4 * 86_400),
    st.floats(0, 1, exclude_max=True),
)
@settings(max_examples=300)
def test_every_instant_is_in_the_bucket_that_bears_its_name(
    name: str, start: datetime, span_s: int, part: float
) -> None:
    zone = ZoneInfo(name)
    span = Range(start, start + timedelta(seconds=span_s), zone)
    instant = start + timedelta(seconds=int(span_s * part))
    local = instant.astimezone(zone)
    days, hours = day_starts(span), hour_starts(span)
    assert days == sorted(set(days))
    assert hours == sorted(set(hours))
    day = max(at for at in days if at <= instant)
    assert day_key(day, zone) == local.date().isoformat()
    hour = max(at for at in hours if at <= instant)
    assert hour_key(hour, zone) == f"{local:%Y-%m-%dT%H:00:00}{local.isoformat(timespec='seconds')[19:]}"


@pytest.mark.parametrize(
    ("zone", "day", "buckets"),
    [
        ("UTC", date(2024, 1, 1), 24),
        ("America/New_York", date(2024, 3, 10), 23),
        ("America/New_York", date(2024, 11, 3), 25),
        # Half an hour back at two: the second half of one o'clock comes again, under another offset.
        ("Australia/Lord_Howe", date(2024, 4, 7), 25),
    ],
)
def test_a_day_has_as_many_hour_buckets_as_it_has_clock_hours(zone: str, day: date, buckets: int) -> None:
    assert len(hour_starts(day_range(day, day, ZoneInfo(zone)))) == buckets


@pytest.mark.parametrize(
    ("day", "key"), [(date(2024, 4, 7), "2024-04-07T01:00:00+10:30"), (date(2024, 10, 6), "2024-10-06T02:00:00+11:00")]
)
def test_the_hour_in_which_clocks_turn_by_half_an_hour_is_called_by_its_own_offset(day: date, key: str) -> None:
    zone = ZoneInfo("Australia/Lord_Howe")
    keys = [hour_key(start, zone) for start in hour_starts(day_range(day, day, zone))]
    assert keys.count(key) == 1
    assert len(set(keys)) == len(keys)


def test_a_range_in_the_wrong_order_names_its_field() -> None:
    with pytest.raises(Invalid) as error:
        day_range(date(2024, 1, 2), date(2024, 1, 1), ZoneInfo("UTC"))
    assert [fault.field for fault in error.value.faults] == ["to"]


def test_a_range_has_a_limit_that_it_may_reach() -> None:
    first = date(2000, 1, 1)
    span = day_range(first, first + timedelta(days=DAYS_MAX - 1), ZoneInfo("UTC"))
    assert span.end - span.start == timedelta(days=DAYS_MAX)
    with pytest.raises(Invalid):
        day_range(first, first + timedelta(days=DAYS_MAX), ZoneInfo("UTC"))
    with pytest.raises(Invalid):
        hour_starts(span)


@pytest.mark.parametrize("day", [date(1969, 12, 31), date(2148, 12, 31), date.min, date.max])
def test_a_date_that_no_event_can_have_is_refused(day: date) -> None:
    with pytest.raises(Invalid) as error:
        day_range(day, day, ZoneInfo("UTC"))
    assert {fault.field for fault in error.value.faults} == {"from", "to"}


def test_today_is_what_the_clocks_of_the_zone_show() -> None:
    now = datetime(2024, 1, 15, 23, 30, tzinfo=UTC)
    assert today(ZoneInfo("America/New_York"), now) == date(2024, 1, 15)
    assert today(ZoneInfo("Asia/Kathmandu"), now) == date(2024, 1, 16)


def test_a_date_is_read() -> None:
    assert parse_day("2024-02-29", "date") == date(2024, 2, 29)


@pytest.mark.parametrize(
    "text", ["", "today", "2024-2-9", "20240209", "2024-02-30", "2024-W01-1", "2024-02-09T00:00", "٢٠٢٤-٠١-٠١"]
)
def test_what_is_no_date_is_refused_by_its_field(text: str) -> None:
    with pytest.raises(Invalid) as error:
        parse_day(text, "date")
    assert [fault.field for fault in error.value.faults] == ["date"]


def test_a_zone_is_found_by_its_name() -> None:
    assert parse_zone("America/St_Johns", "timezone") == ZoneInfo("America/St_Johns")


@pytest.mark.parametrize(
    "name", ["", "Mars/Olympus", "../../etc/passwd", "/etc/localtime", "Europe", "localtime", "a\0b"]
)
def test_what_is_no_zone_is_refused_by_its_field(name: str) -> None:
    with pytest.raises(Invalid) as error:
        parse_zone(name, "timezone")
    assert [fault.field for fault in error.value.faults] == ["timezone"]
