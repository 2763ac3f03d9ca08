"""A site as one YAML file: read strictly, applied once, and written so that it applies back to no change."""

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from footfall.errors import Invalid
from footfall.query.definitions import Definitions, Goal, SavedFunnel, Segment, WeekStart
from footfall.registry.base import Registry, Site
from footfall.registry.sqlite import SqliteRegistry
from footfall.tools.site_file import Change, apply, as_yaml, read_site_file

FILE = b"""
site:
  id: shop
  timezone: Europe/Paris
  week_start: sunday
goals:
  - name: Sign-up
    event: signup
    props: {plan: pro}
  - {name: Docs, page: /docs/**}
segments:
  - name: Nordic
    filters: [[is, visit:country, [NO, SE]], [is, event:goal, [Sign-up]]]
funnels:
  - name: Buy
    steps: [{page: /pricing}, Sign-up]
    options: {window: 7d}
"""


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[Registry]:
    registry = await SqliteRegistry.open(tmp_path / "registry.sqlite")
    yield registry
    await registry.close()


async def done(registry: Registry, text: bytes, *, prune: bool = False, dry_run: bool = False) -> list[str]:
    changes: list[Change] = await apply(registry, read_site_file(text), prune=prune, dry_run=dry_run)
    return [f"{change.what} {change.kind} {change.name}" for change in changes]


async def faults(registry: Registry, text: bytes) -> list[str]:
    with pytest.raises(Invalid) as caught:
        await apply(registry, read_site_file(text), prune=False, dry_run=False)
    return [fault.field for fault in caught.value.faults]


async def test_a_file_makes_a_site_and_the_same_again_changes_nothing(registry: Registry) -> None:
    everything = ["site shop", "goal Sign-up", "goal Docs", "segment Nordic", "funnel Buy"]
    assert await done(registry, FILE, dry_run=True) == [f"created {each}" for each in everything]
    assert list(await registry.sites()) == []
    assert await done(registry, FILE) == [f"created {each}" for each in everything]
    (site,) = await registry.sites()
    assert (site.timezone, site.week_start) == ("Europe/Paris", WeekStart.SUNDAY)
    found = await registry.definitions("shop")
    assert found.goals == (Goal("Sign-up", event="signup", props={"plan": "pro"}), Goal("Docs", page="/docs/**"))
    assert found.segments[0].filters[0] == ["is", "visit:country", ["NO", "SE"]], "Norway is not false"
    assert await done(registry, FILE) == [f"left {each}" for each in everything]
    assert (await registry.definitions("shop")).version == found.version


async def test_what_a_file_does_not_name_stays_unless_it_is_pruned(registry: Registry) -> None:
    await done(registry, FILE)
    less = b"site: {id: shop, requires_key: true}\ngoals: [{name: Docs, page: /d/*}]\n"
    others = ["left goal Sign-up", "left segment Nordic", "left funnel Buy"]
    assert sorted(await done(registry, less)) == sorted(["changed site shop", "changed goal Docs", *others])
    gone = ["removed goal Sign-up", "removed segment Nordic", "removed funnel Buy"]
    assert sorted(await done(registry, less, prune=True, dry_run=True)) == sorted(
        ["left site shop", "left goal Docs", *gone]
    )
    await done(registry, less, prune=True)
    found = await registry.definitions("shop")
    assert (found.goals, found.segments, found.funnels) == ((Goal("Docs", page="/d/*"),), (), ())
    (site,) = await registry.sites()
    assert (site.requires_key, site.timezone) == (True, "Europe/Paris"), "rules that it does not name stay too"


