"""One YAML file for a site: its rules, goals, segments and funnels; read strictly, compared, written."""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import yaml

from footfall.errors import Conflict, Fault, Invalid
from footfall.event import SITE_ID_PATTERN
from footfall.query.defining import Kind, all_of, parse_definitions, raw
from footfall.query.definitions import Definitions
from footfall.query.reading import refuse
from footfall.registry.base import Registry, Site
from footfall.rules import RULES, parse_rules, rules_of
from footfall.tools.yaml_lines import Lines, read_yaml

FILE_BYTES_MAX: Final = 2 * 1024 * 1024
TRIES_MAX: Final = 5
_SECTIONS: Final = ("site", *Kind)


class SiteFile(msgspec.Struct, frozen=True):
    """A file as it was read: its site and rules are sound, its definitions can be judged only beside the others."""

    site_id: str
    rules: dict[str, Any]
    """By the names of Site; those that the file has."""
    lists: dict[str, Any]
    """By the names of Kind, as JSON has them."""
    lines: Lines


class Change(msgspec.Struct, frozen=True):
    """What became, or would become, of one thing."""

    what: str
    """created, changed, removed or left."""
    kind: str
    """site, goal, segment or funnel."""
    name: str


def read_site_file(text: bytes) -> SiteFile:
    """The file that *text* is. Raises Invalid with every fault, each with its path and line."""
    if len(text) > FILE_BYTES_MAX:
        refuse("file", f"must be at most {FILE_BYTES_MAX} bytes")
    value, lines = read_yaml(text)
    if not isinstance(value, dict):
        refuse("file", f"must be a mapping with {', '.join(_SECTIONS)}")
    faults = [
        Fault(name[:64], "is not known here; known are " + ", ".join(_SECTIONS))
        for name in value
        if name not in _SECTIONS
    ]
    site = value.get("site")
    site_id = ""
    rules: dict[str, Any] = {}
    try:
        site_id, rules = _read_site(site)
    except Invalid as error:
        faults.extend(error.faults)
    lists = {kind.value: value[kind] for kind in Kind if value.get(kind) is not None}
    if faults:
        # The definitions are judged too, by themselves: whoever mends a file wants to hear of everything.
        try:
            parse_definitions(lists, Definitions())
        except Invalid as error:
            faults.extend(error.faults)
        raise Invalid(*lines.placed(faults))
    return SiteFile(site_id, rules, lists, lines)


def _read_site(value: object) -> tuple[str, dict[str, Any]]:
    if not isinstance(value, dict):
        refuse("site", "is required: a mapping with id, " + ", ".join(RULES))
    faults: list[Fault] = []
    site_id = value.get("id")
    if not isinstance(site_id, str) or not re.fullmatch(SITE_ID_PATTERN, site_id):
        faults.append(Fault("site.id", "is required: 1 to 128 of A-Z a-z 0-9 . _ : -"))
        site_id = ""
    rules: dict[str, Any] = {}
    try:
        rules = parse_rules({name: each for name, each in value.items() if name != "id"}, "site")
    except Invalid as error:
        faults.extend(error.faults)
    if faults:
        raise Invalid(*faults)
    return site_id, rules


async def apply(registry: Registry, file: SiteFile, *, prune: bool, dry_run: bool) -> list[Change]:
    """Make the registry say what *file* says; with *prune*, nothing else of goals, segments and funnels.

    Twice is once. Returns what was done, or, with *dry_run*, what would be. Raises Invalid with every fault, each with
    its path and line; nothing was changed then. Raises Conflict where somebody else keeps changing the same site.
    """
    for tries_left in reversed(range(TRIES_MAX)):
        site = next((site for site in await registry.sites() if site.id == file.site_id), None)
        before = await registry.definitions(file.site_id)
        try:
            after = parse_definitions(file.lists, Definitions() if prune else before)
        except Invalid as error:
            raise Invalid(*file.lines.placed(error.faults)) from None
        changes = [_site_change(site, file), *_changes(before, after)]
        if dry_run:
            return changes
        await _save_site(registry, site, file)
        if all(change.what == "left" for change in changes[1:]):
            return changes
        try:
            await registry.save_definitions(file.site_id, after, before.version)
        except Conflict:
            if not tries_left:
                raise
        else:
            break
    return changes


async def _save_site(registry: Registry, site: Site | None, file: SiteFile) -> None:
    there = site or await registry.ensure_site(file.site_id)
    if there is None:
        refuse("site.id", "can not be created: there are too many sites already")
    wanted = msgspec.structs.replace(there, **file.rules)
    if wanted != there:
        await registry.save_site(wanted)


def _site_change(site: Site | None, file: SiteFile) -> Change:
    if site is None:
        return Change("created", "site", file.site_id)
    is_same = msgspec.structs.replace(site, **file.rules) == site
    return Change("left" if is_same else "changed", "site", file.site_id)


def _changes(before: Definitions, after: Definitions) -> list[Change]:
    found = []
    for kind in Kind:
        old = {one.name: one for one in all_of(before, kind)}
        new = {one.name: one for one in all_of(after, kind)}
        for name, one in new.items():
            what = "created" if name not in old else "left" if old[name] == one else "changed"
            found.append(Change(what, kind.one, name))
        found += [Change("removed", kind.one, name) for name in old if name not in new]
    return found


def as_yaml(site: Site, definitions: Definitions) -> str:
    """The file that says what the registry says: `read_site_file` and `apply` make no change of it."""
    lists: Mapping[str, Any] = raw(definitions)
    content = {"site": {"id": site.id, **rules_of(site)}, **{name: each for name, each in lists.items() if each}}
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)


class _Dumper(yaml.SafeDumper):
    """Without anchors, which would be made where one list stands in two places."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(dumper: _Dumper, text: str) -> yaml.Node:
    # Only between double quotes are all line ends and other odd characters escaped, and so read back as they were.
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


_Dumper.add_representer(str, _text)
