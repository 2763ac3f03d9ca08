"""Journey: which ways people take through a site, from a point on or back from one, as a question to a store; and how
it is read from JSON."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec

from footfall.query.definitions import Definitions
from footfall.query.query import Filter, Range
from footfall.query.reading import COMMON, About, Fields, one_of, whole_number, yes_or_no
from footfall.query.steps import Step, parse_step

DEPTH_MAX: Final = 8
DEPTH_DEFAULT: Final = 4
TOP_MAX: Final = 50
TOP_DEFAULT: Final = 10
PATHS_MAX: Final = 1_000
PATHS_DEFAULT: Final = 20


class Way(StrEnum):
    """In which direction the session is walked."""

    FORWARD = "forward"
    BACK = "back"


class Kind(StrEnum):
    """What is a step of the journey: pageviews, other events, or both."""

    PAGES = "pages"
    EVENTS = "events"
    ALL = "all"


class Journey(msgspec.Struct, frozen=True, kw_only=True):
    """The paths of sessions.

    Of every session in the range that has an event which meets *filter*, the events of *kind* are steps, and those that
    meet *anchor*; not reports of engagement, unless they meet it. A pageview is called ("page", its path), any other
    event ("event", its name). Walked FORWARD they stand in order of time, equal times by id; BACK in the opposite
    order. The path begins at the first event, as walked, that meets *anchor*, without one at the first of all;
    a session without such an event has no path. With *collapse*, of neighbours in it that are called the same only
    the first stays. It has up to *depth* steps after its first, which is level 0, at the levels 1 to *depth*.

    The answer has the columns kind, level, label, next, sessions, ends, path. On every level the *top* labels with most
    sessions, ties by label, keep their names, and all others become None.
    ("node", level, label, None, sessions, ends, None): how many pass there, and for how many it was the session's last
    step (as walked). ("link", level, label, label on the next level, sessions, None, None). ("path", None, None, None,
    sessions, ends, labels): the *paths* most frequent whole paths, ties by their labels (a shorter one first), with the
    names that they really have. Nodes and links without sessions are left out.
    """

    site_id: str
    range: Range
    way: Way = Way.FORWARD
    anchor: Step | None = None
    kind: Kind = Kind.PAGES
    depth: int = DEPTH_DEFAULT
    top: int = TOP_DEFAULT
    paths: int = PATHS_DEFAULT
    collapse: bool = True
    filter: Filter | None = None


class AskedJourney(About, frozen=True, kw_only=True):
    """A request to POST /api/journey."""

    way: Way
    anchor: Step | None
    kind: Kind
    depth: int
    top: int
    paths: int
    collapse: bool


def parse_journey(body: Mapping[str, Any], definitions: Definitions) -> AskedJourney:
    """The question in a request's body, of the site that has these *definitions*. Raises Invalid with every fault."""
    fields = Fields(body, (*COMMON, "from", "to", "of", "depth", "top", "paths", "collapse"))
    about = fields.about(definitions)
    begin = fields.read("from", lambda value: parse_step(value, definitions, "from"), None)
    end = fields.read("to", lambda value: parse_step(value, definitions, "to"), None)
    kind = fields.read("of", one_of(Kind, "of"), Kind.PAGES)
    depth = fields.read("depth", whole_number("depth", 1, DEPTH_MAX), DEPTH_DEFAULT)
    top = fields.read("top", whole_number("top", 1, TOP_MAX), TOP_DEFAULT)
    paths = fields.read("paths", whole_number("paths", 1, PATHS_MAX), PATHS_DEFAULT)
    collapse = fields.read("collapse", yes_or_no("collapse"), True)
    if fields.has("from") and fields.has("to"):
        fields.fault("to", "can not be combined with from")
    fields.done()
    return AskedJourney(
        way=Way.FORWARD if end is None else Way.BACK,
        anchor=begin or end,
        kind=kind,
        depth=depth,
        top=top,
        paths=paths,
        collapse=collapse,
        **about,
    )
