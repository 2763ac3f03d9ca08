"""POST /api/funnel: how many go through a list of steps; and how it is described in /openapi.json."""

from typing import Any, Final

from litestar.handlers import HTTPRouteHandler

from footfall.api.context import ApiContext
from footfall.api.posting import STEP, described, report_route
from footfall.query.definitions import NAME_CHARS_MAX
from footfall.query.funnel import LIMIT_DEFAULT, LIMIT_MAX, STEPS_MAX, STEPS_MIN, Order, Unit, parse_funnel
from footfall.query.query import Dimension
from footfall.reports.funnel import FunnelAnswer, funnel, funnel_csv

PATH: Final = "/api/funnel"


def routes(context: ApiContext) -> list[HTTPRouteHandler]:
    """The route."""
    return [report_route(context, PATH, parse_funnel, funnel, funnel_csv)]


EXAMPLE: Final[dict[str, Any]] = {
    "site_id": "my-website",
    "date_range": ["2024-01-01", "2024-01-31"],
    "steps": [{"page": "/pricing"}, {"page": "/signup"}, {"event": "purchase"}],
    "window": "7d",
    "breakdown": "visit:source",
}
SCHEMAS, PATHS = described(
    PATH,
    "Funnel",
    FunnelAnswer,
    summary="How many go through a list of steps",
    description="Steps in order, within a window, by visitor or by session: how many reach each, how many are lost "
    "before it, how long it takes; by any dimension at the first step. What the words mean: docs/funnel.md.",
    properties={
        "steps": {
            "type": "array",
            "items": STEP,
            "minItems": STEPS_MIN,
            "maxItems": STEPS_MAX,
            "description": "In their order. Either these, or funnel.",
        },
        "funnel": {"type": "string", "maxLength": NAME_CHARS_MAX, "description": "The name of a saved funnel."},
        "order": {
            "enum": [*Order, None],
            "description": "ordered (the default): anything may happen between steps; strict: nothing.",
        },
        "by": {"enum": [*Unit, None], "description": "Who has to go through all steps; default: visitor."},
        "window": {
            "type": ["string", "null"],
            "pattern": "^[1-9][0-9]{0,8}[smhd]$",
            "description": "The longest time from the first step to the last, such as 30m or 7d; default: 14d.",
        },
        "breakdown": {
            "anyOf": [{"enum": [*Dimension, None]}, {"type": "string", "pattern": "^event:props:.{1,64}$"}],
            "description": "A dimension of POST /api/query; its value at the first step.",
        },
        "limit": {
            "type": ["integer", "null"],
            "minimum": 1,
            "maximum": LIMIT_MAX,
            "default": LIMIT_DEFAULT,
            "description": "How many values; all others are one group.",
        },
    },
    example=EXAMPLE,
)
