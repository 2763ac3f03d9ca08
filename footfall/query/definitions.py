"""Definitions: what the people of one site have given a name to: its goals, segments and funnels."""

from enum import StrEnum
from typing import Any, Final

import msgspec

GOALS_MAX: Final = 500
SEGMENTS_MAX: Final = 500
FUNNELS_MAX: Final = 200
NAME_CHARS_MAX: Final = 120
PAGE_CHARS_MAX: Final = 512
WILDCARDS_MAX: Final = 10
GOAL_PROPS_MAX: Final = 10
DEFINITIONS_BYTES_MAX: Final = 1024 * 1024
"""Of all definitions of a site, as JSON."""


class WeekStart(StrEnum):
    """The day on which a site's weeks begin."""

    MONDAY = "monday"
    SUNDAY = "sunday"


class Goal(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What counts as success: an event of a name, or a pageview of a page; exactly one of the two."""

    name: str
    """1 to NAME_CHARS_MAX characters, once in a site, whatever the case."""
    event: str = ""
    """The event's name."""
    page: str = ""
    """A path. `*` stands for any characters but a slash, `**` for any at all."""
    props: dict[str, str] = {}
    """Properties that the event must have, each with this value."""


class Segment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A named filter: `["is", "segment", [name]]` in a query stands for it."""

    name: str
    filters: list[Any]
    """As in POST /api/query; may not name a segment itself."""


class SavedFunnel(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A named funnel: the part of a request to POST /api/funnel that does not change from one asking to the next."""

    name: str
    steps: list[Any]
    options: dict[str, Any] = {}
    """Order, window and unit, by the names of the request."""


class Definitions(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """All of one site's; names are unique within each kind."""

    goals: tuple[Goal, ...] = ()
    segments: tuple[Segment, ...] = ()
    funnels: tuple[SavedFunnel, ...] = ()
    version: int = 0
    """Counts the changes; 0: nothing was ever saved. Who saves says which version the change was made to."""
