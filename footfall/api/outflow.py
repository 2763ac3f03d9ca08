"""Outflow: an answer that is sent in parts, for as long as somebody reads it; no more of it waits here than a part.

ASGI's own way knows neither readers that stop reading nor a server that stops, and both would hold an answer for ever.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

import structlog
from litestar.types import ASGIApp

from footfall.api.edge import IS_HEAD, Message, Receive, Scope, Send
from footfall.errors import FootfallError
from footfall.line import line_of

SLOW_S: Final = 30.0
"""Whoever takes no part for so long is cut off."""
LAST_WORD_S: Final = 1.0

Headers = Sequence[tuple[bytes, bytes]]
Write = Callable[[bytes], Awaitable[None]]

log = structlog.stdlib.get_logger(__name__)


def outflow(
    headers: Mapping[str, str],
    pour: Callable[[Write], Awaitable[None]],
    *,
    is_endless: bool,
    done: Callable[[], None],
) -> ASGIApp:
    """An application that answers 200 with what *pour* writes, part by part; *pour* is cancelled when nobody reads on.

    A whole that breaks off, by a failure or because the server stops, is cut, so that nobody takes it for whole. One
    that *is_endless* has no whole, and ends in order. *done* is called when it is over, however it went.
    """
    lines = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        flow = _Outflow(scope, receive, send)
        try:
            await flow.start(lines)
            if not scope.get(IS_HEAD):
                await flow.run(pour, is_endless=is_endless)
            await flow.end()
        finally:
            done()

    return answer  # type: ignore[return-value]


class _Outflow:
    """One such answer under way."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._line = line_of(scope)
        self._path = str(scope["path"])[:200]
        self._is_over = False

    async def start(self, headers: Headers) -> None:
        """Send the head."""
        await self._send({"type": "http.response.start", "status": 200, "headers": list(headers)})

    async def run(self, pour: Callable[[Write], Awaitable[None]], *, is_endless: bool) -> None:
        """Return when all is poured, when nobody reads on, or when the server stops."""
        pouring = asyncio.ensure_future(pour(self._write))
        leaving = asyncio.create_task(self._until_gone())
        stopping = asyncio.create_task(self._line.ending.wait())
        tasks = {pouring, leaving, stopping}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        if pouring.cancelled():
            if leaving.done() and not leaving.cancelled():
                self._is_over = True
            elif not is_endless:
                await self._cut("the server stops")
            return
        error = pouring.exception()
        if isinstance(error, FootfallError | TimeoutError):
            await self._cut(str(error) or f"nothing was read for {SLOW_S:.0f} s")
        elif error is not None:
            # A bug, and half of the answer is out already: the log says it, the other side sees it break off.
            await self._cut("a bug", error)

    async def end(self) -> None:
        """Send the end, unless it is over."""
        if self._is_over:
            return
        try:
            async with asyncio.timeout(LAST_WORD_S):
                await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            await self._cut("the end was not read")

    async def _write(self, part: bytes) -> None:
        message: Message = {"type": "http.response.body", "body": part, "more_body": True}
        async with asyncio.timeout(SLOW_S):
            await self._send(message)

    async def _cut(self, reason: str, bug: BaseException | None = None) -> None:
        self._is_over = True
        if bug is None:
            log.info("an answer was cut off", path=self._path, reason=reason)
        else:
            log.error("an answer broke off for a reason of ours", path=self._path, exc_info=bug)
        self._line.cut()
        # Who returns before the server has taken note of it is told off for an answer without an end.
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORD_S):
                await self._until_gone()

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
