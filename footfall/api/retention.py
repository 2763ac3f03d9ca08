"""POST /api/retention: who comes back; and how it is described in /openapi.json."""

from typing import Any, Final

from litestar.handlers import HTTPRouteHandler

from footfall.api.context import ApiContext
from footfall.api.posting import STEP, described, report_route
from footfall.query.retention import PERIODS, parse_retention
from footfall.reports.retention import RetentionAnswer, retention, retention_csv

PATH: Final = "/api/retention"


def routes(context: ApiContext) -> list[HTTPRouteHandler]:
    """The route."""
    return [report_route(context, PATH, parse_retention, retention, retention_csv)]


EXAMPLE: Final[dict[str, Any]] = {
    "site_id": "my-website",
    "date_range": ["2024-01-01", "2024-02-25"],
    "period": "week",
    "return": {"event": "purchase"},
}
SCHEMAS, PATHS = described(
    PATH,
    "Retention",
    RetentionAnswer,
    summary="Who comes back",
    description="Visitors by the day, week or month in which they started, and how many of each cohort returned in "
    "every later one. What the words mean: docs/retention.md.",
    properties={
        "period": {"enum": [*(period.value.removeprefix("time:") for period in PERIODS), None], "default": "day"},
        "start": {
            "description": "What puts a visitor into a cohort: the first event in the range that is this. Default: the "
            "visitor's first event of all, whenever that was.",
            "anyOf": [STEP, {"type": "null"}],
        },
        "return": {
            "description": "What counts as coming back; default: any event.",
            "anyOf": [STEP, {"type": "null"}],
        },
    },
    example=EXAMPLE,
)
