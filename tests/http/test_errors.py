"""Every error, whoever answers it, has the same three parts: success, error, details."""

from pathlib import Path

import httpx
import pytest

from footfall.registry.base import Scope
from footfall.settings import AuthMode, Settings
from footfall.store.base import Ledger
from tests.fakes_queue import MemoryQueue
from tests.fakes_store import MemoryStore
from tests.running import running

EVENT = {"site_id": "shop", "event_type": "pageview", "path": "/", "user_id": "anna"}


def parts(response: httpx.Response) -> tuple[int, list[str], bool]:
    """The status, the names of what is told, and whether details is a list without members."""
    body = response.json()
    assert body["success"] is False
    return response.status_code, list(body), body["details"] == []


@pytest.mark.parametrize("path", ["/api/event", "/api/events"])
async def test_the_collector_tells_details_also_where_there_is_nothing_to_name(tmp_path: Path, path: str) -> None:
    queue = MemoryQueue()
    body: object = EVENT if path == "/api/event" else [EVENT]
    async with running(tmp_path, Settings(rate_limit_address=60), queue=queue) as footfall:
        http = footfall.http
        found = [
            parts(await http.put(path, json=body)),
            parts(await http.post(path, content=b"x" * 6_000_000)),
            parts(await http.post(path, json=body, headers={"authorization": "Bearer ff_wrong"})),
        ]
        queue.is_down = True
        found.append(parts(await http.post(path, json=body)))
        while (answer := await http.post(path, json=body)).status_code != 429:
            assert answer.status_code == 503
        found.append(parts(answer))
    assert found == [(status, ["success", "error", "details"], True) for status in (405, 413, 401, 503, 429)]


async def test_the_api_tells_details_also_where_there_is_nothing_to_name(tmp_path: Path) -> None:
    async with running(tmp_path, Settings(auth=AuthMode.ON)) as footfall:
        http, key = footfall.http, await footfall.key(Scope.INGEST)
        found = [
            parts(await http.get("/api/sites")),
            parts(await http.get("/api/sites", headers=key)),
            parts(await http.get("/api/nothing")),
            parts(await http.delete("/api/sites")),
        ]
    assert found == [(status, ["success", "error", "details"], True) for status in (401, 403, 404, 405)]


async def test_a_bug_tells_details_too(tmp_path: Path) -> None:
    class Broken(MemoryStore):
        async def ledger(self, site_id: str | None = None, import_id: str | None = None) -> Ledger:
            raise ZeroDivisionError

    async with running(tmp_path, store=Broken()) as footfall:
        assert parts(await footfall.http.get("/api/ledger")) == (500, ["success", "error", "details"], True)


async def test_the_description_promises_details_in_every_error(tmp_path: Path) -> None:
    async with running(tmp_path) as footfall:
        described = (await footfall.http.get("/openapi.json")).json()
    assert described["components"]["schemas"]["ErrorBody"]["required"] == ["success", "error", "details"]
