"""Sessions as SQL: one row for each, computed when asked, with what is carried along of their events.

Per visitor the events in order of time, cut where the gap is too long. Events of one millisecond go by their ids, which
count up in the order in which they were accepted. Reports of engagement keep a session open and are carried in it, but
it begins with its first other event, and without one it is none. Where sessions of a part of the range are kept already
(spans.py), they are read, and only the others made.
"""
# ruff: noqa: S608 - what is put together here are constants, numbers and placeholders

import re
from collections.abc import Sequence

from footfall.query.query import FIELDS, SESSION_GAP_MS, AnyDimension, Dimension, Filter, Goals, HasDone, Scope, Taken
from footfall.store.clickhouse import kept
from footfall.store.clickhouse.conditions import Values, condition
from footfall.store.clickhouse.kinds import IS_COUNTED, IS_ENGAGEMENT, IS_OTHER, IS_PAGEVIEW
from footfall.store.clickhouse.spans import Cover

AT_MS = "toUnixTimestamp64Milli(occurred_at)"
_IN_ORDER = f"bitOr(bitShiftLeft(toUInt256({AT_MS}), 128), toUInt256(reinterpretAsUInt128(reverse(id))))"
"""Time and id as one number, for the engine takes three times as long to compare the two as a tuple."""
# No two events further apart than a gap, and no report of engagement before anything else.
_HAS_ONE_SESSION = (
    f"max(occurred_at) - min(occurred_at) <= {SESSION_GAP_MS} / 1000 AND (countIf({IS_ENGAGEMENT}) = 0 OR "
    f"countIf({IS_COUNTED}) > 0 AND minIf(occurred_at, {IS_ENGAGEMENT}) > minIf(occurred_at, {IS_COUNTED}))"
)
FLAGS_MAX = 16
"""So many yes-or-no facts go into one number with the time, of which 43 bits are in use."""


