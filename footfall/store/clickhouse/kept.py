"""Kept sessions in SQL: their table, how its rows are used in a question, and how they are made.

A row is one session with its attributes, and its events as arrays of what is asked of them most: kind, name, page,
hostname. What asks more of an event has all sessions made of the events.
"""
# ruff: noqa: S608 - what is put together here are constants and our own numbers

import hashlib
import re
from collections.abc import Iterable

from footfall.event import Event
from footfall.query.query import Dimension, Scope
from footfall.store.clickhouse.kinds import IS_COUNTED, IS_OTHER, IS_PAGEVIEW
from footfall.store.clickhouse.spans import Cover

TABLE = "sessions"
ATTRIBUTES = {d: d.value.removeprefix("visit:") for d in Dimension if d.scope is Scope.SESSION}
"""The columns of what a session has; an empty text where it has none."""
KINDS = (IS_PAGEVIEW, IS_COUNTED, IS_OTHER)
"""The place of each is its bit in the number that says of what kind an event is."""
KIND = " + ".join(f"bitShiftLeft(toUInt8({kind}), {bit})" for bit, kind in enumerate(KINDS))
ARRAYS = {"kind": KIND, "name": "name", "path": "path", "hostname": "hostname"}
"""What is kept of an event, and how the table of events has it."""
_OTHER_FIELDS = {*Event.__struct_fields__, "occurred_at", "received_at", "delay_ms", "key_head", "key_tail"} - {*ARRAYS}

_ARRAY_TYPES = {"kind": "UInt8"}
CREATE = f"""
CREATE TABLE IF NOT EXISTS {TABLE}
(
    site_id LowCardinality(String),
    span UInt32 CODEC(Delta, ZSTD(1)),
    -- When the run of events began that the session is of; lead_ms later it began itself, with its first counted event.
    begun_at DateTime64(3, 'UTC') CODEC(Delta, LZ4),
    lead_ms UInt32 CODEC(T64, ZSTD(1)),
    visitor_id UInt64 CODEC(LZ4),
    duration_ms UInt32 CODEC(T64, ZSTD(1)),
    pageviews UInt32 CODEC(T64, ZSTD(1)),
    others UInt32 CODEC(T64, ZSTD(1)),
    counted UInt32 CODEC(T64, ZSTD(1)),
    {"".join(f"{column} LowCardinality(String) CODEC(ZSTD(1)), " for column in ATTRIBUTES.values())}
    -- One name before the dot, so that the lengths are kept once; LZ4, for most of a question's time goes into these.
    {"".join(f"`each.{f}` Array({_ARRAY_TYPES.get(f, 'LowCardinality(String)')}) CODEC(LZ4), " for f in ARRAYS)}
    `each.offset_ms` Array(UInt32) CODEC(ZSTD(1))
)
ENGINE = MergeTree PARTITION BY toYYYYMM(begun_at) ORDER BY (site_id, begun_at)
SETTINGS old_parts_lifetime = 60"""
DROP = f"DROP TABLE IF EXISTS {TABLE} SYNC"
FORM = hashlib.sha256(CREATE.encode()).hexdigest()
"""Which form the rows have: those of another are of no use."""
SAVED = "kept_spans"
CREATE_SAVED = f"""
CREATE TABLE IF NOT EXISTS {SAVED} (form String, events UInt64, sites String) ENGINE = MergeTree ORDER BY form"""
SAVE = f"INSERT INTO {SAVED} SELECT {{form:String}}, (SELECT count() FROM events), {{sites:String}}"
RESTORE = f"SELECT sites FROM {SAVED} WHERE form = {{form:String}} AND events = (SELECT count() FROM events)"
EMPTY_SAVED = f"TRUNCATE TABLE {SAVED}"
FORGET = f"ALTER TABLE {TABLE} DELETE WHERE site_id = {{site_id:String}} AND span IN (%s) SETTINGS mutations_sync = 1"

