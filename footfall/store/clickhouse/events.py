"""EventsQuery -> SQL: where a page ends, and the page itself, which the engine encodes; nothing of it passes Python.

A page is known by the places of its first and last event, so that neither an offset nor a sort of all that comes after
it is needed: the order by occurrence is that of the table, and the engine stops reading at the limit.
"""
# ruff: noqa: S608 - what is put together here are constants, numbers and placeholders

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from footfall.query.events import Column, EventsQuery, Form, Order, Place
from footfall.store.clickhouse.conditions import Values
from footfall.store.clickhouse.sessions import AT_MS, event_sql

_RECEIVED_MS = f"({AT_MS} + delay_ms)"
_ORDERS = {Order.OCCURRED: ("occurred_at", AT_MS), Order.RECEIVED: (_RECEIVED_MS, _RECEIVED_MS)}
"""By what the table is sorted, and the time in milliseconds that says the same."""

_COLUMNS = {
    Column.EVENT_ID: "lower(hex(id))",
    Column.VISITOR_ID: "leftPad(lower(hex(visitor_id)), 16, '0')",
    Column.REVENUE: "revenue",
    Column.INTERACTIVE: "interactive",
    Column.OCCURRED_AT: "occurred_at",
    Column.RECEIVED_AT: f"fromUnixTimestamp64Milli({_RECEIVED_MS}, 'UTC')",
}
"""All others are texts of the same name, but for props."""
_PROPS = {
    Form.CSV: "toJSONString(CAST(props, 'Map(String, String)'))",
    Form.NDJSON: "CAST(props, 'Map(String, String)')",
    Form.PARQUET: "CAST(props, 'Map(String, String)')",
}

FORMATS = {Form.CSV: "CSV", Form.NDJSON: "JSONEachRow", Form.PARQUET: "Parquet"}
"""What the engine calls each form."""
_SETTINGS = {
    "date_time_output_format": "'iso'",
    "format_csv_null_representation": "''",
    "output_format_csv_crlf_end_of_line": 1,
    "output_format_json_quote_decimals": 0,
    "output_format_json_escape_forward_slashes": 0,
    "output_format_parquet_compression_method": "'zstd'",
    "output_format_parquet_string_as_string": 1,
    # One row group a page. Neither of the other two is understood by all readers, and both hold places within the file.
    "output_format_parquet_row_group_size": 1_000_000,
    "output_format_parquet_write_bloom_filter": 0,
    "output_format_parquet_write_page_index": 0,
}


class Statements(msgspec.Struct, frozen=True):
    """The two questions of a page; both use the parameters."""

    end_sql: str
    """One row: how many events there are up to the limit, and the time and id of the last of them."""
    body_sql: str
    """The page, up to `{last_ms:Int64}` and `{last_id:String}`, the id in hexadecimal digits."""
    params: dict[str, str | int]


def compile_events(query: EventsQuery) -> Statements:
    """The statements for *query*."""
    values = Values()
    values.params |= {
        "site_id": query.site_id,
        "start_ms": _ceil_ms(query.range.start),
        "end_ms": _ceil_ms(query.range.end),
        "from_ms": query.received_from_ms,
        "before_ms": query.received_before_ms,
    }
    by, time_ms = _ORDERS[query.order]
    met = [
        "site_id = {site_id:String}",
        "occurred_at >= fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC')",
        "occurred_at < fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC')",
        f"{_RECEIVED_MS} >= {{from_ms:Int64}}",
        f"{_RECEIVED_MS} < {{before_ms:Int64}}",
    ]
    if query.after is not None:
        values.params |= {"after_ms": query.after.at_ms, "after_id": query.after.id.hex()}
        met.append(_bound(by, "after", ">="))
        met.append(f"({time_ms}, id) > ({{after_ms:Int64}}, toFixedString(unhex({{after_id:String}}), 16))")
    if query.filter is not None:
        met.append(event_sql(query.filter, values))
    where = " AND ".join(met)
    columns = ", ".join(f"{_column(column, query.form)} AS c_{column}" for column in query.columns)
    names = ", ".join(f"c_{column} AS {column}" for column in query.columns)
    upto = (
        f"{_bound(by, 'last', '<=')} AND "
        f"({time_ms}, id) <= ({{last_ms:Int64}}, toFixedString(unhex({{last_id:String}}), 16))"
    )
    settings = ", ".join(f"{name} = {value}" for name, value in _SETTINGS.items())
    return Statements(
        end_sql="SELECT count(), max((at_ms, id)).1, lower(hex(max((at_ms, id)).2)) FROM ("
        f"SELECT {time_ms} AS at_ms, id FROM events WHERE {where} ORDER BY {by}, id LIMIT {int(query.limit)})",
        # Two steps, for a column's name outside may be that of another thing in the table.
        body_sql=f"SELECT {names} FROM (SELECT {columns} FROM events WHERE {where} AND {upto} ORDER BY {by}, id) "
        f"SETTINGS {settings}",
        params=values.params,
    )


def _ceil_ms(instant: datetime) -> int:
    return -((datetime(1970, 1, 1, tzinfo=UTC) - instant) // timedelta(milliseconds=1))


def _bound(by: str, name: str, sign: str) -> str:
    """The half of the comparison by which whole stretches of the table are passed over."""
    instant = f"fromUnixTimestamp64Milli({{{name}_ms:Int64}}, 'UTC')" if by == "occurred_at" else f"{{{name}_ms:Int64}}"
    return f"{by} {sign} {instant}"


def _column(column: Column, form: Form) -> str:
    if column is Column.PROPS:
        return _PROPS[form]
    return _COLUMNS.get(column) or f"toString({column})"


def place_of(row: Sequence[object]) -> Place:
    """The last event of a page, as the first question tells it."""
    return Place(int(str(row[1])), bytes.fromhex(str(row[2])))
