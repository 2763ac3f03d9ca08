"""`footfall export`: a site's raw events from a running server into one file, which is there when it is whole."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NoReturn

import httpx
import msgspec
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn, TransferSpeedColumn

from footfall.errors import Fault, FootfallError, Forbidden, Invalid, Overloaded, Unauthorized, Unavailable

TIMEOUT_S: Final = 120.0
"""Between two parts of the file; a page may take the store its 20 seconds, several times."""
ERROR_BYTES_MAX: Final = 65_536
PART_BYTES: Final = 1 << 20


class Written(msgspec.Struct):
    """What became of an export."""

    size_bytes: int = 0
    """Of the file; packed on its way, it was less."""
    took_s: float = 0.0


async def export_file(
    url: str,
    asked: Mapping[str, str],
    output: Path,
    *,
    key: str | None = None,
    overwrite: bool = False,
    console: Console | None = None,
) -> Written:
    """Write what GET /api/export of the server at *url* answers to *asked* into *output*.

    It is written beside it under another name and renamed when it is whole and on the disk, so a half is never found
    under that name. With a *console* that is a terminal a progress bar runs on it. Raises Invalid for a file that is
    there (unless *overwrite*) or can not be written, and whatever the server refuses with; Unavailable where nothing
    answers or it breaks off, and then nothing is left behind.
    """
    _refuse_file(output, overwrite=overwrite)
    started_s = time.monotonic()
    part = output.with_name(f".{output.name}.{os.getpid()}.part")
    headers = {"authorization": f"Bearer {key}"} if key else {}
    try:
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=TIMEOUT_S) as http:
            size_bytes = await _fetch(http, asked, part, console)
        # Once more: it may have come there meanwhile.
        _refuse_file(output, overwrite=overwrite)
        part.replace(output)
    except (httpx.RequestError, httpx.InvalidURL) as error:
        raise Unavailable(
            f"{url} does not answer, or broke off ({error or type(error).__name__}): nothing was written. "
            "Is it running (`footfall up`)? Ask again, or for fewer days"
        ) from error
    except OSError as error:
        raise Invalid(Fault("output", f"{str(output)!r} can not be written: {error.strerror}")) from error
    finally:
        part.unlink(missing_ok=True)
    return Written(size_bytes, time.monotonic() - started_s)


def _refuse_file(output: Path, *, overwrite: bool) -> None:
    if output.is_dir():
        raise Invalid(Fault("output", f"{str(output)!r} is a folder; name a file in it"))
    if not output.parent.is_dir():
        raise Invalid(Fault("output", f"there is no folder {str(output.parent)!r}; make it first"))
    if output.exists() and not overwrite:
        said = f"{str(output)!r} is there already; name another file, or --force to replace it"
        raise Invalid(Fault("output", said))


async def _fetch(http: httpx.AsyncClient, asked: Mapping[str, str], part: Path, console: Console | None) -> int:
    """How many bytes were written to *part*, and are on the disk."""
    is_shown = console is not None and console.is_terminal
    columns = (TextColumn("Exporting"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeElapsedColumn())
    size_bytes = 0
    async with http.stream("GET", "/api/export", params=dict(asked)) as answer:
        if answer.status_code != 200:
            _refuse_answer(answer.status_code, await _start_of(answer), str(http.base_url))
        with (
            part.open("xb") as file,
            Progress(*columns, console=console or Console(stderr=True), disable=not is_shown) as progress,
        ):
            # The server does not know how long the file will be, so the bar only moves.
            bar = progress.add_task("", total=None)
            async for piece in answer.aiter_bytes(PART_BYTES):
                file.write(piece)
                size_bytes += len(piece)
                progress.update(bar, completed=size_bytes)
            file.flush()
            os.fsync(file.fileno())
            progress.update(bar, total=size_bytes)
    return size_bytes


async def _start_of(answer: httpx.Response) -> bytes:
    body = b""
    async for piece in answer.aiter_bytes(ERROR_BYTES_MAX):
        body += piece
        if len(body) >= ERROR_BYTES_MAX:
            break
    return body


class _Said(msgspec.Struct):
    """The answer that every refusal is."""

    error: str
    details: tuple[Fault, ...] = ()


def _refuse_answer(status: int, body: bytes, url: str) -> NoReturn:
    """Raise what *status* means, with what to do about it."""
    try:
        said = msgspec.json.decode(body, type=_Said)
    except msgspec.DecodeError:
        raise Unavailable(f"{url} answered {status}, and not as Footfall does; is it the right address?") from None
    if status == 400 and said.details:
        raise Invalid(*said.details)
    make_key = "`footfall keys create NAME --scope read` makes one (--scope admin for --user-ids); then --key"
    meant: dict[int, FootfallError] = {
        401: Unauthorized(f"{said.error}. {make_key}"),
        403: Forbidden(f"{said.error}. {make_key}"),
        429: Overloaded(f"{said.error}; try again when one of them has ended"),
        503: Unavailable(f"{said.error}; try again, or ask for fewer days"),
    }
    raise meant.get(status) or Unavailable(f"{url} answered {status}: {said.error}")
