"""Journey -> SQL: every session's path as an array of names; equal ones are counted before all else."""
# ruff: noqa: S608 - what is put together here are constants, numbers and placeholders

from collections.abc import Sequence
from typing import Any

from footfall.query.journey import Journey, Kind, Way
from footfall.store.clickhouse.event_rows import Compiled, EventRows
from footfall.store.clickhouse.sessions import IS_COUNTED, IS_PAGEVIEW

_COLUMNS = ("kind", "level", "label", "next", "sessions", "ends", "path")
_KINDS = {Kind.PAGES: IS_PAGEVIEW, Kind.EVENTS: f"NOT ({IS_PAGEVIEW})", Kind.ALL: "true"}
# One letter before a name says what it is the name of; so no name is empty, and the empty one is all the others.
_LABEL = f"if({IS_PAGEVIEW}, concat('p', toString(path)), concat('e', toString(name)))"
_LETTERS = {"p": "page", "e": "event"}


def compile_journey(journey: Journey) -> Compiled:
    """The statement for *journey*."""
    rows = EventRows(journey.site_id, journey.range, journey.filter, with_sessions=True, who_did=journey.anchor)
    anchor = "false" if journey.anchor is None else rows.met(journey.anchor)
    rows.column("label", _LABEL)
    rows.column("is_anchor", f"toUInt8({anchor})")
    rows.column("takes_part", f"(({_KINDS[journey.kind]}) AND {IS_COUNTED}) OR {anchor}")
    events = "arraySort(groupArray((at_ms, id, label, is_anchor)))"
    events = events if journey.way is Way.FORWARD else f"arrayReverse({events})"
    sessions = (
        f"SELECT {events} AS events, {'1' if journey.anchor is None else 'arrayFirstIndex(e -> e.4, events)'} AS begin "
        f"FROM ({rows.sql()}) WHERE takes_part AND is_kept GROUP BY visitor_id, started_ms HAVING begin > 0"
    )
    labels = "arrayMap(e -> e.3, arraySlice(events, begin))"
    walked = f"SELECT {f'arrayCompact({labels})' if journey.collapse else labels} AS labels FROM ({sessions})"
    length = journey.depth + 1
    paths = (
        f"SELECT arraySlice(labels, 1, {length}) AS path, count() AS n, countIf(length(labels) <= {length}) AS ends "
        f"FROM ({walked}) GROUP BY path"
    )
    sql = _counted(_named(paths, journey.top), journey.paths)
    return Compiled(sql, rows.values.params, _COLUMNS, _read)


def _named(paths: str, top: int) -> str:
    """Each path with `names`: its labels, but empty where there are more frequent ones enough on the level."""
    levels = (
        f"SELECT path, n, ends, label, level FROM ({paths}) ARRAY JOIN path AS label, arrayEnumerate(path) AS level"
    )
    sized = f"SELECT *, sum(n) OVER (PARTITION BY level, label) AS size FROM ({levels})"
    ranked = f"SELECT *, dense_rank() OVER (PARTITION BY level ORDER BY size DESC, label ASC) AS rank FROM ({sized})"
    return (
        f"SELECT path, any(n) AS n, any(ends) AS ends, "
        f"arrayMap(x -> x.2, arraySort(groupArray((level, if(rank <= {top}, label, ''))))) AS names "
        f"FROM ({ranked}) GROUP BY path"
    )


def _counted(named: str, paths: int) -> str:
    """The rows of the answer, its levels counted from 1."""
    none = "CAST([], 'Array(String)')"
    nodes = (
        f"arrayMap((x, place) -> ('node', place, x, '', n, if(place = length(names), ends, 0), {none}), "
        "names, arrayEnumerate(names))"
    )
    links = (
        f"arrayMap((x, y, place) -> ('link', place, x, y, n, toUInt64(0), {none}), "
        "arrayPopBack(names), arrayPopFront(names), arrayEnumerate(arrayPopBack(names)))"
    )
    whole = "[('path', toUInt32(0), '', '', n, ends, path)]"
    facts = f"SELECT arrayConcat({nodes}, {links}, {whole}) AS facts FROM ({named})"
    rows = (
        "SELECT fact.1 AS kind, fact.2 AS level, fact.3 AS label, fact.4 AS after, sum(fact.5) AS sessions, "
        f"sum(fact.6) AS ends, fact.7 AS path FROM ({facts}) ARRAY JOIN facts AS fact "
        "GROUP BY kind, level, label, after, path"
    )
    placed = f"SELECT *, row_number() OVER (PARTITION BY kind ORDER BY sessions DESC, path ASC) AS place FROM ({rows})"
    return (
        "SELECT kind, level, label, after, sessions, ends, path "
        f"FROM ({placed}) WHERE kind != 'path' OR place <= {paths}"
    )


def _label(text: str) -> tuple[str, str] | None:
    return (_LETTERS[text[0]], text[1:]) if text else None


def _read(found: Sequence[Sequence[Any]]) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for kind, level, label, after, sessions, ends, path in found:
        if kind == "path":
            rows.append((kind, None, None, None, sessions, ends, tuple(map(_label, path))))
        elif kind == "node":
            rows.append((kind, level - 1, _label(label), None, sessions, ends, None))
        else:
            rows.append((kind, level - 1, _label(label), _label(after), sessions, None, None))
    return rows