class Sessions:
    """Collects what a question needs of each session and of each event in it, then says it as a subquery."""

    def __init__(
        self, values: Values, where: str, is_packed: bool, who: Sequence[str] = (), cover: Cover | None = None
    ) -> None:
        """*is_packed*: an event is carried as one number, its time and up to 16 flags, which takes a third of the time
        of the general form; only for what asks nothing of an event but its time and yes or no. *who*: visitors have to
        have an event that meets each of these. *cover*: what is kept of the sessions in the range, which is then used
        if it knows all that is asked."""
        self._values = values
        self._where = where
        self._is_packed = is_packed
        self._who = who
        self._cover = cover
        self._flags: list[str] = []
        self._columns: list[str] = []
        self._carried: set[str] = set()
        self._selected: dict[str, tuple[str, str, str | None]] = {}
        self._needed: list[str] = []
        """What a kept session has to meet; it is asked of few columns, before the others are read."""
        self._needs_id = False
        self._has_next = False
        self._pageview = self._flag(IS_PAGEVIEW)
        self.is_pageview = self.of("e", self._pageview)
        self._counted = self._flag(IS_COUNTED)
        self.is_counted = self.of("e", self._counted)
        other = self._flag(IS_OTHER)
        self._count(IS_PAGEVIEW, self._pageview, name="pageviews", kept_as="pageviews")
        self._count(IS_OTHER, other, name="others", kept_as="others")

    def of(self, event: str, carried: tuple[str, int]) -> str:
        """What is *carried* of the event that is called *event*."""
        kind, place = carried
        if event == "e":
            return f"e_{kind}{place}"
        if self._is_packed:
            return f"bitTest({event}, {place})"
        # The time, the id, then columns and flags apart: their number is not known yet.
        return f"tupleElement({event}.3, {place + 1})" if kind == "flag" else f"tupleElement({event}.4, {place + 1})"

    def at_ms(self, event: str) -> str:
        """When *event* happened."""
        if event == "e":
            return "e_ms"
        return f"toInt64(bitShiftRight({event}, {FLAGS_MAX}))" if self._is_packed else f"{event}.1"

    def _flag(self, sql: str) -> tuple[str, int]:
        if sql not in self._flags:
            self._flags.append(sql)
        return "flag", self._flags.index(sql)

    def _column(self, sql: str) -> tuple[str, int]:
        if sql not in self._columns:
            self._columns.append(sql)
        return "column", self._columns.index(sql)

    def order_by_id(self) -> None:
        """Let events of one millisecond stand in the order of their ids, also where nothing that is asked needs it."""
        self._needs_id = True

    def carry(self, sql: str) -> str:
        """*sql*, a value of an event in the table, as a value of the event `e`."""
        self._carried.add(sql)
        return self.of("e", self._column(sql))

    def _select(self, sql: str, aggregated: str, of_kept: str | None, name: str = "") -> str:
        """The column of *sql*, which is of `session`; *aggregated*: the same of the rows of a visitor's one session;
        *of_kept*: of the row of a kept session, None where it does not know."""
        if sql not in self._selected:
            self._selected[sql] = (name or f"s{len(self._selected)}", aggregated, of_kept)
        return self._selected[sql][0]

    def _count(self, condition: str, *flags: tuple[str, int], name: str = "", kept_as: str = "") -> str:
        """The column with how many events of the session have all *flags*, which say *condition*; *kept_as*: where it
        is counted already."""
        met = " AND ".join(self.of("x", flag) for flag in flags)
        of_kept = kept_as or kept.count(condition)
        return self._select(f"arrayCount(x -> {met}, session)", f"countIf({condition})", of_kept, name)

    def attribute(self, dimension: Dimension) -> str:
        """A dimension of the session, as a column of the subquery."""
        self._needs_id = True
        field, taken = FIELDS[dimension]
        column = self._column(f"toString({field})")
        if taken is Taken.FIRST:
            first = f"toString(argMinIf({field}, {_IN_ORDER}, {IS_COUNTED}))"
            return self._select(_as_kept(self.of("session[1]", column)), _as_kept(first), kept.attribute(dimension))
        find, found = ("arrayFirst", "argMinIf") if taken is Taken.ENTRY else ("arrayLast", "argMaxIf")
        chosen = f"{find}(x -> {self.of('x', self._pageview)}, session)"
        aggregated = f"toString({found}({field}, {_IN_ORDER}, {IS_PAGEVIEW}))"
        return self._select(_as_kept(self.of(chosen, column)), _as_kept(aggregated), kept.attribute(dimension))

    def meets(self, event_condition: Filter) -> tuple[str, str]:
        """Of a condition on events alone: whether `e` meets it, and the column with how many of the session do."""
        return self.flagged(event_sql(event_condition, self._values))

    def flagged(self, sql: str) -> tuple[str, str]:
        """Of *sql*, a yes or no of an event in the table: that of `e`, and the column with how many of the session."""
        flag = self._flag(sql)
        return self.of("e", flag), self._count(sql, flag)

    def counted(self) -> str:
        """The column with how many events of the session are no reports of engagement."""
        return self._count(IS_COUNTED, self._counted, kept_as="counted")

    def counted_that_meet(self, event_condition: Filter) -> str:
        """The column with how many of those meet the condition; sessions without one may be left out."""
        met = event_sql(event_condition, self._values)
        self._needed.append(kept.exists(met))
        return self._count(f"{IS_COUNTED} AND {met}", self._counted, self._flag(met))

    def next_view_ms(self) -> str:
        """How long after `e` its session's next pageview came; negative where none did. Only of rows of events."""
        self._needs_id = self._has_next = True
        return f"if(next_view < 0, -1, next_view - 1 - {self.at_ms('e')})"

    def pageviews_that_meet(self, event_condition: Filter) -> str:
        """The column with how many pageviews of the session meet the condition."""
        met = event_sql(event_condition, self._values)
        return self._count(f"{IS_PAGEVIEW} AND {met}", self._pageview, self._flag(met))

    def has_done(self, part: HasDone) -> str:
        """Whether the session has an event that meets it."""
        return f"({self.meets(part.part)[1]} > 0)"

    def dimension(self, dimension: AnyDimension) -> str:
        """Any dimension but one of time, of `e` or of its session."""
        if isinstance(dimension, Dimension) and dimension.scope is Scope.SESSION:
            return self.attribute(dimension)
        if isinstance(dimension, Goals):
            flags = [self._flag(event_sql(goal, self._values)) for _, goal in dimension.goals]
            return _numbers_of([self.of("e", flag) for flag in flags])
        return self.carry(event_column(dimension, self._values))

    def condition(self, part: Filter) -> str:
        """Any condition, on `e` and its session."""
        return condition(part, self.dimension, self.has_done, self._values)

    def whole(self, sql: str) -> str:
        """The column with *sql*, a value of an event in the table, of all the session's events in order."""
        carried = self.of("x", self._column(sql))
        return self._select(f"arrayMap(x -> {carried}, session)", "", None)

    def offsets_ms(self) -> str:
        """The column with how long after the session's first event each of them was."""
        return self._select(f"arrayMap(x -> {self.at_ms('x')} - {self.at_ms('session[1]')}, session)", "", None)

    def sql(self, *, with_events: bool, only: str = "true") -> str:
        """The subquery: visitor_id, started_ms, duration_ms, pageviews, others, what else was asked for, and with
        events one row for each, with what is carried of it.

        *only*: what will be asked of its columns outside; it is asked of kept rows at once, for these are many.
        """
        if self._cover is None or not self._is_kept(with_events=with_events):
            return self._made(self._where, "", with_events=with_events)
        made = self._made_beside(self._cover, with_events=with_events)
        return f"{self._from_kept(self._cover, only, with_events=with_events)} UNION ALL {made}"

    def kept_once(self, field: str, met: str, only: str) -> tuple[str, str] | None:
        """Kept sessions, each once for every value of *field* in its events that meet *met*; and the others, as `sql`
        gives them with events. None where sessions of both kinds are to be had together only.

        The value is what `carry` says of *field*. *only*: as for `sql`.
        """
        if self._cover is None or not self._is_kept(with_events=True):
            return None
        flags, columns = self._of_kept_event()
        of_event = {f"e_flag{i}": sql for i, sql in enumerate(flags)} | {
            f"e_column{i}": sql for i, sql in enumerate(columns)
        }
        met = re.sub(r"\be_(?:flag|column)\d+\b", lambda found: of_event[found[0]], met)
        rows = self._kept_rows(self._cover, only, kept.arrays([*flags, *columns]))
        names = "".join(f", {name}" for name, _, _ in self._selected.values())
        once = (
            f"SELECT visitor_id, started_ms, duration_ms{names}, {self.carry(field)} FROM ({rows}) "
            f"ARRAY JOIN {kept.different(field, met)} AS {self.carry(field)}"
        )
        return once, self._made_beside(self._cover, with_events=True)

    def runs(self, where: str) -> str:
        """Without a shorter way, and with begun_ms, when the run began that the session is of; for what is kept."""
        return self._cut(where, "", with_events=False, is_begun_told=True)

    def _is_kept(self, *, with_events: bool) -> bool:
        """Do the rows of kept sessions know all that is asked?"""
        if self._has_next or any(of_kept is None for _, _, of_kept in self._selected.values()):
            return False
        return not with_events or None not in map(kept.of_event, {*self._flags, *self._carried})

    def _made_beside(self, cover: Cover, *, with_events: bool) -> str:
        """The sessions that *cover* lacks."""
        near = f"{self._where} AND {kept.is_near(cover)}"
        return self._made(near, kept.begins(cover), with_events=with_events, are_few=cover.is_nearly_all)

    def _kept_rows(self, cover: Cover, only: str, arrays: str = "") -> str:
        """Kept sessions that meet *only*, with what is asked of each."""
        named = "".join(f", {of_kept} AS {name}" for name, _, of_kept in self._selected.values())
        where = " AND ".join([kept.is_used(cover), *self._needed])
        rows = f"SELECT {kept.FACTS}{named}{arrays} FROM {kept.TABLE} WHERE {where}"
        return f"SELECT * FROM ({rows}) WHERE {only}"

    def _from_kept(self, cover: Cover, only: str, *, with_events: bool) -> str:
        if not with_events:
            return self._kept_rows(cover, only)
        flags, columns = self._of_kept_event()
        names = "".join(f", {name}" for name, _, _ in self._selected.values())
        return (
            f"SELECT visitor_id, started_ms, duration_ms{names}, {_event('started_ms + offset_ms', flags, columns)} "
            f"FROM ({self._kept_rows(cover, only, kept.arrays([*flags, *columns]))}) "
            f"{kept.array_join([*flags, *columns])}"
        )

    def _of_kept_event(self) -> tuple[list[str], list[str]]:
        """Flags and columns of an event of a kept session; what is asked of its session alone is no column."""
        flags = [f"toUInt8({kept.of_event(sql)})" for sql in self._flags]
        return flags, [kept.of_event(sql) or "''" if sql in self._carried else "''" for sql in self._columns]

    def _made(self, where: str, begins: str, *, with_events: bool, are_few: bool = False) -> str:
        """The sessions of the events that meet *where*; *begins*: of runs only whose `begun_ms` and visitor meet it."""
        # Whole visitors, for the other events of one who stays say where sessions begin and end.
        where += "".join(
            f" AND visitor_id IN (SELECT visitor_id FROM events WHERE {where} AND {did})" for did in self._who
        )
        if with_events or self._is_packed or are_few:
            return self._cut(where, begins, with_events=with_events)
        # Most visitors have one session: then nothing has to be sorted and cut, which is four times as quick.
        several = f"SELECT visitor_id FROM events WHERE {where} GROUP BY visitor_id HAVING NOT ({_HAS_ONE_SESSION})"
        cut = self._cut(f"{where} AND visitor_id IN ({several})", begins, with_events=False)
        return f"{self._aggregated(where, begins)} UNION ALL {cut}"

    def _aggregated(self, where: str, begins: str) -> str:
        """Sessions of visitors who have one."""
        first, last = (f"toUnixTimestamp64Milli({end}(occurred_at))" for end in ("min", "max"))
        selected = "".join(f", {sql} AS {name}" for name, sql, _ in self._selected.values())
        began = f" AND {begins.replace('begun_ms', first)}" if begins else ""
        return (
            f"SELECT visitor_id, {first} AS started_ms, {last} - {first} AS duration_ms{selected} FROM events "
            f"WHERE {where} GROUP BY visitor_id HAVING {_HAS_ONE_SESSION}{began}"
        )

    def _cut(self, where: str, begins: str, *, with_events: bool, is_begun_told: bool = False) -> str:
        """Sessions of any visitors: their events in order, cut where the gap is too long."""
        times = f"arrayMap(x -> {self.at_ms('x')}, events)"
        split = f"arraySplit((x, gap) -> gap > {SESSION_GAP_MS}, events, arrayDifference({times}))"
        is_counted = f"x -> {self.of('x', self._counted)}"
        begun = f", {self.at_ms('run[1]')} AS begun_ms" if is_begun_told or begins else ""
        sessions = (
            f"SELECT visitor_id{begun}, arraySlice(run, arrayFirstIndex({is_counted}, run)) AS session "
            f"FROM ({self._by_visitor(where)}) ARRAY JOIN {split} AS run WHERE arrayExists({is_counted}, run)"
            f"{f' AND {begins}' if begins else ''}"
        )
        first, last = self.at_ms("session[1]"), self.at_ms("session[-1]")
        selected = "".join(f", {sql} AS {name}" for sql, (name, _, _) in self._selected.items())
        events, nexts, each = (", session", "", "session AS event") if with_events else ("", "", "")
        if self._has_next:
            nexts, each = f", {self._next_views()} AS nexts", f"{each}, nexts AS next_view"
        rows = (
            f"SELECT visitor_id, {first} AS started_ms, {last} - {first} AS duration_ms"
            f"{', begun_ms' if is_begun_told else ''}{selected}{events}{nexts} FROM ({sessions})"
        )
        if not with_events:
            return rows
        names = "session, nexts" if nexts else "session"
        flags = [self.of("event", ("flag", place)) for place in range(len(self._flags))]
        columns = [
            _as_kept(value) if sql in kept.ARRAYS else value
            for sql, value in ((sql, self.of("event", ("column", i))) for i, sql in enumerate(self._columns))
        ]
        event = _event(self.at_ms("event"), flags, columns)
        return f"SELECT * EXCEPT ({names}), {event}{', next_view' if nexts else ''} FROM ({rows}) ARRAY JOIN {each}"

    def _by_visitor(self, where: str) -> str:
        """Every visitor's events in order."""
        if self._is_packed:
            bits = [f"bitShiftLeft(toUInt64({sql}), {place})" for place, sql in enumerate(self._flags)]
            if self._needs_id:
                # The id stands between time and flags until they are in order.
                event = f"bitShiftLeft({_IN_ORDER}, {FLAGS_MAX}) + {' + '.join(bits)}"
                shorter = f"bitShiftLeft(toUInt64(bitShiftRight(x, {FLAGS_MAX + 128})), {FLAGS_MAX}) + toUInt16(x)"
                events = f"arrayMap(x -> {shorter}, arraySort(groupArray({event})))"
                return f"SELECT visitor_id, {events} AS events FROM events WHERE {where} GROUP BY visitor_id"
            event = " + ".join([f"bitShiftLeft(toUInt64({AT_MS}), {FLAGS_MAX})", *bits])
        else:
            identity = "id" if self._needs_id else "0"
            flags = ", ".join(f"toUInt8({sql})" for sql in self._flags)
            event = f"tuple({AT_MS}, {identity}, tuple({flags}), tuple({', '.join(self._columns) or '0'}))"
        return (
            f"SELECT visitor_id, arraySort(groupArray({event})) AS events FROM events WHERE {where} GROUP BY visitor_id"
        )

    def _next_views(self) -> str:
        """For each event the time of the session's next pageview and 1, so that 0 is free to say "look further"."""
        view = f"if({self.of('x', self._pageview)}, {self.at_ms('x')} + 1, 0)"
        return f"arrayReverseFill(x -> x != 0, arrayPushBack(arrayMap(x -> {view}, arrayPopFront(session)), -1))"


