"""Query: one question to a store, as data.

The tables here are the whole vocabulary: a store's adapter has one expression for each member, and no caller ever
hands it anything else, so nothing from a request can become part of a statement.
"""

from datetime import datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

import msgspec


class Metric(StrEnum):
    """What is counted."""

    PAGEVIEWS = "pageviews"
    VISITORS = "visitors"
    EVENTS = "events"


class Dimension(StrEnum):
    """What rows are grouped by."""

    PAGE = "event:page"
    NAME = "event:name"
    HOSTNAME = "event:hostname"
    SOURCE = "visit:source"
    CHANNEL = "visit:channel"
    REFERRER = "visit:referrer"
    COUNTRY = "visit:country"
    BROWSER = "visit:browser"
    OS = "visit:os"
    DEVICE = "visit:device"
    DAY = "time:day"
    HOUR = "time:hour"


class Direction(StrEnum):
    """Which end comes first."""

    ASC = "asc"
    DESC = "desc"


class Range(msgspec.Struct, frozen=True):
    """The span [start, end), two aware instants, read in *zone*."""

    start: datetime
    end: datetime
    zone: ZoneInfo


class Query(msgspec.Struct, frozen=True):
    """*metrics* of one site over one range, for each group of *dimensions*."""

    site_id: str
    range: Range
    metrics: tuple[Metric, ...]
    dimensions: tuple[Dimension, ...] = ()
    order_by: tuple[tuple[Metric | Dimension, Direction], ...] = ()
    limit: int | None = None
