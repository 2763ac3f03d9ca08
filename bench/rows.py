"""What a benchmark hands back: rows for the table, and the two ways in which there is nothing to hand back."""

from collections.abc import Sequence
from enum import StrEnum

import msgspec


class Verdict(StrEnum):
    """What became of a figure."""

    PASS = "pass"
    FAIL = "FAIL"
    NO_FLOOR = "-"
    """Measured, and shown beside the others; nothing is asked of it."""
    SKIPPED = "skipped"
    """A program that the machine lacks; the row says which."""
    BROKEN = "not measured"
    """It should have worked: the run ends with exit status 1."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table."""

    step: str
    figure: str
    measured: str = ""
    floor: str = ""
    verdict: Verdict = Verdict.NO_FLOOR
    how: str = ""
    values: dict[str, float] = {}
    """The figures by name, for machines; the unit is last in the name."""


class NotMeasured(Exception):
    """Something went wrong that the benchmark can not look past; the message says what."""


class Skipped(Exception):
    """This machine lacks what the figure needs; the message says what to install."""


def verdict(is_met: bool) -> Verdict:
    """Pass or fail."""
    return Verdict.PASS if is_met else Verdict.FAIL


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile: the smallest value that *share* (0 to 1) of all values do not exceed."""
    if not values:
        raise NotMeasured("there is not one measured value")
    ordered = sorted(values)
    rank = -(-len(ordered) * share // 1)
    return ordered[max(0, int(rank) - 1)]


def median(values: Sequence[float]) -> float:
    """The middle one; of an even number, the mean of the two in the middle."""
    if not values:
        raise NotMeasured("there is not one measured value")
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def spread(values: Sequence[float]) -> str:
    """Lowest to highest, for people."""
    return f"{min(values):,.0f} to {max(values):,.0f}"
