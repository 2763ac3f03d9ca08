"""Parquet pages -> one Parquet file, while they come: their data as it is, and one footer that knows of all of it.

A store encodes a page as a whole file. Row groups stand alone, so those of several files become those of one as soon
as the footer says where each now lies. So a file of any length is made with no more in memory than a page and its own
footer. What the fields mean: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

from typing import Final

from footfall.reports.thrift import I64, LIST, STRUCT, Fields, Reader, Value, list_head, struct_bytes

MAGIC: Final = b"PAR1"
_TAIL_BYTES: Final = 8
_ROWS: Final = 3
_ROW_GROUPS: Final = 4
_GROUP_COLUMNS: Final = 1
_GROUP_OFFSET: Final = 5
_GROUP_ORDINAL: Final = 7
_CHUNK_METADATA: Final = 3
_CHUNK_OFFSETS: Final = (2, 4, 6)
"""Of the chunk, of its offset index, of its column index."""
_METADATA_OFFSETS: Final = (9, 10, 11, 14)
"""Of the first data page, of the index page, of the dictionary, of the Bloom filter."""


class ParquetFile:
    """One file in the making."""

    def __init__(self) -> None:
        self._length = 0
        self._rows = 0
        self._groups: list[bytes] = []
        self._footer: Fields | None = None

    def add(self, page: bytes) -> bytes:
        """What *page*, a whole file with the same columns as those before, adds. Raises ValueError where it is none."""
        if len(page) < len(MAGIC) + _TAIL_BYTES or page[: len(MAGIC)] != MAGIC or page[-len(MAGIC) :] != MAGIC:
            raise ValueError("this is no Parquet file")
        footer_bytes = int.from_bytes(page[-_TAIL_BYTES : -len(MAGIC)], "little")
        footer_at = len(page) - _TAIL_BYTES - footer_bytes
        footer = Reader(page[footer_at:-_TAIL_BYTES]).struct()
        data = page[:footer_at] if self._footer is None else page[len(MAGIC) : footer_at]
        shift = 0 if self._footer is None else self._length - len(MAGIC)
        for group in footer[_ROW_GROUPS].value:
            _move(group, shift)
            self._groups.append(struct_bytes(group))
        self._rows += footer[_ROWS].value
        self._footer = self._footer or footer
        self._length += len(data)
        return data

    def end(self) -> bytes:
        """The rest of the file. There must have been a page, if only one without rows."""
        if self._footer is None:
            raise ValueError("without a page there are no columns")
        before = {number: field for number, field in self._footer.items() if number < _ROWS}
        after = {number: field for number, field in self._footer.items() if number > _ROW_GROUPS}
        # The groups are bytes already; so the struct is put together around them: each field says how far it is
        # from the one before it, and 4 follows upon 3.
        head = struct_bytes(before | {_ROWS: Value(I64, self._rows)})[:-1]
        groups = bytes([1 << 4 | LIST]) + list_head(STRUCT, len(self._groups)) + b"".join(self._groups)
        marker = struct_bytes({_ROW_GROUPS: Value(I64, 0)})[:-1]
        rest = struct_bytes({_ROW_GROUPS: Value(I64, 0), **after})[len(marker) :]
        footer = head + groups + rest
        return footer + len(footer).to_bytes(4, "little") + MAGIC


def _move(group: Fields, shift: int) -> None:
    """Say of a row group that it lies *shift* bytes further on, and is no longer the one that it was by number."""
    group.pop(_GROUP_ORDINAL, None)
    _shift(group, (_GROUP_OFFSET,), shift)
    for chunk in group[_GROUP_COLUMNS].value:
        _shift(chunk, _CHUNK_OFFSETS, shift)
        _shift(chunk[_CHUNK_METADATA].value, _METADATA_OFFSETS, shift)


def _shift(fields: Fields, numbers: tuple[int, ...], shift: int) -> None:
    for number in numbers:
        if number in fields:
            fields[number].value += shift
