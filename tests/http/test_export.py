"""GET /api/export: what comes out is what went in, whole or visibly not, and only for whom it is meant."""

import asyncio
import csv
import gzip
import io
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pyarrow import parquet  # type: ignore[import-untyped]

from footfall.errors import Unavailable
from footfall.query.definitions import Definitions, Goal, Segment
from footfall.query.events import Column, EventsQuery, Page
from footfall.registry.base import Scope
from footfall.reports.export import PAGE_EVENTS_MAX
from footfall.settings import AuthMode, Settings
from footfall.store.base import Batch
from tests.conformance.stores import NOON, an_event, encoded
from tests.fakes_store import MemoryStore
from tests.running import Running, running

DAY = {"site_id": "shop", "from": "2024-01-15", "to": "2024-01-15"}
COLUMNS = [column for column in Column if column is not Column.USER_ID]


@pytest.fixture
async def footfall(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as made:
        yield made


async def store(footfall: Running, count: int, **changes: Any) -> list[str]:
    """The ids of so many events, a second apart, that are in the store now."""
    events = [an_event(NOON + timedelta(seconds=number), path=f"/{number}", **changes) for number in range(count)]
    await footfall.store.write(Batch(encoded(*events), redelivered=False))
    return [event.id.hex() for event in events]


def lines(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    return [json.loads(line) for line in response.text.split("\n")[:-1]]


async def test_a_file_of_many_pages_has_every_event_once_in_order(footfall: Running) -> None:
    # More than a first page, so that the next one has another length.
    ids = await store(footfall, 5_000)
    asked = {**DAY, "format": "ndjson"}
    response = await footfall.http.get("/api/export", params=asked)
    assert [line["event_id"] for line in lines(response)] == ids
    assert response.headers["content-type"] == "application/x-ndjson"
    assert response.headers["content-disposition"] == 'attachment; filename="shop-2024-01-15-2024-01-15.ndjson"'


async def test_csv_begins_with_the_names_of_its_columns(footfall: Running) -> None:
    ids = await store(footfall, 3, user_id="anna@example.org")
    rows = list(csv.reader(io.StringIO((await footfall.http.get("/api/export", params=DAY)).text, newline="")))
    assert rows[0] == COLUMNS
    assert [row[0] for row in rows[1:]] == ids


async def test_parquet_of_many_pages_is_one_file(footfall: Running) -> None:
    ids = await store(footfall, 5_000)
    response = await footfall.http.get("/api/export", params={**DAY, "format": "parquet"})
    table = parquet.read_table(io.BytesIO(response.content))
    assert table.column("event_id").to_pylist() == ids
    assert table.column_names == COLUMNS


@pytest.mark.parametrize("form", ["csv", "ndjson", "parquet"])
async def test_no_events_are_a_whole_file(footfall: Running, form: str) -> None:
    response = await footfall.http.get("/api/export", params={**DAY, "format": form})
    assert response.status_code == 200
    if form == "parquet":
        assert parquet.read_table(io.BytesIO(response.content)).num_rows == 0
    else:
        assert response.text == (",".join(COLUMNS) + "\r\n" if form == "csv" else "")


async def test_days_are_those_of_the_zone(footfall: Running) -> None:
    await store(footfall, 1)
    asked = {**DAY, "format": "ndjson", "timezone": "Pacific/Auckland"}
    assert lines(await footfall.http.get("/api/export", params=asked)) == []
    asked |= {"from": "2024-01-16", "to": "2024-01-16"}
    assert [line["occurred_at"] for line in lines(await footfall.http.get("/api/export", params=asked))] == [
        "2024-01-15T12:00:00.000Z"
    ]


async def test_filters_are_those_of_the_general_question(footfall: Running) -> None:
    ids = await store(footfall, 20)
    asked = {**DAY, "format": "ndjson", "filters": '[["is", "event:page", ["/7", "/9"]]]'}
    response = await footfall.http.get("/api/export", params=asked)
    assert [line["event_id"] for line in lines(response)] == [ids[7], ids[9]]


async def test_goals_and_segments_in_filters_are_those_of_the_site(footfall: Running) -> None:
    ids = await store(footfall, 20)
    segment = Segment("Ones", [["matches", "event:page", ["^/1"]]])
    await footfall.registry.save_definitions("shop", Definitions((Goal("Buy", page="/12"),), (segment,)), 0)

    async def exported(filters: str) -> list[str]:
        asked = {**DAY, "format": "ndjson", "filters": filters}
        return [line["event_id"] for line in lines(await footfall.http.get("/api/export", params=asked))]

    assert await exported('[["is", "event:goal", ["Buy"]]]') == [ids[12]]
    assert await exported('[["is", "segment", ["Ones"]], ["is_not", "event:goal", ["Buy"]]]') == [
        ids[number] for number in (1, 10, 11, 13, 14, 15, 16, 17, 18, 19)
    ]
    unknown = await footfall.http.get("/api/export", params={**DAY, "filters": '[["is", "event:goal", ["Gone"]]]'})
    assert unknown.status_code == 400
    assert "known are Buy" in unknown.text


async def test_it_is_packed_for_those_who_unpack(footfall: Running) -> None:
    ids = await store(footfall, 300)
    asked = {**DAY, "format": "ndjson"}
    async with footfall.http.stream("GET", "/api/export", params=asked, headers={"accept-encoding": "br, gzip"}) as got:
        assert got.headers["content-encoding"] == "gzip"
        raw = b"".join([part async for part in got.aiter_raw()])
    assert [json.loads(line)["event_id"] for line in gzip.decompress(raw).splitlines()] == ids
    for plain in ("identity", "gzip;q=0"):
        response = await footfall.http.get("/api/export", params=asked, headers={"accept-encoding": plain})
        assert "content-encoding" not in response.headers
        assert len(lines(response)) == 300


async def test_user_ids_are_only_for_whom_asks_and_may(tmp_path: Path) -> None:
    async with running(tmp_path, Settings(auth=AuthMode.ON)) as footfall:
        await store(footfall, 1, user_id="anna@example.org")
        reader, admin = await footfall.key(Scope.READ), await footfall.key(Scope.ADMIN)
        asked = {**DAY, "format": "ndjson"}
        with_ids = {**asked, "user_ids": "true"}
        get = footfall.http.get
        assert (await get("/api/export", params=asked)).status_code == 401
        assert (await get("/api/export", params=with_ids, headers=reader)).status_code == 403
        other = await footfall.key(Scope.READ, site_ids=("other",))
        assert (await get("/api/export", params=asked, headers=other)).status_code == 403
        plain = await get("/api/export", params=asked, headers=reader)
        assert "anna" not in plain.text
        (line,) = lines(await get("/api/export", params=with_ids, headers=admin))
        assert line["user_id"] == "anna@example.org"


async def test_every_wrong_parameter_is_named_at_once(footfall: Running) -> None:
    response = await footfall.http.get(
        "/api/export",
        params={"site_id": "?", "from": "x", "format": "xlsx", "filters": "[[", "user_ids": "1", "timezone": "Mars"},
    )
    assert response.status_code == 400
    named = {fault["field"] for fault in response.json()["details"]}
    assert named == {"site_id", "from", "to", "format", "filters", "user_ids", "timezone"}


@pytest.mark.parametrize(
    "filters", ['[["is", "visit:entry_page", ["/"]]]', '[["not", ["has_done", ["is", "event:page", ["/"]]]]]']
)
async def test_what_needs_a_session_is_refused_by_name(footfall: Running, filters: str) -> None:
    response = await footfall.http.get("/api/export", params={**DAY, "filters": filters})
    assert response.status_code == 400
    (fault,) = response.json()["details"]
    assert fault["field"] == "filters"
    assert "raw events" in fault["message"]


async def test_the_head_alone_costs_nothing(footfall: Running) -> None:
    assert isinstance(footfall.store, MemoryStore)
    footfall.store.is_down = True
    response = await footfall.http.head("/api/export", params=DAY)
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-type"] == "text/csv; charset=utf-8"


class Failing(MemoryStore):
    """Answers so many pages, and is then down; a page may be too long for it."""

    def __init__(self, pages: int, limit_max: int = PAGE_EVENTS_MAX) -> None:
        super().__init__()
        self.pages_left = pages
        self.limit_max = limit_max
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.asked = 0

    async def page(self, query: EventsQuery) -> Page:
        await self.go_on.wait()
        self.asked += 1
        if not self.pages_left or query.limit > self.limit_max:
            raise Unavailable("store: down")
        self.pages_left -= 1
        return await super().page(query)


async def test_a_store_that_is_down_at_the_beginning_is_503(tmp_path: Path) -> None:
    async with running(tmp_path, store=Failing(pages=0)) as footfall:
        for _ in range(5):  # more than there are places for exports: each is given back
            response = await footfall.http.get("/api/export", params=DAY)
            assert response.status_code == 503
            assert response.headers["retry-after"]


async def test_one_that_fails_on_the_way_breaks_off_and_is_not_taken_for_the_whole(tmp_path: Path) -> None:
    async with running(tmp_path, store=Failing(pages=1)) as footfall:
        await store(footfall, 3_000)
        with pytest.raises(httpx.TransportError):
            await footfall.http.get("/api/export", params=DAY)


async def test_a_page_too_long_for_the_store_is_asked_for_in_smaller_ones(tmp_path: Path) -> None:
    async with running(tmp_path, store=Failing(pages=1_000, limit_max=300)) as footfall:
        ids = await store(footfall, 3_000)
        response = await footfall.http.get("/api/export", params={**DAY, "format": "ndjson"})
        assert [line["event_id"] for line in lines(response)] == ids


async def test_so_many_at_once_and_the_next_is_told_to_wait(tmp_path: Path) -> None:
    failing = Failing(pages=1_000)
    async with running(tmp_path, store=failing) as footfall:
        await store(footfall, 10)
        failing.go_on.clear()
        under_way = [asyncio.create_task(footfall.http.get("/api/export", params=DAY)) for _ in range(3)]

        async def one_is_refused() -> bool:
            return any(task.done() for task in under_way)

        await footfall.until(one_is_refused)
        failing.go_on.set()
        responses = await asyncio.gather(*under_way)
        assert sorted(response.status_code for response in responses) == [200, 200, 429]
        assert (await footfall.http.get("/api/export", params=DAY)).status_code == 200


class Endless(MemoryStore):
    """Answers a first page, and never a second."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.is_cancelled = False

    async def page(self, query: EventsQuery) -> Page:
        self.asked += 1
        if self.asked > 1:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.is_cancelled = True
                raise
        return await super().page(query)


async def test_a_reader_that_goes_away_stops_the_work(tmp_path: Path) -> None:
    endless = Endless()
    async with running(tmp_path, store=endless) as footfall:
        await store(footfall, 3_000)
        async with footfall.http.stream("GET", "/api/export", params=DAY) as got:
            async for _ in got.aiter_raw():
                break

        async def is_cancelled() -> bool:
            return endless.is_cancelled

        await footfall.until(is_cancelled)


async def test_a_server_that_stops_breaks_an_export_off(tmp_path: Path) -> None:
    endless = Endless()
    async with running(tmp_path, store=endless) as footfall:
        await store(footfall, 3_000)
        reading = asyncio.create_task(_read(f"{footfall.url}/api/export", DAY))

        async def has_begun() -> bool:
            return endless.asked > 1

        await footfall.until(has_begun)
    with pytest.raises(httpx.TransportError):
        await reading


async def _read(url: str, params: dict[str, str]) -> bytes:
    async with httpx.AsyncClient(trust_env=False) as http:
        return (await http.get(url, params=params)).content
