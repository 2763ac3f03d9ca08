"""Entrance: what answers on the port from the first moment, while the backends are opened or waited for.

A browser that sends an event at that time is told to come again, and an orchestrator that the process lives.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from footfall.collect.answers import Answer, Cors, refusal
from footfall.errors import Unavailable

Scope = Mapping[str, Any]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]

RETRY_AFTER_S: Final = 2
_ALIVE: Final = b'{"status":"ok"}'
_DOWN: Final = b'{"status":"down"}'
_LIVE: Final = "/api/health/live"
_HEALTH: Final = frozenset({"/api/health", "/api/health/ready"})
_CLOSE: Final = (b"connection", b"close")
"""So that whoever keeps connections begins a new one, which the server gives to the application itself."""


class Entrance:
    """Stands in for the application until `lead_to` names it."""

    def __init__(self, cors_origins: tuple[str, ...]) -> None:
        self._cors = Cors(cors_origins)
        self._app: App | None = None

    def lead_to(self, app: App) -> None:
        """From now on, hand every request to *app*."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Any, send: Send) -> None:  # noqa: ANN401 - ASGI's own
        """One request: 503 for all but /api/health/live."""
        if self._app is not None:
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            answer = self._answer(scope)
            body = {**answer.body, "body": b""} if scope["method"] == "HEAD" else answer.body
            await send({**answer.start, "headers": [*answer.start["headers"], _CLOSE]})
            await send(body)

    def _answer(self, scope: Scope) -> Answer:
        origin = dict(scope["headers"]).get(b"origin")
        if scope["method"] == "OPTIONS" and scope["path"].startswith("/api/event"):
            return self._cors.preflight(origin)
        if scope["path"] == _LIVE:
            return _said(200, _ALIVE)
        if scope["path"] in _HEALTH:
            return _said(503, _DOWN)
        starting = Unavailable("Footfall is starting: what it needs is not there yet; send it again", RETRY_AFTER_S)
        return refusal(starting, self._cors.headers(origin))


def _said(status: int, body: bytes) -> Answer:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 503:
        headers.append((b"retry-after", str(RETRY_AFTER_S).encode()))
    start = {"type": "http.response.start", "status": status, "headers": headers}
    return Answer(start, {"type": "http.response.body", "body": body}, b"")
