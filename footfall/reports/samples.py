"""Means of what visitors spent, and whether visitors were divided as they should have been."""

from collections.abc import Sequence
from math import sqrt

import msgspec

from footfall.reports.posterior import Interval


class Spent(msgspec.Struct, frozen=True):
    """What the visitors of one variant spent in one currency, who spent nothing included."""

    visitors: int
    total: float
    squares: float
    """The sum of the squares of what each spent."""

    @property
    def mean(self) -> float:
        """Of each visitor."""
        return self.total / self.visitors

    @property
    def variance(self) -> float:
        """Of the mean (the sample's, over the number of visitors)."""
        spread = max(self.squares - self.total**2 / self.visitors, 0.0)
        return spread / (self.visitors - 1) / self.visitors


def difference_of_means(control: Spent, variant: Spent, level: float = 0.95) -> Interval | None:
    """Of the variant's mean less the control's, by Welch's t: for one look at the end, at a size fixed beforehand.

    B. L. Welch, "The generalization of Student's problem when several different population variances are involved",
    Biometrika 34 (1947) 28-35. None where one has fewer than two visitors, or nobody differs from anybody.
    """
    if min(control.visitors, variant.visitors) < 2:
        return None
    one, other = control.variance, variant.variance
    if not one + other:
        return None
    freedom = (one + other) ** 2 / (one**2 / (control.visitors - 1) + other**2 / (variant.visitors - 1))
    return _around(variant.mean - control.mean, one + other, freedom, level)


def mean_interval(spent: Spent, level: float = 0.95) -> Interval | None:
    """Of the mean, by Student's t. None with fewer than two visitors."""
    if spent.visitors < 2:
        return None
    return _around(spent.mean, spent.variance, spent.visitors - 1, level)


def _around(middle: float, variance: float, freedom: float, level: float) -> Interval:
    from scipy.special import stdtrit  # noqa: PLC0415 - 30 MB that an idle process should not hold

    half = float(stdtrit(freedom, (1 + level) / 2)) * sqrt(variance)
    return Interval(middle - half, middle + half)


def mismatch(seen: Sequence[int], expected: Sequence[float]) -> float | None:
    """The probability of numbers at least as far as *seen* from the division *expected* (parts of any scale, all above
    0) by chance: Pearson's chi-square test. None where nobody was seen, or there is one part only.

    A. Fabijan et al., "Diagnosing Sample Ratio Mismatch in Online Controlled Experiments", KDD 2019, look into it where
    it is below 0.001 or so.
    """
    from scipy.special import chdtrc  # noqa: PLC0415

    total, parts = sum(seen), sum(expected)
    if not total or len(seen) < 2:
        return None
    wanted = [total * part / parts for part in expected]
    statistic = sum((count - want) ** 2 / want for count, want in zip(seen, wanted, strict=True))
    return float(chdtrc(len(seen) - 1, statistic))
