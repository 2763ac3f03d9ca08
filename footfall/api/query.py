"""POST /api/query: the general question; and how it is described in /openapi.json."""

from datetime import UTC, datetime
from typing import Any, Final

from litestar import Request, Response, post
from litestar.handlers import HTTPRouteHandler

from footfall.api.context import ApiContext
from footfall.api.posting import BODY_BYTES_MAX, answered, body_of
from footfall.api.stats import zone_of
from footfall.door import require, require_somewhere
from footfall.event import SITE_ID_PATTERN
from footfall.metrics import REPORT_SECONDS
from footfall.query.asked import DIMENSIONS, LIMIT_DEFAULT, LIMIT_MAX, METRICS, OFFSET_MAX
from footfall.query.definitions import WeekStart
from footfall.query.filters import CONDITIONS_MAX, NOTHING_DEFINED
from footfall.query.parse import DIMENSIONS_MAX, METRICS_MAX, parse_query, site_of
from footfall.query.periods import Mode
from footfall.query.query import Operator
from footfall.registry.base import Scope
from footfall.reports.query import answer
from footfall.reports.table import as_csv


def routes(context: ApiContext) -> list[HTTPRouteHandler]:
    """The route."""

    @post("/api/query", status_code=200, include_in_schema=False, request_max_body_size=BODY_BYTES_MAX)
    async def query(request: Request[Any, Any, Any]) -> Response[bytes]:
        caller = await context.caller(request.scope)
        require_somewhere(caller, Scope.READ)
        body = await body_of(request)
        definitions, site_id = NOTHING_DEFINED, site_of(body)
        if site_id is not None:
            # Before anything is said of the names that are known there.
            require(caller, Scope.READ, site_id)
            definitions = await context.registry.definitions(site_id)
        asked = parse_query(body, definitions)
        zone = asked.zone or await zone_of(context, asked.site_id)
        with REPORT_SECONDS.labels("query").time():
            week_start = await _week_start_of(context, asked.site_id)
            found = await answer(context.store, asked, zone, datetime.now(UTC), week_start)
        return answered(request, found, as_csv)

    return [query]


async def _week_start_of(context: ApiContext, site_id: str) -> WeekStart:
    site = context.sites.known(site_id) or await context.sites.find(site_id)
    return WeekStart.MONDAY if site is None else site.week_start


def _list(items: dict[str, Any], size_max: int, description: str, *, least: int = 0) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": least, "maxItems": size_max, "description": description}


