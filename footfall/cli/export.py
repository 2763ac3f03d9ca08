"""`footfall export`: the command that takes raw events out."""

from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.filesize import decimal
from rich.markup import escape

from footfall.cli.terminal import err, out, run, server_url
from footfall.tools.export_file import export_file


def export(
    site_id: str,
    *,
    first: Annotated[date, Parameter(name="--from")],
    last: Annotated[date, Parameter(name="--to")],
    output: Annotated[Path, Parameter(name=("--output", "-o"))],
    form: Annotated[Literal["csv", "ndjson", "parquet"], Parameter(name="--format")] = "csv",
    filters: str | None = None,
    timezone: str | None = None,
    user_ids: Annotated[bool, Parameter(negative="")] = False,
    force: Annotated[bool, Parameter(negative="")] = False,
    url: str | None = None,
    key: str | None = None,
) -> None:
    """Write the events of a site, as a running server has them, into one file, which is there when it is whole.

    Parameters
    ----------
    site_id
        As `footfall sites list` shows it.
    first
        The first day, as 2024-01-15.
    last
        The last day, included.
    output
        The file to write.
    form
        What kind of file; the columns are in docs/export.md.
    filters
        As in POST /api/query, as JSON: '[["is", "event:page", ["/"]]]'.
    timezone
        In which the days begin and end; default: the site's.
    user_ids
        Also the column user_id, for which a key with the admin scope is needed where the server is not open.
    force
        Replace the file if it is there.
    url
        The server; default: HOST and PORT of the settings.
    key
        An API key with the read scope, where the server is not open (AUTH).
    """
    asked = {"site_id": site_id, "from": first.isoformat(), "to": last.isoformat(), "format": form}
    more = {"filters": filters, "timezone": timezone, "user_ids": "true" if user_ids else None}
    asked |= {name: value for name, value in more.items() if value is not None}
    done = run(export_file(server_url(url), asked, output, key=key, overwrite=force, console=err))
    said = f"{decimal(done.size_bytes)} in {done.took_s:.1f} s, written to {escape(str(output))}."
    out.print(said, highlight=False, soft_wrap=True)
