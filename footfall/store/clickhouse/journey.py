"""Journey -> SQL: every session's path as an array of numbers; equal ones are counted before all else.

Names are numbered in their order, so that numbers say what comes first, and are names again only in the answer.
"""
# ruff: noqa: S608 - what is put together here are constants, numbers and placeholders

from collections.abc import Sequence
from typing import Any

from footfall.query.journey import Journey, Kind, Way
from footfall.query.query import SESSION_GAP_MS
from footfall.store.clickhouse.event_rows import IN_RANGE, Compiled, EventRows
from footfall.store.clickhouse.kinds import IS_COUNTED, IS_PAGEVIEW
from footfall.store.clickhouse.sessions import AT_MS

_COLUMNS = ("kind", "level", "label", "next", "sessions", "ends", "path")
_KINDS = {Kind.PAGES: IS_PAGEVIEW, Kind.EVENTS: f"NOT ({IS_PAGEVIEW})", Kind.ALL: "true"}
_LETTERS = {"p": "page", "e": "event"}
"""Before a name, of what it is the name; so no name is empty, and the empty one is all the others."""
# The lowest bits of an event, under the number of its name.
_TAKES_PART, _IS_ANCHOR, _IS_COUNTED, _FACTS = range(4)
_TIME_FROM, _ID_FROM = 192, 64


def compile_journey(journey: Journey) -> Compiled:
    """The statement for *journey*."""
    rows = EventRows(journey.site_id, journey.range, journey.filter, with_sessions=False, who_did=journey.anchor)
    anchor = "false" if journey.anchor is None else rows.met(journey.anchor)
    takes_part = f"(({_KINDS[journey.kind]}) AND {IS_COUNTED} OR {anchor})"
    runs = _runs if journey.filter is None else _kept_runs
    steps = _steps(journey, runs(rows, _event(takes_part, anchor)))
    length = journey.depth + 1
    paths = (
        f"SELECT arraySlice(steps, 1, {length}) AS path, count() AS n, countIf(length(steps) <= {length}) AS ends "
        f"FROM ({steps}) GROUP BY path"
    )
    counted = _counted(_named(_pairs(paths, journey.paths), journey.top))
    sql = (
        f"WITH {_names_of('name', f'NOT ({IS_PAGEVIEW})')} AS event_names, {_names_of('path', IS_PAGEVIEW)} AS pages, "
        "arrayConcat(arrayMap(x -> concat('e', x), event_names), arrayMap(x -> concat('p', x), pages)) AS labels "
        "SELECT kind, level, if(label = 0, '', labels[label]) AS label, if(after = 0, '', labels[after]) AS after, "
        f"sessions, ends, arrayMap(x -> labels[x], path) AS path FROM ({counted})"
    )
    return Compiled(sql, rows.values.params, _COLUMNS, _read)


def _names_of(column: str, condition: str) -> str:
    """All that are in the range, in order. It costs a tenth of what it saves: no name is moved, compared or hashed."""
    names = f"SELECT {column} FROM events WHERE {IN_RANGE} AND {condition} GROUP BY {column}"
    return f"(SELECT arraySort(groupArray(toString({column}))) FROM ({names}))"


def _event(takes_part: str, anchor: str) -> str:
    """What is carried of an event of the table: the number of its name, and three flags."""
    numbers = (
        f"if({IS_PAGEVIEW}, transform(path, pages, arrayMap(x -> toUInt32(x + length(event_names)), "
        "arrayEnumerate(pages)), toUInt32(0)), "
        "transform(name, event_names, arrayMap(x -> toUInt32(x), arrayEnumerate(event_names)), toUInt32(0)))"
    )
    return (
        # Whose name is not known was stored after the names were looked up: it takes part from the next question on.
        f"bitShiftLeft(toUInt64({numbers} AS number), {_FACTS}) + "
        f"bitShiftLeft(toUInt64({takes_part} AND number > 0), {_TAKES_PART}) + "
        f"bitShiftLeft(toUInt64({anchor} AND number > 0), {_IS_ANCHOR}) + "
        f"bitShiftLeft(toUInt64({IS_COUNTED}), {_IS_COUNTED})"
    )


def _in_order(at_ms: str, facts: str) -> str:
    """Events by time and id, each as one number, which is sorted faster than a tuple."""
    event = (
        f"bitOr(bitOr(bitShiftLeft(toUInt256({at_ms}), {_TIME_FROM}), "
        f"bitShiftLeft(toUInt256(reinterpretAsUInt128(reverse(id))), {_ID_FROM})), toUInt256({facts}))"
    )
    return f"arraySort(groupArray({event}))"


def _runs(rows: EventRows, facts: str) -> str:
    """Every visitor's events in order, cut where the gap is too long: `run` with what is carried of each, and where in
    it the session has `begun`."""
    visitors = f"SELECT {_in_order(AT_MS, facts)} AS events FROM events WHERE {rows.where} GROUP BY visitor_id"
    apart = (
        f"SELECT arrayMap(x -> toUInt32(x), events) AS facts, "
        f"arrayDifference(arrayMap(x -> toInt64(bitShiftRight(x, {_TIME_FROM})), events)) AS gaps FROM ({visitors})"
    )
    # A session is what follows from the run's first event that is no report of engagement.
    return (
        f"SELECT run, arrayFirstIndex(x -> bitTest(x, {_IS_COUNTED}), run) AS begun FROM ({apart}) "
        f"ARRAY JOIN arraySplit((x, gap) -> gap > {SESSION_GAP_MS}, facts, gaps) AS run WHERE begun > 0"
    )


