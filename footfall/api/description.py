"""GET /openapi.json: the API described by itself, from the same models and tables that it works with."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from litestar import Litestar, Request, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig

from footfall import __version__
from footfall.api import definitions_description, export, ingestion, ledger, live, query, sites, stats
from footfall.api.pages import Page, answer, page
from footfall.api.parameters import described
from footfall.api.reports import REPORTS
from footfall.errors import ErrorBody

PARAMETERS: Final = {
    "/api/stats": stats.PARAMETERS,
    "/api/sites": sites.PARAMETERS,
    "/api/ledger": ledger.PARAMETERS,
    "/api/live": live.PARAMETERS,
    "/api/live/ticket": live.TICKET_PARAMETERS,
}
OPEN_TO_ALL: Final = {"/api/health", "/api/health/live", "/api/health/ready"}

_INVALID: Final = "The request breaks a rule; `details` names every wrong field."
_NOBODY: Final = "A key is needed, or the one sent does not work."
_FORBIDDEN: Final = "This key does not allow it."
_DOWN: Final = "A backend is down, full or too slow; send the same again after Retry-After seconds."
_ERRORS_READING: Final = {"400": _INVALID, "401": _NOBODY, "403": _FORBIDDEN, "503": _DOWN}
_ERRORS_QUERY: Final = _ERRORS_READING | {"413": "The body is over the limit."}
_ERRORS_LONG: Final = _ERRORS_READING | {"429": "Too many of these are under way; come back after Retry-After seconds."}
_ERRORS_DEFINING: Final = _ERRORS_QUERY | {
    "404": "There is nothing of that name.",
    "409": "Somebody else changed it at the same time, again and again; send the same again.",
}
_ERRORS_EVENTS: Final = {
    "400": _INVALID,
    "401": _NOBODY,
    "403": _FORBIDDEN,
    "413": "The body is over the limit.",
    "429": "Too many events from this address or for this site; come back after Retry-After seconds.",
    "503": _DOWN,
}
_ABOUT: Final = (
    "Website and product analytics. Send events to /api/event, read the numbers from /api/stats. "
    "Every error has the same shape: success, error, details."
)


def routes(described_routes: Callable[[], Sequence[HTTPRouteHandler]]) -> list[HTTPRouteHandler]:
    """The route. What it answers is made at the first asking: most processes are never asked."""
    made: list[Page] = []

    @get("/openapi.json", include_in_schema=False)
    async def openapi(request: Request[Any, Any, Any]) -> Response[bytes]:
        if not made:
            document = complete(_generated(described_routes()))
            made.append(page(msgspec.json.encode(document), "application/json"))
        return answer(request, made[0])

    return [openapi]


def _generated(handlers: Sequence[HTTPRouteHandler]) -> dict[str, Any]:
    """What the framework makes of our models.

    By an application of its own, which serves nobody: the one that serves would get the framework's pages with it,
    and those load their scripts from elsewhere.
    """
    config = OpenAPIConfig(title="Footfall", version=__version__, use_handler_docstrings=True)
    return Litestar(list(handlers), openapi_config=config, logging_config=None).openapi_schema.to_schema()


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """What the framework made of our models, with parameters, errors, keys and the ingestion routes."""
    document["info"]["description"] = _ABOUT
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    _, ours = msgspec.json.schema_components([ErrorBody], ref_template="#/components/schemas/{name}")
    schemas.update(ours)
    schemas.update(ingestion.SCHEMAS)
    schemas.update(query.SCHEMAS)
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "description": "ff_..."}}
    paths = document["paths"]
    for path, item in paths.items():
        for operation in item.values():
            operation["parameters"] = described(PARAMETERS.get(path, ()))
            operation["responses"].pop("400", None)
            operation["responses"].update(_errors(_ERRORS_READING if path not in OPEN_TO_ALL else {}))
            operation["security"] = [{}, {"key": []}]
    _describe_health(paths)
    schemas["StatsAnswer"]["example"] = stats.EXAMPLE
    for path, item in ingestion.PATHS.items():
        operation = {**item["post"], "responses": {**item["post"]["responses"], **_errors(_ERRORS_EVENTS)}}
        paths[path] = {"post": operation}
    for report in REPORTS:
        schemas.update(report.SCHEMAS)
    for path, item in [item for asked in (query, *REPORTS) for item in asked.PATHS.items()]:
        operation = {**item["post"], "responses": {**item["post"]["responses"], **_errors(_ERRORS_QUERY)}}
        paths[path] = {"post": operation}
    schemas.update(definitions_description.SCHEMAS)
    for path, item in definitions_description.PATHS.items():
        paths[path] = {
            verb: {**operation, "responses": {**operation["responses"], **_errors(_ERRORS_DEFINING)}}
            for verb, operation in item.items()
        }
    for path, item in (export.PATHS | live.PATHS).items():
        operation = {**item["get"], "responses": {**item["get"]["responses"], **_errors(_ERRORS_LONG)}}
        paths[path] = {"get": operation}
    document["paths"] = dict(sorted(paths.items()))
    return document


def _errors(said: dict[str, str]) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorBody"}}}
    return {status: {"description": text, "content": content} for status, text in said.items()}


def _describe_health(paths: dict[str, Any]) -> None:
    """Where it is down, health says so in its own shape, with 503."""
    for path in ("/api/health", "/api/health/ready"):
        responses = paths[path]["get"]["responses"]
        responses["503"] = {**responses["200"], "description": "No event can be accepted."}
    paths["/api/health"]["get"]["responses"].update(_errors({"400": _INVALID, "401": _NOBODY}))
