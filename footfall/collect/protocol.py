"""uvicorn's HTTP protocol with a short cut: one event, wholly arrived, is taken without a task or an ASGI call.

Measured on 2 cores, a constant answer: 31 to 35 µs of CPU a request by ASGI, 9 µs from the protocol itself, 8 µs for
nginx. So the most frequent request of all goes from the parser to the collector, and its answer from the group commit
to the socket. Everything else (other paths, keys, chunked or late bodies, pipelined requests) goes by ASGI, and
the answers are the same: the tests ask both.

What a stranger may hold of us by a connection alone is limited here too: bytes of a head, and time (watch.py).
"""

import asyncio
from typing import Any, NamedTuple

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from footfall.collect import answers
from footfall.collect.answers import Answer
from footfall.collect.app import ONE_BYTES_MAX, Collector
from footfall.collect.watch import Stage, watch_of
from footfall.errors import Fault, Invalid
from footfall.line import KEY, Line

PATH = b"/api/event"
HEAD_BYTES_MAX = 64 * 1024
"""The request line and all headers of a request, and again its trailers."""
HEADERS_MAX = 100


class _HeadTooLarge(Exception):
    """Ends the parsing of a request; whoever called the parser answers 431."""


class _NoEvent:
    """What uvicorn sets when a body or the end of a connection comes. Nothing waits for it here."""

    def set(self) -> None:
        """Nothing to wake."""


class _Taken:
    """Stands where uvicorn keeps the request under way, so that the next one on this connection waits its turn."""

    __slots__ = ("disconnected", "keep_alive", "response_complete", "response_started")
    message_event = _NoEvent()

    def __init__(self) -> None:
        self.disconnected = False
        self.keep_alive = True
        self.response_started = False
        self.response_complete = False


