"""JSON -> Definitions: goals, segments and funnels as a request or a file gives them, with every fault by its path."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final, TypeAlias

import msgspec

from footfall.errors import Fault, Invalid, NotFound
from footfall.event import NAME_CHARS_MAX as EVENT_CHARS_MAX
from footfall.event import PROP_KEY_CHARS_MAX, PROP_VALUE_CHARS_MAX
from footfall.query.definitions import (
    DEFINITIONS_BYTES_MAX,
    FUNNELS_MAX,
    GOAL_PROPS_MAX,
    GOALS_MAX,
    NAME_CHARS_MAX,
    PAGE_CHARS_MAX,
    SEGMENTS_MAX,
    WILDCARDS_MAX,
    Definitions,
    Goal,
    SavedFunnel,
    Segment,
)
from footfall.query.filters import parse_filters
from footfall.query.funnel import parse_funnel_options, parse_funnel_steps
from footfall.query.reading import Fields, refuse, text

Definition: TypeAlias = Goal | Segment | SavedFunnel


class Kind(StrEnum):
    """What can have a name in a site, by the name of its list. In this order they may name one another backwards."""

    GOALS = "goals"
    SEGMENTS = "segments"
    FUNNELS = "funnels"

    @property
    def one(self) -> str:
        """The word for a single one."""
        return self.value.removesuffix("s")


COUNT_MAX: Final = {Kind.GOALS: GOALS_MAX, Kind.SEGMENTS: SEGMENTS_MAX, Kind.FUNNELS: FUNNELS_MAX}


def all_of(definitions: Definitions, kind: Kind) -> tuple[Definition, ...]:
    """All of one kind."""
    found: tuple[Definition, ...] = getattr(definitions, kind)
    return found


def named(definitions: Definitions, kind: Kind, name: str) -> Definition:
    """The one of that name. Raises NotFound."""
    for one in all_of(definitions, kind):
        if one.name == name:
            return one
    raise NotFound(f"there is no {kind.one} {name[:NAME_CHARS_MAX]!r} in this site")


def parse_one(
    kind: Kind, value: object, definitions: Definitions, field: str = "", name: str | None = None
) -> Definition:
    """One of that kind, for a site that has these *definitions*. Raises Invalid with every fault below *field*.

    *name*: what it is called where the address says so; the value may then leave it out, but not say another.
    """
    if not isinstance(value, dict):
        refuse(field or "body", "must be an object")
    said = value if name is None else {"name": name, **value}
    known, read = _READERS[kind]
    below = {_below(field, each): said[each] for each in said}
    fields = Fields(below, tuple(_below(field, each) for each in ("name", *known)))
    found_name = fields.required(_below(field, "name"), lambda each: parse_name(each, _below(field, "name")), "")
    if name is not None and said["name"] != name:
        fields.fault(_below(field, "name"), "must be the one in the address, or left out")
    found = read(fields, found_name, definitions, field)
    fields.done()
    return found


def parse_name(value: object, field: str) -> str:
    """A name. Raises Invalid."""
    if not isinstance(value, str) or not 1 <= len(value) <= NAME_CHARS_MAX:
        refuse(field, f"must be a text of 1 to {NAME_CHARS_MAX} characters")
    if not value.isprintable() or value != value.strip():
        refuse(field, "must be printable characters, without spaces at its ends")
    return value


def with_one(definitions: Definitions, kind: Kind, one: Definition, field: str = "name") -> Definitions:
    """The same with *one* among them, in the place of the one of its name if there was. Raises Invalid."""
    others = [each for each in all_of(definitions, kind) if each.name != one.name]
    twin = next((each.name for each in others if each.name.casefold() == one.name.casefold()), None)
    if twin is not None:
        refuse(field, f"differs from the {kind.one} {twin!r} in upper and lower case alone")
    if len(others) >= COUNT_MAX[kind]:
        refuse(field, f"is one too many: a site has at most {COUNT_MAX[kind]} {kind}")
    there = all_of(definitions, kind)
    is_new = len(others) == len(there)
    changed = (*there, one) if is_new else tuple(one if each.name == one.name else each for each in there)
    return _small(msgspec.structs.replace(definitions, **{kind.value: changed}), field)


def without_one(definitions: Definitions, kind: Kind, name: str) -> Definitions:
    """The same without the one of that *name*. Raises NotFound, and Invalid where another definition names it."""
    gone = named(definitions, kind, name)
    left = tuple(each for each in all_of(definitions, kind) if each is not gone)
    changed = msgspec.structs.replace(definitions, **{kind.value: left})
    try:
        parse_definitions(raw(changed), Definitions())
    except Invalid as error:
        users = list(dict.fromkeys(_user(changed, fault.field) for fault in error.faults))
        raise Invalid(Fault("name", f"is still needed by {', '.join(users[:3])}")) from None
    return changed


def _user(definitions: Definitions, field: str) -> str:
    """What *field*, `funnels[0].steps[1]` for one, belongs to."""
    kind, place = field.replace("]", "[").split("[")[:2]
    return f"the {Kind(kind).one} {all_of(definitions, Kind(kind))[int(place)].name!r}"


def raw(definitions: Definitions) -> dict[str, list[dict[str, Any]]]:
    """All of them as JSON has them, without what is as it usually is."""
    return {kind.value: [msgspec.to_builtins(one) for one in all_of(definitions, kind)] for kind in Kind}


def parse_definitions(lists: Mapping[str, Any], base: Definitions) -> Definitions:
    """*base* with all of *lists*, which are by the names of Kind, put in. Raises Invalid with every fault."""
    found = base
    faults: list[Fault] = []
    for kind in Kind:
        given = lists.get(kind.value, [])
        if not isinstance(given, list) or len(given) > COUNT_MAX[kind]:
            faults.append(Fault(kind, f"must be a list of at most {COUNT_MAX[kind]}"))
            continue
        names: set[str] = set()
        for place, value in enumerate(given):
            field = f"{kind}[{place}]"
            try:
                one = parse_one(kind, value, found, field)
                if one.name in names:
                    refuse(f"{field}.name", "is given twice")
                names.add(one.name)
                found = with_one(found, kind, one, f"{field}.name")
            except Invalid as error:
                faults.extend(error.faults)
    if faults:
        raise Invalid(*faults)
    return found


def _small(definitions: Definitions, field: str) -> Definitions:
    if len(msgspec.json.encode(definitions)) > DEFINITIONS_BYTES_MAX:
        refuse(field, f"is too much: all definitions of a site are at most {DEFINITIONS_BYTES_MAX} bytes of JSON")
    return definitions


def _below(field: str, name: str) -> str:
    return f"{field}.{name}" if field else name


def _goal(fields: Fields, name: str, _: Definitions, above: str) -> Goal:
    event, page, props = (_below(above, each) for each in ("event", "page", "props"))
    if fields.has(event) == fields.has(page):
        fields.fault(event, "is required, or page, and not both")
    return Goal(
        name=name,
        event=fields.read(event, text(event, EVENT_CHARS_MAX), ""),
        page=fields.read(page, lambda value: parse_page(value, page), ""),
        props=fields.read(props, lambda value: parse_props(value, props), {}),
    )


def parse_page(value: object, field: str) -> str:
    """The pattern of a page. Raises Invalid."""
    found = text(field, PAGE_CHARS_MAX)(value)
    if "\0" in found:
        refuse(field, "must not have a NUL in it")
    if found.count("*") - found.count("**") > WILDCARDS_MAX:
        refuse(field, f"must have at most {WILDCARDS_MAX} wildcards")
    return found


def parse_props(value: object, field: str) -> dict[str, str]:
    """The properties of a goal; an empty text would mean events without the property. Raises Invalid."""
    if not isinstance(value, dict) or len(value) > GOAL_PROPS_MAX:
        refuse(field, f"must be an object of at most {GOAL_PROPS_MAX} properties")
    faults = []
    for key, each in value.items():
        if not 1 <= len(key) <= PROP_KEY_CHARS_MAX:
            faults.append(Fault(f"{field}.{key[:64]}", f"must have a key of 1 to {PROP_KEY_CHARS_MAX} characters"))
        elif not isinstance(each, str) or not 1 <= len(each) <= PROP_VALUE_CHARS_MAX:
            faults.append(Fault(f"{field}.{key}", f"must be a text of 1 to {PROP_VALUE_CHARS_MAX} characters"))
    if faults:
        raise Invalid(*faults)
    return value


def _segment(fields: Fields, name: str, definitions: Definitions, above: str) -> Segment:
    field = _below(above, "filters")
    # A segment may speak of goals, and of no segment: so none can name itself, however far around.
    goals = msgspec.structs.replace(definitions, segments=(), funnels=())

    def read(value: Any) -> list[Any]:  # noqa: ANN401 - any JSON
        if parse_filters(value, goals, field) is None:
            refuse(field, "must have at least one filter")
        found: list[Any] = value
        return found

    nothing: list[Any] = []
    return Segment(name=name, filters=fields.required(field, read, nothing))


def _funnel(fields: Fields, name: str, definitions: Definitions, above: str) -> SavedFunnel:
    steps, options = _below(above, "steps"), _below(above, "options")

    def read_steps(value: Any) -> list[Any]:  # noqa: ANN401 - any JSON
        parse_funnel_steps(value, definitions, steps)
        found: list[Any] = value
        return found

    def read_options(value: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
        parse_funnel_options(value, options)
        return {key: each for key, each in value.items() if each is not None}

    nothing: list[Any] = []
    none: dict[str, Any] = {}
    return SavedFunnel(
        name=name, steps=fields.required(steps, read_steps, nothing), options=fields.read(options, read_options, none)
    )


_READERS: Final[dict[Kind, tuple[tuple[str, ...], Callable[[Fields, str, Definitions, str], Definition]]]] = {
    Kind.GOALS: (("event", "page", "props"), _goal),
    Kind.SEGMENTS: (("filters",), _segment),
    Kind.FUNNELS: (("steps", "options"), _funnel),
}
