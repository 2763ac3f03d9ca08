"""Pages of events in plain Python, with the standard library's and pyarrow's encoders, proved by the store's suite."""

import csv
import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow  # type: ignore[import-untyped]
from pyarrow import parquet

from footfall.event import Event
from footfall.query.events import Column, EventsQuery, Form, Order, Page, Place
from tests.fakes_questions import Session, meets

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TYPES = {
    Column.OCCURRED_AT: pyarrow.timestamp("ms", "UTC"),
    Column.RECEIVED_AT: pyarrow.timestamp("ms", "UTC"),
    Column.PROPS: pyarrow.map_(pyarrow.string(), pyarrow.string()),
    Column.REVENUE: pyarrow.decimal128(19, 6),
    Column.INTERACTIVE: pyarrow.bool_(),
}


def page_of(query: EventsQuery, events: Sequence[Event]) -> Page:
    """The page that is asked for, of all of a site's *events*."""

    def place(event: Event) -> Place:
        return Place(event.occurred_at_ms if query.order is Order.OCCURRED else event.received_at_ms, event.id)

    meant = [
        event
        for event in events
        if query.range.start <= instant(event.occurred_at_ms) < query.range.end
        and query.received_from_ms <= event.received_at_ms < query.received_before_ms
        and (query.filter is None or meets(query.filter, event, Session([event])))
        and (query.after is None or place(event) > query.after)
    ]
    found = sorted(meant, key=place)[: query.limit]
    last = place(found[-1]) if len(found) == query.limit else None
    rows = [[value(event, column) for column in query.columns] for event in found]
    return Page(_ENCODERS[query.form](query.columns, rows), len(found), last)


def instant(at_ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=at_ms)


def value(event: Event, column: Column) -> object:
    """What an export says of *event*, in Python's types."""
    if column is Column.EVENT_ID:
        return event.id.hex()
    if column is Column.VISITOR_ID:
        return f"{event.visitor_id:016x}"
    if column in {Column.OCCURRED_AT, Column.RECEIVED_AT}:
        return instant(event.occurred_at_ms if column is Column.OCCURRED_AT else event.received_at_ms)
    return getattr(event, column)


def iso(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z"


def _cell(found: object) -> str:
    if isinstance(found, dict):
        return json.dumps(found, ensure_ascii=False)
    if isinstance(found, bool):
        return str(found).lower()
    if isinstance(found, Decimal):
        return f"{found.normalize():f}"
    return iso(found) if isinstance(found, datetime) else "" if found is None else str(found)


def _csv(_: Sequence[Column], rows: Sequence[Sequence[object]]) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out).writerows([_cell(each) for each in row] for row in rows)
    return out.getvalue().encode()


def _member(found: object) -> object:
    if isinstance(found, Decimal):
        return float(found)
    return iso(found) if isinstance(found, datetime) else found


def _ndjson(columns: Sequence[Column], rows: Sequence[Sequence[object]]) -> bytes:
    lines = [json.dumps(dict(zip(columns, map(_member, row), strict=True)), ensure_ascii=False) for row in rows]
    return "".join(f"{line}\n" for line in lines).encode()


def _parquet(columns: Sequence[Column], rows: Sequence[Sequence[object]]) -> bytes:
    arrays = [
        pyarrow.array(
            [list(row[i].items()) if isinstance(row[i], dict) else row[i] for row in rows],  # type: ignore[attr-defined]
            _TYPES.get(column, pyarrow.string()),
        )
        for i, column in enumerate(columns)
    ]
    out = io.BytesIO()
    parquet.write_table(pyarrow.table(arrays, names=list(columns)), out)
    return out.getvalue()


_ENCODERS = {Form.CSV: _csv, Form.NDJSON: _ndjson, Form.PARQUET: _parquet}
