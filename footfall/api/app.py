"""The HTTP API around registry and reports: everything that is not the hot path, as one ordinary application."""

from litestar import Litestar
from litestar.handlers import HTTPRouteHandler

from footfall.api import definitions, description, export, health, ledger, live, pages, prometheus, query, sites, stats
from footfall.api.context import ApiContext
from footfall.api.edge import ASGIApp, Edge
from footfall.api.failures import HANDLERS
from footfall.api.reports import REPORTS

__all__ = ["ApiContext", "build_api", "build_probes"]


def build_api(context: ApiContext) -> ASGIApp:
    """The application, to be put behind the collector, which answers the ingestion routes itself."""

    def described() -> list[HTTPRouteHandler]:
        rooms = (stats, sites, live, ledger, health, prometheus)
        return [handler for room in rooms for handler in room.routes(context)]

    app = Litestar(
        [
            *described(),
            *query.routes(context),
            *(handler for report in REPORTS for handler in report.routes(context)),
            *export.routes(context),
            *definitions.routes(context),
            *pages.routes(),
            *description.routes(described),
        ],
        debug=False,
        exception_handlers=HANDLERS,
        logging_config=None,
        openapi_config=None,
    )
    return Edge(app)  # type: ignore[arg-type]


def build_probes(context: ApiContext) -> ASGIApp:
    """What a process without pages answers: how it is, and its figures."""
    handlers = [handler for room in (health, prometheus) for handler in room.routes(context)]
    app = Litestar(handlers, debug=False, exception_handlers=HANDLERS, logging_config=None, openapi_config=None)
    return Edge(app)  # type: ignore[arg-type]
