"""Experiment: what became of those who saw each variant, and what may be concluded from it."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec

from footfall.query.experiment import AskedExperiment, Experiment
from footfall.query.query import Range
from footfall.reports.lines import Cell, csv_of
from footfall.reports.posterior import Counted, Interval, best, lift_interval, rate_interval
from footfall.reports.samples import Spent, difference_of_means, mean_interval, mismatch
from footfall.reports.sequential import difference_interval, p_value
from footfall.reports.span import Clock, percent, said_range, span_asked
from footfall.store.base import Store

MISMATCH_BELOW = 0.001
"""A division as far from the one meant, or farther, comes about by chance less often than this."""
ALPHA = 0.05
CONTROL = "control"


class Rate(msgspec.Struct, frozen=True):
    """Per cent of the visitors who converted."""

    value: float | None
    low: float
    """The rate is between low and high with a probability of 95 per cent (Bayes, from an even prior)."""
    high: float


class Lift(msgspec.Struct, frozen=True):
    """By how many per cent a variant's rate is above the control's."""

    value: float | None
    low: float
    high: float


class Difference(msgspec.Struct, frozen=True):
    """A variant's rate less the control's, in per cent points, with what holds at every moment at once."""

    value: float | None
    low: float | None
    high: float | None
    p_value: float


class PerVisitor(msgspec.Struct, frozen=True, omit_defaults=True):
    """Revenue in one currency."""

    total: Decimal
    buyers: int
    mean: float
    low: float | None
    """The mean is between low and high by Student's t, 95 per cent."""
    high: float | None
    difference: float | None = None
    """The mean less the control's, with Welch's interval."""
    difference_low: float | None = None
    difference_high: float | None = None


class Variant(msgspec.Struct, frozen=True, omit_defaults=True):
    """One of the variants."""

    variant: str
    is_control: bool
    visitors: int
    converted: int
    conversion_rate: Rate
    probability_best: float | None
    revenue: dict[str, PerVisitor]
    lift: Lift | None = None
    difference: Difference | None = None


class Division(msgspec.Struct, frozen=True):
    """Whether visitors were divided as they should have been."""

    p_value: float | None
    is_mismatch: bool
    expected: dict[str, float]
    """Visitors of each variant, had they been."""


