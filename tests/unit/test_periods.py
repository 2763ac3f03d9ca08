"""What the forms of `date_range` and `compare` mean on a Friday: 15 March 2024, 22:30 UTC."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from footfall.errors import Invalid
from footfall.query.definitions import WeekStart
from footfall.query.periods import Comparison, Days, Instants, Mode, compared, parse_date_range, resolve, span_of

NOW = datetime(2024, 3, 15, 22, 30, tzinfo=UTC)
UTC_ZONE = ZoneInfo("UTC")
FIRST_ON = date(2023, 5, 17)


def days(first: str, last: str) -> Days:
    return Days(date.fromisoformat(first), date.fromisoformat(last))


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("day", days("2024-03-15", "2024-03-15")),
        ("1d", days("2024-03-14", "2024-03-14")),
        ("7d", days("2024-03-08", "2024-03-14")),
        ("28d", days("2024-02-16", "2024-03-14")),
        ("30d", days("2024-02-14", "2024-03-14")),
        ("91d", days("2023-12-15", "2024-03-14")),
        ("week", days("2024-03-11", "2024-03-17")),
        ("month", days("2024-03-01", "2024-03-31")),
        ("6mo", days("2023-09-01", "2024-02-29")),
        ("12mo", days("2023-03-01", "2024-02-29")),
        ("year", days("2024-01-01", "2024-12-31")),
        ("all", days("2023-05-17", "2024-03-15")),
        ("30m", Instants(NOW - timedelta(minutes=30), NOW)),
        ("24h", Instants(NOW - timedelta(hours=24), NOW)),
        ("realtime", Instants(NOW - timedelta(minutes=5), NOW)),
        (["2024-01-15", "2024-02-01"], days("2024-01-15", "2024-02-01")),
        (
            ["2024-01-15T10:00:00+05:30", "2024-01-15T12:00:00Z"],
            Instants(datetime(2024, 1, 15, 4, 30, tzinfo=UTC), datetime(2024, 1, 15, 12, tzinfo=UTC)),
        ),
    ],
)
def test_every_form_of_a_range_means_these_days_or_instants(asked: object, meant: Days | Instants) -> None:
    assert resolve(parse_date_range(asked, "date_range"), UTC_ZONE, NOW, FIRST_ON) == meant


def test_today_is_that_of_the_zone() -> None:
    found = resolve(parse_date_range("day", "date_range"), ZoneInfo("Asia/Kathmandu"), NOW, None)
    assert found == days("2024-03-16", "2024-03-16")


def test_all_of_a_site_without_events_is_today() -> None:
    assert resolve(parse_date_range("all", "date_range"), UTC_ZONE, NOW, None) == days("2024-03-15", "2024-03-15")


@pytest.mark.parametrize(
    ("at", "first"), [("2024-03-09", "2024-03-03"), ("2024-03-10", "2024-03-10"), ("2024-03-16", "2024-03-10")]
)
def test_a_week_from_sunday_is_the_one_that_the_day_is_in(at: str, first: str) -> None:
    now = datetime.fromisoformat(at).replace(hour=12, tzinfo=UTC)
    found = resolve(parse_date_range("week", "date_range"), UTC_ZONE, now, None, WeekStart.SUNDAY)
    assert found == Days(date.fromisoformat(first), date.fromisoformat(first) + timedelta(days=6))


@pytest.mark.parametrize(
    ("period", "comparison", "former"),
    [
        (days("2024-03-08", "2024-03-14"), Comparison(Mode.PREVIOUS_PERIOD), days("2024-03-01", "2024-03-07")),
        (days("2024-03-01", "2024-03-31"), Comparison(Mode.PREVIOUS_PERIOD), days("2024-01-30", "2024-02-29")),
        (days("2024-03-01", "2024-03-31"), Comparison(Mode.YEAR_OVER_YEAR), days("2023-03-01", "2023-03-31")),
        (days("2024-02-29", "2024-03-01"), Comparison(Mode.YEAR_OVER_YEAR), days("2023-02-28", "2023-03-01")),
        # Friday to Friday: five weeks before, and 52 weeks before.
        (
            days("2024-03-01", "2024-03-31"),
            Comparison(Mode.PREVIOUS_PERIOD, None, True),
            days("2024-01-26", "2024-02-25"),
        ),
        (
            days("2024-03-01", "2024-03-31"),
            Comparison(Mode.YEAR_OVER_YEAR, None, True),
            days("2023-03-03", "2023-04-02"),
        ),
        (
            days("2024-03-01", "2024-03-31"),
            Comparison(Mode.CUSTOM, days("2020-01-01", "2020-01-02")),
            days("2020-01-01", "2020-01-02"),
        ),
        (
            Instants(NOW - timedelta(hours=3), NOW),
            Comparison(Mode.PREVIOUS_PERIOD),
            Instants(NOW - timedelta(hours=6), NOW - timedelta(hours=3)),
        ),
        (
            Instants(NOW - timedelta(hours=3), NOW),
            Comparison(Mode.PREVIOUS_PERIOD, None, True),
            Instants(NOW - timedelta(days=7, hours=3), NOW - timedelta(days=7)),
        ),
    ],
)
def test_every_comparison_means_this_former_stretch(
    period: Days | Instants, comparison: Comparison, former: Days | Instants
) -> None:
    found = compared(period, comparison, UTC_ZONE, NOW)
    assert found == former
    if comparison.match_day_of_week and isinstance(found, Days) and isinstance(period, Days):
        assert found.first.weekday() == period.first.weekday()


@pytest.mark.parametrize("asked", ["0d", "1w", "61m", "49h", "121mo", "3661d", "today", "", 7, None, ["2024-01-01"]])
def test_what_is_no_range_is_refused_by_its_field(asked: object) -> None:
    with pytest.raises(Invalid) as error:
        parse_date_range(asked, "date_range")
    assert [fault.field for fault in error.value.faults] == ["date_range"]


def test_a_span_keeps_the_zone_and_the_day_on_which_weeks_begin() -> None:
    span = span_of(days("2024-03-31", "2024-03-31"), ZoneInfo("Europe/Paris"), "date_range", WeekStart.SUNDAY)
    assert span.end - span.start == timedelta(hours=23)
    assert (span.zone.key, span.week_start) == ("Europe/Paris", WeekStart.SUNDAY)
