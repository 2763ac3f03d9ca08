"""Asked: a request to POST /api/query, read but not yet bound to a zone, a moment or a store."""

from enum import StrEnum
from typing import TypeAlias
from zoneinfo import ZoneInfo

import msgspec

from footfall.query.filters import GOAL, Conditions
from footfall.query.periods import Comparison, DateRange
from footfall.query.query import Dimension, Direction, Goals, Metric, Prop

TIME = "time"
"""The dimension that stands for one that suits the length of the range."""


class Share(StrEnum):
    """The metrics that no store is asked for: per cent that a row's visitors are of other visitors."""

    meaning: str

    def __new__(cls, name: str, meaning: str) -> "Share":
        """One row of the table."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.meaning = meaning
        return member

    PERCENTAGE = "percentage", "the row's visitors, per cent of the visitors of all rows together"
    CONVERSION_RATE = "conversion_rate", "visitors who met the goal, per cent of all visitors"
    GROUP_CONVERSION_RATE = "group_conversion_rate", "visitors who met the goal, per cent of those in the same group"

    @property
    def needs_goal(self) -> bool:
        """Does it speak of a goal?"""
        return self is not Share.PERCENTAGE


AskedMetric: TypeAlias = Metric | Share
AskedDimension: TypeAlias = Dimension | Prop | Goals | str
"""A dimension, or TIME."""

METRICS: dict[str, AskedMetric] = {each.value: each for table in (Metric, Share) for each in table}
DIMENSIONS = (TIME, GOAL, *(dimension.value for dimension in Dimension))
"""By name, but for event:props:KEY."""

LIMIT_DEFAULT = 10_000
LIMIT_MAX = 10_000
OFFSET_MAX = 1_000_000


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One question, in the words of the request."""

    site_id: str
    metrics: tuple[AskedMetric, ...]
    date_range: DateRange
    dimensions: tuple[AskedDimension, ...] = ()
    conditions: Conditions = Conditions()
    order_by: tuple[tuple[AskedMetric | AskedDimension, Direction], ...] = ()
    compare: Comparison | None = None
    zone: ZoneInfo | None = None
    """None: the site's."""
    limit: int = LIMIT_DEFAULT
    offset: int = 0
    with_total: bool = False
    with_labels: bool = False
