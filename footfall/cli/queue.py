"""`footfall queue`: what is in the queue, and what becomes of jobs that failed."""

import json
import sys
from typing import Annotated

import msgspec
from cyclopts import App, Parameter
from rich.table import Table

from footfall.cli.terminal import opened_queue, out, print_json, run, when
from footfall.errors import Fault, Invalid, NotFound
from footfall.event import decode
from footfall.queue.base import Depth

JOBS_SHOWN_MAX = 1_000

app = App(name="queue", help="Look into the queue; list, replay or give up its failed jobs.")


@app.command
def status(*, as_json: Annotated[bool, Parameter(name="--json", negative="")] = False) -> None:
    """How much waits, is under way, is put off, has failed.

    Parameters
    ----------
    as_json
        For machines.
    """

    async def work() -> Depth:
        async with opened_queue() as queue:
            return await queue.depth()

    depth = run(work())
    if as_json:
        print_json(depth)
        return
    table = Table("", "jobs", "events")
    table.add_row("waiting", f"{depth.waiting:,}", "")
    table.add_row("active", f"{depth.active:,}", "")
    table.add_row("delayed, to be tried again", f"{depth.delayed:,}", "")
    unfinished = depth.waiting + depth.active + depth.delayed
    table.add_row("not yet stored, together", f"{unfinished:,}", f"{depth.unfinished_events:,}", style="bold")
    table.add_row("failed", f"{depth.failed:,}", f"{depth.failed_events:,}")
    table.add_row("ever received", "", f"{depth.received_events:,}")
    out.print(table)
    if depth.failed:
        out.print("See them with `footfall queue failed`; replay them with `footfall queue retry --all`.")


@app.command
def failed(*, limit: int = 20, events: Annotated[bool, Parameter(negative="")] = False) -> None:
    """List the failed jobs, newest first.

    Parameters
    ----------
    limit
        How many jobs at the most (up to 1,000).
    events
        Show the events inside as JSON, a line each.
    """

    async def work() -> None:
        async with opened_queue() as queue:
            jobs = await queue.failed.list(max(1, min(limit, JOBS_SHOWN_MAX)))
        if events:
            for job in jobs:
                for payload in job.payloads:
                    sys.stdout.write(_event_line(payload) + "\n")
            return
        if not jobs:
            out.print("No failed jobs.")
            return
        table = Table("job", "events", "attempts", "failed at", "error")
        for job in jobs:
            table.add_row(job.id, f"{job.events:,}", str(job.attempts), when(job.failed_at_ms), job.error[:300])
        out.print(table)

    run(work())


def _event_line(payload: bytes) -> str:
    """One failed payload as a line of JSON, readable or not."""
    try:
        event = decode(payload)
    except msgspec.MsgspecError as error:
        return json.dumps({"undecodable": str(error), "hex": payload[:4_096].hex()})
    fields = {name: getattr(event, name) for name in event.__struct_fields__}
    return msgspec.json.encode({**fields, "id": event.id.hex(), "key": event.key.hex()}).decode()


@app.command
def retry(*jobs: str, everything: Annotated[bool, Parameter(name="--all", negative="")] = False) -> None:
    """Put failed jobs back to be tried again; what a job had stored before is not stored twice.

    Parameters
    ----------
    jobs
        Ids, as `footfall queue failed` shows them.
    everything
        All failed jobs.
    """
    if bool(jobs) == everything:
        raise Invalid(Fault("jobs", "are to be named, or all of them with --all"))

    async def work() -> int:
        async with opened_queue() as queue:
            return await queue.failed.replay(None if everything else jobs)

    count = run(work())
    out.print(f"{count:,} job{'' if count == 1 else 's'} put back.")
    if count < len(jobs):
        raise NotFound(f"{len(jobs) - count} of these jobs are not in the failed set")


@app.command
def purge(*jobs: str) -> None:
    """Give up failed jobs for good. Their events are lost, on purpose.

    Parameters
    ----------
    jobs
        Ids, as `footfall queue failed` shows them.
    """
    if not jobs:
        raise Invalid(Fault("jobs", "are to be named"))

    async def work() -> int:
        async with opened_queue() as queue:
            return await queue.failed.purge(jobs)

    out.print(f"{run(work()):,} events given up.")
