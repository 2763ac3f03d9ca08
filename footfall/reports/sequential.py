"""A test that may be looked at every day, and stopped when it says so: the mixture sequential probability ratio test.

R. Johari, P. Koomen, L. Pekelis, D. Walsh: "Always Valid Inference: Continuous Monitoring of A/B Tests", Operations
Research 70 (2022) 1806-1821 (first as "Peeking at A/B Tests", KDD 2017). The difference of two rates is close to
normal; the likelihood ratio of "some difference" against "none" is averaged over differences that were chosen
beforehand: normal ones, of each size of SCALES with the same weight, so that nobody has to know the size. Where there
is no difference it ever passes 1 / alpha with a probability of alpha at most, so one over it is a p-value at every
moment, and what it does not refute is an interval at every moment.
"""

from math import exp, log
from typing import Final

from footfall.reports.posterior import Counted, Interval

SCALES: Final = (0.003, 0.01, 0.03, 0.1)
"""Standard deviations of the differences of rates that are looked for: from 0.3 to 10 per cent points."""
_HALVINGS = 60


def p_value(control: Counted, variant: Counted) -> float:
    """How surprising the difference is if there is none; at most with the probability alpha is it ever below alpha,
    however often one looks. 1 before both have visitors.

    The variance is that of one rate for both, as "no difference" has it, with a conversion and a miss added to each
    (Agresti and Caffo 2000): without them the first conversions of a young test would count for too much.
    """
    if not control.visitors or not variant.visitors:
        return 1.0
    rate = (control.converted + variant.converted + 2) / (control.visitors + variant.visitors + 4)
    variance = rate * (1 - rate) * (1 / control.visitors + 1 / variant.visitors)
    return exp(-max(_log_ratio(_difference(control, variant), variance), 0.0))


def difference_interval(control: Counted, variant: Counted, alpha: float = 0.05) -> Interval | None:
    """The variant's rate less the control's: at every moment at once it is in the interval, but for a probability of
    *alpha*. None before both have visitors."""
    if not control.visitors or not variant.visitors:
        return None
    variance = _variance(control) + _variance(variant)
    low, high = 0.0, 2.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _log_ratio(middle, variance) < -log(alpha) else (low, middle)
    difference = _difference(control, variant)
    return Interval(max(difference - high, -1.0), min(difference + high, 1.0))


def _difference(control: Counted, variant: Counted) -> float:
    return variant.converted / variant.visitors - control.converted / control.visitors


def _variance(counted: Counted) -> float:
    """Of one rate, with one conversion and one miss added."""
    rate = (counted.converted + 1) / (counted.visitors + 2)
    return rate * (1 - rate) / counted.visitors


def _log_ratio(difference: float, variance: float) -> float:
    """Of the likelihood of *difference*, averaged over what is looked for, to that under none."""
    ratios = [
        0.5 * log(variance / (variance + scale**2)) + scale**2 * difference**2 / (2 * variance * (variance + scale**2))
        for scale in SCALES
    ]
    highest = max(ratios)
    return highest + log(sum(exp(ratio - highest) for ratio in ratios) / len(ratios))
