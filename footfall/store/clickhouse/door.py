"""The way to an engine that speaks ClickHouse's SQL, and what both doors share: limits, settings, what a failure means.

Nothing here loads an engine or a client, so that who uses the one does not pay for the other.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import msgspec

from footfall.errors import FootfallError, Unavailable, Unstorable

WAITING_MAX = 256
"""Questions under way or waiting; the next one is refused."""
QUERY_S_MAX = 20
QUERY_ROWS_MAX = 1_000_000

Params = Mapping[str, str | int]
Rows = Sequence[Sequence[Any]]


class Door(Protocol):
    """The way to an engine that speaks ClickHouse's SQL. Every method raises Unavailable or Unstorable."""

    kind: str
    setting: str
    """The setting that says where the events are."""
    is_alone: bool
    """Does nobody else ever write where it leads to?"""

    def turn(self) -> AbstractAsyncContextManager[int]:
        """While it is held, nobody else writes, in this process or in any other.

        Yields the moment after which a write of this turn is refused, in milliseconds since 1970 on the engine's clock:
        the statements that write carry it, so that a process which was stopped and goes on can not write any more.
        """
        ...

    async def select(self, sql: str, params: Params | None = None, *, writer: bool = False) -> Rows:
        """The rows of a question. With *writer*, in turn with the writes, and seeing what they see."""
        ...

    async def encoded(self, sql: str, format_name: str, params: Params | None = None) -> bytes:
        """The answer to a question in ClickHouse's format of that name. Has a way of its own past the quick ones."""
        ...

    async def insert(self, sql: str, format_name: str, body: bytes) -> int:
        """Run `INSERT INTO ...` with *body* as its data in ClickHouse's format of that name; returns the rows."""
        ...

    async def command(self, sql: str, params: Params | None = None) -> None:
        """Run a statement without an answer, in turn with the other writes."""
        ...

    async def define(self, sql: str) -> None:
        """Run a statement that makes or changes a table, wherever a part of that table is."""
        ...

    async def close(self) -> None:
        """Let go of everything held."""
        ...


SESSION = {
    "output_format_json_quote_64bit_integers": 0,
    "output_format_json_quote_decimals": 1,
    "join_use_nulls": 0,
}

WRITING = {
    "max_insert_threads": 1,
    # One insert is one block, and so one part per partition; a block is split by rows or bytes, whichever comes first.
    "max_block_size": 1_048_576,
    "max_insert_block_size": 1_048_576,
    "min_insert_block_size_rows": 1_048_576,
    "min_insert_block_size_bytes": 1_073_741_824,
    # A batch may hold events of any year.
    "max_partitions_per_insert_block": 0,
}
# Reading keeps the default size of a block, which fits the processor's cache.
READING = {
    "max_execution_time": QUERY_S_MAX,
    "max_result_rows": QUERY_ROWS_MAX,
    # A question by 500 goals, which is what a site may have, is half a megabyte long.
    "max_query_size": 4 * 1024 * 1024,
    "max_ast_elements": 500_000,
}
# Small blocks, for an event may be tens of kilobytes; one thread, for nobody waits at a screen.
EXPORTING = READING | {"max_threads": 1}

# https://github.com/ClickHouse/ClickHouse/blob/master/src/Common/ErrorCodes.cpp
_DATA_CODES = frozenset(
    {6, 26, 27, 33, 38, 41, 44, 53, 69, 70, 72, 117, 131, 190, 321, 349, 376, 407, 434, 439, 467, 561, 636}
)
"""The data can not be read as what it should be: asking again changes nothing."""
_LIMIT_TEXT = {
    158: "the question would read too many rows",
    159: f"the question took longer than {QUERY_S_MAX} s",
    160: f"the question would take longer than {QUERY_S_MAX} s",
    241: "the question needs more memory than STORE_MEMORY_BYTES allows",
    243: "the disk of the store is full",
    252: "too many parts wait to be merged",
    395: "the turn to write was over before the write began",
    396: f"the answer has more than {QUERY_ROWS_MAX} rows",
}


def failure(code: int, text: str) -> FootfallError:
    """What the engine's error *code* (0: none was given) means to us."""
    if code in _DATA_CODES:
        return Unstorable(f"the store refuses the data: {text[:500]}")
    return Unavailable(f"store: {_LIMIT_TEXT.get(code, text[:500])}")


class _Answer(msgspec.Struct):
    data: list[list[Any]]


_answers = msgspec.json.Decoder(_Answer)


def rows_of(body: bytes) -> Rows:
    """The rows of an answer in the format JSONCompact."""
    return _answers.decode(body).data