def _event(at_ms: str, flags: Sequence[str], columns: Sequence[str]) -> str:
    """The columns of an event."""
    named = [f"{at_ms} AS e_ms", *(f"{sql} AS e_flag{i}" for i, sql in enumerate(flags))]
    return ", ".join([*named, *(f"{sql} AS e_column{i}" for i, sql in enumerate(columns))])


def _as_kept(text: str) -> str:
    """A text of few values as kept rows have it: where the two are put together, none becomes a text for each row."""
    return f"toLowCardinality({text})"


def _numbers_of(conditions: list[str]) -> str:
    """A row for each of *conditions* that is met, with its number; no row where none is."""
    if not conditions:
        return "arrayJoin(CAST([], 'Array(Int16)'))"
    numbers = ", ".join(f"if({met}, {number}, -1)" for number, met in enumerate(conditions))
    return f"arrayJoin(arrayFilter(x -> x >= 0, CAST([{numbers}], 'Array(Int16)')))"


def event_column(dimension: AnyDimension, values: Values) -> str:
    """A dimension of events, as the table has it; of goals, the number of each that is met, in a row of its own."""
    if isinstance(dimension, Dimension):
        return FIELDS[dimension][0]
    if isinstance(dimension, Goals):
        return _numbers_of([event_sql(goal, values) for _, goal in dimension.goals])
    return f"props[{values.text(dimension.key)}]"


def event_sql(part: Filter, values: Values) -> str:
    """A condition on events alone, as the table has them."""

    def no_sessions(_: HasDone) -> str:
        raise AssertionError("a condition on sessions was taken for one on events")

    return condition(part, lambda dimension: event_column(dimension, values), no_sessions, values)