def _kept_runs(rows: EventRows, facts: str) -> str:
    """The same of sessions that the filter keeps, with only what takes part."""
    rows.column("facts", facts)
    return (
        f"SELECT arrayMap(x -> toUInt32(x), {_in_order('at_ms', 'facts')}) AS run, 1 AS begun FROM ({rows.sql()}) "
        f"WHERE is_kept AND bitTest(facts, {_TAKES_PART}) GROUP BY visitor_id, started_ms"
    )


def _steps(journey: Journey, runs: str) -> str:
    """Every session's path with all its `steps`, the numbers of their names."""
    taking_part = f"arrayFilter(x -> bitTest(x, {_TAKES_PART}), arraySlice(run, begun))"
    walked = taking_part if journey.way is Way.FORWARD else f"arrayReverse({taking_part})"
    if journey.anchor is not None:
        walked = f"arraySlice({walked} AS walked, arrayFirstIndex(x -> bitTest(x, {_IS_ANCHOR}), walked) AS anchor)"
    steps = f"arrayMap(x -> bitShiftRight(x, {_FACTS}), {walked})"
    has_path = "notEmpty(steps)" if journey.anchor is None else "anchor > 0"
    return f"SELECT {f'arrayCompact({steps})' if journey.collapse else steps} AS steps FROM ({runs}) WHERE {has_path}"


def _pairs(paths: str, limit: int) -> str:
    """How many go from which name to which, by level, counted from 1; after the last is 0. The *limit* most frequent
    whole paths stand on level 0, the place of each instead of a name."""
    placed = f"SELECT *, row_number() OVER (ORDER BY n DESC, path ASC) AS place FROM ({paths})"
    levels = (
        "arrayMap((x, next, at) -> (at, x, next, if(next = 0, ends, 0), emptyArrayUInt32()), "
        "path, arrayPushBack(arrayPopFront(path), 0), arrayEnumerate(path))"
    )
    whole = f"if(place <= {limit}, [(toUInt32(0), toUInt32(place), toUInt32(0), ends, path)], [])"
    return (
        "SELECT fact.1 AS level, fact.2 AS label, fact.3 AS after, sum(n) AS sessions, sum(fact.4) AS ends, "
        f"any(fact.5) AS path FROM (SELECT n, arrayConcat({levels}, {whole}) AS facts FROM ({placed})) "
        "ARRAY JOIN facts AS fact "
        "GROUP BY level, label, after"
    )


def _named(pairs: str, top: int) -> str:
    """Each name of each level with `name`: itself, but 0 where there are more frequent ones enough on the level; and
    with the names that come before, `links`."""
    nodes = (
        "SELECT level, label, sum(sessions) AS size, sum(ends) AS end, any(path) AS whole, "
        f"groupArrayIf((after, sessions), after > 0) AS links FROM ({pairs}) GROUP BY level, label"
    )
    placed = f"SELECT *, row_number() OVER (PARTITION BY level ORDER BY size DESC, label ASC) AS place FROM ({nodes})"
    named = f"SELECT *, if(level = 0 OR place <= {top}, label, 0) AS name FROM ({placed})"
    # From where a link begins to where it leads: there it learns what that one is called.
    facts = (
        "arrayConcat([(level, label, name, toUInt32(0), false, size, end, whole)], "
        "arrayMap(x -> (toUInt32(level + 1), x.1, toUInt32(0), name, true, x.2, toUInt64(0), emptyArrayUInt32()), "
        "links))"
    )
    return (
        "SELECT fact.1 AS level, fact.2 AS label, max(fact.3) AS name, "
        "groupArrayIf((fact.4, fact.6), fact.5) AS links, "
        "sumIf(fact.6, NOT fact.5) AS size, sum(fact.7) AS end, anyIf(fact.8, NOT fact.5) AS whole "
        f"FROM (SELECT {facts} AS facts FROM ({named})) ARRAY JOIN facts AS fact GROUP BY level, label"
    )


def _counted(named: str) -> str:
    """The rows of the answer, its names as numbers."""
    facts = (
        "arrayConcat([(if(level = 0, 'path', 'node'), toUInt32(level), name, toUInt32(0), size, end, whole)], "
        "arrayMap(x -> ('link', toUInt32(level - 1), x.1, name, x.2, toUInt64(0), emptyArrayUInt32()), links))"
    )
    return (
        "SELECT fact.1 AS kind, toUInt32(fact.2) AS level, if(kind = 'path', 0, fact.3) AS label, fact.4 AS after, "
        "sum(fact.5) AS sessions, sum(fact.6) AS ends, fact.7 AS path "
        f"FROM (SELECT {facts} AS facts FROM ({named})) ARRAY JOIN facts AS fact "
        "GROUP BY kind, level, label, after, path"
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
