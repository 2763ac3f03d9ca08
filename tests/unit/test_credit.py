"""Attribution's models against examples worked out by hand, and against the chain walked step by step."""

from collections import defaultdict
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from footfall.query.attribution import Model, Position
from footfall.reports.credit import CREDIT_DECIMALS, OTHER, Path, apportion, credits_of, folded, tally
from footfall.reports.markov import removal

BRYL = [(("C1", "C2", "C3"), 1, 0), (("C1",), 0, 1), (("C2", "C3"), 0, 1)]
"""S. Bryl, "Attribution model in R, part 1" (AnalyzeCore, 2016), whose answer is printed there."""

journeys = st.lists(
    st.tuples(
        st.lists(st.sampled_from("abcd"), min_size=1, max_size=5).map(tuple), st.integers(0, 4), st.integers(0, 4)
    ),
    max_size=12,
)
paths = st.lists(
    st.builds(
        lambda touches, non_direct, conversions, cents: Path(
            touches,
            non_direct % len(touches),
            conversions,
            currency="EUR" if cents % 2 else "",
            revenue=Decimal(cents) / 100 if cents % 2 else Decimal(),
            decayed=tuple(conversions / len(touches) for _ in touches),
            decayed_revenue=tuple(cents / 100 / len(touches) for _ in touches),
        ),
        st.lists(st.sampled_from("abcd"), min_size=1, max_size=7).map(tuple),
        st.integers(0, 6),
        st.integers(1, 9),
        st.integers(-(10**6), 10**9),
    ),
    max_size=12,
)


def way(
    *touches: str, conversions: int = 0, non_direct: int = 0, lost: int = 0, decayed: tuple[float, ...] = ()
) -> Path:
    return Path(touches, non_direct, conversions, lost, decayed=decayed or (0.0,) * len(touches))


def credited(model: Model, *paths: Path, position: Position = Position()) -> dict[str, float]:  # noqa: B008 - frozen
    given, _ = credits_of(tally(paths), model, position)
    return {name: float(amount) for name, amount in given.get(None, {}).items() if amount}


def test_a_chain_from_the_literature_gives_the_answer_that_is_printed_there() -> None:
    chain = removal(BRYL)
    assert chain.effects == pytest.approx({"C1": 0.5, "C2": 1.0, "C3": 1.0})
    assert chain.shares == pytest.approx({"C1": 0.2, "C2": 0.4, "C3": 0.4})


def converting(chain: list[tuple[tuple[str, ...], int, int]], removed: str | None) -> float:
    """The probability of a conversion: a crowd of one walks the counted steps until next to nobody is on the way."""
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for path, converted, lost in chain:
        way = ["(start)", *path]
        for one, other in pairwise(way):
            counts[one][other] += converted + lost
        counts[way[-1]]["(conversion)"] += converted
        counts[way[-1]]["(none)"] += lost
    crowd, arrived = {"(start)": 1.0}, 0.0
    while sum(crowd.values()) > 1e-13:
        moved: dict[str, float] = defaultdict(float)
        for state, many in crowd.items():
            leaving = sum(counts[state].values())
            for follower, count in counts[state].items():
                if follower == "(conversion)":
                    arrived += many * count / leaving
                elif follower not in {"(none)", removed}:
                    moved[follower] += many * count / leaving
        crowd = moved
    return arrived


@given(journeys)
@settings(deadline=None, max_examples=60)
def test_a_removal_is_what_is_lost_when_nobody_gets_past_it(chain: list[tuple[tuple[str, ...], int, int]]) -> None:
    walked = [journey for journey in chain if journey[1] + journey[2]]
    found = removal(chain)
    whole = converting(walked, None) if walked else 0.0
    names = {name for path, _, _ in walked for name in path}
    assert found.effects.keys() == names
    for name in names:
        lost = 1 - converting(walked, name) / whole if whole else 0.0
        assert found.effects[name] == pytest.approx(lost, abs=1e-9)
    assert sum(found.shares.values()) == pytest.approx(1.0 if whole else 0.0)


