"""Attribution: the paths to a goal's conversions, and what each touchpoint is credited with, by several models."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, TypeAlias

import msgspec

from footfall.query.attribution import AskedAttribution, Attribution, Model
from footfall.query.query import Range
from footfall.query.reading import said_time
from footfall.reports.credit import OTHER, Path, Tally, Unit, credits_of, folded, tally
from footfall.reports.lines import Cell, csv_of
from footfall.reports.markov import Removal
from footfall.reports.span import Clock, said_range, span_asked
from footfall.store.base import Store

Money: TypeAlias = dict[str, Decimal]
Given: TypeAlias = tuple[dict[Unit, dict[str, Decimal]], Removal | None]


class Credit(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one model gives to one touchpoint."""

    conversions: Decimal
    revenue: Money
    removal_effect: float | None = None
    """Of the model markov: per cent of the conversions that would be lost without it."""


class Touchpoint(msgspec.Struct, frozen=True):
    """One value of the dimension."""

    value: str
    touches: int
    """How often it is met on the paths to conversions."""
    models: dict[str, Credit]


class Totals(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the credits of each model are together, and how the paths are."""

    conversions: int
    visitors: int
    """Who converted."""
    revenue: Money
    paths: int
    """How many different ones end in a conversion."""
    touches_per_conversion: float | None
    seconds_to_convert: float | None
    """From the beginning of the path's first session to the conversion, mean."""
    lost: int | None = None
    """Visitors without a conversion, where a model asks for them."""


class ShownPath(msgspec.Struct, frozen=True, omit_defaults=True):
    """One of the most frequent paths to a conversion."""

    path: list[str]
    conversions: int
    revenue: Money
    lost: int | None = None


class Meta(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a limit was met, and how much it took."""

    conversions_of_other_paths: int = 0
    """These paths were too many to be told apart: their conversions are the touchpoint "(other)"'s."""
    other_values: int = 0
    """So many values of the dimension are the touchpoint "(other)"."""
    shortened_paths: int = 0
    """So many paths had touches left out between the first and the last ones."""


class Results(msgspec.Struct, frozen=True):
    """All together, each touchpoint, and the paths."""

    totals: Totals
    touchpoints: list[Touchpoint]
    paths: list[ShownPath]


class Resolved(msgspec.Struct, frozen=True):
    """The question as it was understood."""

    site_id: str
    date_range: tuple[str, str]
    timezone: str
    goal: str
    dimension: str
    models: list[str]
    lookback: str
    half_life: str
    position: dict[str, float]
    conversions: str
    paths: int


class AttributionAnswer(msgspec.Struct, frozen=True):
    """The answer."""

    results: Results
    meta: Meta
    query: Resolved


class _Found(msgspec.Struct, frozen=True):
    """What the store answered: its rows as paths, and the sums of what no model needs."""

    paths: list[Path]
    visitors: int
    took_ms: int
    met: int
    cut: int
    others: int
    """Conversions whose paths were too many."""


async def attribution(store: Store, asked: AskedAttribution, clock: Clock) -> AttributionAnswer:
    """What *asked* asks for. Raises Invalid for what can not be asked of this range, Unavailable."""
    span = await span_asked(store, asked.site_id, asked.date_range, clock)
    table = await store.sequences(
        Attribution(
            site_id=asked.site_id,
            range=span,
            goal=asked.goal,
            dimension=asked.dimension,
            lookback_ms=asked.lookback_ms,
            half_life_ms=asked.half_life_ms,
            counting=asked.counting,
            with_lost=Model.MARKOV in asked.models,
            filter=asked.filter,
        )
    )
    # Up to 20,000 paths, and a matrix: at worst some seconds, for which no other request has to wait.
    return await asyncio.to_thread(_answer, asked, span, table.rows)


def _answer(asked: AskedAttribution, span: Range, rows: Sequence[tuple[Any, ...]]) -> AttributionAnswer:
    found = _read(rows)
    paths = folded(found.paths)
    tallied = tally(paths)
    given = {model: credits_of(tallied, model, asked.position) for model in asked.models}
    has_lost = Model.MARKOV in asked.models
    return AttributionAnswer(
        Results(
            _totals(tallied, found, has_lost=has_lost),
            _touchpoints(asked, tallied, given),
            _shown(paths, asked.paths, has_lost=has_lost),
        ),
        Meta(found.others, len(_values(found.paths) - _values(paths)), found.cut),
        Resolved(
            site_id=asked.site_id,
            date_range=said_range(span),
            timezone=span.zone.key,
            goal=asked.goal.name,
            dimension=asked.dimension.value,
            models=[model.value for model in asked.models],
            lookback=said_time(asked.lookback_ms),
            half_life=said_time(asked.half_life_ms),
            position={"first": float(100 * asked.position.first), "last": float(100 * asked.position.last)},
            conversions=asked.counting.value,
            paths=asked.paths,
        ),
    )


def _values(paths: Sequence[Path]) -> set[str]:
    return {name for path in paths for name in path.touches}


def _read(rows: Sequence[tuple[Any, ...]]) -> _Found:
    paths = []
    visitors = took_ms = met = cut = others = 0
    for touches, non_direct, currency, conversions, lost, firsts, revenue, decayed, decayed_revenue, *sums in rows:
        path = (OTHER,) if touches is None else touches
        paths.append(Path(path, non_direct, conversions, lost, currency, revenue, decayed, decayed_revenue))
        visitors += firsts
        took_ms, met, cut = took_ms + sums[0], met + sums[1], cut + sums[2]
        others += conversions if touches is None else 0
    return _Found(paths, visitors, took_ms, met, cut, others)


def _touchpoints(asked: AskedAttribution, tallied: Tally, given: dict[Model, Given]) -> list[Touchpoint]:
    """One for each value on a path to a conversion, the one with most by the first model first; ties by name."""
    touches: Counter[str] = Counter()
    for (name, _, _), count in tallied.places.get(None, Counter()).items():
        touches[name] += count
    found = [
        Touchpoint(name, count, {model: _credit(name, *given[model]) for model in asked.models})
        for name, count in touches.items()
    ]
    first = asked.models[0]
    return sorted(found, key=lambda each: (-each.models[first].conversions, each.value))


def _credit(name: str, given: dict[Unit, dict[str, Decimal]], chain: Removal | None) -> Credit:
    return Credit(
        conversions=_plain(given[None].get(name, Decimal())),
        revenue={
            currency: _plain(amounts[name])
            for currency, amounts in sorted((unit, each) for unit, each in given.items() if unit is not None)
            if amounts.get(name)
        },
        removal_effect=None if chain is None else round(100 * chain.effects[name], 2),
    )


def _plain(amount: Decimal) -> Decimal:
    """Without zeros at the end, and never as a power of ten."""
    return Decimal(f"{amount.normalize() + 0:f}")


def _totals(tallied: Tally, found: _Found, *, has_lost: bool) -> Totals:
    conversions = tallied.totals[None]
    return Totals(
        conversions=conversions,
        visitors=found.visitors,
        revenue=_money(found.paths),
        paths=len({path.touches for path in found.paths if path.conversions}),
        touches_per_conversion=round(found.met / conversions, 2) if conversions else None,
        seconds_to_convert=round(found.took_ms / conversions / 1000, 2) if conversions else None,
        lost=sum(path.lost for path in found.paths) if has_lost else None,
    )


def _money(paths: Sequence[Path]) -> Money:
    sums: defaultdict[str, Decimal] = defaultdict(Decimal)
    for path in paths:
        if path.currency:
            sums[path.currency] += path.revenue
    return {currency: _plain(amount) for currency, amount in sorted(sums.items())}


def _shown(paths: Sequence[Path], most: int, *, has_lost: bool) -> list[ShownPath]:
    """The *most* paths with most conversions; ties by their touchpoints."""
    same: defaultdict[tuple[str, ...], list[Path]] = defaultdict(list)
    for path in paths:
        same[path.touches].append(path)
    shown = [
        ShownPath(
            list(touches),
            sum(path.conversions for path in alike),
            _money(alike),
            sum(path.lost for path in alike) if has_lost else None,
        )
        for touches, alike in same.items()
        if any(path.conversions for path in alike)
    ]
    return sorted(shown, key=lambda each: (-each.conversions, each.path))[:most]


def attribution_csv(answer: AttributionAnswer) -> str:
    """A line for each touchpoint, with the conversions and the revenue that each model gives to it."""
    models = answer.query.models
    columns = [answer.query.dimension, "touches", *(f"{model} {what}" for model in models for what in _CREDITED)]
    rows: list[list[Cell]] = []
    for each in answer.results.touchpoints:
        given = [each.models[model] for model in models]
        own = [cell for credit in given for cell in (f"{credit.conversions:f}", credit.revenue)]
        rows.append([each.value, each.touches, *own])
    return csv_of(columns, rows)


_CREDITED = ("conversions", "revenue")
