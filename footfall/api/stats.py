"""GET /api/stats: a day, or several, of one site."""

from datetime import UTC, date, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec
from litestar import Request, get
from litestar.handlers import HTTPRouteHandler

from footfall.api.context import ApiContext
from footfall.api.parameters import TIMEZONE, Parameter, day_named, read, site_id, whole_number
from footfall.door import require, require_somewhere
from footfall.errors import Fault, Invalid
from footfall.metrics import REPORT_SECONDS
from footfall.query.ranges import today
from footfall.registry.base import Scope
from footfall.reports.stats import Stats, daily_stats

LIMIT_MAX: Final = 1_000
LIMIT_DEFAULT: Final = 10

PARAMETERS: Final = (
    site_id(is_required=True),
    day_named("date", "One day; default: today."),
    day_named("from", "The first day, with `to`, instead of `date`."),
    day_named("to", "The last day, included."),
    TIMEZONE,
    Parameter(
        name="limit",
        parse=whole_number(1, LIMIT_MAX),
        description="How many paths.",
        schema={"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT},
        example=10,
    ),
)


EXAMPLE: Final = {
    "success": True,
    "data": {
        "site_id": "my-website",
        "date": "2024-01-15",
        "total_views": 1523,
        "unique_users_count": 342,
        "top_paths": [{"path": "/home", "views": 456}],
    },
}


class StatsAnswer(msgspec.Struct, frozen=True):
    """The numbers."""

    success: bool
    data: Stats


def routes(context: ApiContext) -> list[HTTPRouteHandler]:
    """The route."""

    @get("/api/stats", operation_id="stats", summary="The numbers of a day", tags=["Reports"])
    async def stats(request: Request[Any, Any, Any]) -> StatsAnswer:
        """Page views, distinct visitors and the paths most viewed. A day or a site without events answers zeros."""
        caller = await context.caller(request.scope)
        require_somewhere(caller, Scope.READ)
        asked = read(request.scope["query_string"], PARAMETERS)
        _refuse_contradictions(asked)
        require(caller, Scope.READ, asked["site_id"])
        zone: ZoneInfo = asked.get("timezone") or await zone_of(context, asked["site_id"])
        day: date = asked.get("date") or today(zone, datetime.now(UTC))
        first, last = asked.get("from", day), asked.get("to", day)
        with REPORT_SECONDS.labels("stats").time():
            found = await daily_stats(
                context.store, asked["site_id"], first, last, zone, asked.get("limit", LIMIT_DEFAULT)
            )
        return StatsAnswer(True, found)

    return [stats]


async def zone_of(context: ApiContext, site: str) -> ZoneInfo:
    """The zone of a site; UTC for one that does not exist."""
    found = context.sites.known(site) or await context.sites.find(site)
    return ZoneInfo("UTC" if found is None else found.timezone)


def _refuse_contradictions(asked: dict[str, Any]) -> None:
    first, last = asked.get("from"), asked.get("to")
    faults = []
    if "date" in asked and (first or last):
        faults.append(Fault("date", "can not be combined with from and to"))
    if (first is None) != (last is None):
        faults.append(Fault("to" if last is None else "from", "is required with " + ("from" if first else "to")))
    if faults:
        raise Invalid(*faults)
