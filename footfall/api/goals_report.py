"""POST /api/goals/report: how the goals of a site are met; and how it is described in /openapi.json."""

from typing import Any, Final

from litestar.handlers import HTTPRouteHandler

from footfall.api.context import ApiContext
from footfall.api.posting import described, report_route
from footfall.api.query import COMPARE
from footfall.query.goal_report import VALUES_DEFAULT, VALUES_MAX, parse_goals
from footfall.query.query import Dimension, Scope
from footfall.reports.goals import GoalsAnswer, goals, goals_csv

PATH: Final = "/api/goals/report"


def routes(context: ApiContext) -> list[HTTPRouteHandler]:
    """The route."""
    return [report_route(context, PATH, parse_goals, goals, goals_csv)]


EXAMPLE: Final[dict[str, Any]] = {
    "site_id": "my-website",
    "date_range": ["2024-01-01", "2024-01-31"],
    "breakdown": "visit:source",
    "compare": "previous_period",
}
_DIMENSIONS: Final = [dimension for dimension in Dimension if dimension.scope is not Scope.TIME]
SCHEMAS, PATHS = described(
    PATH,
    "GoalsReport",
    GoalsAnswer,
    summary="How the goals of a site are met",
    description="Every goal of the site: who met it, how often, the conversion rate, revenue in each currency; by any "
    "dimension, and compared. What the words mean: docs/goals.md.",
    properties={
        "breakdown": {
            "anyOf": [{"enum": [*_DIMENSIONS, None]}, {"type": "string", "pattern": "^event:props:.{1,64}$"}],
            "description": "A dimension of POST /api/query, but for those of time.",
        },
        "limit": {
            "type": ["integer", "null"],
            "minimum": 1,
            "maximum": VALUES_MAX,
            "default": VALUES_DEFAULT,
            "description": "How many values of the breakdown for each goal, those with most visitors.",
        },
        "compare": COMPARE,
    },
    example=EXAMPLE,
)
