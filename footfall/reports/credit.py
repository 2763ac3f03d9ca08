"""Credit: which touchpoint is owed how much of each conversion and of its revenue, by each model of attribution.

What a model's rule gives is added up as whole numbers and fractions, and rounded once, at the end, so that the credits
of a model are together exactly the conversions, and exactly the revenue.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from math import floor
from typing import TypeAlias

import msgspec

from footfall.event import REVENUE_DECIMALS
from footfall.query.attribution import Model, Position
from footfall.reports.markov import Removal, removal

VALUES_MAX = 200
"""So many touchpoints are told apart, those met most often; the others are one."""
OTHER = "(other)"
CREDIT_DECIMALS = 4

Unit: TypeAlias = str | None
"""What is given out: a currency's revenue, or None: the conversions."""


class Path(msgspec.Struct, frozen=True):
    """Journeys that went the same way."""

    touches: tuple[str, ...]
    """In order; (OTHER,) for all that were too many to be told apart."""
    non_direct: int
    """The place of the last that did not come directly; of the last where all did."""
    conversions: int = 0
    lost: int = 0
    """Journeys without a conversion."""
    currency: str = ""
    """Empty where no money changed hands."""
    revenue: Decimal = Decimal()
    decayed: tuple[float, ...] = ()
    """What TIME_DECAY owes to each touch of the conversions, and"""
    decayed_revenue: tuple[float, ...] = ()
    """of the revenue."""


class Tally(msgspec.Struct, frozen=True):
    """Paths, added up as far as no model minds. Money in millionths, as whole numbers."""

    totals: Counter[Unit]
    places: dict[Unit, Counter[tuple[str, int, int]]]
    """By touchpoint, length of the path, and place in it."""
    non_direct: dict[Unit, Counter[str]]
    decayed: dict[Unit, Counter[str]]
    """Not whole: Counter is for adding only."""
    journeys: list[tuple[tuple[str, ...], int, int]]
    """For the Markov chain: path, conversions, lost."""


def tally(paths: Iterable[Path]) -> Tally:
    """What the models are worked out from."""
    found = Tally(Counter(), defaultdict(Counter), defaultdict(Counter), defaultdict(Counter), [])
    for path in paths:
        found.journeys.append((path.touches, path.conversions, path.lost))
        _add(found, None, path, path.conversions, path.decayed)
        if path.currency:
            millionths = int(path.revenue.scaleb(REVENUE_DECIMALS))
            _add(found, path.currency, path, millionths, [part * 10**REVENUE_DECIMALS for part in path.decayed_revenue])
    return found


def _add(found: Tally, unit: Unit, path: Path, amount: int, decayed: Sequence[float]) -> None:
    if not path.conversions:
        return
    length = len(path.touches)
    found.totals[unit] += amount
    found.non_direct[unit][path.touches[path.non_direct]] += amount
    for place, name in enumerate(path.touches):
        found.places[unit][name, length, place] += amount
    for name, part in zip(path.touches, decayed, strict=True):
        found.decayed[unit][name] += part  # type: ignore[assignment]


def credits_of(found: Tally, model: Model, position: Position) -> tuple[dict[Unit, dict[str, Decimal]], Removal | None]:
    """For conversions and for each currency: touchpoint -> credit, together exactly the total; and what the Markov
    chain says, where it was asked."""
    chain = removal(found.journeys) if model is Model.MARKOV else None
    given: dict[Unit, dict[str, Decimal]] = {}
    for unit, total in found.totals.items():
        owed = _owed(found, unit, model, position, chain)
        scale, decimals = (1, CREDIT_DECIMALS) if unit is None else (10**REVENUE_DECIMALS, REVENUE_DECIMALS)
        parts = {name: part / scale for name, part in owed.items()}
        given[unit] = apportion(Fraction(total, scale), parts, decimals)
    return given, chain


def _owed(found: Tally, unit: Unit, model: Model, position: Position, chain: Removal | None) -> Mapping[str, Fraction]:
    if chain is not None:
        return {name: Fraction(share) * found.totals[unit] for name, share in chain.shares.items()}
    if model is Model.LAST_NON_DIRECT:
        return {name: Fraction(amount) for name, amount in found.non_direct[unit].items()}
    if model is Model.TIME_DECAY:
        return {name: Fraction(amount) for name, amount in found.decayed[unit].items()}
    owed: defaultdict[str, Fraction] = defaultdict(Fraction)
    for (name, length, place), amount in found.places[unit].items():
        if share := share_of(model, length, place, position):
            owed[name] += amount * share
    return owed


@lru_cache(maxsize=20_000)
def share_of(model: Model, length: int, place: int, position: Position) -> Fraction:
    """What FIRST, LAST, LINEAR or POSITION gives to one *place* of a path, as a part of 1."""
    if length == 1:
        return Fraction(1)
    if model is Model.LINEAR:
        return Fraction(1, length)
    is_end = place in {0, length - 1}
    if model is not Model.POSITION:
        return Fraction(place == 0 if model is Model.FIRST else place == length - 1)
    ends = position.first + position.last
    if length > 2 and not is_end:
        return (1 - ends) / (length - 2)
    mine = position.first if place == 0 else position.last
    if length > 2:
        return mine
    return mine / ends if ends else Fraction(1, 2)


def apportion(total: Fraction, owed: Mapping[str, Fraction], decimals: int) -> dict[str, Decimal]:
    """*owed* rounded to *decimals* so that it is together *total*, which has no more decimals, exactly.

    By the largest remainder (Hamilton): all rounded down, then one more of the last decimal to those that lost most;
    ties by name.
    """
    unit = 10**decimals
    whole = {name: floor(amount * unit) for name, amount in owed.items()}
    missing = int(total * unit) - sum(whole.values())
    if whole:
        # Inexact parts can miss the total by more than one each.
        each, missing = divmod(missing, len(whole))
        losses = sorted(owed, key=lambda name: (whole[name] - owed[name] * unit, name))
        for place, name in enumerate(losses):
            whole[name] += each + (place < missing)
    return {name: Decimal(amount).scaleb(-decimals) for name, amount in whole.items()}


def folded(paths: Sequence[Path]) -> list[Path]:
    """*paths* with all but the VALUES_MAX touchpoints that are met most often called OTHER."""
    met: Counter[str] = Counter()
    for path in paths:
        for name in path.touches:
            met[name] += path.conversions + path.lost
    if len(met) <= VALUES_MAX:
        return list(paths)
    kept = {name for name, _ in sorted(met.items(), key=lambda pair: (-pair[1], pair[0]))[:VALUES_MAX]}
    return [
        msgspec.structs.replace(path, touches=tuple(name if name in kept else OTHER for name in path.touches))
        for path in paths
    ]
