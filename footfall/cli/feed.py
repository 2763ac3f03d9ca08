"""`footfall demo`, `footfall smoke`, `footfall import`: the commands that bring events in."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from footfall import wire
from footfall.cli.terminal import err, out, run, server_url, settings
from footfall.collect.admit import Admission
from footfall.drain import store_waiting
from footfall.enrich.place import Places
from footfall.tools.demo import send_demo
from footfall.tools.import_log import import_logs, render
from footfall.tools.smoke import run_smoke
from footfall.visitor import Salts

EXIT_FAILED = 1

import_app = App(name="import", help="Bring in what happened before.")


def demo(
    *,
    days: int = 30,
    events: int = 20_000,
    seed: int = 1,
    site: str = "demo",
    url: str | None = None,
    key: str | None = None,
) -> int:
    """Send realistic sample data to a running server. The same again on the same day changes nothing.

    Parameters
    ----------
    days
        How far back it reaches.
    events
        About how many.
    seed
        Another seed, other people.
    site
        The site that gets them.
    url
        The server; default: HOST and PORT of the settings.
    key
        An API key with the ingest scope, where the server is not open (AUTH).
    """
    base_url = server_url(url)
    sent = run(send_demo(base_url, days=days, events=events, seed=seed, site_id=site, key=key, console=err))
    rate = sent.events / sent.took_s if sent.took_s else 0
    out.print(f"{sent.accepted:,} events for the site {site!r} in {sent.took_s:.1f} s, {rate:,.0f} a second.")
    for first in sent.first_errors:
        err.print(f"refused: {first}", markup=False)
    out.print(f"See them at {base_url}")
    return EXIT_FAILED if sent.rejected else 0


def smoke(url: str | None = None, *, key: str | None = None) -> int:
    """Send one of everything to a running server and print what passed.

    Parameters
    ----------
    url
        The server; default: HOST and PORT of the settings.
    key
        An API key with the ingest and read scopes, where the server is not open (AUTH).
    """
    return run(run_smoke(server_url(url), key=key, console=out))


@import_app.command(name="log")
def import_log(
    *files: Annotated[str, Parameter(allow_leading_hyphen=True)], site: str, hostname: str | None = None
) -> int:
    """Bring in access logs: Apache or nginx, common or combined, plain or gzip. The same file again changes nothing.

    Works beside a running `footfall up`, which then stores the events, and without one.

    Parameters
    ----------
    files
        Log files; `-` is standard input.
    site
        The site they belong to.
    hostname
        The site's own host, so that clicks from page to page are no referrals. Default: the site id
        where that is a host name.
    """
    sources: list[Path | Literal["-"]] = ["-" if name == "-" else Path(name) for name in files]
    return run(_import_log(sources, site, hostname))


async def _import_log(sources: Sequence[Path | Literal["-"]], site_id: str, hostname: str | None) -> int:
    here = settings()
    async with wire.opened_intake(here) as (queue, registry, sites):
        admission = Admission(sites, Salts(registry), Places(here.geoip_database))
        summary = await import_logs(sources, site_id, admission, queue, hostname=hostname, console=err)
        with err.status("Storing ..."):
            stored = await store_waiting(here, queue, registry, site_id, summary.import_id)
    render(summary, out)
    if stored is None:
        out.print("They are in the queue, and will be stored by the worker that runs, or by the next one.")
    else:
        again = summary.accepted - stored
        out.print(f"[green]{stored:,} stored[/]{f', {again:,} were there already' if again else ''}.", highlight=False)
    return EXIT_FAILED if summary.unreadable == summary.lines > 0 or summary.broken else 0