class Meta(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who is not counted, and what to be careful about."""

    mixed_visitors: int
    """Who saw more than one variant."""
    left_out_visitors: int = 0
    """Who saw a value of the property that is not among those with most visitors."""
    warnings: list[str] = []


class Results(msgspec.Struct, frozen=True):
    """Each variant, the control first, and how visitors were divided among them."""

    variants: list[Variant]
    division: Division


class Resolved(msgspec.Struct, frozen=True):
    """The question as it was understood."""

    site_id: str
    date_range: tuple[str, str]
    timezone: str
    prop: str
    goal: str
    control: str | None
    split: dict[str, float]


class ExperimentAnswer(msgspec.Struct, frozen=True):
    """The answer."""

    results: Results
    meta: Meta
    query: Resolved


class _Seen(msgspec.Struct, frozen=True):
    """What the store counted."""

    variants: dict[str, Counted]
    """The control first, the others by name; those of the split without visitors too."""
    money: dict[str, dict[str, tuple[int, Decimal, float]]]
    """Variant -> currency -> buyers, sum, squares."""
    mixed: int
    left_out: int


async def experiment(store: Store, asked: AskedExperiment, clock: Clock) -> ExperimentAnswer:
    """What *asked* asks for. Raises Invalid for what can not be asked of this range, Unavailable."""
    span = await span_asked(store, asked.site_id, asked.date_range, clock)
    table = await store.sequences(
        Experiment(
            site_id=asked.site_id,
            range=span,
            prop=asked.prop,
            variants=tuple(asked.split),
            goal=asked.goal,
            filter=asked.filter,
        )
    )
    # Integrals, and the first time the import of SciPy: up to a second for which no other request has to wait.
    return await asyncio.to_thread(_answer, asked, span, table.rows)


def _answer(asked: AskedExperiment, span: Range, rows: Sequence[tuple[Any, ...]]) -> ExperimentAnswer:
    seen = _read(asked, rows)
    division = _division(asked, seen)
    chances = best(list(seen.variants.values())) if seen.variants else []
    return ExperimentAnswer(
        Results(
            [_variant(seen, name, chance) for name, chance in zip(seen.variants, chances, strict=True)],
            division,
        ),
        Meta(seen.mixed, seen.left_out, _warnings(seen, division)),
        Resolved(
            site_id=asked.site_id,
            date_range=said_range(span),
            timezone=span.zone.key,
            prop=asked.prop,
            goal=asked.goal.name,
            control=next(iter(seen.variants), None),
            split={name: asked.split.get(name, 1.0) for name in seen.variants},
        ),
    )


def _read(asked: AskedExperiment, rows: Sequence[tuple[Any, ...]]) -> _Seen:
    counted = {name: Counted(0, 0) for name in asked.split}
    money: defaultdict[str, dict[str, tuple[int, Decimal, float]]] = defaultdict(dict)
    others = {"mixed": 0, "left_out": 0}
    for kind, name, currency, visitors, converted, revenue, squares in rows:
        if kind == "variant":
            counted[name] = Counted(converted, visitors)
        elif kind == "revenue":
            money[name][currency] = (visitors, revenue, squares)
        else:
            others[kind] = visitors
    names = sorted(counted)
    control = asked.control or (CONTROL if CONTROL in counted else "".join(names[:1]))
    names.sort(key=lambda name: name != control)
    if asked.control and asked.control not in counted:
        names.insert(0, asked.control)
        counted[asked.control] = Counted(0, 0)
    return _Seen({name: counted[name] for name in names}, dict(money), others["mixed"], others["left_out"])


def _variant(seen: _Seen, name: str, chance: float) -> Variant:
    own = seen.variants[name]
    control_name = next(iter(seen.variants))
    control = seen.variants[control_name]
    is_control = name == control_name
    low, high = rate_interval(own)
    return Variant(
        variant=name,
        is_control=is_control,
        visitors=own.visitors,
        converted=own.converted,
        conversion_rate=Rate(_per_cent(_rate(own)), _part(low), _part(high)),
        probability_best=percent(chance, 1),
        revenue=_revenue(seen, name, None if is_control else control_name),
        lift=None if is_control else _lift(control, own),
        difference=None if is_control else _difference(seen, control, own),
    )


def _rate(counted: Counted) -> float | None:
    return counted.converted / counted.visitors if counted.visitors else None


def _part(share: float) -> float:
    """Per cent, to three decimals: rates of one in a thousand are usual."""
    return round(100 * share, 3)


def _per_cent(share: float | None) -> float | None:
    return None if share is None else _part(share)


def _lift(control: Counted, variant: Counted) -> Lift:
    interval = lift_interval(control, variant)
    one, other = _rate(control), _rate(variant)
    value = None if not one or other is None else other / one - 1
    return Lift(_per_cent(value), _part(interval.low), _part(interval.high))


def _difference(seen: _Seen, control: Counted, variant: Counted) -> Difference:
    """Compared with the control are all but one: by Bonferroni each at its part of alpha."""
    comparisons = len(seen.variants) - 1
    interval = difference_interval(control, variant, ALPHA / comparisons)
    one, other = _rate(control), _rate(variant)
    value = None if one is None or other is None else other - one
    surprise = min(1.0, comparisons * p_value(control, variant))
    low, high = (None, None) if interval is None else (_part(interval.low), _part(interval.high))
    return Difference(_per_cent(value), low, high, float(f"{surprise:.3g}"))


def _revenue(seen: _Seen, name: str, control: str | None) -> dict[str, PerVisitor]:
    """In every currency that anyone of any variant spent."""
    currencies = sorted({currency for own in seen.money.values() for currency in own})
    if not seen.variants[name].visitors:
        return {}
    return {currency: _per_visitor(seen, name, control, currency) for currency in currencies}


def _per_visitor(seen: _Seen, name: str, control: str | None, currency: str) -> PerVisitor:
    buyers, total, _ = seen.money.get(name, {}).get(currency, (0, Decimal(), 0.0))
    own = _spent(seen, name, currency)
    low, high = _rounded(mean_interval(own))
    if control is None or not seen.variants[control].visitors:
        return PerVisitor(total, buyers, round(own.mean, 6), low, high)
    other = _spent(seen, control, currency)
    bounds = _rounded(difference_of_means(other, own))
    return PerVisitor(total, buyers, round(own.mean, 6), low, high, round(own.mean - other.mean, 6), *bounds)


def _spent(seen: _Seen, name: str, currency: str) -> Spent:
    _, total, squares = seen.money.get(name, {}).get(currency, (0, Decimal(), 0.0))
    return Spent(seen.variants[name].visitors, float(total), squares)


def _rounded(interval: Interval | None) -> tuple[float | None, float | None]:
    return (None, None) if interval is None else (round(interval.low, 6), round(interval.high, 6))


def _division(asked: AskedExperiment, seen: _Seen) -> Division:
    """Of those who saw a variant. A control that is in no split is expected as often as any."""
    names = list(seen.variants)
    parts = [asked.split.get(name, 1.0) for name in names]
    visitors = [counted.visitors for counted in seen.variants.values()]
    surprise = mismatch(visitors, parts)
    expected = {name: round(sum(visitors) * part / sum(parts), 2) for name, part in zip(names, parts, strict=True)}
    is_mismatch = surprise is not None and surprise < MISMATCH_BELOW
    return Division(None if surprise is None else float(f"{surprise:.3g}"), is_mismatch, expected)


def _warnings(seen: _Seen, division: Division) -> list[str]:
    said = []
    if division.is_mismatch:
        said.append("visitors were not divided as expected; look for the reason before believing any other number here")
    visitors = sum(counted.visitors for counted in seen.variants.values())
    if seen.mixed * 100 > visitors + seen.mixed:
        said.append("more than 1 per cent of the visitors saw several variants and are not counted")
    if seen.left_out:
        said.append("the property has more values than variants are shown; name the variants in split")
    if len(seen.variants) == 1:
        said.append("there is one variant only: nothing to compare it with")
    return said


def experiment_csv(answer: ExperimentAnswer) -> str:
    """A line for each variant, with its revenue per visitor in every currency."""
    variants = answer.results.variants
    currencies = list(dict.fromkeys(currency for each in variants for currency in each.revenue))
    rows: list[list[Cell]] = []
    for each in variants:
        rate, lift, difference = each.conversion_rate, each.lift, each.difference
        compared: list[Cell] = [None] * 4
        if lift is not None and difference is not None:
            compared = [lift.value, lift.low, lift.high, difference.p_value]
        means = [each.revenue[currency].mean if currency in each.revenue else None for currency in currencies]
        own: list[Cell] = [each.variant, each.visitors, each.converted, rate.value, rate.low, rate.high]
        rows.append([*own, each.probability_best, *compared, *means])
    return csv_of([*_COLUMNS, *(f"{currency} per visitor" for currency in currencies)], rows)


_COLUMNS = (
    *("variant", "visitors", "converted", "conversion_rate", "conversion_rate_low", "conversion_rate_high"),
    *("probability_best", "lift", "lift_low", "lift_high", "p_value"),
)
