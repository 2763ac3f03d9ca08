"""POST of a report: from the body to the answer, the same for every report; and how they are described."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo

import msgspec
from litestar import Request, Response, post
from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from litestar.handlers import HTTPRouteHandler

from footfall.api.context import ApiContext
from footfall.door import require, require_somewhere
from footfall.errors import TooLarge
from footfall.event import SITE_ID_PATTERN
from footfall.metrics import REPORT_SECONDS
from footfall.query.definitions import GOAL_PROPS_MAX, NAME_CHARS_MAX, PAGE_CHARS_MAX, Definitions, WeekStart
from footfall.query.filters import CONDITIONS_MAX
from footfall.query.query import Operator
from footfall.query.reading import About, decoded, site_id_in
from footfall.registry.base import Scope
from footfall.reports.span import Clock
from footfall.store.base import Store

A = TypeVar("A", bound=About)
F = TypeVar("F")
BODY_BYTES_MAX: Final = 64 * 1024
# Money is exact: a number in JSON that was never a float here.
_encode = msgspec.json.Encoder(decimal_format="number").encode


def report_route(
    context: ApiContext,
    path: str,
    parse: Callable[[Mapping[str, Any], Definitions], A],
    answer: Callable[[Store, A, Clock], Awaitable[F]],
    as_csv: Callable[[F], str],
) -> HTTPRouteHandler:
    """The route of a report: *parse* reads the body, *answer* asks the store, *as_csv* is for who prefers it."""
    label = path.removeprefix("/api/").replace("/", "_")

    @post(path, name=label, status_code=200, include_in_schema=False, request_max_body_size=BODY_BYTES_MAX)
    async def report(request: Request[Any, Any, Any]) -> Response[bytes]:
        caller = await context.caller(request.scope)
        require_somewhere(caller, Scope.READ)
        body = decoded(await body_of(request))
        definitions, site_id = Definitions(), site_id_in(body)
        if site_id is not None:
            # Before anything is said of the names that are known there.
            require(caller, Scope.READ, site_id)
            definitions = await context.registry.definitions(site_id)
        asked = parse(body, definitions)
        clock = await _clock_of(context, asked)
        with REPORT_SECONDS.labels(label).time():
            found = await answer(context.store, asked, clock)
        return answered(request, found, as_csv)

    return report


async def body_of(request: Request[Any, Any, Any]) -> bytes:
    """The body of a question. Raises TooLarge."""
    try:
        return await request.body()
    except RequestEntityTooLarge:
        raise TooLarge(f"the body must be at most {BODY_BYTES_MAX} bytes") from None


def answered(request: Request[Any, Any, Any], found: F, as_csv: Callable[[F], str]) -> Response[bytes]:
    """*found* as JSON, or as CSV for who prefers it."""
    if wants_csv(request.headers.get("accept", "")):
        return Response(as_csv(found).encode(), media_type="text/csv")
    return Response(_encode(found), media_type="application/json")


async def _clock_of(context: ApiContext, asked: About) -> Clock:
    site = context.sites.known(asked.site_id) or await context.sites.find(asked.site_id)
    zone = asked.zone or ZoneInfo("UTC" if site is None else site.timezone)
    return Clock(zone, WeekStart.MONDAY if site is None else site.week_start, datetime.now(UTC))


def wants_csv(accept: str) -> bool:
    """Is text/csv named, and before JSON?"""
    kinds = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    if "text/csv" not in kinds:
        return False
    return "application/json" not in kinds or kinds.index("text/csv") < kinds.index("application/json")


# --- the description ------------------------------------------------------------------------------------------------

_WORD: Final[dict[str, Any]] = {"type": "string"}
FILTERS: Final[dict[str, Any]] = {
    "type": ["array", "null"],
    "maxItems": CONDITIONS_MAX,
    "items": {
        "type": "array",
        "minItems": 2,
        "maxItems": 4,
        "prefixItems": [{"enum": [*Operator, "and", "or", "not", "has_done", "has_not_done"]}],
    },
    "description": "As in POST /api/query. What is meant are sessions that have an event which meets them all.",
}
COMMON: Final[dict[str, Any]] = {
    "site_id": {"type": "string", "pattern": SITE_ID_PATTERN, "description": "The site."},
    "date_range": {
        "description": "As in POST /api/query.",
        "anyOf": [_WORD, {"type": "array", "items": _WORD, "minItems": 2, "maxItems": 2}],
    },
    "timezone": {"type": ["string", "null"], "description": "An IANA name; default: the site's."},
    "filters": FILTERS,
}
STEP: Final[dict[str, Any]] = {
    "description": "The name of a goal of the site; or an object with a goal, an event or a page (`*` stands for any "
    "characters but a slash, `**` for any at all), with filters on events if wanted.",
    "anyOf": [
        {"type": "string", "minLength": 1, "maxLength": NAME_CHARS_MAX},
        {
            "type": "object",
            "additionalProperties": False,
            "minProperties": 1,
            "properties": {
                "goal": {"type": "string", "maxLength": NAME_CHARS_MAX},
                "event": {"type": "string", "minLength": 1, "maxLength": 64},
                "page": {"type": "string", "minLength": 1, "maxLength": PAGE_CHARS_MAX},
                "props": {"type": "object", "maxProperties": GOAL_PROPS_MAX, "additionalProperties": _WORD},
                "filters": FILTERS,
                "name": {"type": "string", "minLength": 1, "maxLength": NAME_CHARS_MAX},
            },
        },
    ],
}


def described(
    path: str,
    title: str,
    answer: type[Any],
    *,
    summary: str,
    description: str,
    properties: Mapping[str, Any],
    required: tuple[str, ...] = (),
    example: Mapping[str, Any],
    common: Mapping[str, Any] = COMMON,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The schemas and the path of a report: its own request *properties* beside the common ones, and its *answer*."""
    template = f"#/components/schemas/{title}.{{name}}"
    (answered,), parts = msgspec.json.schema_components([answer], ref_template=template)
    request = {
        "title": title,
        "type": "object",
        "required": [*(name for name in ("site_id", "date_range") if name in common), *required],
        "additionalProperties": False,
        "properties": {**common, **properties},
        "example": dict(example),
    }
    schemas = {f"{title}.{name}": _as_encoded(schema) for name, schema in parts.items()} | {title: request}
    operation = {
        "tags": ["Reports"],
        "operationId": title[0].lower() + title[1:],
        "summary": summary,
        "description": f"{description} With Accept: text/csv the same as a table. A question that takes more time or "
        "memory than the store allows is answered with 503: narrow it.",
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"$ref": f"#/components/schemas/{title}"}, "example": dict(example)}
            },
        },
        "responses": {
            "200": {
                "description": "The answer.",
                "content": {"application/json": {"schema": answered}, "text/csv": {"schema": _WORD}},
            }
        },
        "security": [{}, {"key": []}],
    }
    return schemas, {path: {"post": operation}}


def _as_encoded(schema: Any) -> Any:  # noqa: ANN401 - any JSON
    """A schema of our models with money as the number that it is encoded as."""
    if isinstance(schema, list):
        return [_as_encoded(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("format") == "decimal":
        return {"type": "number"}
    return {name: _as_encoded(each) for name, each in schema.items()}
