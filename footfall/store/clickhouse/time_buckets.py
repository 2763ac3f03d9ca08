"""Buckets of time in SQL: the engine rounds instants down to beginnings that Python computed."""

from datetime import UTC, datetime, timedelta

from footfall.query.buckets import Key, buckets
from footfall.query.query import Dimension, Range

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Bucket:
    """The buckets of one time dimension.

    The engine only finds the last beginning that is not after an instant: it never sees a zone, so its zone data can
    not disagree with Python's.
    """

    def __init__(self, dimension: Dimension, span: Range) -> None:
        found = buckets(dimension, span)
        self._starts = ", ".join(str(_seconds(start)) for start, _ in found)
        names = list(dict.fromkeys(name for _, name in found))
        self._numbers = ""
        self.names: dict[int, Key]
        if len(names) == len(found):
            self.names = {_seconds(start): name for start, name in found}
        else:
            # Several stretches are one bucket: an hour of the day, a day of the week. Both kinds of names are numbers.
            self._numbers = ", ".join(str(name) for _, name in found)
            self.names = {int(name): name for name in names}

    def of(self, at_ms: str) -> str:
        """Which bucket the time in *at_ms* (Unix, milliseconds) is in, as a key of `names`."""
        start = f"roundDown(intDiv({at_ms}, 1000), [{self._starts}]::Array(Int64))"
        if not self._numbers:
            return start
        return f"transform({start}, [{self._starts}]::Array(Int64), [{self._numbers}]::Array(Int64), toInt64(-1))"


def _seconds(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(seconds=1)


def milliseconds(instant: datetime) -> int:
    """Since 1970, rounded up, for a range that starts within a millisecond leaves that one's beginning out."""
    return -((_EPOCH - instant) // timedelta(milliseconds=1))
