"""What every store must prove of the events themselves: pages that leave nothing out, and come back as they went in."""

import csv
import io
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pyarrow import parquet  # type: ignore[import-untyped]

from footfall.event import PROPS_MAX, Event
from footfall.query.events import Column, EventsQuery, Form, Order, Page
from footfall.query.filters import parse_filters
from footfall.query.query import Range
from footfall.reports.parquet import ParquetFile
from footfall.store.base import Batch, Store
from tests.conformance.stores import NOON, STORES, an_event, at_ms, encoded
from tests.conformance.test_store import HOSTILE
from tests.fakes_events import instant, iso, value

SPAN = Range(NOON - timedelta(hours=1), NOON + timedelta(hours=1), ZoneInfo("UTC"))
LATER = at_ms(NOON + timedelta(days=365))


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    made = await STORES[request.param](tmp_path)
    yield made
    await made.close()


def asking(**changes: Any) -> EventsQuery:
    plain: dict[str, Any] = {
        "site_id": "shop",
        "range": SPAN,
        "received_before_ms": LATER,
        "columns": (Column.EVENT_ID,),
        "form": Form.NDJSON,
        "limit": 100,
    }
    return EventsQuery(**(plain | changes))


async def pages(store: Store, **changes: Any) -> list[Page]:
    """All of them, one after the other."""
    found = [await store.page(asking(**changes))]
    while found[-1].last is not None:
        assert len(found) < 1_000
        found.append(await store.page(asking(**changes, after=found[-1].last)))
    return found


def lines(found: list[Page]) -> list[dict[str, Any]]:
    return [json.loads(line) for page in found for line in page.body.decode().split("\n")[:-1]]


async def ids(store: Store, **changes: Any) -> list[str]:
    return [line["event_id"] for line in lines(await pages(store, **changes))]


async def write(store: Store, *events: Event) -> list[Event]:
    await store.write(Batch(encoded(*events), redelivered=False))
    return list(events)


def hostile_events() -> list[Event]:
    return [
        an_event(
            NOON + timedelta(milliseconds=place),
            name=text[:64],
            path=text,
            title=text,
            source=text,
            user_id=text,
            visitor_id=2**64 - 1 - place,
            props={text[:60] + str(number): text for number in range(3)},
            revenue=Decimal("-999999999999.999999") if place % 2 else Decimal("12.5"),
            currency="EUR",
            interactive=bool(place % 2),
        )
        for place, text in enumerate(HOSTILE)
    ]


