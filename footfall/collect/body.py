"""Reads the body of a request within limits: of size, of time, and of what all bodies together may hold."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from footfall.errors import Fault, Invalid, TooLarge, Unavailable

Receive = Callable[[], Awaitable[Any]]

BODY_TIMEOUT_S = 30.0
READING_BYTES_MAX = 128 * 1024 * 1024
"""In bodies that came in part: about 25 of the largest at once."""


class Gone(Exception):
    """The client hung up before its body was whole."""


class Bodies:
    """Reads bodies, and knows how much of them it holds at the moment."""

    def __init__(self, *, bytes_max: int = READING_BYTES_MAX, timeout_s: float = BODY_TIMEOUT_S) -> None:
        self._bytes_max = bytes_max
        self._timeout_s = timeout_s
        self._held_bytes = 0

    async def read(self, receive: Receive, length: bytes | None, bytes_max: int) -> bytes:
        """The whole body. *length* is its Content-Length header, which may be missing.

        Raises TooLarge above *bytes_max*, as soon as that is known; Invalid when it does not come within the time;
        Unavailable when too many large ones come at once; Gone.
        """
        if length is not None and int(length) > bytes_max:
            raise _too_large(bytes_max)
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        body: bytes = message.get("body", b"")
        if message.get("more_body", False):
            return await self._read_on(receive, body, bytes_max)
        if len(body) > bytes_max:
            raise _too_large(bytes_max)
        return body

    async def _read_on(self, receive: Receive, first: bytes, bytes_max: int) -> bytes:
        chunks = [first]
        size = 0
        try:
            async with asyncio.timeout(self._timeout_s):
                while True:
                    size += len(chunks[-1])
                    self._held_bytes += len(chunks[-1])
                    if size > bytes_max:
                        raise _too_large(bytes_max)
                    if self._held_bytes > self._bytes_max:
                        raise Unavailable("too many large bodies at once")
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Gone
                    chunks.append(message.get("body", b""))
                    if not message.get("more_body", False):
                        break
        except TimeoutError:
            raise Invalid(Fault("body", f"did not arrive within {self._timeout_s:.0f} seconds")) from None
        finally:
            self._held_bytes -= size
        body = b"".join(chunks)
        if len(body) > bytes_max:
            raise _too_large(bytes_max)
        return body


def _too_large(bytes_max: int) -> TooLarge:
    return TooLarge(f"the body is over the limit of {bytes_max} bytes")
