"""Log files as numbered lines: plain or gzip (told by the first bytes), of any length, from disk or standard input."""

import gzip
import io
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from footfall.errors import Fault, Invalid

File = Path | Literal["-"]

LINE_BYTES_MAX = 65_536
"""Of a longer line only the beginning is handed on, one byte more than this, so that it shows."""
LINES_PER_READ = 2_000
BYTES_PER_READ = 4 * 1024**2

_GZIP_MAGIC = b"\x1f\x8b"


class LogFile:
    """One file that is being read, in pieces."""

    def __init__(self, name: str, raw: io.BufferedReader) -> None:
        self.name = name
        self.number = 0
        """Of the line that was read last, from 1."""
        self.broken = ""
        """A sentence, where the file ended before its end."""
        self._raw = raw
        self._readline: Callable[[int], bytes] = raw.readline
        if raw.peek(2)[:2] == _GZIP_MAGIC:
            self._readline = io.BufferedReader(gzip.GzipFile(fileobj=raw), 1 << 18).readline
        self._is_skipping = False

    def position_bytes(self) -> int:
        """How much of the file, as it lies on disk, has been read."""
        return self._raw.tell()

    def read(self) -> list[tuple[int, bytes]]:
        """The next lines with their numbers, LINES_PER_READ or BYTES_PER_READ of them; an empty list at the end.

        Line ends and blank lines are left out. A file that breaks off gives what can be read, and then says so.
        """
        lines: list[tuple[int, bytes]] = []
        size_bytes = 0
        readline = self._readline
        try:
            while len(lines) < LINES_PER_READ and size_bytes < BYTES_PER_READ and not self.broken:
                line = readline(LINE_BYTES_MAX + 1)
                if not line:
                    break
                has_ended = line.endswith(b"\n")
                if not self._is_skipping:
                    self.number += 1
                    if stripped := line.rstrip(b"\r\n"):
                        lines.append((self.number, stripped))
                        size_bytes += len(stripped)
                self._is_skipping = not has_ended and (self._is_skipping or len(line) > LINE_BYTES_MAX)
        except (EOFError, zlib.error, OSError) as error:
            self.broken = f"{self.name} breaks off after line {self.number:,}: {error}"
        return lines


def check(files: Sequence[File]) -> int | None:
    """How many bytes they are together; None where standard input is among them. Raises Invalid for every bad name."""
    if not files:
        raise Invalid(Fault("files", "must name at least one log file, or - for standard input"))
    faults: list[Fault] = []
    total_bytes = 0
    for file in files:
        if file == "-":
            continue
        try:
            with Path(file).open("rb"):
                total_bytes += Path(file).stat().st_size
        except OSError as error:
            faults.append(Fault(str(file), f"can not be read: {error.strerror}"))
    if faults:
        raise Invalid(*faults)
    return None if "-" in files else total_bytes


@contextmanager
def opened(file: File, stdin: io.BufferedReader | None = None) -> Iterator[LogFile]:
    """One file, opened and closed again; *stdin* stands in for standard input, which is left open."""
    if file == "-" and stdin is not None:
        yield LogFile("standard input", stdin)
    elif file == "-":
        with open(sys.stdin.fileno(), "rb", closefd=False) as raw:
            yield LogFile("standard input", raw)
    else:
        with Path(file).open("rb") as raw:
            yield LogFile(str(file), raw)
