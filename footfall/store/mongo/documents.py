"""Event -> document, and the table that the engine makes of such documents.

A document has the founding names (site_id, event_type, path, user_id, timestamp, processed_at) and every other field
of the Event that is not empty. Properties are pairs of k and v: a key of theirs may hold a dollar sign, a dot or a NUL,
which the name of a field may not or should not.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from decimal import ROUND_DOWN, Decimal
from typing import Any, Final

import msgspec
from bson import DatetimeMS, Decimal128, Int64

from footfall.errors import Unstorable
from footfall.event import REVENUE_ABS_MAX, REVENUE_DECIMALS, Event, decode
from footfall.store.clickhouse.statements import OCCURRED_MS_MAX
from footfall.store.mongo.connection import Document

_TEXTS: Final = tuple(
    name
    for name in Event.__struct_fields__
    if name
    not in {
        *("id", "key", "site_id", "name", "occurred_at_ms", "received_at_ms", "visitor_id", "path", "props"),
        *("revenue", "interactive", "drop_reason"),
    }
)
"""Left out of a document where they are empty."""


def read(payloads: Sequence[bytes]) -> list[Event]:
    """The events of a batch. Raises Unstorable where there is one that can not be stored."""
    events = []
    for index, payload in enumerate(payloads):
        try:
            event = decode(payload)
        except msgspec.DecodeError as error:
            raise Unstorable(f"payload {index} is no event: {error}") from error
        times = (event.occurred_at_ms, event.received_at_ms)
        if len(event.id) != 16 or len(event.key) not in {0, 16} or not all(0 <= at <= OCCURRED_MS_MAX for at in times):
            raise Unstorable(f"payload {index} has an id, a key or a time that can not be stored")
        if not 0 <= event.visitor_id < 2**64:
            raise Unstorable(f"payload {index} has a visitor of more than 64 bits")
        if event.revenue is not None and not _is_storable(event.revenue):
            raise Unstorable(f"payload {index} has an amount of money that can not be stored")
        events.append(event)
    return events


def _is_storable(amount: Decimal) -> bool:
    return amount.is_finite() and abs(amount) <= REVENUE_ABS_MAX


def signed(visitor_id: int) -> Int64:
    """The same 64 bits as MongoDB's integer, which has a sign."""
    return Int64(visitor_id - 2**64 if visitor_id >= 2**63 else visitor_id)


def event_document(event: Event, now: datetime) -> Document:
    """*event* as it is kept, stored at *now*."""
    document: Document = {
        "_id": event.id,
        "site_id": event.site_id,
        "event_type": event.name,
        "path": event.path,
        "timestamp": DatetimeMS(event.occurred_at_ms),
        "received_at": DatetimeMS(event.received_at_ms),
        "processed_at": now,
        "visitor_id": signed(event.visitor_id),
        "interactive": event.interactive,
    }
    for name in _TEXTS:
        if value := getattr(event, name):
            document[name] = value
    if event.key:
        document["key"] = event.key
    if event.props:
        document["properties"] = [{"k": key, "v": value} for key, value in event.props.items()]
    if event.revenue is not None:
        amount = event.revenue.quantize(Decimal(1).scaleb(-REVENUE_DECIMALS), ROUND_DOWN)
        document["revenue"] = Decimal128(amount)
        # The same for the engine, which reads no decimal numbers of BSON.
        document["revenue_micros"] = Int64(int(amount.scaleb(REVENUE_DECIMALS)))
    return document


def drop_document(event: Event, reason: str, now: datetime) -> Document:
    """*event* as it is kept where it does not count."""
    document: Document = {
        "_id": event.id,
        "site_id": event.site_id,
        "event_type": event.name,
        "path": event.path,
        "timestamp": DatetimeMS(event.occurred_at_ms),
        "received_at": DatetimeMS(event.received_at_ms),
        "processed_at": now,
        "reason": reason,
    }
    if event.key:
        document["key"] = event.key
    if event.import_id:
        document["import_id"] = event.import_id
    return document


_LOW: Final = "LowCardinality(String)"
_MONEY: Final = "Nullable(Decimal(19, 6))"
_PROPS: Final = "Map(LowCardinality(String), String)"

COLUMNS: Final[dict[str, tuple[str, str, str]]] = {
    "id": ("_id", "FixedString(16)", "FixedString(16) ALIAS _id"),
    "name": ("event_type", _LOW, f"{_LOW} ALIAS event_type"),
    "occurred_at": ("timestamp", "DateTime64(3, 'UTC')", "DateTime64(3, 'UTC') ALIAS timestamp"),
    "delay_ms": (
        "received_at",
        "DateTime64(3, 'UTC')",
        "Int64 ALIAS toUnixTimestamp64Milli(received_at) - toUnixTimestamp64Milli(timestamp)",
    ),
    "props": ("properties", "Array(Tuple(k String, v String))", f"{_PROPS} ALIAS CAST(properties, '{_PROPS}')"),
    "revenue": (
        "revenue_micros",
        "Nullable(Int64)",
        f"{_MONEY} ALIAS CAST(toDecimal128(revenue_micros, 6) / 1000000, '{_MONEY}')",
    ),
    "site_id": ("site_id", _LOW, ""),
    "path": ("path", _LOW, ""),
    "visitor_id": ("visitor_id", "UInt64", ""),
    "interactive": ("interactive", "Bool", ""),
} | {name: (name, "String" if name == "user_id" else _LOW, "") for name in _TEXTS}
"""For each column that a question may name: the field of the document, its type for the engine, and what the column is
where it is not the field itself."""

_NAMES: Final = re.compile(rf"\b(?:{'|'.join(COLUMNS)})\b")


def columns_in(sql: str) -> frozenset[str]:
    """Every column that *sql* names, or more: a word that is a column's name may be something else there."""
    named: set[str] = set(_NAMES.findall(sql))
    return frozenset(named | {"occurred_at"} if "delay_ms" in named else named)


def table(columns: frozenset[str]) -> str:
    """The statement that makes `events` with these *columns*, in the session that runs it alone."""
    parts = []
    for name in sorted(columns):
        field, kind, column = COLUMNS[name]
        parts.append(f"`{field}` {kind}")
        if column:
            parts.append(f"`{name}` {column}")
    return f"CREATE OR REPLACE TEMPORARY TABLE events ({', '.join(parts)}) ENGINE = Memory"


def projection(columns: frozenset[str]) -> dict[str, Any]:
    """What `find` has to send for them."""
    fields = {COLUMNS[name][0]: 1 for name in sorted(columns)}
    return fields if "_id" in fields else {**fields, "_id": 0}
