"""How Footfall is: for people, for load balancers and for orchestrators; bounded in time whatever the backends do."""

import time
from typing import Any, Final, Literal

import msgspec
from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler

from footfall import __version__
from footfall.api.context import ApiContext
from footfall.api.parameters import read
from footfall.api.probe import Probe
from footfall.errors import Unavailable
from footfall.queue.base import Depth
from footfall.registry.base import Scope
from footfall.store.base import Check

Status = Literal["ok", "degraded", "down"]

LAG_MAX_S: Final = 60.0
"""An event that has waited longer than this is worth a person's look."""


class QueueHealth(msgspec.Struct, frozen=True):
    """How the queue is; the numbers are jobs, null while it does not answer."""

    status: Literal["ok", "down"]
    kind: str
    waiting: int | None = None
    active: int | None = None
    delayed: int | None = None
    failed: int | None = None
    message: str = ""


class StoreHealth(msgspec.Struct, frozen=True):
    """How the store is."""

    status: Literal["ok", "down"]
    kind: str
    latency_ms: float | None = None
    message: str = ""


class WorkerHealth(msgspec.Struct, frozen=True):
    """How the worker is: "elsewhere" where this process has none, then only the lag tells."""

    status: Literal["running", "stopped", "failing", "elsewhere"]
    lag_seconds: float | None = None


class Health(msgspec.Struct, frozen=True, omit_defaults=True):
    """How everything is. Who may not read is told the status alone.

    "down" (503): no event can be accepted. "degraded" (200): events are accepted, and reports fail or lag behind.
    """

    status: Status
    version: str | None = None
    uptime_seconds: float | None = None
    queue: QueueHealth | None = None
    store: StoreHealth | None = None
    worker: WorkerHealth | None = None


class Sign(msgspec.Struct, frozen=True):
    """A sign of life."""

    status: Status


def routes(context: ApiContext) -> list[HTTPRouteHandler]:
    """The three health routes."""
    depth = Probe(context.queue.depth)
    intake = Probe(context.intake.check)
    check = Probe(context.store.check)

    @get("/api/health", operation_id="health", summary="How everything is", tags=["Health"])
    async def health(request: Request[Any, Any, Any]) -> Response[Health]:
        """Queue, store and worker. Who may not read is told the status alone."""
        read(request.scope["query_string"], ())
        caller = await context.caller(request.scope)
        found = await _look(context, depth, intake, check)
        shown = found if caller.allows_somewhere(Scope.READ) else Health(status=found.status)
        return Response(shown, status_code=503 if found.status == "down" else 200)

    @get("/api/health/live", operation_id="live", summary="Does the process answer?", tags=["Health"])
    async def live() -> Sign:
        """For an orchestrator: restart what does not answer this."""
        return Sign("ok")

    @get("/api/health/ready", operation_id="ready", summary="May it be sent events?", tags=["Health"])
    async def ready() -> Response[Sign]:
        """For a load balancer: 503 while events can not be accepted."""
        is_ready = (await _queue(context, depth, intake))[0].status == "ok"
        return Response(Sign("ok" if is_ready else "down"), status_code=200 if is_ready else 503)

    return [health, live, ready]


async def _look(context: ApiContext, depth: Probe[Depth], intake: Probe[None], check: Probe[Check]) -> Health:
    queue, lag_s = await _queue(context, depth, intake)
    store = await _store(context, check)
    state = context.worker_status()
    worker = WorkerHealth("elsewhere" if state is None else _named(state.state), lag_s)
    status: Status = "ok"
    if queue.status == "down":
        status = "down"
    elif store.status == "down" or worker.status in ("stopped", "failing") or (lag_s or 0.0) > LAG_MAX_S:
        status = "degraded"
    uptime_s = round(time.monotonic() - context.started_at, 1)
    return Health(status, __version__, uptime_s, queue, store, worker)


def _named(state: str) -> Literal["running", "stopped", "failing"]:
    for known in ("running", "stopped"):
        if str(state) == known:
            return known
    return "failing"


async def _queue(context: ApiContext, depth: Probe[Depth], intake: Probe[None]) -> tuple[QueueHealth, float | None]:
    """How the queue is, and its lag: it is down where it does not answer, and where it does and accepts nothing."""
    kind = context.queue.kind
    try:
        found = await depth()
    except Unavailable as error:
        return QueueHealth("down", kind, message=str(error)), None
    status: Literal["ok", "down"] = "ok"
    message = " ".join(context.queue.advice)
    try:
        await intake()
    except Unavailable as error:
        status, message = "down", f"no event can be accepted: {error}"
    health = QueueHealth(status, kind, found.waiting, found.active, found.delayed, found.failed, message)
    return health, round(found.oldest_s, 3)


async def _store(context: ApiContext, check: Probe[Check]) -> StoreHealth:
    kind = context.store.kind
    try:
        found = await check()
    except Unavailable as error:
        return StoreHealth("down", kind, message=str(error))
    return StoreHealth("ok" if found.ok else "down", kind, round(found.latency_ms, 3), found.message)