_FILTER: Final[dict[str, Any]] = {
    "type": "array",
    "minItems": 2,
    "maxItems": 4,
    "prefixItems": [{"enum": [*Operator, "and", "or", "not", "has_done", "has_not_done"]}],
    "description": "[operator, dimension, values, {case_sensitive}], or a tree: [and, [...]], [not, [...]]. "
    "The dimension may be event:goal or segment, with names that the site has defined.",
}
COMPARE: Final[dict[str, Any]] = {
    "anyOf": [
        {"enum": [Mode.PREVIOUS_PERIOD, Mode.YEAR_OVER_YEAR]},
        {
            "type": "object",
            "required": ["mode"],
            "properties": {
                "mode": {"enum": list(Mode)},
                "date_range": {"description": "With the mode custom: as date_range."},
                "match_day_of_week": {"type": "boolean"},
            },
        },
        {"type": "null"},
    ]
}
EXAMPLE: Final[dict[str, Any]] = {
    "site_id": "my-website",
    "metrics": ["visitors", "pageviews", "bounce_rate"],
    "date_range": ["2024-01-01", "2024-01-31"],
    "timezone": "Europe/Paris",
    "dimensions": ["visit:source"],
    "filters": [["is", "visit:country", ["FR", "DE"]], ["contains", "event:page", ["/blog"]]],
    "order_by": [["visitors", "desc"]],
    "compare": "previous_period",
    "pagination": {"limit": 100, "offset": 0},
}
_MEANINGS: Final = "What is counted. " + "; ".join(f"{name}: {each.meaning}" for name, each in METRICS.items()) + "."
_WORD: Final[dict[str, Any]] = {"type": "string"}
_RANGE: Final[dict[str, Any]] = {"type": "array", "items": _WORD, "minItems": 2, "maxItems": 2}
QUERY: Final[dict[str, Any]] = {
    "title": "Query",
    "type": "object",
    "required": ["site_id", "metrics", "date_range"],
    "additionalProperties": False,
    "properties": {
        "site_id": {"type": "string", "pattern": SITE_ID_PATTERN, "description": "The site."},
        "metrics": _list({"enum": list(METRICS)}, METRICS_MAX, _MEANINGS, least=1) | {"uniqueItems": True},
        "date_range": {
            "description": "day, 24h, 7d, 28d, 30d, 91d, week, month, 6mo, 12mo, year, all, 30m, realtime; "
            "or two dates, both included; or two instants with offset.",
            "anyOf": [_WORD, _RANGE],
        },
        "timezone": {"type": ["string", "null"], "description": "An IANA name; default: the site's."},
        "dimensions": _list(
            {"anyOf": [{"enum": DIMENSIONS}, {"type": "string", "pattern": "^event:props:.{1,64}$"}]},
            DIMENSIONS_MAX,
            "What rows are grouped by.",
        ),
        "filters": _list(_FILTER, CONDITIONS_MAX, "All of them have to be met."),
        "order_by": _list(
            {"type": "array", "prefixItems": [_WORD, {"enum": ["asc", "desc"]}], "minItems": 2, "maxItems": 2},
            METRICS_MAX + DIMENSIONS_MAX,
            "Of the metrics and dimensions asked for; default: time forwards, then the first metric from the top.",
        ),
        "compare": COMPARE,
        "pagination": {
            "type": "object",
            "properties": {
                "limit": {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT},
                "offset": {"type": "integer", "minimum": 0, "maximum": OFFSET_MAX, "default": 0},
            },
        },
        "include": {
            "type": "object",
            "properties": {
                "total_rows": {"type": "boolean"},
                "time_labels": {"type": "boolean"},
                "comparisons": COMPARE,
            },
        },
    },
    "example": EXAMPLE,
}
_FIGURES: Final = {"type": "array", "items": {"type": ["number", "object", "null"]}}
_NAMES: Final = {"type": "array", "items": {"type": ["string", "integer"]}}
ANSWER: Final[dict[str, Any]] = {
    "title": "QueryAnswer",
    "type": "object",
    "required": ["results", "meta", "query"],
    "properties": {
        "results": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["dimensions", "metrics"],
                "properties": {
                    "dimensions": _NAMES,
                    "metrics": _FIGURES,
                    "comparison": {
                        "type": "object",
                        "required": ["metrics", "change"],
                        "properties": {"metrics": _FIGURES, "change": _FIGURES, "dimensions": _NAMES},
                    },
                },
            },
        },
        "meta": {
            "type": "object",
            "properties": {
                "total_rows": {"type": "integer"},
                "time_labels": _NAMES,
                "metric_warnings": {
                    "type": "object",
                    "additionalProperties": {
                        "type": "object",
                        "required": ["code", "warning"],
                        "properties": {"code": {"type": "string"}, "warning": {"type": "string"}},
                    },
                },
            },
        },
        "query": {
            "type": "object",
            "required": ["site_id", "metrics", "date_range", "timezone", "dimensions", "order_by", "pagination"],
            "properties": {"date_range": _RANGE, "comparison_date_range": _RANGE},
        },
    },
}
SCHEMAS: Final = {"Query": QUERY, "QueryAnswer": ANSWER}
PATHS: Final[dict[str, Any]] = {
    "/api/query": {
        "post": {
            "tags": ["Reports"],
            "operationId": "query",
            "summary": "The general question",
            "description": "Any metrics by any dimensions, filtered, ordered, compared; names as in Plausible's Stats "
            "API v2. What the words mean: docs/query.md. With Accept: text/csv the same as a table. A question that "
            "takes more time or memory than the store allows is answered with 503: narrow it.",
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Query"}, "example": EXAMPLE}},
            },
            "responses": {
                "200": {
                    "description": "The answer.",
                    "content": {
                        "application/json": {"schema": {"$ref": "#/components/schemas/QueryAnswer"}},
                        "text/csv": {"schema": {"type": "string"}},
                    },
                }
            },
            "security": [{}, {"key": []}],
        }
    },
}
