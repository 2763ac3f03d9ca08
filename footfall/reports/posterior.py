"""Posteriors of conversion rates: which variant is best, and by how much, by Bayes' rule from an even prior.

A rate of which nothing is known is as likely to be anywhere from 0 to 1: Beta(1, 1); after k of n it is
Beta(1 + k, 1 + n - k). What is asked of it is integrated by Gauss and Legendre's rule between quantiles of all the
posteriors, where every density is smooth: exact to about 1e-9, and tested against closed forms.
"""

from collections.abc import Callable, Sequence
from math import sqrt
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]

NODES = 16
"""Of each stretch between two quantiles."""
_TAILS = (1e-15, 1e-12, 1e-9, 1e-6, 1e-4, 1e-3, 0.01)
_QUANTILES = (*_TAILS, *(step / 20 for step in range(1, 20)), *(1 - tail for tail in reversed(_TAILS)))
_HALVINGS = 60


class Counted(NamedTuple):
    """What was seen of one variant."""

    converted: int
    visitors: int


class Interval(NamedTuple):
    """From, to."""

    low: float
    high: float


class _Beta:
    """The posterior of one rate."""

    def __init__(self, counted: Counted) -> None:
        self.a, self.b = 1 + counted.converted, 1 + counted.visitors - counted.converted

    def below(self, x: "Floats") -> "Floats":
        """The probability that the rate is below each."""
        from scipy.special import betainc  # noqa: PLC0415 - 30 MB that an idle process should not hold

        return betainc(self.a, self.b, x)  # type: ignore[no-any-return]

    def density(self, x: "Floats") -> "Floats":
        """At each."""
        import numpy as np  # noqa: PLC0415
        from scipy.special import betaln, xlog1py, xlogy  # noqa: PLC0415

        said = xlogy(self.a - 1, x) + xlog1py(self.b - 1, -x) - betaln(self.a, self.b)
        return np.exp(said)  # type: ignore[no-any-return]

    def quantiles(self, levels: Sequence[float]) -> "Floats":
        """The rate that it is below with each probability."""
        from scipy.special import betaincinv  # noqa: PLC0415

        return betaincinv(self.a, self.b, levels)  # type: ignore[no-any-return]


def rate_interval(counted: Counted, level: float = 0.95) -> Interval:
    """The rate is in it with the probability *level*, below and above it with the same."""
    low, high = _Beta(counted).quantiles(((1 - level) / 2, (1 + level) / 2))
    return Interval(float(low), float(high))


def best(variants: Sequence[Counted]) -> list[float]:
    """For each of *variants* the probability that its rate is the highest; together 1."""
    rates = [_Beta(counted) for counted in variants]
    breaks = [point for rate in rates for point in rate.quantiles(_QUANTILES)]

    def is_best(place: int) -> "Callable[[Floats], Floats]":
        def density(x: "Floats") -> "Floats":
            product = rates[place].density(x)
            for other, rate in enumerate(rates):
                if other != place:
                    product = product * rate.below(x)
            return product

        return density

    found = [_integral(is_best(place), breaks) for place in range(len(rates))]
    return [part / sum(found) for part in found]


def lift_interval(control: Counted, variant: Counted, level: float = 0.95) -> Interval:
    """Of the variant's rate over the control's, less 1: it is in the interval with the probability *level*."""
    lower, upper = (_ratio(_Beta(control), _Beta(variant), part) for part in ((1 - level) / 2, (1 + level) / 2))
    return Interval(lower - 1, upper - 1)


def _ratio(control: _Beta, variant: _Beta, wanted: float) -> float:
    """The ratio of the rates is below it with the probability *wanted*; by halving, on the logarithm's scale."""
    low, high = 1e-9, 1e9
    own, others = control.quantiles(_QUANTILES), variant.quantiles(_QUANTILES)
    for _ in range(_HALVINGS):
        middle = sqrt(low * high)
        if _ratio_below(control, variant, middle, [*own, *(others / middle)]) < wanted:
            low = middle
        else:
            high = middle
    return sqrt(low * high)


def _ratio_below(control: _Beta, variant: _Beta, ratio: float, breaks: Sequence[float]) -> float:
    import numpy as np  # noqa: PLC0415

    return _integral(lambda x: control.density(x) * variant.below(np.minimum(1.0, ratio * x)), breaks)


def _integral(density: "Callable[[Floats], Floats]", breaks: Sequence[float]) -> float:
    """Of *density* from 0 to 1, which is smooth between *breaks*."""
    import numpy as np  # noqa: PLC0415

    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    points = np.unique(np.clip(np.asarray([0.0, *breaks, 1.0]), 0.0, 1.0))
    half, middle = np.diff(points) / 2, (points[1:] + points[:-1]) / 2
    x = middle[:, None] + half[:, None] * nodes
    return float(np.sum(density(x) * weights * half[:, None]))
