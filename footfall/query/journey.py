"""Journey: which ways people take through a site, from a point on or back from one, as a question to a store."""

from enum import StrEnum
from typing import Final

import msgspec

from footfall.query.query import Filter, Range
from footfall.query.steps import Step

DEPTH_MAX: Final = 8
TOP_MAX: Final = 50
PATHS_MAX: Final = 1_000


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
    depth: int = 4
    top: int = 10
    paths: int = 20
    collapse: bool = True
    filter: Filter | None = None
