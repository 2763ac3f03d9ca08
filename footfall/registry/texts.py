"""Lists of text as one text, as a column of a table holds them."""

from collections.abc import Sequence

import msgspec


def pack(texts: Sequence[str]) -> str:
    """JSON."""
    return msgspec.json.encode(texts).decode()


def unpack(text: str) -> tuple[str, ...]:
    """The same list again."""
    return msgspec.json.decode(text, type=tuple[str, ...])
