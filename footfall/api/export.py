"""GET /api/export: the raw events of a site, streamed as one file."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import ExitStack, aclosing
from datetime import date
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec
from litestar import Request, get
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from footfall.api.context import ApiContext
from footfall.api.edge import IS_HEAD
from footfall.api.outflow import Write, outflow
from footfall.api.parameters import TIMEZONE, Parameter, day_named, described, read, site_id
from footfall.api.places import Places, who_asks
from footfall.api.stats import zone_of
from footfall.door import require, require_somewhere
from footfall.query.events import Form, of_events
from footfall.query.filters import parse_filters
from footfall.query.ranges import day_range
from footfall.registry.base import Scope
from footfall.reports.export import MEDIA_TYPES, Export, Gzip, Part, export

EXPORTS_MAX: Final = 4
EXPORTS_EACH_MAX: Final = 2
RETRY_AFTER_S: Final = 30
FILTERS_CHARS_MAX: Final = 4_096
"""A request line is at most 64 KiB, and a character of it up to 12 bytes."""


def _filters(text: str) -> Any:  # noqa: ANN401 - any JSON
    """JSON; what it means depends on the site's goals and segments, which only who may read the site hears of."""
    if len(text) > FILTERS_CHARS_MAX:
        raise ValueError(f"must be at most {FILTERS_CHARS_MAX} characters")
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        raise ValueError('must be JSON like [["is", "visit:country", ["FR"]]]') from None


def _one_of(text: str) -> Form:
    if text not in set(Form):
        raise ValueError("must be one of " + ", ".join(Form))
    return Form(text)


def _yes_or_no(text: str) -> bool:
    if text not in {"true", "false"}:
        raise ValueError("must be true or false")
    return text == "true"


PARAMETERS: Final = (
    site_id(is_required=True),
    msgspec.structs.replace(day_named("from", "The first day."), is_required=True),
    msgspec.structs.replace(day_named("to", "The last day, included."), is_required=True),
    TIMEZONE,
    Parameter(
        name="format",
        parse=_one_of,
        description="What kind of file.",
        schema={"enum": list(Form), "default": Form.CSV},
        example=Form.NDJSON,
    ),
    Parameter(
        name="filters",
        parse=_filters,
        description="As in POST /api/query, as JSON, with the site's goals and segments; of a visit's attributes those "
        "of the event itself are meant.",
        schema={"type": "string", "maxLength": FILTERS_CHARS_MAX},
        example='[["is", "visit:country", ["FR"]]]',
    ),
    Parameter(
        name="user_ids",
        parse=_yes_or_no,
        description="Also the column user_id, for which the scope admin is needed.",
        schema={"enum": ["true", "false"], "default": "false"},
    ),
)


def routes(context: ApiContext) -> list[HTTPRouteHandler]:
    """The route."""
    places = Places("exports", EXPORTS_MAX, EXPORTS_EACH_MAX, RETRY_AFTER_S)

    @get("/api/export", include_in_schema=False)
    async def download(request: Request[Any, Any, Any]) -> ASGIApp:
        caller = await context.caller(request.scope)
        require_somewhere(caller, Scope.READ)
        asked = read(request.scope["query_string"], PARAMETERS)
        wants_user_ids = asked.get("user_ids", False)
        require(caller, Scope.ADMIN if wants_user_ids else Scope.READ, asked["site_id"])
        made = await _export(context, asked, with_user_ids=wants_user_ids)
        who = who_asks(context, caller, request.scope)
        places.take(who)
        with ExitStack() as failing:
            failing.callback(places.give_back, who)
            parts = export(context.store, made)
            # The first page before the first word: so a store that is down is a 503 and no broken file.
            first = [] if request.scope.get(IS_HEAD) else [await anext(parts)]
            failing.pop_all()
        packs = made.form is not Form.PARQUET and _takes_gzip(request.headers.get("accept-encoding", ""))
        return outflow(
            _headers(made, asked["from"], asked["to"], packs=packs),
            lambda write: _pour(first, parts, Gzip() if packs else None, write),
            is_endless=False,
            done=lambda: places.give_back(who),
        )

    return [download]


async def _export(context: ApiContext, asked: dict[str, Any], *, with_user_ids: bool) -> Export:
    site: str = asked["site_id"]
    condition = None
    if "filters" in asked:
        condition = of_events(parse_filters(asked["filters"], await context.registry.definitions(site)))
    zone: ZoneInfo = asked.get("timezone") or await zone_of(context, site)
    return Export(
        site_id=site,
        range=day_range(asked["from"], asked["to"], zone),
        form=asked.get("format", Form.CSV),
        received_before_ms=time.time_ns() // 1_000_000,
        with_user_ids=with_user_ids,
        filter=condition,
    )


async def _pour(first: list[Part], parts: AsyncGenerator[Part], packer: Gzip | None, write: Write) -> None:
    async def pour(part: Part) -> None:
        body = part.body if packer is None else await asyncio.to_thread(packer.add, part.body)
        if body:
            await write(body)

    async with aclosing(parts):
        while first:
            await pour(first.pop(0))
        async for part in parts:
            await pour(part)
    if packer is not None:
        await write(packer.end())


def _headers(made: Export, first: date, last: date, *, packs: bool) -> dict[str, str]:
    # A site id may hold a colon, which some systems do not allow in a file's name.
    name = f"{made.site_id.replace(':', '_')}-{first}-{last}.{made.form}"
    headers = {
        "content-type": MEDIA_TYPES[made.form],
        "content-disposition": f'attachment; filename="{name}"',
        "vary": "accept-encoding",
    }
    return headers | ({"content-encoding": "gzip"} if packs else {})


def _takes_gzip(accept: str) -> bool:
    """Is gzip named, and not with a weight of 0?"""
    for part in accept.lower().split(","):
        name, _, weight = part.strip().partition(";")
        if name.strip() == "gzip":
            return weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False


PATHS: Final[dict[str, Any]] = {
    "/api/export": {
        "get": {
            "tags": ["Reports"],
            "operationId": "export",
            "summary": "The events themselves, as a file",
            "description": "In order of occurrence, streamed, whatever their number. Columns: docs/export.md. What was "
            "received after the asking is not in it. An export that fails on its way breaks the connection off, so "
            "that a part is not taken for the whole.",
            "parameters": described(PARAMETERS),
            "responses": {
                "200": {
                    "description": "The file.",
                    "content": {
                        media_type.partition(";")[0]: {"schema": {"type": "string", "format": "binary"}}
                        for media_type in MEDIA_TYPES.values()
                    },
                }
            },
            "security": [{}, {"key": []}],
        }
    },
}
