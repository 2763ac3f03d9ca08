"""Removal effects: how much of all converting would be lost without a touchpoint, by an absorbing Markov chain.

E. Anderl, I. Becker, F. von Wangenheim, J. H. Schumann: "Mapping the customer journey: Lessons learned from graph-based
online attribution modeling", International Journal of Research in Marketing 33 (2016) 457-474; here of first order.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TypeAlias

import msgspec

Journey: TypeAlias = tuple[Sequence[str], int, int]
"""A path, how often it ended in a conversion, and how often without one."""


class Removal(msgspec.Struct, frozen=True):
    """What the chain says."""

    effects: dict[str, float]
    """For each touchpoint, from 0 to 1: the share of conversions that would not be if every journey that comes to it
    ended there without one."""
    shares: dict[str, float]
    """The effects as parts of 1: what each is credited with. All 0 where nothing converts."""


def removal(journeys: Iterable[Journey]) -> Removal:
    """The effect of removing each touchpoint of *journeys*, and its share of them all.

    The chain has a state for each touchpoint between a start and two ends, conversion and none; its probabilities are
    the transitions that were counted, of the journeys without a conversion too. Removing c loses exactly the
    conversions that come by c, so with N = (I - Q)^-1 (Kemeny and Snell, Finite Markov Chains, 1960) its effect is
    P(come to c) * P(convert from c) / P(convert), where P(come to c) = (s N)_c / N_cc.
    """
    import numpy as np  # noqa: PLC0415 - 20 MB that a process which is never asked should not hold

    steps, starts, ends, places = _counted(journeys)
    if not places or not sum(ends.values()):
        return Removal(dict.fromkeys(places, 0.0), dict.fromkeys(places, 0.0))
    size = len(places)
    counts, start, end = np.zeros((size, size)), np.zeros(size), np.zeros(size)
    leaving = np.zeros(size)
    for (one, other), count in steps.items():
        leaving[places[one]] += count
        if other is not None:
            counts[places[one], places[other]] = count
    for name, place in places.items():
        start[place], end[place] = starts[name], ends[name]
    start /= start.sum()
    visits = np.linalg.inv(np.eye(size) - counts / leaving[:, None])
    converting = visits @ (end / leaving)
    coming = (start @ visits) / np.diag(visits)
    effects = coming * converting / (start @ converting)
    shares = effects / effects.sum()
    return Removal(
        {name: float(effects[place]) for name, place in places.items()},
        {name: float(shares[place]) for name, place in places.items()},
    )


def _counted(
    journeys: Iterable[Journey],
) -> tuple[Counter[tuple[str, str | None]], Counter[str], Counter[str], dict[str, int]]:
    """Steps (to None: to either end), beginnings, conversions by their last touchpoint, and a number for each."""
    steps: Counter[tuple[str, str | None]] = Counter()
    starts: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    places: dict[str, int] = {}
    for path, converted, lost in journeys:
        count = converted + lost
        if not path or not count:
            continue
        for name in path:
            places.setdefault(name, len(places))
        starts[path[0]] += count
        for one, other in pairwise(path):
            steps[one, other] += count
        steps[path[-1], None] += count
        ends[path[-1]] += converted
    return steps, starts, ends, places
