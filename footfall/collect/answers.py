"""What the collector answers. An ASGI response is two dicts, and most of ours are the same: so those are made once."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec

from footfall.collect.dialects.footfall import Rejected
from footfall.errors import STATUS, ErrorBody, FootfallError, MethodNotAllowed, error_body, error_headers

Header = tuple[bytes, bytes]
Headers = tuple[Header, ...]


class Answer(NamedTuple):
    """A response, shared between requests: nobody changes it."""

    start: dict[str, Any]
    body: dict[str, Any]
    """The two ASGI messages."""
    head: bytes
    """The same for a socket: status line and headers, but those that uvicorn adds to every response."""


METHODS = b"POST, OPTIONS"
DROPPED = b"x-footfall-dropped"
_JSON = (b"content-type", b"application/json")
_EXPOSE = (b"access-control-expose-headers", b"X-Footfall-Dropped, Retry-After")
_VARY = (b"vary", b"Origin")
_PREFLIGHT = (
    (b"access-control-allow-methods", METHODS),
    (b"access-control-allow-headers", b"Content-Type, Authorization"),
    (b"access-control-max-age", b"86400"),
)
_TO_ALL: Headers = ((b"access-control-allow-origin", b"*"), _EXPOSE)
_FAST_MS = 1_000


class Cors:
    """Who may read an answer from a browser: CORS_ORIGINS. (Who may send to a site is that site's own rule.)"""

    def __init__(self, origins: Sequence[str]) -> None:
        self._is_open = "*" in origins
        self._origins = frozenset(origin.lower().encode() for origin in origins)

    def headers(self, origin: bytes | None) -> Headers:
        """The headers for an answer to a page of *origin*."""
        if self._is_open:
            return _TO_ALL
        if origin is None or origin.lower() not in self._origins:
            return (_VARY,)
        return ((b"access-control-allow-origin", origin), _EXPOSE, _VARY)

    def preflight(self, origin: bytes | None) -> Answer:
        """The answer to OPTIONS."""
        headers = self.headers(origin)
        allowed = _PREFLIGHT if len(headers) > 1 else ()
        return _answer(204, b"", (*headers, *allowed, (b"allow", METHODS)), is_json=False)


class BatchAnswer(msgspec.Struct):
    """The body of a 202 to a batch. *accepted* counts the dropped ones too, as a single one is answered 202 too."""

    success: bool
    accepted: int
    rejected: Sequence[Rejected]
    dropped: Mapping[str, int]
    """By reason."""
    processing_time_ms: int


def _answer(status: int, body: bytes, headers: Sequence[Header], *, is_json: bool = True) -> Answer:
    entity = (_JSON, (b"content-length", b"%d" % len(body))) if is_json else ()
    lines = [name + b": " + value + b"\r\n" for name, value in (*entity, *headers)]
    return Answer(
        {"type": "http.response.start", "status": status, "headers": [*entity, *headers]},
        {"type": "http.response.body", "body": body},
        b"HTTP/1.1 %d %s\r\n" % (status, HTTPStatus(status).phrase.encode()) + b"".join(lines),
    )


def accepted(processing_time_ms: int, cors: Headers) -> Answer:
    """The 202 to one event that counts."""
    if cors is not _TO_ALL or processing_time_ms >= _FAST_MS:
        return _answer(202, _accepted_body(processing_time_ms), cors)
    answer = _fast.get(processing_time_ms)
    if answer is None:
        answer = _fast[processing_time_ms] = _answer(202, _accepted_body(processing_time_ms), cors)
    return answer


_fast: dict[int, Answer] = {}
"""The answer that nearly every event gets, by its milliseconds below _FAST_MS."""


def dropped(processing_time_ms: int, reason: str, cors: Headers) -> Answer:
    """The 202 to one event that is valid and not counted."""
    return _answer(202, _accepted_body(processing_time_ms), (*cors, (DROPPED, reason.encode())))


def _accepted_body(processing_time_ms: int) -> bytes:
    return b'{"success":true,"message":"Event queued successfully","processing_time_ms":%d}' % processing_time_ms


def batch(body: BatchAnswer, cors: Headers) -> Answer:
    """The 202 to a batch, with `X-Footfall-Dropped: bot=3, unknown_site=1` where some were dropped."""
    listed = ", ".join(f"{reason}={count}" for reason, count in sorted(body.dropped.items()))
    extra = ((DROPPED, listed.encode()),) if listed else ()
    return _answer(202, msgspec.json.encode(body), (*cors, *extra))


def refusal(error: FootfallError, cors: Headers) -> Answer:
    """The answer that tells of *error*."""
    headers = [(name.encode(), value.encode()) for name, value in error_headers(error).items()]
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", METHODS))
    return _answer(STATUS[type(error)], msgspec.json.encode(error_body(error)), (*cors, *headers))


def failed(status: int, message: str) -> Answer:
    """The answer to what is not yet a request: nobody's page waits for it, so it has no headers for one."""
    return _answer(status, msgspec.json.encode(ErrorBody(success=False, error=message, details=())), ())


def failure(cors: Headers) -> Answer:
    """The answer to a request that met a bug of ours: nothing of it is shown."""
    body = ErrorBody(success=False, error="Internal server error; it is in the log", details=())
    return _answer(500, msgspec.json.encode(body), cors)
