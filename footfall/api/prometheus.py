"""GET /metrics: every figure of footfall.metrics, for Prometheus."""

import math
from typing import Any

from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from footfall.api.context import ApiContext
from footfall.api.probe import Probe
from footfall.door import require
from footfall.errors import Unavailable
from footfall.metrics import QUEUE_EVENTS, QUEUE_JOBS, QUEUE_LAG_SECONDS, REGISTRY
from footfall.queue.base import Depth
from footfall.registry.base import Scope


def routes(context: ApiContext) -> list[HTTPRouteHandler]:
    """The route."""
    depth = Probe(context.queue.depth)

    @get("/metrics", operation_id="metrics", summary="Figures for Prometheus", tags=["Health"], media_type="text/plain")
    async def metrics(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Counters, gauges and histograms in Prometheus' text format."""
        require(await context.caller(request.scope), Scope.READ)
        try:
            _show(await depth())
        except Unavailable:
            _show(None)
        # As a header, whole: after a media type of text the framework writes the charset that this one names already.
        return Response(generate_latest(REGISTRY), headers={"content-type": CONTENT_TYPE_LATEST})

    return [metrics]


def _show(depth: Depth | None) -> None:
    """Set the gauges; to NaN while the queue does not answer, for an old number would pass for a new one."""
    jobs = {} if depth is None else {state: getattr(depth, state) for state in _STATES}
    for state in _STATES:
        QUEUE_JOBS.labels(state).set(jobs.get(state, math.nan))
    QUEUE_EVENTS.labels("unfinished").set(math.nan if depth is None else depth.unfinished_events)
    QUEUE_EVENTS.labels("failed").set(math.nan if depth is None else depth.failed_events)
    QUEUE_LAG_SECONDS.set(math.nan if depth is None else depth.oldest_s)


_STATES = ("waiting", "active", "delayed", "failed")