FACTS = (
    "visitor_id, toUnixTimestamp64Milli(begun_at) + lead_ms AS started_ms, toInt64(sessions.duration_ms) AS duration_ms"
)


def attribute(dimension: Dimension) -> str:
    """A dimension of a kept session."""
    return f"toString({ATTRIBUTES[dimension]})"


def of_event(sql: str) -> str | None:
    """*sql*, on an event in the table of events, on what is kept of one; None where that does not know it."""
    for bit, kind in enumerate(KINDS):
        sql = sql.replace(kind, f"bitTest(kind, {bit})")
    return sql if _OTHER_FIELDS.isdisjoint(re.findall(r"\w+", sql)) else None


def _used(sqls: Iterable[str]) -> list[str]:
    words = {word for sql in sqls for word in re.findall(r"\w+", sql)}
    return [field for field in ARRAYS if field in words]


def _lambda(function: str, sql: str, first: str = "") -> str:
    """*function* of a session's events with what *sql* says of each; it returns the values of *first* if it filters."""
    fields = sorted(_used([sql, first]) or ["kind"], key=lambda field: field != first)
    return f"{function}(({', '.join(fields)}) -> {sql}, {', '.join(f'each.{field}' for field in fields)})"


def count(condition: str) -> str | None:
    """How many events of a kept session meet *condition*, which is on an event in the table; None: it is not known."""
    known = of_event(condition)
    return None if known is None else _lambda("arrayCount", known)


def exists(condition: str) -> str:
    """Whether one does; true where it is not known."""
    known = of_event(condition)
    return "true" if known is None else _lambda("arrayExists", known)


def different(field: str, condition: str) -> str:
    """The different values of *field* in events of a kept session that meet *condition*, which is on kept events."""
    return f"arrayDistinct({_lambda('arrayFilter', condition, first=field)})"


def arrays(sqls: Iterable[str]) -> str:
    """The columns that *sqls*, each on a kept event, read, as a part of a list."""
    return "".join(f", each.{field}" for field in ("offset_ms", *_used(sqls)))


def array_join(sqls: Iterable[str]) -> str:
    """One row for each event of a session, with what *sqls* read under the names that kept events have it."""
    return "ARRAY JOIN " + ", ".join(f"each.{field} AS {field}" for field in ("offset_ms", *_used(sqls)))


def _moment(at_ms: int) -> str:
    return f"fromUnixTimestamp64Milli({at_ms}, 'UTC')"


def _any(parts: list[str]) -> str:
    return f"({' OR '.join(parts)})" if parts else "false"


def is_used(cover: Cover) -> str:
    """Which rows of the table *cover* means."""
    begun = _any([f"(begun_at >= {_moment(start)} AND begun_at < {_moment(end)})" for start, end in cover.kept])
    said = f"site_id = {{site_id:String}} AND {begun} AND span <= {cover.newest}"
    if cover.dead:
        said += f" AND span NOT IN ({', '.join(map(str, cover.dead))})"
    if cover.apart:
        said += f" AND visitor_id NOT IN ({', '.join(map(str, cover.apart))})"
    return said


def is_near(cover: Cover) -> str:
    """Which events are needed to make the sessions that *cover* lacks."""
    near = [f"(occurred_at >= {_moment(gap.from_ms)} AND occurred_at < {_moment(gap.to_ms)})" for gap in cover.gaps]
    if cover.apart:
        near.append(f"visitor_id IN ({', '.join(map(str, cover.apart))})")
    return _any(near)


def begins(cover: Cover) -> str:
    """Whether a run of those events, by `begun_ms` and its visitor, is one that *cover* lacks."""
    begun = [f"(begun_ms >= {gap.start_ms} AND begun_ms < {gap.end_ms})" for gap in cover.gaps]
    if cover.apart:
        begun.append(f"visitor_id IN ({', '.join(map(str, cover.apart))})")
    return _any(begun)
