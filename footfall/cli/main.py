"""`footfall`: the tree of commands, and what a failure looks like."""

import sys
from typing import Annotated

from cyclopts import App, Parameter
from rich.markup import escape
from rich.table import Table

from footfall import __version__, logs, serve, wire
from footfall.cli import access, configure, export, feed, queue
from footfall.cli.terminal import err, loaded_settings, out, print_json, run, settings
from footfall.errors import FootfallError, Misconfigured
from footfall.settings import VARIABLES, as_text

EXIT_FAILED = 1
EXIT_MISCONFIGURED = 2
EXIT_INTERRUPTED = 130

app = App(
    name="footfall",
    version=__version__,
    help="Website and product analytics. `footfall up` starts everything; `footfall config` shows every setting.",
)
for branch in (queue.app, access.keys_app, access.sites_app, feed.import_app):
    app.command(branch)
app.command(feed.demo)
app.command(feed.smoke)
app.command(export.export)
app.command(configure.apply)
app.command(configure.export_config)


@app.command
def up() -> None:
    """Start everything in one process: collector, worker, API and pages."""
    _start(wire.Half.BOTH)


@app.command
def api() -> None:
    """Start the HTTP half only: collector, API and pages; as many as wanted, on server backends."""
    _start(wire.Half.API)


@app.command
def worker() -> None:
    """Start the worker half only; as many as wanted, on server backends. WORKER_PORT gives it health and metrics."""
    _start(wire.Half.WORKER)


def _start(half: wire.Half) -> None:
    here = settings()
    wire.check(here, half)
    with logs.also_to(wire.open_log_handler(here, half)):
        run(serve.run(here, half, announce=lambda line: out.print(line, highlight=False)))


@app.command
def config(*, as_json: Annotated[bool, Parameter(name="--json", negative="")] = False) -> None:
    """Print every setting, its value (secrets masked), and where it came from.

    Parameters
    ----------
    as_json
        For machines.
    """
    loaded = loaded_settings()
    shown = {name: as_text(loaded.settings, name) for name in VARIABLES}
    if as_json:
        print_json({name: {"value": shown[name], "from": loaded.origins[name]} for name in VARIABLES})
        return
    table = Table("setting", "value", "from", "what it does")
    for name, variable in VARIABLES.items():
        origin = loaded.origins[name]
        table.add_row(name, shown[name] or "-", origin, variable.effect, style="dim" if origin == "default" else "bold")
    out.print(table)


def main() -> None:
    """Run the command line; a failure becomes one clear line and an exit status."""
    try:
        sys.exit(app(result_action="return_value") or 0)
    except Misconfigured as error:
        for problem in error.problems:
            err.print(f"[bold red]Can not start:[/] {escape(problem)}", highlight=False, soft_wrap=True)
        sys.exit(EXIT_MISCONFIGURED)
    except FootfallError as error:
        err.print(f"[bold red]Failed:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(EXIT_FAILED)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
