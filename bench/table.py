"""The table at the end, and the same for machines."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psutil
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.rows import Row, Verdict
from bench.run import Plan
from footfall import __version__

_STYLES = {
    Verdict.PASS: "bold green",
    Verdict.FAIL: "bold red",
    Verdict.NO_FLOOR: "dim",
    Verdict.SKIPPED: "yellow",
    Verdict.BROKEN: "bold red",
}


class Machine(msgspec.Struct, frozen=True):
    """Where it was measured."""

    cpu: str
    cores: int
    memory_gb: float
    system: str
    python: str
    load_before: float
    """The one-minute load average before the first step; what others do at the same time is in every figure."""


class Report(msgspec.Struct, frozen=True):
    """What `--json` writes."""

    version: str
    commit: str
    measured_at: datetime
    machine: Machine
    plan: Plan
    rows: list[Row]


def machine() -> Machine:
    """This one, now."""
    return Machine(
        cpu=_cpu(),
        cores=os.cpu_count() or 1,
        memory_gb=round(psutil.virtual_memory().total / 1e9, 1),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        load_before=round(os.getloadavg()[0], 2),
    )


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _commit() -> str:
    """The commit of the checkout, with a plus where files differ from it; empty outside of one."""
    here = Path(__file__).parent
    git = ["git", "-C", str(here)]
    try:
        head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")


def report(where: Machine, plan: Plan, rows: list[Row]) -> Report:
    """Everything of this run."""
    return Report(__version__, _commit(), datetime.now(UTC), where, plan, rows)


def show(console: Console, found: Report) -> None:
    """Print it."""
    here = found.machine
    title = (
        f"Footfall {found.version} {found.commit} on {here.cores} cores of {here.cpu}, {here.memory_gb:.0f} GB, "
        f"Python {here.python}"
    )
    table = Table("figure", "measured", "floor", "", "how measured", title=title, show_lines=True, expand=True)
    for row in found.rows:
        mark = Text(row.verdict.value, style=_STYLES[row.verdict])
        table.add_row(Text(row.figure), Text(row.measured, style="bold"), row.floor, mark, Text(row.how, style="dim"))
    console.print(table)
    if here.load_before > here.cores / 4:
        console.print(
            f"The machine was not idle before (load {here.load_before}): what others did is in every figure.",
            style="yellow",
        )
    if found.plan.is_quick:
        console.print("--quick: few and short rounds, for a look at the program more than at the figures.")
