"""Closes connections that hold a place and do not get on: one look at all of them every few seconds, and no timer each.

A stranger who opens connections and sends nothing, or half a request, would else use up the file descriptors.
"""

import asyncio
from collections.abc import Collection
from enum import Enum, auto
from typing import Any, Protocol, cast
from weakref import WeakKeyDictionary

from uvicorn.server import ServerState

LOOK_S = 5.0
"""How often it looks, and by how much a limit may be passed."""
IDLE_S = 75.0
"""Without a request: from the start, or since the last answer."""
HEAD_S = 20.0
"""From the first byte of a request until its headers are complete."""
BODY_S = 60.0
"""From the first byte of a request until it is complete. The collector is stricter and says more (body.py)."""


class Stage(Enum):
    """How far the request has come."""

    IDLE = auto()
    """None has begun, or the last one is complete: then its answer may be under way."""
    HEAD = auto()
    BODY = auto()


class Watched(Protocol):
    """A connection."""

    cycle: Any
    """uvicorn's request under way, or None."""
    stage: Stage
    since_s: float

    def time_out(self) -> None:
        """End it."""


class Watch:
    """Looks after the connections of one server."""

    def __init__(self, connections: Collection[Watched]) -> None:
        self._connections = connections
        self._is_looking = False
        self.now_s = 0.0
        """The loop's time at the last look, which is exact enough and costs a request nothing."""

    def begin(self, loop: asyncio.AbstractEventLoop) -> float:
        """A connection has come; returns the time."""
        if not self._is_looking:
            self._is_looking = True
            self.now_s = loop.time()
            loop.call_later(LOOK_S, self._look, loop)
        return self.now_s

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self.now_s = loop.time()
        for connection in tuple(self._connections):
            stage = connection.stage
            cycle = connection.cycle
            is_answering = cycle is not None and not cycle.response_complete
            if is_answering and stage is not Stage.BODY:
                # How long an answer takes is ours to say; only a body that does not end is the sender's fault.
                continue
            # since_s may be as much as one look too early, and nobody is cut off before the time.
            if self.now_s - connection.since_s > _LIMITS[stage]() + LOOK_S:
                connection.time_out()
        self._is_looking = bool(self._connections)
        if self._is_looking:
            loop.call_later(LOOK_S, self._look, loop)


_LIMITS = {Stage.IDLE: lambda: IDLE_S, Stage.HEAD: lambda: HEAD_S, Stage.BODY: lambda: BODY_S}

_watches: WeakKeyDictionary[ServerState, Watch] = WeakKeyDictionary()


def watch_of(state: ServerState) -> Watch:
    """The one watch of a server."""
    watch = _watches.get(state)
    if watch is None:
        watch = _watches[state] = Watch(cast("Collection[Watched]", state.connections))
    return watch
