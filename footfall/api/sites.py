"""GET /api/sites: every site the caller may read, with the numbers of its day."""

import asyncio
from datetime import UTC, date, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec
from litestar import Request, get
from litestar.handlers import HTTPRouteHandler

from footfall.api.context import ApiContext
from footfall.api.parameters import Parameter, read, whole_number
from footfall.door import require_somewhere
from footfall.metrics import REPORT_SECONDS
from footfall.query.ranges import today
from footfall.registry.base import Scope
from footfall.reports.stats import daily_stats

LIMIT_MAX: Final = 100
LIMIT_DEFAULT: Final = 20
AT_ONCE_MAX: Final = 4
"""Sites of one answer that are counted at the same time: a list must not take the store from everybody else."""

PARAMETERS: Final = (
    Parameter(
        name="limit",
        parse=whole_number(1, LIMIT_MAX),
        description="How many sites.",
        schema={"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT},
        example=20,
    ),
)


class Today(msgspec.Struct, frozen=True):
    """The numbers of today, in the site's zone."""

    date: date
    total_views: int
    unique_users_count: int


class SiteSummary(msgspec.Struct, frozen=True):
    """One site."""

    id: str
    timezone: str
    last_event_at: datetime | None
    today: Today


class SiteList(msgspec.Struct, frozen=True):
    """The sites, the one with the latest event first, and how many there are in all."""

    sites: list[SiteSummary]
    total: int


class SitesAnswer(msgspec.Struct, frozen=True):
    """The sites."""

    success: bool
    data: SiteList


def routes(context: ApiContext) -> list[HTTPRouteHandler]:
    """The route."""

    @get("/api/sites", operation_id="sites", summary="Every site, with today's numbers", tags=["Reports"])
    async def sites(request: Request[Any, Any, Any]) -> SitesAnswer:
        """The sites that this caller may read, the one with the latest event first."""
        caller = await context.caller(request.scope)
        require_somewhere(caller, Scope.READ)
        limit: int = read(request.scope["query_string"], PARAMETERS).get("limit", LIMIT_DEFAULT)
        with REPORT_SECONDS.labels("sites").time():
            last_ms = await context.store.sites()
            zones = {site.id: site.timezone for site in await context.registry.sites()}
            seen = [site for site in {**zones, **last_ms} if caller.allows(Scope.READ, site)]
            seen.sort(key=lambda site: (-last_ms.get(site, -1), site))
            turn = asyncio.Semaphore(AT_ONCE_MAX)

            async def summary(site: str) -> SiteSummary:
                async with turn:
                    return await _summary(context, site, zones.get(site, "UTC"), last_ms.get(site))

            found = await asyncio.gather(*(summary(site) for site in seen[:limit]))
        return SitesAnswer(True, SiteList(list(found), len(seen)))

    return [sites]


async def _summary(context: ApiContext, site: str, timezone: str, last_ms: int | None) -> SiteSummary:
    zone = ZoneInfo(timezone)
    day = today(zone, datetime.now(UTC))
    found = await daily_stats(context.store, site, day, day, zone, 1)
    last_at = None if last_ms is None else datetime.fromtimestamp(last_ms / 1000, UTC)
    return SiteSummary(site, timezone, last_at, Today(day, found.total_views, found.unique_users_count))
