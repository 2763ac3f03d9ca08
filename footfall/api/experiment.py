"""POST /api/experiment: which variant did best, and how sure that is; and how it is described in /openapi.json."""

from typing import Any, Final

from litestar.handlers import HTTPRouteHandler

from footfall.api.context import ApiContext
from footfall.api.posting import STEP, described, report_route
from footfall.event import PROP_KEY_CHARS_MAX, PROP_VALUE_CHARS_MAX
from footfall.query.experiment import PART_MAX, VARIANTS_MAX, parse_experiment
from footfall.reports.experiment import ExperimentAnswer, experiment, experiment_csv

PATH: Final = "/api/experiment"


def routes(context: ApiContext) -> list[HTTPRouteHandler]:
    """The route."""
    return [report_route(context, PATH, parse_experiment, experiment, experiment_csv)]


EXAMPLE: Final[dict[str, Any]] = {
    "site_id": "my-website",
    "date_range": ["2024-01-01", "2024-01-31"],
    "prop": "experiment:checkout",
    "goal": {"event": "purchase"},
    "control": "control",
    "split": {"control": 50, "one-page": 50},
}
SCHEMAS, PATHS = described(
    PATH,
    "Experiment",
    ExperimentAnswer,
    summary="Which variant did best",
    description="Visitors by the variant they saw, how many converted afterwards, and revenue per visitor; the "
    "probability to be best, the lift over the control, a p-value that stays valid however often one looks, and a "
    "warning where visitors were not divided as meant. What the words mean: docs/experiment.md.",
    properties={
        "prop": {
            "type": "string",
            "minLength": 1,
            "maxLength": PROP_KEY_CHARS_MAX,
            "description": "The property of events whose values are the variants.",
        },
        "goal": STEP,
        "control": {
            "type": ["string", "null"],
            "minLength": 1,
            "maxLength": PROP_VALUE_CHARS_MAX,
            "description": "The variant that the others are compared with; default: control, or the first by name.",
        },
        "split": {
            "type": ["object", "null"],
            "minProperties": 2,
            "maxProperties": VARIANTS_MAX,
            "additionalProperties": {"type": "number", "exclusiveMinimum": 0, "maximum": PART_MAX},
            "description": "The variants, each with the part of visitors that should see it, on any scale; default: "
            "the values that are found, each the same part.",
        },
    },
    required=("prop", "goal"),
    example=EXAMPLE,
)
