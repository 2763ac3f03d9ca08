"""What the general question is answered with."""

from decimal import Decimal
from typing import TypeAlias

import msgspec

Figure: TypeAlias = int | float | dict[str, Decimal] | None
Group: TypeAlias = tuple[str | int, ...]
Pair: TypeAlias = tuple[Group, list[Figure]]
"""A row as it is worked on: its group, and its metrics as they were asked for."""


class Former(msgspec.Struct, frozen=True):
    """The same row in the range that is compared with."""

    metrics: list[Figure]
    change: list[float | None]
    """Per cent; 0 where both are 0, null where only the former is, or where one is not known."""
    dimensions: list[str | int] | msgspec.UnsetType = msgspec.UNSET
    """Where they are others: of buckets of time."""


class Row(msgspec.Struct, frozen=True):
    """One group."""

    dimensions: list[str | int]
    metrics: list[Figure]
    comparison: Former | msgspec.UnsetType = msgspec.UNSET


class Warned(msgspec.Struct, frozen=True):
    """What one should know of a metric's figures here."""

    code: str
    warning: str


class Meta(msgspec.Struct, frozen=True, omit_defaults=True):
    """What else was asked for, and what should be known."""

    total_rows: int | None = None
    time_labels: list[str | int] | None = None
    metric_warnings: dict[str, Warned] | None = None
    """By metric."""


class Resolved(msgspec.Struct, frozen=True, omit_defaults=True):
    """The question as it was understood."""

    site_id: str
    metrics: list[str]
    date_range: tuple[str, str]
    """From the first instant up to but without the second."""
    timezone: str
    dimensions: list[str]
    order_by: list[tuple[str, str]]
    pagination: dict[str, int]
    comparison_date_range: tuple[str, str] | None = None


class Answer(msgspec.Struct, frozen=True):
    """The answer to one question."""

    results: list[Row]
    meta: Meta
    query: Resolved
