"""The reports that are asked for by POST, each with its route, its schemas and its description."""

from types import ModuleType
from typing import Final

from footfall.api import attribution, compare, experiment, funnel, goals_report, journey, retention

REPORTS: Final[tuple[ModuleType, ...]] = (attribution, compare, experiment, funnel, goals_report, journey, retention)
