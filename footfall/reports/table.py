"""An answer as CSV: one line of names, then one for each row."""

import csv
import io
from decimal import Decimal

import msgspec

from footfall.reports.answer import Answer, Figure


def as_csv(answer: Answer) -> str:
    """RFC 4180, with CRLF. Dimensions, metrics, then for a comparison each metric's former value and its change.

    Nothing known is an empty cell; money says its currency, several amounts stand in one cell, parted by semicolons.
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    asked = answer.query
    columns = [*asked.dimensions, *asked.metrics]
    if asked.comparison_date_range is not None:
        columns += [f"{metric} {what}" for metric in asked.metrics for what in ("before", "change")]
    writer.writerow(columns)
    for row in answer.results:
        cells = [*row.dimensions, *map(_cell, row.metrics)]
        if not isinstance(row.comparison, msgspec.UnsetType):
            for before, change in zip(row.comparison.metrics, row.comparison.change, strict=True):
                cells += [_cell(before), _cell(change)]
        writer.writerow(cells)
    return out.getvalue()


def _cell(figure: Figure) -> str | int:
    if figure is None:
        return ""
    if isinstance(figure, dict):
        return "; ".join(f"{_amount(amount)} {currency}".strip() for currency, amount in figure.items())
    return figure if isinstance(figure, int) else str(figure)


def _amount(amount: Decimal) -> str:
    return f"{amount:f}"
