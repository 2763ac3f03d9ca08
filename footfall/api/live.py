"""GET /api/live, GET /api/live/stream, POST /api/live/ticket: what happens on a site now."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Any, Final

import msgspec
from litestar import Request, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from footfall.api.audience import Audience, Audiences, TooSlow, wall_ms
from footfall.api.context import ApiContext
from footfall.api.edge import STREAM
from footfall.api.outflow import Write, outflow
from footfall.api.parameters import TIMEZONE, Parameter, described, read, site_id
from footfall.api.places import Places, who_asks
from footfall.api.stats import zone_of
from footfall.door import Caller, require, require_somewhere
from footfall.metrics import REPORT_SECONDS
from footfall.query.events import Place
from footfall.registry.base import Scope
from footfall.reports.live import Now
from footfall.ticket import LIFE_MS, holder, make_ticket

STREAMS_MAX: Final = 200
STREAMS_EACH_MAX: Final = 10
RETRY_AFTER_S: Final = 30
KEEP_ALIVE_S: Final = 15.0
"""Without news for so long a comment is sent, so that no proxy between takes the stream for dead."""
RECHECK_S: Final = 10.0
"""How often a key is looked at again, at the next message: so one that is revoked listens for this and KEEP_ALIVE_S at
most, and for as long as the copy of the keys is fresh (door.FRESH_S)."""
STREAM_S_MAX: Final = 3_600.0
TICKET_CHARS_MAX: Final = 128

PARAMETERS: Final = (site_id(is_required=True), TIMEZONE)
TICKET_PARAMETERS: Final = (site_id(is_required=True),)
STREAM_PARAMETERS: Final = (
    site_id(is_required=True),
    TIMEZONE,
    Parameter(
        name="ticket",
        parse=lambda text: text[:TICKET_CHARS_MAX],
        description="From POST /api/live/ticket, instead of the Authorization header.",
        schema={"type": "string", "maxLength": TICKET_CHARS_MAX},
    ),
)


class LiveAnswer(msgspec.Struct, frozen=True):
    """The figures."""

    success: bool
    data: Now


class Ticket(msgspec.Struct, frozen=True):
    """What opens a stream, and for how long it does."""

    ticket: str | None
    """Null where none is needed: this request came without a key, and the door is open to it."""
    expires_in_s: int


class TicketAnswer(msgspec.Struct, frozen=True):
    """The ticket."""

    success: bool
    data: Ticket


def routes(context: ApiContext) -> list[HTTPRouteHandler]:
    """The routes; what the framework can not describe of them says so itself."""
    audiences = Audiences(context.store, context.registry)
    return [_live(context, audiences), _ticket(context), _stream(context, audiences)]


def _live(context: ApiContext, audiences: Audiences) -> HTTPRouteHandler:
    @get("/api/live", operation_id="liveNow", summary="What happens now", tags=["Live"])
    async def live(request: Request[Any, Any, Any]) -> LiveAnswer:
        """Visitors of the last 5 and 30 minutes, pageviews by minute, pages, sources, countries and devices."""
        caller = await context.caller(request.scope)
        require_somewhere(caller, Scope.READ)
        asked = read(request.scope["query_string"], PARAMETERS)
        require(caller, Scope.READ, asked["site_id"])
        zone = asked.get("timezone") or await zone_of(context, asked["site_id"])
        with REPORT_SECONDS.labels("live").time():
            return LiveAnswer(True, await audiences.now(asked["site_id"], zone))

    return live


def _ticket(context: ApiContext) -> HTTPRouteHandler:
    @post(
        "/api/live/ticket", status_code=200, operation_id="liveTicket", summary="A ticket for a stream", tags=["Live"]
    )
    async def ticket(request: Request[Any, Any, Any]) -> TicketAnswer:
        """For an EventSource, which can not send a key: valid for a minute, for the stream of one site."""
        caller = await context.caller(request.scope)
        require_somewhere(caller, Scope.READ)
        site: str = read(request.scope["query_string"], TICKET_PARAMETERS)["site_id"]
        require(caller, Scope.READ, site)
        made = None if caller.key is None else make_ticket(caller.key, site, wall_ms())
        return TicketAnswer(True, Ticket(made, LIFE_MS // 1000))

    return ticket


def _stream(context: ApiContext, audiences: Audiences) -> HTTPRouteHandler:
    places = Places("streams", STREAMS_MAX, STREAMS_EACH_MAX, RETRY_AFTER_S)

    @get(STREAM, include_in_schema=False)
    async def stream(request: Request[Any, Any, Any]) -> ASGIApp:
        caller = await context.caller(request.scope)
        query = request.scope["query_string"]
        if b"ticket=" not in query:
            require_somewhere(caller, Scope.READ)
        asked = read(query, STREAM_PARAMETERS)
        site: str = asked["site_id"]
        if "ticket" in asked:
            caller = await holder(context.door, asked["ticket"], site, wall_ms())
        require(caller, Scope.READ, site)
        audience = audiences.of(site, asked.get("timezone") or await zone_of(context, site))
        who = who_asks(context, caller, request.scope)
        places.take(who)
        with ExitStack() as failing:
            failing.callback(places.give_back, who)
            await audience.begun()
            failing.pop_all()
        last = _place(request.headers.get("last-event-id", ""))
        return outflow(
            {"content-type": "text/event-stream; charset=utf-8", "x-accel-buffering": "no"},
            lambda write: _pour(audience, last, write, lambda: _recheck(context, caller, site)),
            is_endless=True,
            done=lambda: places.give_back(who),
        )

    return stream


async def _recheck(context: ApiContext, caller: Caller, site: str) -> None:
    """Raise Unauthorized or Forbidden for a key that has been revoked, changed or is over."""
    if caller.key is None:
        return
    key = await context.door.key_named(caller.key.id)
    is_over = key is None or (key.expires_at_ms is not None and key.expires_at_ms <= wall_ms())
    require(Caller(caller.is_open, None if is_over else key), Scope.READ, site)


async def _pour(audience: Audience, last: Place | None, write: Write, recheck: Callable[[], Awaitable[None]]) -> None:
    began_s = checked_s = time.monotonic()
    async with audience.joined(last) as listener:
        await write(b"retry: 2000\n\n")
        while (now_s := time.monotonic()) - began_s < STREAM_S_MAX:
            if now_s - checked_s > RECHECK_S:
                await recheck()
                checked_s = now_s
            try:
                async with asyncio.timeout(KEEP_ALIVE_S):
                    message = await listener.next()
            except TooSlow:
                raise
            except TimeoutError:
                message = b": nothing new\n\n"
            await write(message)


def _place(last_event_id: str) -> Place | None:
    """The event that `Last-Event-ID` names; None where it names none of ours, as if it were not there."""
    found = re.fullmatch(r"([0-9]{1,15})-([0-9a-f]{32})", last_event_id)
    return Place(int(found[1]), bytes.fromhex(found[2])) if found else None


PATHS: Final[dict[str, Any]] = {
    STREAM: {
        "get": {
            "tags": ["Live"],
            "operationId": "liveStream",
            "summary": "Every event as it is stored",
            "description": "Server-Sent Events: `event` for each new event, `now` with the figures every 5 seconds. "
            "See docs/live.md.",
            "parameters": described(STREAM_PARAMETERS),
            "responses": {
                "200": {
                    "description": "The stream, which ends after an hour at the latest.",
                    "content": {"text/event-stream": {"schema": {"type": "string"}}},
                }
            },
            "security": [{}, {"key": []}],
        }
    },
}
