"""POST /api/attribution: what each touchpoint is credited with; and how it is described in /openapi.json."""

from typing import Any, Final

from litestar.handlers import HTTPRouteHandler

from footfall.api.context import ApiContext
from footfall.api.posting import STEP, described, report_route
from footfall.query.attribution import (
    SHOWN_PATHS_DEFAULT,
    SHOWN_PATHS_MAX,
    Counting,
    Model,
    parse_attribution,
)
from footfall.query.query import Dimension, Scope
from footfall.reports.attribution import AttributionAnswer, attribution, attribution_csv

PATH: Final = "/api/attribution"


def routes(context: ApiContext) -> list[HTTPRouteHandler]:
    """The route."""
    return [report_route(context, PATH, parse_attribution, attribution, attribution_csv)]


EXAMPLE: Final[dict[str, Any]] = {
    "site_id": "my-website",
    "date_range": ["2024-01-01", "2024-01-31"],
    "goal": {"event": "purchase"},
    "dimension": "visit:channel",
    "models": ["first", "last", "markov"],
    "lookback": "30d",
}
_TIME: Final[dict[str, Any]] = {"type": ["string", "null"], "pattern": "^[1-9][0-9]{0,8}[smhd]$"}
_END: Final[dict[str, Any]] = {"type": "number", "minimum": 0, "maximum": 100}
SCHEMAS, PATHS = described(
    PATH,
    "Attribution",
    AttributionAnswer,
    summary="What led to conversions",
    description="The sessions before each conversion, and what each of their channels (or sources, campaigns, entry "
    "pages …) is credited with, by several models side by side. What the words mean: docs/attribution.md.",
    properties={
        "goal": STEP,
        "dimension": {
            "enum": [*(each for each in Dimension if each.scope is Scope.SESSION), None],
            "description": "What a session is called; default: visit:channel.",
        },
        "models": {
            "type": ["array", "null"],
            "items": {"enum": list(Model)},
            "minItems": 1,
            "maxItems": len(Model),
            "uniqueItems": True,
            "description": "Default: all. The first one orders the touchpoints.",
        },
        "lookback": _TIME | {"description": "How long before a conversion a session counts; default: 30d."},
        "half_life": _TIME | {"description": "Of the model time_decay; default: 7d."},
        "position": {
            "type": ["object", "null"],
            "required": ["first", "last"],
            "additionalProperties": False,
            "properties": {"first": _END, "last": _END},
            "description": "Of the model position: per cent for both ends; default: 40 and 40.",
        },
        "conversions": {"enum": [*Counting, None], "description": "Which of a visitor's count; default: every."},
        "paths": {
            "type": ["integer", "null"],
            "minimum": 0,
            "maximum": SHOWN_PATHS_MAX,
            "default": SHOWN_PATHS_DEFAULT,
            "description": "How many of the most frequent paths are shown.",
        },
    },
    required=("goal",),
    example=EXAMPLE,
)
