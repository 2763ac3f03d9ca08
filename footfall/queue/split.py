"""Cuts what is put at once into jobs of limited size."""

from collections.abc import Iterator, Sequence


def split(payloads: Sequence[bytes], events_max: int, bytes_max: int) -> Iterator[Sequence[bytes]]:
    """*payloads* in jobs of at most *events_max* and *bytes_max*; a payload over that is a job alone."""
    start = size = 0
    for index, payload in enumerate(payloads):
        if index > start and (index - start == events_max or size + len(payload) > bytes_max):
            yield payloads[start:index]
            start, size = index, 0
        size += len(payload)
    if start < len(payloads):
        yield payloads[start:]
