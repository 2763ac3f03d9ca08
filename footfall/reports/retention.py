"""Retention: of those who started in one period, how many came back in the ones after it."""

import msgspec

from footfall.errors import Fault, Invalid
from footfall.query.buckets import keys
from footfall.query.retention import PERIODS_MAX, AskedRetention, Retention
from footfall.reports.lines import csv_of
from footfall.reports.span import Clock, percent, said_range, span_asked
from footfall.store.base import Store


class Period(msgspec.Struct, frozen=True):
    """One period of a cohort."""

    period: int
    """How many after the cohort's own, which is 0."""
    visitors: int
    """Who returned in it."""
    rate: float | None
    """Per cent of the cohort."""
    visitors_on_or_after: int
    """Who returned in it or later within the range."""
    rate_on_or_after: float | None


class Cohort(msgspec.Struct, frozen=True):
    """Those who started in one period."""

    cohort: str
    """The period's first day."""
    size: int
    periods: list[Period]
    """Up to the last one in the range."""


class Results(msgspec.Struct, frozen=True):
    """Every cohort of the range, empty ones too, and all of them together."""

    cohorts: list[Cohort]
    mean: list[Period]
    """For each period all cohorts that have it in the range, as if they were one."""


class Resolved(msgspec.Struct, frozen=True):
    """The question as it was understood."""

    site_id: str
    date_range: tuple[str, str]
    timezone: str
    period: str
    start: str
    return_: str = msgspec.field(name="return")


class RetentionAnswer(msgspec.Struct, frozen=True):
    """The answer."""

    results: Results
    query: Resolved


async def retention(store: Store, asked: AskedRetention, clock: Clock) -> RetentionAnswer:
    """What *asked* asks for. Raises Invalid for a range of too many periods, Unavailable."""
    span = await span_asked(store, asked.site_id, asked.date_range, clock)
    names = [str(name) for name in keys(asked.period, span)]
    if len(names) > PERIODS_MAX:
        raise Invalid(Fault("date_range", f"has {len(names)} periods, of which {PERIODS_MAX} are allowed"))
    table = await store.sequences(
        Retention(
            site_id=asked.site_id,
            range=span,
            period=asked.period,
            start=asked.start,
            returned=asked.returned,
            filter=asked.filter,
        )
    )
    rows = msgspec.convert(table.rows, list[tuple[int, int | None, int, int | None]])
    sizes = {cohort: visitors for cohort, period, visitors, _ in rows if period is None}
    cells = {(cohort, period): (visitors, last or 0) for cohort, period, visitors, last in rows if period is not None}
    cohorts = [
        Cohort(name, sizes.get(place, 0), _periods(place, sizes.get(place, 0), cells, len(names)))
        for place, name in enumerate(names)
    ]
    return RetentionAnswer(
        Results(cohorts, _mean(cohorts)),
        Resolved(
            site_id=asked.site_id,
            date_range=said_range(span),
            timezone=span.zone.key,
            period=asked.period.value.removeprefix("time:"),
            start="first event" if asked.start is None else asked.start.name,
            return_=asked.returned.name,
        ),
    )


def _periods(cohort: int, size: int, cells: dict[tuple[int, int], tuple[int, int]], count: int) -> list[Period]:
    found: list[Period] = []
    later = 0
    for place in reversed(range(cohort, count)):
        visitors, last = cells.get((cohort, place), (0, 0))
        # Who returned last in this period or a later one is who returned on or after it.
        later += last
        found.append(Period(place - cohort, visitors, percent(visitors, size), later, percent(later, size)))
    return found[::-1]


def _mean(cohorts: list[Cohort]) -> list[Period]:
    found = []
    for number in range(len(cohorts)):
        having = cohorts[: len(cohorts) - number]
        size = sum(cohort.size for cohort in having)
        visitors = sum(cohort.periods[number].visitors for cohort in having)
        later = sum(cohort.periods[number].visitors_on_or_after for cohort in having)
        found.append(Period(number, visitors, percent(visitors, size), later, percent(later, size)))
    return found


def retention_csv(answer: RetentionAnswer) -> str:
    """A line for each period of each cohort."""
    columns = ["cohort", "size", *Period.__struct_fields__]
    return csv_of(
        columns,
        [
            (cohort.cohort, cohort.size, *msgspec.structs.astuple(period))
            for cohort in answer.results.cohorts
            for period in cohort.periods
        ],
    )
