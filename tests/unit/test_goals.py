"""What the stars in a goal's page mean: the same in both engines of regular expressions."""

import re

import pytest
import re2

from footfall.event import PAGEVIEW
from footfall.query.definitions import Goal
from footfall.query.goals import condition, page_pattern
from footfall.query.query import All, Compare, Dimension, Operator, Prop

PAGES = [
    ("/docs/*", ["/docs/a", "/docs/"], ["/docs", "/docs/a/b", "/Docs/a", "x/docs/a"]),
    ("/docs/**", ["/docs/a/b", "/docs/"], ["/docs", "/docsa"]),
    ("/docs**", ["/docs", "/docs/a/b", "/docs?q=1"], ["/doc"]),
    ("/*/end", ["/a/end", "//end"], ["/a/b/end", "/a/end/", "/a/ending"]),
    ("/a.b+(c)[d]^$|{2}\\d*", ["/a.b+(c)[d]^$|{2}\\d", "/a.b+(c)[d]^$|{2}\\dx"], ["/aXb+(c)[d]^$|{2}\\d"]),
    ("**", ["", "/", "/a\nb"], []),
    ("/ü*✓", ["/ü✓", "/üx✓"], ["/u✓"]),
]


@pytest.mark.parametrize(("page", "met", "unmet"), PAGES)
def test_stars_stand_for_characters_and_all_else_for_itself(page: str, met: list[str], unmet: list[str]) -> None:
    pattern = page_pattern(page)
    for search in (re.compile(pattern).search, re2.compile(pattern).search):
        assert [path for path in met if not search(path)] == []
        assert [path for path in unmet if search(path)] == []


def test_a_goal_is_an_event_or_a_pageview_with_its_properties() -> None:
    is_view = Compare(Operator.IS, Dimension.NAME, (PAGEVIEW,))
    assert condition(Goal("a", event="signup", props={"z": "1", "b": "2"})) == All(
        (
            Compare(Operator.IS, Dimension.NAME, ("signup",)),
            Compare(Operator.IS, Prop("b"), ("2",)),
            Compare(Operator.IS, Prop("z"), ("1",)),
        )
    )
    assert condition(Goal("a", page="/x")) == All((is_view, Compare(Operator.IS, Dimension.PAGE, ("/x",))))
    stars = Compare(Operator.MATCHES, Dimension.PAGE, ("^(?:/x/[^/]*)$",))
    assert condition(Goal("a", page="/x/*")) == All((is_view, stars))
