"""POST /api/journey: which ways people take; and how it is described in /openapi.json."""

from typing import Any, Final

from litestar.handlers import HTTPRouteHandler

from footfall.api.context import ApiContext
from footfall.api.posting import STEP, described, report_route
from footfall.query.journey import (
    DEPTH_DEFAULT,
    DEPTH_MAX,
    PATHS_DEFAULT,
    PATHS_MAX,
    TOP_DEFAULT,
    TOP_MAX,
    Kind,
    parse_journey,
)
from footfall.reports.journey import JourneyAnswer, journey, journey_csv

PATH: Final = "/api/journey"


def routes(context: ApiContext) -> list[HTTPRouteHandler]:
    """The route."""
    return [report_route(context, PATH, parse_journey, journey, journey_csv)]


def _number(high: int, default: int, description: str) -> dict[str, Any]:
    return {
        "type": ["integer", "null"],
        "minimum": 1,
        "maximum": high,
        "default": default,
        "description": description,
    }


EXAMPLE: Final[dict[str, Any]] = {
    "site_id": "my-website",
    "date_range": ["2024-01-01", "2024-01-31"],
    "from": {"page": "/pricing"},
    "depth": 3,
    "top": 5,
}
SCHEMAS, PATHS = described(
    PATH,
    "Journey",
    JourneyAnswer,
    summary="Which ways people take",
    description="The paths of sessions from a page or an event on, or back from one: as nodes and links, for a Sankey "
    "diagram, and as the most frequent whole paths. What the words mean: docs/journey.md.",
    properties={
        "from": {
            "description": "Where to begin; default: where the session does.",
            "anyOf": [STEP, {"type": "null"}],
        },
        "to": {
            "description": "Instead of from: where to end, and to look back from.",
            "anyOf": [STEP, {"type": "null"}],
        },
        "of": {
            "enum": [*Kind, None],
            "description": "What is a step: pages (the default), events (all others), or all.",
        },
        "depth": _number(DEPTH_MAX, DEPTH_DEFAULT, "How many steps after the first."),
        "top": _number(TOP_MAX, TOP_DEFAULT, "How many are named on each level; all others are one node."),
        "paths": _number(PATHS_MAX, PATHS_DEFAULT, "How many whole paths."),
        "collapse": {"type": ["boolean", "null"], "default": True, "description": "Is a step once that is repeated?"},
    },
    example=EXAMPLE,
)
