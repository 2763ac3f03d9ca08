"""`python -m bench`: measures the figures of the contract one step after the other, and prints one table.

The exit status is 0 whether floors are met or not, and 1 where something could not be measured.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import cyclopts
import msgspec
from rich.console import Console

from bench import batch, idle, load, store, table, visible
from bench.rows import NotMeasured, Row, Skipped, Verdict
from bench.run import FULL, OUT, QUICK, Run, Step

STEPS: dict[str, Step] = {
    "requests": load.requests,
    "p99": load.p99,
    "batch": batch.batch,
    "stored": batch.stored,
    "visible": visible.visible,
    "stats": store.stats,
    "idle": idle.idle,
    "disk": store.disk,
}

out = Console(width=None if sys.stdout.isatty() else 160)
err = Console(stderr=True, highlight=False)


def _measured(name: str, step: Step, run: Run) -> list[Row]:
    """The rows of a step, or the one row that says why there are none."""
    try:
        return step(run)
    except Skipped as reason:
        return [Row(step=name, figure=name, verdict=Verdict.SKIPPED, how=str(reason))]
    except (NotMeasured, OSError, subprocess.SubprocessError) as error:
        why = str(error) or repr(error)
        return [Row(step=name, figure=name, verdict=Verdict.BROKEN, how=why)]


def bench(
    *,
    only: Annotated[list[str] | None, cyclopts.Parameter(consume_multiple=True)] = None,
    quick: Annotated[bool, cyclopts.Parameter(negative="")] = False,
    json: Path | None = None,
) -> int:
    """Measure every figure of the contract, with one table at the end.

    Parameters
    ----------
    only
        These steps alone: requests, p99, batch, stored, visible, stats, idle, disk.
    quick
        Few and short rounds, and a million events instead of ten.
    json
        Also write everything to this file.
    """
    unknown = set(only or ()) - set(STEPS)
    if unknown:
        err.print(f"No such step: {', '.join(sorted(unknown))}. There are: {', '.join(STEPS)}")
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything started is stopped as well
    where = table.machine()
    plan = QUICK if quick else FULL
    scratch = OUT / f"run-{os.getpid()}"
    began_s = time.monotonic()
    run = Run(
        plan, scratch, lambda line: err.print(f"[dim]{time.monotonic() - began_s:5.0f} s[/]  {line}", soft_wrap=True)
    )
    rows: list[Row] = []
    try:
        for name, step in STEPS.items():
            if not only or name in only:
                run.step = name
                run.say("begins")
                rows += _measured(name, step, run)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    found = table.report(where, plan, rows)
    table.show(out, found)
    if json is not None:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    return 1 if any(row.verdict is Verdict.BROKEN for row in rows) else 0


if __name__ == "__main__":
    app = cyclopts.App(name="bench")
    app.default(bench)
    sys.exit(app(result_action="return_value"))
