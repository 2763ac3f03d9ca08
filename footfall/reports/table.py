"""An answer to the general question as CSV: dimensions, metrics, then what they are compared with."""

import msgspec

from footfall.reports.answer import Answer
from footfall.reports.lines import Cell, csv_of


def as_csv(answer: Answer) -> str:
    """Dimensions, metrics, then for a comparison each metric's former value and its change."""
    asked = answer.query
    columns = [*asked.dimensions, *asked.metrics]
    if asked.comparison_date_range is not None:
        columns += [f"{metric} {what}" for metric in asked.metrics for what in ("before", "change")]
    rows: list[list[Cell]] = []
    for row in answer.results:
        cells: list[Cell] = [*row.dimensions, *row.metrics]
        if not isinstance(row.comparison, msgspec.UnsetType):
            for before, change in zip(row.comparison.metrics, row.comparison.change, strict=True):
                cells += [before, change]
        rows.append(cells)
    return csv_of(columns, rows)
