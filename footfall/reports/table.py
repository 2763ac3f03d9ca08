"""An answer to the general question as CSV: dimensions, metrics, then what they are compared with."""

from collections.abc import Sequence

import msgspec

from footfall.reports.answer import Answer, Figure, Former
from footfall.reports.lines import Cell, csv_of


def as_csv(answer: Answer) -> str:
    """Dimensions, metrics, then for a comparison each metric's former value and its change."""
    asked = answer.query
    columns = [*asked.dimensions, *names_of(asked.metrics, is_compared=asked.comparison_date_range is not None)]
    return csv_of(columns, ([*row.dimensions, *cells_of(row.metrics, row.comparison)] for row in answer.results))


def names_of(metrics: Sequence[str], *, is_compared: bool) -> list[str]:
    """What the columns of figures are called."""
    before = [f"{metric} {what}" for metric in metrics for what in ("before", "change")]
    return [*metrics, *(before if is_compared else [])]


def cells_of(metrics: Sequence[Figure], comparison: Former | msgspec.UnsetType) -> list[Cell]:
    """The figures of one row, in these columns."""
    cells: list[Cell] = [*metrics]
    if not isinstance(comparison, msgspec.UnsetType):
        for pair in zip(comparison.metrics, comparison.change, strict=True):
            cells += pair
    return cells
