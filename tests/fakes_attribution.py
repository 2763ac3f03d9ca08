"""What MemoryStore answers about attribution and experiments, in plain Python: visitor by visitor."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Any, NamedTuple

from footfall.event import ENGAGEMENT, Event
from footfall.query.attribution import Attribution
from footfall.query.experiment import Experiment
from footfall.query.query import Dimension, Filter
from footfall.query.steps import Step
from tests.fakes_questions import Session, meets, sessions_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Row = tuple[Any, ...]
ATTRIBUTION = (
    "touches",
    "non_direct",
    "currency",
    "conversions",
    "lost",
    "visitors",
    "revenue",
    "decayed",
    "decayed_revenue",
    "took_ms",
    "met",
    "cut",
)
EXPERIMENT = ("kind", "variant", "currency", "visitors", "converted", "revenue", "squares")


def _at(event: Event) -> datetime:
    return _EPOCH + timedelta(milliseconds=event.occurred_at_ms)


def _is_report(event: Event) -> bool:
    return event.name == ENGAGEMENT and not event.interactive


def _is_met(step: Step, event: Event) -> bool:
    return meets(step.condition, event, Session([event])) and (step.takes_engagement or not _is_report(event))


def _is_kept(condition: Filter | None, session: Session) -> bool:
    return condition is None or any(
        meets(condition, event, session) for event in session.events if not _is_report(event)
    )


def _in_order(event: Event) -> tuple[int, bytes]:
    return event.occurred_at_ms, event.id


# --- attribution ----------------------------------------------------------------------------------------------------


class End(NamedTuple):
    """A conversion, or the last event of one who has none, with the sessions that led there."""

    event: Event
    is_conversion: bool
    is_first: bool
    touches: list[Session]


def _begin_ms(session: Session) -> int:
    return session.events[0].occurred_at_ms


def _ends(asked: Attribution, events: list[Event]) -> Iterator[End]:
    reach = asked.range.start - timedelta(milliseconds=asked.lookback_ms)
    sessions = sessions_of([event for event in events if reach <= _at(event) < asked.range.end])
    sessions.sort(key=lambda session: (session.events[0].visitor_id, _begin_ms(session)))
    for _, own in groupby(sessions, lambda session: session.events[0].visitor_id):
        visits = list(own)
        seen = [
            (event, session)
            for session in visits
            if _is_kept(asked.filter, session)
            for event in session.events
            if _at(event) >= asked.range.start
        ]
        found = [(event, session, True) for event, session in seen if _is_met(asked.goal, event)]
        if not found and asked.with_lost:
            found = [(event, session, False) for event, session in seen if not _is_report(event)][-1:]
        for place, (event, session, is_conversion) in enumerate(found if asked.counting == "every" else found[:1]):
            touches = [
                visit
                for visit in visits
                if _begin_ms(visit) <= event.occurred_at_ms
                and (visit is session or event.occurred_at_ms - _begin_ms(visit) <= asked.lookback_ms)
            ]
            yield End(event, is_conversion, is_conversion and place == 0, touches)


def attribution_rows(asked: Attribution, events: list[Event]) -> list[Row]:
    """See Attribution."""
    found: dict[Row, list[Any]] = {}
    for end in _ends(asked, events):
        touches = end.touches if len(end.touches) <= 50 else [end.touches[0], *end.touches[-49:]]
        led = [place for place, visit in enumerate(touches) if visit.of(Dimension.CHANNEL) not in {"Direct", ""}]
        is_paid = end.is_conversion and end.event.revenue is not None
        amount = end.event.revenue if is_paid and end.event.revenue is not None else Decimal()
        weights = [2.0 ** ((_begin_ms(visit) - _begin_ms(touches[-1])) / asked.half_life_ms) for visit in touches]
        parts = [weight / sum(weights) * end.is_conversion for weight in weights]
        took_ms = end.event.occurred_at_ms - _begin_ms(end.touches[0])
        key = (
            tuple(visit.of(asked.dimension) for visit in touches),
            led[-1] if led else len(touches) - 1,
            end.event.currency if is_paid else "",
        )
        _add(
            found,
            key,
            [
                *(int(end.is_conversion), int(not end.is_conversion), int(end.is_first), amount),
                *(parts, [part * float(amount) for part in parts]),
                *(took_ms * end.is_conversion, len(end.touches) * end.is_conversion, int(len(end.touches) > 50)),
            ],
        )
    ranked = sorted(
        found, key=lambda key: (-found[key][0], -found[key][1], [name.encode() for name in key[0]], key[2], key[1])
    )
    shown: dict[Row, list[Any]] = {}
    for place, key in enumerate(ranked):
        values = found[key]
        if place < asked.limit:
            shown[key] = values
        else:
            _add(shown, (None, 0, key[2]), [*values[:4], [sum(values[4])], [sum(values[5])], *values[6:]])
    return [(*key, *(tuple(each) if isinstance(each, list) else each for each in shown[key])) for key in shown]


def _add(rows: dict[Row, list[Any]], key: Row, values: list[Any]) -> None:
    before = rows.get(key)
    rows[key] = values if before is None else [
        [a + b for a, b in zip(one, other, strict=True)] if isinstance(one, list) else one + other
        for one, other in zip(before, values, strict=True)
    ]  # fmt: skip


# --- experiment -----------------------------------------------------------------------------------------------------


def experiment_rows(asked: Experiment, events: list[Event]) -> list[Row]:
    """See Experiment."""
    inside = [event for event in events if asked.range.start <= _at(event) < asked.range.end]
    people: dict[int, list[Event]] = defaultdict(list)
    for session in sessions_of(inside) if asked.filter is not None else [Session([event]) for event in inside]:
        if _is_kept(asked.filter, session):
            people[session.events[0].visitor_id] += session.events
    outcomes: dict[str, list[tuple[bool, dict[str, Decimal]]]] = defaultdict(list)
    mixed = 0
    for own in people.values():
        own.sort(key=_in_order)
        shown = [(event, event.props.get(asked.prop, "")) for event in own if not _is_report(event)]
        shown = [(event, name) for event, name in shown if name and (not asked.variants or name in asked.variants)]
        if len({name for _, name in shown}) > 1:
            mixed += 1
        elif shown:
            exposure, name = shown[0]
            after = own[own.index(exposure) + 1 :]
            spent: dict[str, Decimal] = defaultdict(Decimal)
            for event in after:
                if event.revenue is not None:
                    spent[event.currency] += event.revenue
            outcomes[name].append((any(_is_met(asked.goal, event) for event in after), dict(spent)))
    ranked = sorted(outcomes, key=lambda name: (-len(outcomes[name]), name.encode()))
    rows: list[Row] = [("mixed", "", "", mixed, 0, Decimal(), 0.0)] if mixed else []
    if left_out := sum(len(outcomes[name]) for name in ranked[asked.limit :]):
        rows.append(("left_out", "", "", left_out, 0, Decimal(), 0.0))
    for name in ranked[: asked.limit]:
        seen = outcomes[name]
        rows.append(("variant", name, "", len(seen), sum(converted for converted, _ in seen), Decimal(), 0.0))
        for currency in {currency for _, spent in seen for currency in spent}:
            sums = [spent[currency] for _, spent in seen if currency in spent]
            squares = float(sum(amount * amount for amount in sums))
            rows.append(("revenue", name, currency, len(sums), 0, sum(sums, Decimal()), squares))
    return rows