def test_first_last_and_linear_by_hand() -> None:
    ways = (way("a", "b", "a", "c", conversions=2), way("b", conversions=3), way("c", "b", conversions=1, lost=7))
    assert credited(Model.FIRST, *ways) == {"a": 2, "b": 3, "c": 1}
    assert credited(Model.LAST, *ways) == {"c": 2, "b": 4}
    assert credited(Model.LINEAR, *ways) == {"a": 1.0, "b": 4.0, "c": 1.0}


def test_the_last_that_was_not_direct_is_the_one_the_store_points_at() -> None:
    ways = (way("a", "b", "c", conversions=2, non_direct=1), way("c", conversions=1))
    assert credited(Model.LAST_NON_DIRECT, *ways) == {"b": 2, "c": 1}


def test_position_gives_forty_twenty_forty_and_what_is_asked_for() -> None:
    long, two, one = (way(*touches, conversions=10) for touches in ("abcd", "ab", "a"))
    assert credited(Model.POSITION, long) == {"a": 4, "b": 1, "c": 1, "d": 4}
    assert credited(Model.POSITION, two) == {"a": 5, "b": 5}
    assert credited(Model.POSITION, one) == {"a": 10}
    late = Position(Fraction(1, 10), Fraction(3, 10))
    assert credited(Model.POSITION, long, position=late) == {"a": 1, "b": 3, "c": 3, "d": 3}
    assert credited(Model.POSITION, two, position=late) == {"a": 2.5, "b": 7.5}
    assert credited(Model.POSITION, two, position=Position(Fraction(0), Fraction(0))) == {"a": 5, "b": 5}


def test_time_decay_is_what_the_store_weighed() -> None:
    # A session a half-life before the other: one part to two.
    assert credited(Model.TIME_DECAY, way("a", "b", conversions=3, decayed=(1.0, 2.0))) == {"a": 1, "b": 2}


def test_the_chain_gives_its_shares_of_the_conversions() -> None:
    ways = [way(*touches, conversions=10 * converted, lost=10 * lost) for touches, converted, lost in BRYL]
    assert credited(Model.MARKOV, *ways) == {"C1": 2, "C2": 4, "C3": 4}
    assert credited(Model.MARKOV, way("a", lost=9)) == {}


def test_what_can_not_be_divided_goes_to_those_who_lost_most_by_rounding() -> None:
    thirds = {name: Fraction(1, 3) for name in "abc"}
    assert apportion(Fraction(1), thirds, 2) == {"a": Decimal("0.34"), "b": Decimal("0.33"), "c": Decimal("0.33")}
    assert apportion(Fraction(-1), {"a": Fraction(-1, 3), "b": Fraction(-2, 3)}, 1) == {
        "a": Decimal("-0.3"),
        "b": Decimal("-0.7"),
    }


@given(paths, st.sampled_from(list(Model)))
@settings(deadline=None, max_examples=200)
def test_the_credits_of_every_model_are_together_exactly_the_conversions_and_the_revenue(
    ways: list[Path], model: Model
) -> None:
    given, _ = credits_of(tally(ways), model, Position())
    if not ways:
        assert given == {}
        return
    assert sum(given[None].values()) == sum(path.conversions for path in ways)
    assert all(round(amount, CREDIT_DECIMALS) == amount >= 0 for amount in given[None].values())
    money = [path.revenue for path in ways if path.currency]
    assert sum(given.get("EUR", {}).values()) == sum(money)


def test_more_touchpoints_than_can_be_told_apart_are_one() -> None:
    ways = [way(f"s{n}", "s0", conversions=300 - n) for n in range(1, 300)]
    names = {name for path in folded(ways) for name in path.touches}
    assert len(names) == 201
    assert OTHER in names
    assert {"s0", "s1", "s199"} <= names
    assert folded(ways[:50]) == ways[:50]
