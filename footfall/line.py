"""Line: what a long answer must know of its connection and ASGI does not tell: that it shall end, and how to cut it."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

KEY: Final = "footfall.line"
"""Under which a request's scope has its line."""


class Line:
    """One connection, as seen from the answers that are sent on it."""

    def __init__(self, cut: Callable[[], None]) -> None:
        self.cut = cut
        """Close it now, with what was not sent yet: the other side sees that something is missing."""
        self.ending = asyncio.Event()
        """Set once the process stops: what could go on for ever shall end."""


def _nothing() -> None:
    """There is no connection to cut."""


def line_of(scope: Mapping[str, Any]) -> Line:
    """The line of a request; one that never ends where the server is not ours."""
    found = scope.get(KEY)
    return found if isinstance(found, Line) else Line(_nothing)
