"""Asked: a request to POST /api/query, read but not yet bound to a zone, a moment or a store."""

from typing import TypeAlias
from zoneinfo import ZoneInfo

import msgspec

from footfall.query.periods import Comparison, DateRange
from footfall.query.query import Dimension, Direction, Filter, Metric, Prop

PERCENTAGE = "percentage"
"""The one metric that no store is asked for: visitors of a row, per cent of the visitors of all rows together."""
TIME = "time"
"""The dimension that stands for one that suits the length of the range."""

AskedMetric: TypeAlias = Metric | str
"""A Metric, or PERCENTAGE."""
AskedDimension: TypeAlias = Dimension | Prop | str
"""A dimension, or TIME."""

METRICS: dict[str, AskedMetric] = {**{metric.value: metric for metric in Metric}, PERCENTAGE: PERCENTAGE}
DIMENSIONS: dict[str, AskedDimension] = {TIME: TIME, **{dimension.value: dimension for dimension in Dimension}}

LIMIT_DEFAULT = 10_000
LIMIT_MAX = 10_000
OFFSET_MAX = 1_000_000


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One question, in the words of the request."""

    site_id: str
    metrics: tuple[AskedMetric, ...]
    date_range: DateRange
    dimensions: tuple[AskedDimension, ...] = ()
    filter: Filter | None = None
    order_by: tuple[tuple[AskedMetric | AskedDimension, Direction], ...] = ()
    compare: Comparison | None = None
    zone: ZoneInfo | None = None
    """None: the site's."""
    limit: int = LIMIT_DEFAULT
    offset: int = 0
    with_total: bool = False
    with_labels: bool = False
