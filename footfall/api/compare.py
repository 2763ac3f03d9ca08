"""POST /api/compare: the same metrics of several sites; and how it is described in /openapi.json."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final
from zoneinfo import ZoneInfo

from litestar import Request, Response, post
from litestar.handlers import HTTPRouteHandler

from footfall.api.context import ApiContext
from footfall.api.posting import BODY_BYTES_MAX, COMMON, answered, body_of, described
from footfall.api.query import QUERY
from footfall.door import Caller, require, require_somewhere
from footfall.event import SITE_ID_PATTERN
from footfall.metrics import REPORT_SECONDS
from footfall.query.asked import Asked
from footfall.query.comparing import SITES_MAX, parse_compared, site_ids_in
from footfall.query.definitions import WeekStart
from footfall.query.filters import NOTHING_DEFINED
from footfall.query.reading import decoded
from footfall.registry.base import Scope
from footfall.reports.compare import SitesAnswer, as_csv, compare_sites
from footfall.reports.span import Clock

PATH: Final = "/api/compare"


def routes(context: ApiContext) -> list[HTTPRouteHandler]:
    """The route."""

    @post(PATH, status_code=200, include_in_schema=False, request_max_body_size=BODY_BYTES_MAX)
    async def compare(request: Request[Any, Any, Any]) -> Response[bytes]:
        caller = await context.caller(request.scope)
        require_somewhere(caller, Scope.READ)
        body = decoded(await body_of(request))
        named = site_ids_in(body)
        for site in named:
            # Before anything is said of the names that are known there.
            require(caller, Scope.READ, site)
        sites = named or await _readable(context, caller)
        chosen = sites[:SITES_MAX]
        has_filters = bool(body.get("filters"))
        definitions = {
            site: await context.registry.definitions(site) if has_filters else NOTHING_DEFINED for site in chosen
        }
        # Patterns take their time to be read, once for each site that has names of its own.
        page, asked = await asyncio.to_thread(parse_compared, body, definitions)
        with REPORT_SECONDS.labels("compare").time():
            clocks = await _clocks(context, asked)
            found = await compare_sites(context.store, asked, clocks, page, len(sites) - len(chosen))
        return answered(request, found, partial(as_csv, is_compared=page.compare is not None))

    return [compare]


async def _readable(context: ApiContext, caller: Caller) -> Sequence[str]:
    """Every site that may be read, the one with the latest event first."""
    last_ms = await context.store.sites()
    known = {site.id for site in await context.registry.sites()} | set(last_ms)
    return sorted(
        (site for site in known if caller.allows(Scope.READ, site)), key=lambda site: (-last_ms.get(site, -1), site)
    )


async def _clocks(context: ApiContext, asked: Mapping[str, Asked]) -> dict[str, Clock]:
    """Each site's own, at one moment; a site that does not exist has UTC."""
    known = {site.id: site for site in await context.registry.sites()}
    now = datetime.now(UTC)
    clocks = {}
    for site, question in asked.items():
        there = known.get(site)
        zone = question.zone or ZoneInfo("UTC" if there is None else there.timezone)
        clocks[site] = Clock(zone, WeekStart.MONDAY if there is None else there.week_start, now)
    return clocks


EXAMPLE: Final[dict[str, Any]] = {
    "site_ids": ["shop", "blog"],
    "metrics": ["visitors", "pageviews", "bounce_rate"],
    "date_range": ["2024-01-01", "2024-01-31"],
    "compare": "previous_period",
    "order_by": [["visitors", "desc"]],
}
_SITE: Final = {"type": "string", "pattern": SITE_ID_PATTERN}
SCHEMAS, PATHS = described(
    PATH,
    "CompareSites",
    SitesAnswer,
    summary="Sites beside each other",
    description="The same metrics of several sites, in one order, each in its own time zone; of those that the caller "
    "may read. What the words mean: docs/compare.md.",
    properties={
        "site_ids": {
            "type": ["array", "null"],
            "items": _SITE,
            "maxItems": SITES_MAX,
            "uniqueItems": True,
            "description": "Default: every site that may be read, those with the latest events first.",
        },
        **{name: QUERY["properties"][name] for name in ("metrics", "order_by", "compare", "pagination")},
    },
    required=("metrics",),
    example=EXAMPLE,
    common={
        **{name: schema for name, schema in COMMON.items() if name != "site_id"},
        "timezone": {"type": ["string", "null"], "description": "An IANA name for all; default: each site's own."},
    },
)