class CollectorProtocol(HttpToolsProtocol):
    """One connection. Serves any ASGI application; only a Collector has the short cut."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        application = config.app
        self._collector = application if isinstance(application, Collector) else None
        self._parts: list[bytes] | None = None
        """The body so far of a request that may take the short cut."""
        self._watch = watch_of(server_state)
        self.stage = Stage.IDLE
        self.since_s = 0.0
        """When the stage began, by the clock of the watch."""
        self._chunk_bytes = 0
        self._is_new = False
        """This chunk has brought the beginning of a head, or a part of a body."""
        self._silent_bytes = 0
        """What came since then, in the chunks after it."""
        self._is_head_too_large = False
        self._line: Line | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(transport)
        self.since_s = self._watch.begin(self.loop)

    def data_received(self, data: bytes) -> None:
        """Bytes from the socket."""
        self._chunk_bytes = len(data)
        super().data_received(data)
        if self.stage is not Stage.IDLE:
            # The parser keeps an unfinished header or trailer to itself, however long it is: so what went in counts.
            self._silent_bytes = 0 if self._is_new else self._silent_bytes + len(data)
            if self._silent_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
                self._is_head_too_large = True
                self.send_400_response("")
        self._is_new = False
        if self._parts is not None and self.parser is not None:
            # The rest of the body may never come: reading with a time limit is the ordinary way's business.
            self._go_the_ordinary_way(is_complete=False)

    def on_message_begin(self) -> None:
        """The parser's callback."""
        super().on_message_begin()
        self.stage = Stage.HEAD
        self._is_new = True
        self.since_s = self._watch.now_s

    def on_headers_complete(self) -> None:
        """The parser's callback."""
        headers = self.headers
        if len(headers) > HEADERS_MAX or (
            (self._chunk_bytes > HEAD_BYTES_MAX or not self._is_new)
            and len(self.url) + sum([len(name) + len(value) + 4 for name, value in headers]) > HEAD_BYTES_MAX
        ):
            self._is_head_too_large = True
            raise _HeadTooLarge
        self.stage = Stage.BODY
        if self._may_be_quick():
            self._parts = []
        else:
            self._begin()
        # The scope has the list. What the parser calls headers from here on are trailers, and may not pass for headers.
        self.headers = []

    def on_body(self, body: bytes) -> None:
        """The parser's callback."""
        self._is_new = True
        if self._parts is None:
            super().on_body(body)
        else:
            self._parts.append(body)

    def on_message_complete(self) -> None:
        """The parser's callback."""
        self.stage = Stage.IDLE
        parts = self._parts
        if parts is None or self._collector is None:
            super().on_message_complete()
            return
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        scope = self.scope
        scope["method"] = "POST"
        scope["path"] = "/api/event"
        scope["query_string"] = b""
        taken = _Taken()

        def respond(answer: Answer) -> None:
            self._respond(taken, answer)

        before, self.cycle = self.cycle, taken  # type: ignore[assignment]
        if self._collector.quick(scope, body, respond):
            self._parts = None
        else:
            self.cycle = before
            self._go_the_ordinary_way(is_complete=True)

    def on_response_complete(self) -> None:
        """What uvicorn does, but for its timer: one a request, made and thrown away, where the watch needs none."""
        self.since_s = self._watch.now_s
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())

    def send_400_response(self, msg: str) -> None:
        """Answer what the parser refused, and close. *msg* is uvicorn's, and says less."""
        if self._is_head_too_large:
            limit = f"{HEAD_BYTES_MAX} bytes or {HEADERS_MAX} headers"
            self._send_last(answers.failed(431, f"the request line and headers are over the limit of {limit}"))
        else:
            self._send_last(answers.refusal(Invalid(Fault("request", "is not valid HTTP/1.1")), ()))

    def time_out(self) -> None:
        """The watch's call: the stage has lasted too long."""
        if self.stage is Stage.IDLE or self.transport.is_closing():
            self.transport.close()
        else:
            self._send_last(answers.failed(408, "the request did not arrive in time"))

    def _send_last(self, answer: Answer) -> None:
        self._parts = None
        lines = _default_lines(self.server_state)
        is_begun = self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
        if not is_begun:
            self.transport.write(answer.head + lines + b"connection: close\r\n\r\n" + answer.body["body"])
        self.transport.close()

    def _may_be_quick(self) -> bool:
        if self._collector is None or self.url != PATH or self.parser.get_method() != b"POST":
            return False
        if self.cycle is not None and not self.cycle.response_complete:
            return False
        limit = self.limit_concurrency
        return (
            not self.expect_100_continue
            and self.parser.get_http_version() == "1.1"
            and self.parser.should_keep_alive()
            and not self.parser.should_upgrade()
            and (limit is None or len(self.connections) < limit)
            and any(name == b"content-length" and int(value) <= ONE_BYTES_MAX for name, value in self.headers)
        )

    def shutdown(self) -> None:
        """uvicorn's call: the server stops. It waits for answers, so those without an end must be told."""
        if self._line is not None:
            self._line.ending.set()
        super().shutdown()

    def _begin(self) -> None:
        """Hand the request to the application, with its line."""
        if self._line is None:
            self._line = Line(self.transport.abort)
        self.scope[KEY] = self._line  # type: ignore[typeddict-unknown-key]
        super().on_headers_complete()

    def _go_the_ordinary_way(self, *, is_complete: bool) -> None:
        parts, self._parts = self._parts or [], None
        self._begin()
        for part in parts:
            super().on_body(part)
        if is_complete:
            super().on_message_complete()

    def _respond(self, taken: _Taken, answer: Answer) -> None:
        taken.response_complete = True
        if taken.disconnected or self.transport.is_closing():
            return
        closing = b"\r\n" if taken.keep_alive else b"connection: close\r\n\r\n"
        self.transport.write(answer.head + _default_lines(self.server_state) + closing + answer.body["body"])
        if not taken.keep_alive:
            self.transport.close()
        self.on_response_complete()


class _Lines(NamedTuple):
    """Default headers as bytes, and the list that they were made of: uvicorn puts a new one there every second."""

    source: list[tuple[bytes, bytes]]
    text: bytes


_lines = _Lines([], b"")


def _default_lines(state: ServerState) -> bytes:
    global _lines  # noqa: PLW0603 - one for all connections, made anew with each new date
    if _lines.source is not state.default_headers:
        headers = state.default_headers
        _lines = _Lines(headers, b"".join([name + b": " + value + b"\r\n" for name, value in headers]))
    return _lines.text
