"""Parquet pages -> one Parquet file, while they come: each page is a row group or more of it.

A store encodes a page as a whole file, so that any store can. Arrow's own reader and writer make one file of them, with
no more in memory than a page and the file's footer.
"""

import io
from typing import Any, Final

CODEC: Final = "zstd"


class ParquetFile:
    """One file in the making. The work is done outside the interpreter's lock, but in the caller's thread."""

    def __init__(self) -> None:
        self._sink = _Sink()
        self._writer: Any = None

    def add(self, page: bytes) -> bytes:
        """What *page*, a whole file with the same columns as those before, adds. Raises ValueError where it is none."""
        from pyarrow import ArrowInvalid, parquet  # type: ignore[import-untyped]  # noqa: PLC0415 - 35 MB for those who export it

        try:
            table = parquet.read_table(io.BytesIO(page), use_threads=False)
        except ArrowInvalid as error:
            raise ValueError("this is no Parquet file") from error
        if self._writer is None:
            self._writer = parquet.ParquetWriter(self._sink, table.schema, compression=CODEC)
        if table.num_rows:
            self._writer.write_table(table)
        return self._sink.take()

    def end(self) -> bytes:
        """The rest of the file. There must have been a page, if only one without rows."""
        if self._writer is None:
            raise ValueError("without a page there are no columns")
        self._writer.close()
        return self._sink.take()


class _Sink(io.RawIOBase):
    """What the writer has written since it was last taken."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0

    def writable(self) -> bool:
        return True

    def write(self, data: bytes | memoryview) -> int:  # type: ignore[override]
        part = bytes(data)
        self._parts.append(part)
        self._length += len(part)
        return len(part)

    def tell(self) -> int:
        return self._length

    def take(self) -> bytes:
        """What is new."""
        taken, self._parts = b"".join(self._parts), []
        return taken
