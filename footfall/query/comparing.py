"""JSON -> one question to each of several sites: the same for all, but for the goals and segments that each has."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from footfall.errors import Fault, Invalid
from footfall.event import SITE_ID_PATTERN
from footfall.query.asked import Asked, Share
from footfall.query.definitions import Definitions
from footfall.query.filters import NOTHING_DEFINED
from footfall.query.parse import read_query
from footfall.query.reading import Fields, refuse

SITES_MAX: Final = 100
FAULTS_MAX: Final = 100
_SHARED: Final = ("metrics", "date_range", "timezone", "filters", "order_by", "compare", "pagination")
_NO_SITE: Final = "none"
"""Stands for a site where there is none, so that what is wrong with the question is said all the same."""


def site_ids_in(body: Mapping[str, Any]) -> tuple[str, ...]:
    """The sites that are asked for by name; empty where there are none or they are wrong, as `parse_compared` says."""
    try:
        return _site_ids(body.get("site_ids") or [])
    except Invalid:
        return ()


def parse_compared(body: Mapping[str, Any], sites: Mapping[str, Definitions]) -> tuple[Asked, dict[str, Asked]]:
    """The question to no site in particular, and to each of *sites*, with what has a name there.

    Raises Invalid with everything that is wrong.
    """
    fields = Fields(body, ("site_ids", *_SHARED))
    nothing: tuple[str, ...] = ()
    fields.read("site_ids", _site_ids, nothing)
    metrics = body.get("metrics")
    if isinstance(metrics, list) and Share.PERCENTAGE in metrics:
        fields.fault(f"metrics[{metrics.index(Share.PERCENTAGE)}]", "percentage is of the rows of one site")
    question = {name: body[name] for name in _SHARED if name in body}
    # Most sites have the same names, that is none: a question is read once for all of those.
    read: dict[bytes, Asked | Invalid] = {}
    asked: dict[str, Asked] = {}
    faulty: dict[str, tuple[Fault, ...]] = {}
    for site, definitions in (sites or {_NO_SITE: NOTHING_DEFINED}).items():
        names = msgspec.json.encode((definitions.goals, definitions.segments))
        if names not in read:
            read[names] = _read(question, definitions)
        found = read[names]
        if isinstance(found, Invalid):
            faulty[site] = found.faults
        else:
            asked[site] = msgspec.structs.replace(found, site_id=site)
    for fault in _all_faults(faulty, max(1, len(sites)))[:FAULTS_MAX]:
        fields.fault(fault.field, fault.message)
    fields.done()
    page = next(iter(asked.values()))
    return page, asked if sites else {}


def _read(question: Mapping[str, Any], definitions: Definitions) -> Asked | Invalid:
    try:
        return read_query({**question, "site_id": _NO_SITE}, definitions)
    except Invalid as error:
        return error


def _all_faults(faulty: Mapping[str, Sequence[Fault]], count: int) -> list[Fault]:
    """What is wrong at all sites once, what is wrong at some with their names."""
    sites_of: dict[tuple[str, str], list[str]] = {}
    for site, faults in faulty.items():
        for fault in faults:
            sites_of.setdefault((fault.field, fault.message), []).append(site)
    return [
        Fault(field, message if len(sites) == count else f"{message} (at {', '.join(sites[:5])})")
        for (field, message), sites in sites_of.items()
    ]


def _site_ids(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > SITES_MAX:
        refuse("site_ids", f"must be a list of at most {SITES_MAX} sites")
    faults = [
        Fault(f"site_ids[{place}]", "must be 1 to 128 of A-Z a-z 0-9 . _ : -")
        for place, each in enumerate(value)
        if not isinstance(each, str) or not re.fullmatch(SITE_ID_PATTERN, each)
    ]
    if faults:
        raise Invalid(*faults)
    if len(set(value)) != len(value):
        refuse("site_ids", "must name each once")
    return tuple(value)
