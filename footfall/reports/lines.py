"""Rows as CSV: RFC 4180, with CRLF; what is not known is an empty cell."""

import csv
import io
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TypeAlias

Cell: TypeAlias = str | int | float | dict[str, Decimal] | None


def csv_of(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """One line of names, then one for each row. Several amounts of money stand in one cell, parted by semicolons."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_said(cell) for cell in row])
    return out.getvalue()


def _said(cell: Cell) -> str | int | float:
    if cell is None:
        return ""
    if isinstance(cell, dict):
        return "; ".join(f"{amount:f} {currency}".strip() for currency, amount in cell.items())
    return cell
