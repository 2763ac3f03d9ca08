"""A test that may be looked at every day, and stopped when it says so: the mixture sequential probability ratio test.

R. Johari, P. Koomen, L. Pekelis, D. Walsh: "Always Valid Inference: Continuous Monitoring of A/B Tests", Operations
Research 70 (2022) 1806-1821 (first as "Peeking at A/B Tests", KDD 2017). The difference of two rates is close to
normal; the likelihood ratio of "some difference" against "none" is averaged over normal differences of a size that was
chosen beforehand. Where there is no difference it ever passes 1 / alpha with a probability of alpha at most, so one
over it is a p-value at every moment, and what it does not refute is an interval at every moment.
"""

from math import exp, log, sqrt

from footfall.query.experiment import EFFECT
from footfall.reports.posterior import Counted, Interval


def p_value(control: Counted, variant: Counted, effect: float = EFFECT) -> float:
    """How surprising the difference is if there is none; at most with the probability alpha is it ever below alpha,
    however often one looks. 1 before both have visitors.

    The variance is that of one rate for both, as "no difference" has it, with a conversion and a miss added to each
    (Agresti and Caffo 2000): without them the first conversions of a young test would count for too much.
    """
    if not control.visitors or not variant.visitors:
        return 1.0
    rate = (control.converted + variant.converted + 2) / (control.visitors + variant.visitors + 4)
    variance = rate * (1 - rate) * (1 / control.visitors + 1 / variant.visitors)
    difference = variant.converted / variant.visitors - control.converted / control.visitors
    mixing = effect * effect
    ratio = 0.5 * log(variance / (variance + mixing)) + mixing * difference**2 / (2 * variance * (variance + mixing))
    return exp(-max(ratio, 0.0))


def difference_interval(
    control: Counted, variant: Counted, effect: float = EFFECT, alpha: float = 0.05
) -> Interval | None:
    """The variant's rate less the control's: at every moment at once it is in the interval, but for a probability of
    *alpha*. None before both have visitors."""
    if not control.visitors or not variant.visitors:
        return None
    variance = _variance(control) + _variance(variant)
    mixing = effect * effect
    difference = variant.converted / variant.visitors - control.converted / control.visitors
    total = variance + mixing
    half = sqrt(variance * total / mixing * (2 * log(1 / alpha) + log(total / variance)))
    return Interval(max(difference - half, -1.0), min(difference + half, 1.0))


def _variance(counted: Counted) -> float:
    """Of one rate, with one conversion and one miss added."""
    rate = (counted.converted + 1) / (counted.visitors + 2)
    return rate * (1 - rate) / counted.visitors
