"""Timestamps: every form that is taken, to the millisecond, and every one that is not, with the reason."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from footfall.collect.timestamps import MILLISECONDS_FROM, timestamp_ms

NOW_MS = 1_705_314_600_000
"""2024-01-15T10:30:00Z"""
DAY_MS = 86_400_000


@pytest.mark.parametrize(
    "sent",
    [
        "2024-01-15T10:30:00Z",
        "2024-01-15t10:30:00z",
        "2024-01-15 10:30:00Z",
        "2024-01-15T10:30Z",
        "2024-01-15T11:30:00+01:00",
        "2024-01-15T11:30:00+0100",
        "2024-01-15T11:30:00+01",
        "2024-01-15T16:15:00+05:45",
        "2024-01-14T22:30:00-12:00",
        "2024-01-15T10:30:00.000000000Z",
        1_705_314_600,
        1_705_314_600.0,
        1_705_314_600_000,
        1_705_314_600_000.9,
        "1705314600",
        "1705314600.000",
        "1705314600000",
    ],
)
def test_every_way_to_write_one_instant_is_read_as_that_instant(sent: str | float) -> None:
    assert timestamp_ms(sent, NOW_MS) == NOW_MS


@pytest.mark.parametrize(
    "sent",
    [
        "2024-01-15T10:30:00.123Z",
        "2024-01-15T10:30:00,123999Z",
        "2024-01-15T10:30:00.123456789Z",
        1_705_314_600.123,
        "1705314600.123",
        1_705_314_600_123,
    ],
)
def test_fractions_are_kept_to_the_millisecond_and_cut_there(sent: str | float) -> None:
    assert timestamp_ms(sent, NOW_MS) == NOW_MS + 123


@given(st.integers(0, NOW_MS), st.integers(-14 * 60, 14 * 60))
def test_any_instant_written_in_any_zone_comes_back_to_the_millisecond(at_ms: int, offset_minutes: int) -> None:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)
    local = at.astimezone(timezone(timedelta(minutes=offset_minutes))) if at_ms > 2 * DAY_MS else at
    assert timestamp_ms(local.isoformat(timespec="milliseconds"), NOW_MS) == at_ms


@given(st.integers(0, NOW_MS))
def test_seconds_with_three_decimals_come_back_to_the_millisecond(at_ms: int) -> None:
    assert timestamp_ms(at_ms / 1000, NOW_MS) == at_ms


def test_the_boundary_between_seconds_and_milliseconds_is_where_it_says() -> None:
    assert timestamp_ms(MILLISECONDS_FROM, NOW_MS) == MILLISECONDS_FROM
    with pytest.raises(ValueError, match="ahead"):
        timestamp_ms(MILLISECONDS_FROM - 1, NOW_MS)


def test_a_day_ahead_is_taken_and_a_millisecond_more_is_not() -> None:
    assert timestamp_ms(NOW_MS + DAY_MS, NOW_MS) == NOW_MS + DAY_MS
    with pytest.raises(ValueError, match="24 hours ahead"):
        timestamp_ms(NOW_MS + DAY_MS + 1, NOW_MS)


@pytest.mark.parametrize("sent", ["2024-01-15T10:30:00", "2024-01-15", "2024-01-15T10:30", "2024-01-15 10:30:00.5"])
def test_a_time_without_an_offset_is_refused_and_told_so(sent: str) -> None:
    with pytest.raises(ValueError, match="must have an offset"):
        timestamp_ms(sent, NOW_MS)


@pytest.mark.parametrize("sent", [-1, -0.001, "-1", "1969-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", -(10**15)])
def test_before_1970_is_refused_and_told_so(sent: str | float) -> None:
    with pytest.raises(ValueError, match="before 1970"):
        timestamp_ms(sent, NOW_MS)


@pytest.mark.parametrize(
    "sent",
    [
        "",
        " ",
        "yesterday",
        "NaN",
        "Infinity",
        "1e9",
        "0x10",
        "1_705_314_600",
        "２０２４-01-15T10:30:00Z",
        "2016-12-31T23:59:60Z",
        "2024-01-15T24:00:00Z",
        "2024-01-15T10:60:00Z",
        "2024-W03-1T10:30:00Z",
        "20240115T103000Z",
        "2024-01-15T10:30:00Z ",
        "2024-01-15T10:30:00+25:00",
        "2024-01-15\n10:30:00Z",
        "9" * 65,
        float("nan"),
        float("inf"),
        float("-inf"),
    ],
)
def test_nonsense_is_refused_and_told_what_would_do(sent: str | float) -> None:
    with pytest.raises(ValueError, match="must be ISO 8601"):
        timestamp_ms(sent, NOW_MS)


@pytest.mark.parametrize(
    "sent", ["2023-02-29T00:00:00Z", "2024-13-01T00:00:00Z", "2024-04-31T00:00:00Z", "0000-01-01T00:00:00Z"]
)
def test_a_date_that_does_not_exist_is_refused(sent: str) -> None:
    with pytest.raises(ValueError, match="does not exist"):
        timestamp_ms(sent, NOW_MS)


@given(st.one_of(st.text(max_size=80), st.integers(), st.floats()))
def test_anything_at_all_is_an_instant_in_bounds_or_a_value_error(sent: str | float) -> None:
    try:
        at_ms = timestamp_ms(sent, NOW_MS)
    except ValueError:
        return
    assert 0 <= at_ms <= NOW_MS + DAY_MS