@pytest.mark.parametrize("order", Order)
async def test_pages_leave_nothing_out_and_show_nothing_twice(store: Store, order: Order) -> None:
    # Many in one millisecond, over the edges of pages; the two orders are not the same.
    events = [
        an_event(NOON + timedelta(milliseconds=number // 9), received_at_ms=at_ms(NOON) + (number * 7) % 5)
        for number in range(60)
    ]
    await write(store, *reversed(events[::2]))
    await write(store, *events[1::2], an_event(site_id="other"))
    if order is Order.OCCURRED:
        wanted = [event.id.hex() for event in sorted(events, key=lambda event: (event.occurred_at_ms, event.id))]
    else:
        wanted = [event.id.hex() for event in sorted(events, key=lambda event: (event.received_at_ms, event.id))]
    for limit in (1, 7, 60, 61):
        found = await pages(store, order=order, limit=limit)
        assert [line["event_id"] for line in lines(found)] == wanted
        assert sum(page.count for page in found) == 60


async def test_what_occurred_or_came_outside_of_the_bounds_is_left_out(store: Store) -> None:
    early = an_event(SPAN.start - timedelta(milliseconds=1))
    first = an_event(SPAN.start, received_at_ms=1_000)
    last = an_event(SPAN.end - timedelta(milliseconds=1), received_at_ms=2_000)
    late = an_event(SPAN.end)
    await write(store, early, first, last, late)
    assert await ids(store) == [first.id.hex(), last.id.hex()]
    assert await ids(store, received_from_ms=1_001) == [last.id.hex()]
    assert await ids(store, received_before_ms=2_000) == [first.id.hex()]
    assert await ids(store, received_from_ms=1_000, received_before_ms=2_001) == [first.id.hex(), last.id.hex()]


async def test_hostile_text_comes_back_as_lines_of_json(store: Store) -> None:
    events = await write(store, *hostile_events())
    for told, event in zip(lines(await pages(store, columns=tuple(Column), limit=4)), events, strict=True):
        assert list(told) == list(Column)
        for column in Column:
            wanted = value(event, column)
            if isinstance(wanted, datetime):
                wanted = iso(wanted)
            assert told[column] == (float(wanted) if isinstance(wanted, Decimal) else wanted), column


async def test_hostile_text_comes_back_as_csv(store: Store) -> None:
    events = await write(store, *hostile_events(), an_event(NOON + timedelta(seconds=1)))
    body = b"".join([page.body for page in await pages(store, columns=tuple(Column), form=Form.CSV, limit=4)])
    rows = list(csv.reader(io.StringIO(body.decode(), newline="")))
    assert len(rows) == len(events)
    for row, event in zip(rows, events, strict=True):
        for cell, column in zip(row, Column, strict=True):
            wanted = value(event, column)
            if column is Column.PROPS:
                assert json.loads(cell) == wanted
            elif isinstance(wanted, Decimal):
                assert Decimal(cell) == wanted
            elif isinstance(wanted, bool):
                assert cell == str(wanted).lower()
            else:
                assert cell == (iso(wanted) if isinstance(wanted, datetime) else wanted or "")


async def test_pages_of_parquet_become_one_file_that_others_can_read(store: Store) -> None:
    events = await write(store, *hostile_events(), an_event(NOON + timedelta(seconds=1)))
    file = ParquetFile()
    found = await pages(store, columns=tuple(Column), form=Form.PARQUET, limit=4)
    body = b"".join([*(file.add(page.body) for page in found), file.end()])
    opened = parquet.ParquetFile(io.BytesIO(body))
    assert opened.metadata.num_row_groups == len([page for page in found if page.count])
    table = opened.read()
    assert table.column_names == list(Column)
    for row, event in zip(table.to_pylist(), events, strict=True):
        for column in Column:
            told = dict(row[column]) if column is Column.PROPS else row[column]
            assert told == value(event, column), column


@pytest.mark.parametrize("form", Form)
async def test_no_events_are_a_whole_answer_too(store: Store, form: Form) -> None:
    page = await store.page(asking(form=form, columns=tuple(Column)))
    assert (page.count, page.last) == (0, None)
    if form is not Form.PARQUET:
        assert page.body == b""
        return
    file = ParquetFile()
    table = parquet.read_table(io.BytesIO(file.add(page.body) + file.end()))
    assert (table.num_rows, table.column_names) == (0, list(Column))


async def test_filters_judge_an_event_by_itself(store: Store) -> None:
    one = an_event(NOON, country="FR", path="/a", props={"plan": "pro"})
    # Of the same visitor and session, which began in France.
    two = an_event(NOON + timedelta(minutes=1), country="DE", path="/b")
    await write(store, one, two)

    async def met(*filters: list[Any]) -> list[str]:
        return await ids(store, filter=parse_filters(list(filters)), limit=1)

    assert await met(["is", "visit:country", ["DE"]]) == [two.id.hex()]
    assert await met(["is_not", "visit:country", ["DE"]]) == [one.id.hex()]
    assert await met(["is", "event:props:plan", ["pro"]]) == [one.id.hex()]
    assert await met(
        ["or", [["contains", "event:page", ["B"], {"case_sensitive": False}], ["is", "visit:os", ["x"]]]]
    ) == [two.id.hex()]


async def test_dropped_events_are_in_no_page(store: Store) -> None:
    await write(store, an_event(drop_reason="bot"))
    assert await ids(store) == []


async def test_an_event_with_all_that_it_may_hold_fits_a_page(store: Store) -> None:
    props = {f"key{number}": "𝔘" * 1_024 for number in range(PROPS_MAX)}
    await write(store, *(an_event(NOON + timedelta(seconds=number), props=props) for number in range(20)))
    found = await pages(store, columns=(Column.PROPS,), limit=10)
    assert [line["props"] for line in lines(found)] == [props] * 20


def test_instants_are_utc() -> None:
    assert instant(1_705_320_000_123) == datetime(2024, 1, 15, 12, 0, 0, 123_000, UTC)
