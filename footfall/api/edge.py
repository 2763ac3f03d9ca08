"""What is the same for every answer of the API: HEAD, safe headers, who may read it from where, a log line."""

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import structlog

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

API: Final = "/api/"
STREAM: Final = "/api/live/stream"
IS_HEAD: Final = "footfall.is_head"
"""In the scope of a request that asks for the head alone: an answer that is long to make need not be made."""
_ALWAYS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_PAGE: Final = (
    (
        b"content-security-policy",
        (
            b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
            b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ),
    ),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)
_CORS: Final = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", b"retry-after, www-authenticate"),
)
_PREFLIGHT: Final = (
    (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
    (b"access-control-allow-headers", b"authorization, content-type"),
    (b"access-control-max-age", b"86400"),
)

log = structlog.stdlib.get_logger(__name__)


class Edge:
    """Wraps the application.

    Reading across origins: a page elsewhere may read an answer only if its request brought an Authorization header.
    Such a page holds a key, which no browser adds by itself, and a wrong one is answered with 401 even where the door
    is open. Without that header nothing is readable across origins: where the door is open to this machine, any page
    in its browser could otherwise read the numbers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; what is not HTTP is passed on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(scope, send)
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET", IS_HEAD: True}
        await self._app(scope, receive, answer.send)


class _Answer:
    """One answer on its way out."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._send = send
        self._method: str = scope["method"]
        self._path: str = scope["path"]
        # A ticket is made with a key, and a wrong one is refused like a wrong key.
        self._has_key = any(name == b"authorization" for name, _ in scope["headers"]) or (
            scope["path"] == STREAM and b"ticket=" in scope["query_string"]
        )
        self._started_s = time.perf_counter()

    async def send(self, message: Message) -> None:
        """Pass the message on, with our headers, and without its body where only the head was asked for."""
        if message["type"] == "http.response.start":
            self._log(message["status"])
            message = {**message, "headers": self._headers(list(message.get("headers", ())))}
        elif self._method == "HEAD" and message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await self._send(message)

    def _headers(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        headers = [(name, _with_head(value) if name == b"allow" else value) for name, value in headers]
        names = dict(headers)
        headers += _ALWAYS
        if names.get(b"content-type", b"").startswith(b"text/html"):
            headers += _PAGE
        if b"cache-control" not in names:
            headers.append((b"cache-control", b"no-store"))
        if self._path.startswith(API):
            headers.append((b"vary", b"authorization, origin"))
            if self._has_key or self._method == "OPTIONS":
                headers += _CORS
            if self._method == "OPTIONS":
                headers += _PREFLIGHT
        return headers

    def _log(self, status: int) -> None:
        # Neither the address nor the query: who asks for what is nobody's business.
        took_ms = round((time.perf_counter() - self._started_s) * 1000, 1)
        log.debug("request", method=self._method, path=self._path[:200], status=status, took_ms=took_ms)


def _with_head(allow: bytes) -> bytes:
    methods = {method.strip() for method in allow.split(b",")}
    if b"GET" in methods:
        methods.add(b"HEAD")
    return b", ".join(sorted(methods))