async def test_every_fault_is_named_with_its_line_and_nothing_is_changed(registry: Registry) -> None:
    text = b"""site:
  id: "a b"
  timezone: Mars/Olympus
  week: monday
goals:
  - name: One
  - name: one
    event: e
    colour: red
  - name: One
    page: /
segments:
  - name: S
    filters:
      - [is, visit:cuntry, [FR]]
      - [is, visit:country, [true]]
targets: []
"""
    assert await faults(registry, text) == [
        "line 2: site.id",
        "line 3: site.timezone",
        "line 4: site.week",
        "line 6: goals[0].event",
        "line 9: goals[1].colour",
        "line 15: segments[0].filters[0][1]",
        "line 16: segments[0].filters[1][2]",
        "line 17: targets",
    ]
    assert list(await registry.sites()) == []
    twice = b"site: {id: shop}\ngoals:\n  - {name: a, event: e}\n  - {name: a, event: f}\n"
    assert await faults(registry, twice) == ["line 4: goals[1].name"]
    missing = b"site: {id: shop}\nfunnels:\n  - name: f\n    steps: [{page: /}, Nobody]\n"
    assert await faults(registry, missing) == ["line 4: funnels[0].steps[1]"]
    assert (await registry.definitions("shop")).version == 0


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (b"site: {id: a}\nsite: {id: b}", "line 2"),
        (b"site:\n  id: a\n  id: a", "line 3"),
        (b"site: &x {id: a}\ngoals: *x", "line 2"),
        (b"site: [", "line 1"),
        (b"[" * 100, "line 1"),
        (b"\xff\xfe\xff", "file"),
        (b"", "file"),
        (b"- a", "file"),
        (b"a: b\n---\nc: d", "line 2"),
        (b"x" * 3_000_000, "file"),
        (b"{[a]: b}", "line 1"),
    ],
)
async def test_what_is_no_such_file_is_refused(registry: Registry, text: bytes, field: str) -> None:
    assert await faults(registry, text) == [field]


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
NAMES = TEXTS.filter(lambda name: name.isprintable() and name == name.strip())
PAGES = TEXTS.filter(lambda page: "\0" not in page and "*" not in page)


@st.composite
def defined(draw: st.DrawFn) -> Definitions:
    """Goals of any texts, and segments and funnels that speak of them."""
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique_by=str.casefold))
    props = st.dictionaries(TEXTS, TEXTS, max_size=3)
    goals = tuple(
        Goal(name, event=draw(TEXTS), props=draw(props)) if draw(st.booleans()) else Goal(name, page=draw(PAGES))
        for name in names
    )
    condition: Any = ["is", "event:props:k", draw(st.lists(TEXTS, min_size=1, max_size=3, unique=True))]
    segments = (Segment(names[0], [condition, ["is", "event:goal", [names[0]], {"case_sensitive": True}]]),)
    options = draw(st.sampled_from([{}, {"window": "1h"}, {"order": "strict", "by": "session"}]))
    return Definitions(goals, segments, (SavedFunnel(names[-1], [names[0], {"page": draw(PAGES)}], options),))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(definitions=defined(), week_start=st.sampled_from(WeekStart), rate=st.none() | st.integers(0, 1_000_000))
async def test_what_is_exported_applies_back_to_no_change(
    registry: Registry, definitions: Definitions, week_start: WeekStart, rate: int | None
) -> None:
    site = Site("shop", 1, "Asia/Tehran", True, ("https://*.example.org",), rate, week_start)
    await registry.save_site(site)
    await registry.save_definitions("shop", definitions, (await registry.definitions("shop")).version)
    written = as_yaml(site, await registry.definitions("shop")).encode()
    said = await done(registry, written, prune=True)
    assert [each for each in said if not each.startswith("left ")] == []


def test_the_commands_apply_and_export_a_file(tmp_path: Path) -> None:
    file, again = tmp_path / "site.yaml", tmp_path / "again.yaml"
    file.write_bytes(FILE)

    def footfall(*words: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "footfall", *words]
        ran = subprocess.run(
            command, env={"DATA_DIR": str(tmp_path / "data")}, capture_output=True, text=True, check=False
        )
        return ran.returncode, ran.stdout + ran.stderr

    status, said = footfall("apply", str(file))
    assert (status, "created  goal Sign-up" in said, "5 changed, 0 left" in said) == (0, True, True), said
    assert footfall("export-config", "shop", "--output", str(again))[0] == 0
    status, said = footfall("apply", str(again), "--prune")
    assert (status, "0 changed, 5 left" in said) == (0, True), said
    file.write_text("site: {id: shop}\ngoals: [{name: a}]\n")
    status, said = footfall("apply", str(file))
    assert (status, "line 2: goals[0].event is required" in said) == (1, True), said
