"""`footfall apply` and `footfall export-config`: a site's rules, goals, segments and funnels as one file."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.markup import escape

from footfall.cli.terminal import opened_registry, out, run
from footfall.errors import Fault, Invalid, NotFound
from footfall.tools.site_file import FILE_BYTES_MAX, Change, as_yaml, read_site_file
from footfall.tools.site_file import apply as apply_file


def apply(
    file: Path,
    *,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    prune: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Make a site what a YAML file says: its rules, goals, segments and funnels. Twice is once.

    Parameters
    ----------
    file
        As `footfall export-config` writes it; see docs/definitions.md.
    dry_run
        Say what would be done, and do nothing.
    prune
        Remove goals, segments and funnels that the file does not name.
    """
    try:
        with file.open("rb") as opened:
            wanted = read_site_file(opened.read(FILE_BYTES_MAX + 1))
    except OSError as error:
        raise Invalid(Fault("file", f"{str(file)!r} can not be read: {error.strerror}")) from error

    async def work() -> list[Change]:
        async with opened_registry() as registry:
            return await apply_file(registry, wanted, prune=prune, dry_run=dry_run)

    changes = run(work())
    for change in changes:
        if change.what != "left":
            out.print(f"{change.what:8} {change.kind} {escape(change.name)}", highlight=False, soft_wrap=True)
    left = sum(change.what == "left" for change in changes)
    said = "Nothing was changed: this was a dry run. " if dry_run else ""
    out.print(f"{said}{len(changes) - left} changed, {left} left as they were.", highlight=False)


def export_config(site_id: str, *, output: Path | None = None) -> None:
    """Write a site's rules, goals, segments and funnels as the YAML that `footfall apply` reads.

    Parameters
    ----------
    site_id
        As `footfall sites list` shows it.
    output
        The file to write; default: the terminal.
    """

    async def work() -> str:
        async with opened_registry() as registry:
            site = next((site for site in await registry.sites() if site.id == site_id), None)
            if site is None:
                raise NotFound(f"there is no site {site_id!r}; see `footfall sites list`")
            return as_yaml(site, await registry.definitions(site_id))

    text = run(work())
    if output is None:
        sys.stdout.write(text)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Invalid(Fault("output", f"{str(output)!r} can not be written: {error.strerror}")) from error
    out.print(f"Written to {escape(str(output))}.", highlight=False, soft_wrap=True)
