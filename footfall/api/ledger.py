"""GET /api/ledger: what became of every event that was ever accepted, so that anyone can check that none was lost."""

import asyncio
from typing import Any, Final

import msgspec
from litestar import Request, get
from litestar.handlers import HTTPRouteHandler

from footfall.api.context import ApiContext
from footfall.api.parameters import Parameter, read, site_id
from footfall.door import require, require_somewhere
from footfall.queue.base import Depth
from footfall.registry.base import Scope
from footfall.store.base import Ledger

IMPORT_ID_CHARS_MAX: Final = 64
_IMPORT: Final = Parameter(
    name="import_id",
    parse=lambda text: text[:IMPORT_ID_CHARS_MAX],
    description="Only what this import brought; without it, all of it.",
    schema={"type": "string", "maxLength": IMPORT_ID_CHARS_MAX},
)
PARAMETERS: Final = (site_id(is_required=False), _IMPORT)

LOOKS_MAX: Final = 5
PAUSE_S: Final = 0.05


class Account(msgspec.Struct, frozen=True, omit_defaults=True):
    """received = stored + dropped + waiting + failed + purged, in events.

    For one site only what the store knows: a queue counts events, and does not look into them to see whose they are.
    """

    stored: int
    dropped: dict[str, int]
    """By reason."""
    site_id: str | None = None
    received: int | None = None
    waiting: int | None = None
    failed: int | None = None
    purged: int | None = None
    """Given up for good, by a person: `footfall queue purge`."""
    balanced: bool | None = None
    """False only where an event is missing or counted twice, and not because one was on its way while we looked."""


class LedgerAnswer(msgspec.Struct, frozen=True):
    """The account."""

    success: bool
    data: Account


def routes(context: ApiContext) -> list[HTTPRouteHandler]:
    """The route."""

    @get("/api/ledger", operation_id="ledger", summary="What became of every event", tags=["Reports"])
    async def ledger(request: Request[Any, Any, Any]) -> LedgerAnswer:
        """The account of all events: received = stored + dropped + waiting + failed + purged."""
        caller = await context.caller(request.scope)
        require_somewhere(caller, Scope.READ)
        asked = read(request.scope["query_string"], PARAMETERS)
        site: str | None = asked.get("site_id")
        import_id: str | None = asked.get("import_id")
        require(caller, Scope.READ, site)
        if site is not None or import_id is not None:
            found = await context.store.ledger(site, import_id)
            return LedgerAnswer(True, Account(found.stored, found.dropped, site))
        return LedgerAnswer(True, await _account(context))

    return [ledger]


async def _account(context: ApiContext) -> Account:
    """The account of everything, looked at until it adds up, a few times at most.

    Queue and store can not be read in the same instant. An event that moves between the two looks is in both, never in
    neither, if the queue is read first: so a sum below what was received is a loss. A sum above it, by the queue as it
    is afterwards, is a double, unless a job is under way, whose events are stored and not yet acknowledged.
    """
    before = await context.queue.depth()
    for look in range(LOOKS_MAX):
        if look:
            await asyncio.sleep(PAUSE_S)
            before = await context.queue.depth()
        ledger = await context.store.ledger()
        if _surplus(before, ledger) == 0:
            break
    after = await context.queue.depth()
    surplus = _surplus(before, ledger)
    is_balanced = surplus == 0 or (surplus > 0 and (_surplus(after, ledger) <= 0 or after.active > 0))
    return Account(
        stored=ledger.stored,
        dropped=ledger.dropped,
        received=before.received_events,
        waiting=before.unfinished_events,
        failed=before.failed_events,
        purged=before.purged_events,
        balanced=is_balanced,
    )


def _surplus(depth: Depth, ledger: Ledger) -> int:
    finished = ledger.stored + sum(ledger.dropped.values())
    queued = depth.unfinished_events + depth.failed_events + depth.purged_events
    return finished + queued - depth.received_events
