"""The journey: which ways sessions take from a point on, or back from one; as nodes with links and as whole paths."""

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import msgspec

from footfall.query.journey import AskedJourney, Journey, Way
from footfall.reports.lines import Cell, csv_of
from footfall.reports.span import Clock, percent, said_range, span_asked
from footfall.store.base import Store, Table

_Label = tuple[str, str] | None


class Label(msgspec.Struct, frozen=True):
    """What a step is called."""

    kind: str
    """`page`, `event`, or `other`: all that are not among the most frequent of the level."""
    name: str
    """A path, an event's name, or empty."""


class Node(msgspec.Struct, frozen=True, omit_defaults=True):
    """A step on a level; 0 is where the journey begins."""

    id: int
    """Its place in the list, by which links know it."""
    level: int
    kind: str
    name: str
    sessions: int
    exits: int | msgspec.UnsetType = msgspec.UNSET
    """Forwards: sessions whose last step it was."""
    entries: int | msgspec.UnsetType = msgspec.UNSET
    """Back: sessions whose first step it was."""


class Link(msgspec.Struct, frozen=True):
    """From one level to the next."""

    source: int
    target: int
    sessions: int


class Path(msgspec.Struct, frozen=True, omit_defaults=True):
    """A whole path, in the order of the levels."""

    steps: list[Label]
    sessions: int
    share: float | None
    """Per cent of all sessions of the journey."""
    exits: int | msgspec.UnsetType = msgspec.UNSET
    entries: int | msgspec.UnsetType = msgspec.UNSET


class Results(msgspec.Struct, frozen=True):
    """The same sessions twice: as a graph, and as a list."""

    sessions: int
    """That have a path at all."""
    nodes: list[Node]
    links: list[Link]
    paths: list[Path]


class Resolved(msgspec.Struct, frozen=True, omit_defaults=True, rename={"from_": "from"}):
    """The question as it was understood."""

    site_id: str
    date_range: tuple[str, str]
    timezone: str
    of: str
    depth: int
    top: int
    paths: int
    collapse: bool
    from_: str = ""
    to: str = ""


class JourneyAnswer(msgspec.Struct, frozen=True):
    """The answer."""

    results: Results
    query: Resolved


async def journey(store: Store, asked: AskedJourney, clock: Clock) -> JourneyAnswer:
    """What *asked* asks for. Raises Invalid, Unavailable."""
    span = await span_asked(store, asked.site_id, asked.date_range, clock)
    table = await store.sequences(
        Journey(
            site_id=asked.site_id,
            range=span,
            way=asked.way,
            anchor=asked.anchor,
            kind=asked.kind,
            depth=asked.depth,
            top=asked.top,
            paths=asked.paths,
            collapse=asked.collapse,
            filter=asked.filter,
        )
    )
    anchor = "" if asked.anchor is None else asked.anchor.name
    is_back = asked.way is Way.BACK
    return JourneyAnswer(
        _results(table, is_back),
        Resolved(
            site_id=asked.site_id,
            date_range=said_range(span),
            timezone=span.zone.key,
            of=asked.kind.value,
            depth=asked.depth,
            top=asked.top,
            paths=asked.paths,
            collapse=asked.collapse,
            from_="" if is_back else anchor,
            to=anchor if is_back else "",
        ),
    )


def _results(table: Table, is_back: bool) -> Results:
    found: dict[str, list[tuple[Any, ...]]] = {"node": [], "link": [], "path": []}
    for kind, *rest in table.rows:
        found[str(kind)].append(tuple(rest))

    def ends(count: int) -> dict[str, int]:
        return {"entries": count} if is_back else {"exits": count}

    nodes: list[Node] = []
    ids: dict[tuple[int, _Label], int] = {}
    for level, label, _, sessions, ended, _ in sorted(found["node"], key=_node_order):
        ids[level, label] = len(nodes)
        said = _label(label)
        nodes.append(Node(len(nodes), level, said.kind, said.name, sessions, **ends(ended)))
    links = [
        Link(ids[level, label], ids[level + 1, after], sessions)
        for level, label, after, sessions, _, _ in found["link"]
    ]
    links.sort(key=lambda link: (link.source, link.target))
    total = sum(node.sessions for node in nodes if node.level == 0)
    paths = [
        Path([_label(label) for label in labels], sessions, percent(sessions, total), **ends(ended))
        for _, _, _, sessions, ended, labels in sorted(found["path"], key=lambda row: (-row[3], row[5]))
    ]
    return Results(total, nodes, links, paths)


def _node_order(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """By level, the most frequent first, and last what is left over."""
    return row[0], row[1] is None, -row[3], row[1] or ()


def _label(label: _Label) -> Label:
    return Label("other", "") if label is None else Label(*label)


def journey_csv(answer: JourneyAnswer) -> str:
    """The graph: a line for each link, and one, to the kind `end`, for the sessions that end (looking back: begin) at a
    node. Whole paths are not in it."""
    nodes = answer.results.nodes
    rows: list[Sequence[Cell]] = [
        (
            nodes[link.source].level,
            nodes[link.source].kind,
            nodes[link.source].name,
            nodes[link.target].kind,
            nodes[link.target].name,
            link.sessions,
        )
        for link in answer.results.links
    ]
    for node in nodes:
        ended = node.exits if isinstance(node.exits, int) else node.entries
        if isinstance(ended, int) and ended:
            rows.append((node.level, node.kind, node.name, "end", None, ended))
    columns = ["level", "kind", "name", "next_kind", "next_name", "sessions"]
    return csv_of(columns, sorted(rows, key=itemgetter(0)))
