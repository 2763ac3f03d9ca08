"""The reports that are asked for by POST, each with its route, its schemas and its description."""

from types import ModuleType
from typing import Final

from footfall.api import funnel, journey, retention

REPORTS: Final[tuple[ModuleType, ...]] = (funnel, journey, retention)
