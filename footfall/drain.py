"""Drain: gets what waits in the queue into the store, for a command that wants to know the end of it."""

import asyncio
import time
from http import HTTPStatus

import httpx

from footfall.errors import InUse
from footfall.queue.base import Queue
from footfall.registry.base import Registry
from footfall.settings import Settings, address
from footfall.wire import open_store
from footfall.worker import Worker

STUCK_S = 30.0
"""A queue from which nothing has gone for so long is no longer waited for."""
POLL_S = 0.1


async def store_waiting(
    settings: Settings, queue: Queue, registry: Registry, site_id: str, import_id: str
) -> int | None:
    """See to it that all that waits in *queue* now is stored; how many events of this import are in the store then.

    A worker runs here for as long as it takes, beside the others where the store is a server. Where another process
    holds the embedded store, its own worker is waited for, as long as it gets on; None if it does not, or does not say
    how many there are.
    """
    try:
        store = await open_store(settings, registry)
    except InUse:
        return await _stored_by_another(settings, queue, site_id, import_id)
    try:
        worker = Worker(queue, store, concurrency=settings.queue_concurrency)
        working = asyncio.create_task(worker.run())
        try:
            drained = await _drained(queue)
        finally:
            await worker.stop()
            await asyncio.wait({working})  # cancelled where a write did not end in time: no failure of ours
        return (await store.ledger(site_id, import_id)).stored if drained else None
    finally:
        await store.close()


async def _stored_by_another(settings: Settings, queue: Queue, site_id: str, import_id: str) -> int | None:
    if not await _drained(queue):
        return None
    question = {"site_id": site_id, "import_id": import_id}
    async with httpx.AsyncClient(base_url=address(settings), timeout=10) as http:
        try:
            answer = await http.get("/api/ledger", params=question)
        except httpx.TransportError:
            return None
    return int(answer.json()["data"]["stored"]) if answer.status_code == HTTPStatus.OK else None


async def _drained(queue: Queue) -> bool:
    """Wait until what is unfinished now is finished. False when nothing moves any more."""
    began_s = time.monotonic()
    fewest, moved_s = 2**63, began_s
    while True:
        depth = await queue.depth()
        if depth.unfinished_events == 0 or depth.oldest_s < time.monotonic() - began_s:
            return True
        if depth.unfinished_events < fewest:
            fewest, moved_s = depth.unfinished_events, time.monotonic()
        if time.monotonic() - moved_s > STUCK_S:
            return False
        await asyncio.sleep(POLL_S)
