"""From when to when: what a request's `date_range` means on a site's clocks at a moment."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from footfall.query.definitions import WeekStart
from footfall.query.periods import DateRange, Days, Instants, Named, resolve, span_of
from footfall.query.query import Dimension, Metric, Query, Range
from footfall.store.base import Store


class Clock(msgspec.Struct, frozen=True):
    """What a range depends on beside itself."""

    zone: ZoneInfo
    week_start: WeekStart
    now: datetime


async def span_asked(store: Store, site_id: str, date_range: DateRange, clock: Clock) -> Range:
    """The range that is meant. Raises Invalid (field `date_range`), Unavailable."""
    period = await period_asked(store, site_id, date_range, clock)
    return span_of(period, clock.zone, "date_range", clock.week_start)


async def period_asked(store: Store, site_id: str, date_range: DateRange, clock: Clock) -> Days | Instants:
    """The same as days on the site's clocks, or as instants. Raises Unavailable."""
    first_on = await _first_day(store, site_id, clock) if date_range == Named("all") else None
    return resolve(date_range, clock.zone, clock.now, first_on, clock.week_start)


async def _first_day(store: Store, site_id: str, clock: Clock) -> date | None:
    """The day of the site's first event: first its year, for all days of all years would be too many buckets."""
    earliest = datetime(1970, 1, 3, tzinfo=UTC)

    async def first(dimension: Dimension, start: datetime, end: datetime) -> date | None:
        table = await store.rows(Query(site_id, Range(start, end, clock.zone), (Metric.EVENTS,), (dimension,)))
        return min((date.fromisoformat(str(row[0])) for row in table.rows), default=None)

    year = await first(Dimension.YEAR, earliest, clock.now + timedelta(days=1))
    if year is None:
        return None
    start = max(datetime(year.year, 1, 1, tzinfo=UTC) - timedelta(days=1), earliest)
    return await first(Dimension.DAY, start, start + timedelta(days=368))


def said_range(span: Range) -> tuple[str, str]:
    """Its first instant and the one after its last, on the wall clock with offset."""
    return span.start.astimezone(span.zone).isoformat(), span.end.astimezone(span.zone).isoformat()


def percent(part: float, whole: float) -> float | None:
    """Per cent to two decimals; None where there is no whole."""
    return round(100 * part / whole, 2) if whole else None
