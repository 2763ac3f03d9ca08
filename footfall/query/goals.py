"""Goal -> Filter: which events meet a goal. The one place that knows what the stars in a page's pattern mean."""

import re

from footfall.event import PAGEVIEW
from footfall.query.definitions import Goal
from footfall.query.query import All, Compare, Dimension, Filter, Operator, Prop

_STARS = re.compile(r"(\*\*|\*)")
_MEANT = re.compile(r"([\\.+?()|\[\]{}^$])")


def condition(goal: Goal) -> Filter:
    """Met by every event that meets *goal*; of events' own dimensions only, so it may stand within HasDone."""
    return All((*_happened(goal), *(Compare(Operator.IS, Prop(key), (goal.props[key],)) for key in sorted(goal.props))))


def _happened(goal: Goal) -> tuple[Compare, ...]:
    if goal.event:
        return (Compare(Operator.IS, Dimension.NAME, (goal.event,)),)
    is_view = Compare(Operator.IS, Dimension.NAME, (PAGEVIEW,))
    if "*" not in goal.page:
        return is_view, Compare(Operator.IS, Dimension.PAGE, (goal.page,))
    return is_view, Compare(Operator.MATCHES, Dimension.PAGE, (page_pattern(goal.page),))


def page_pattern(page: str) -> str:
    """The regular expression for the pages that *page* means.

    `**` is any characters, `*` any but a slash, both also none at all; everything else, case and a slash at the end
    included, stands for itself. It says the same in RE2, PCRE and Python's re, for every store has one of these: so
    there is no escape in it but of characters that mean something. (They differ where a path ends with a line end.)
    """
    written = {"**": "(?s:.*)", "*": "[^/]*"}
    parts = (written.get(part) or _MEANT.sub(r"\\\1", part) for part in _STARS.split(page))
    return f"^(?:{''.join(parts)})$"
