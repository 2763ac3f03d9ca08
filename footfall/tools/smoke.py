"""`footfall smoke URL`: one of everything against a running server, and a table of what passed.

Everything is sent to a site of its own with a name never used before, so that counts must come out exactly. Works from
outside alone: it knows the contract, and nothing of the server's inside.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from uuid import uuid4

import httpx
import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from footfall.errors import Unavailable
from footfall.tools.smoke_run import (
    Failed,
    Run,
    expect,
    expect_accepted,
    expect_batch,
    expect_error,
    expect_status,
)

VISIBLE_S = 15.0
"""How long an accepted event may take to show in the statistics before that counts as a failure."""
REQUEST_TIMEOUT_S = 15.0
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0"
LONG_BODY_BYTES = 70_000


class Outcome(msgspec.Struct, frozen=True):
    """One check."""

    name: str
    passed: bool
    took_ms: float
    message: str = ""
    """What was wrong."""


# --- the checks, in order --------------------------------------------------------------------------------------------


async def live(run: Run) -> None:
    """GET /api/health/live"""
    answer = await run.ask("GET", "/api/health/live")
    expect_status(answer, 200)
    expect(answer.body.get("status"), "ok", "status")


async def ready(run: Run) -> None:
    """GET /api/health/ready"""
    expect_status(await run.ask("GET", "/api/health/ready"), 200)


async def health(run: Run) -> None:
    """GET /api/health"""
    answer = await run.ask("GET", "/api/health")
    expect_status(answer, 200)
    expect(answer.body.get("status"), "ok", f"status ({answer.text[:300]})")


async def one_event(run: Run) -> None:
    """An event as in the README"""
    event = run.event()
    expect_accepted(await run.send(event))
    run.count(event)


async def event_as_text(run: Run) -> None:
    """An event as text/plain, as browsers send it"""
    event = run.event("/from-a-browser", "user-text")
    answer = await run.ask("POST", "/api/event", content=json.dumps(event), headers={"content-type": "text/plain"})
    expect_accepted(answer)
    run.count(event)


async def everything_at_once(run: Run) -> None:
    """An event with every field"""
    event = run.event(
        "https://shop.example/checkout?utm_source=smoke",
        "user-full",
        referrer="https://www.google.com/",
        title="Checkout",
        screen="1920x1080",
        language="en-GB",
        props={"plan": "team", "seats": 5, "trial": True, "nothing": None},
        revenue={"amount": 12.5, "currency": "EUR"},
        interactive=True,
    )
    expect_accepted(await run.send(event))
    run.count(event, path="/checkout")


async def custom_event(run: Run) -> None:
    """A custom event, which is no view"""
    event = run.event("/signup", "user-123", event_type="signup")
    expect_accepted(await run.send(event))
    run.count(event)


async def batch(run: Run) -> None:
    """A batch as an array"""
    events = [run.event("/batch", f"user-{number}") for number in range(3)]
    expect_batch(await run.send(events), 3)
    run.count(*events)


async def batch_in_part(run: Run) -> None:
    """A batch with a bad event in the middle"""
    good = [run.event("/batch", "user-0"), run.event("/envelope", "user-0")]
    bad = {**run.event(), "event_type": ""}
    answer = await run.ask("POST", "/api/events", json={"events": [good[0], bad, good[1]]})
    expect_batch(answer, 2, [1])
    run.count(*good)


async def ndjson(run: Run) -> None:
    """A batch as NDJSON"""
    events = [run.event("/lines", "user-lines"), run.event("/lines", "user-123")]
    content = "\n".join(json.dumps(event) for event in events) + "\n"
    headers = {"content-type": "application/x-ndjson"}
    expect_batch(await run.ask("POST", "/api/events", content=content, headers=headers), 2)
    run.count(*events)


async def sent_twice(run: Run) -> None:
    """The same event_id three times counts once"""
    event = run.event("/once", "user-once", event_id=uuid4().hex)
    for _ in range(2):
        expect_accepted(await run.send(event))
    expect_batch(await run.send([event]), 1)
    run.count(event)


async def bot(run: Run) -> None:
    """A bot is answered 202 and not counted"""
    event = {**run.event("/for-bots"), "user_id": None}
    answer = await run.send(event, headers={"user-agent": "Googlebot/2.1 (+http://www.google.com/bot.html)"})
    expect_status(answer, 202)
    expect(answer.headers.get("x-footfall-dropped"), "bot", "X-Footfall-Dropped")


async def missing_fields(run: Run) -> None:
    """400 names every wrong field"""
    expect_error(await run.send({"path": 5}), 400, "site_id", "event_type", "path")


async def wrong_time(run: Run) -> None:
    """400 for a timestamp that is none"""
    expect_error(await run.send(run.event(timestamp="yesterday")), 400, "timestamp")


async def future(run: Run) -> None:
    """400 for a timestamp far ahead"""
    expect_error(await run.send(run.event(timestamp="2999-01-01T00:00:00Z")), 400, "timestamp")


async def no_json(run: Run) -> None:
    """400 for what is no JSON"""
    answer = await run.ask("POST", "/api/event", content="{nonsense", headers={"content-type": "application/json"})
    expect_error(answer, 400)


async def strict(run: Run) -> None:
    """400 with ?strict=1 names an unknown field"""
    expect_error(await run.ask("POST", "/api/event?strict=1", json=run.event(pth="/typing-error")), 400, "pth")


async def nothing_valid(run: Run) -> None:
    """400 for a batch of which nothing is valid"""
    expect_error(await run.send([{}, {}]), 400)


async def wrong_method(run: Run) -> None:
    """405 for GET on /api/event"""
    expect_error(await run.ask("GET", "/api/event"), 405)


async def too_large(run: Run) -> None:
    """413 for a body over 64 KiB"""
    expect_error(await run.send(run.event(title="x" * LONG_BODY_BYTES)), 413)


async def not_found(run: Run) -> None:
    """404 for an address without anything"""
    expect_error(await run.ask("GET", "/api/nothing-here"), 404)


async def preflight(run: Run) -> None:
    """CORS preflight"""
    headers = {"origin": "https://shop.example", "access-control-request-method": "POST"}
    answer = await run.ask("OPTIONS", "/api/event", headers=headers)
    if answer.status not in {200, 204}:
        raise Failed(f"answered {answer.status}")
    if "POST" not in answer.headers.get("access-control-allow-methods", ""):
        raise Failed("does not allow POST")
    if answer.headers.get("access-control-allow-origin") not in {"*", "https://shop.example"}:
        raise Failed("does not allow the origin (CORS_ORIGINS)")


async def visible(run: Run) -> None:
    """Every accepted event is counted, once, within seconds"""
    top = sorted(run.views.items(), key=lambda pair: (-pair[1], pair[0]))
    wanted = {
        "site_id": run.site_id,
        "date": f"{run.at:%Y-%m-%d}",
        "total_views": run.views.total(),
        "unique_users_count": len(run.users),
        "top_paths": [{"path": path, "views": views} for path, views in top],
    }
    parameters = {"site_id": run.site_id, "date": wanted["date"], "timezone": "UTC"}
    deadline = time.monotonic() + VISIBLE_S
    while True:
        answer = await run.ask("GET", "/api/stats", params=parameters)
        expect_status(answer, 200)
        if answer.body.get("data") == wanted:
            return
        if time.monotonic() > deadline:
            expect(answer.body.get("data"), wanted, "data")
        await asyncio.sleep(0.1)


async def stays(run: Run) -> None:
    """... and not twice a moment later"""
    await asyncio.sleep(1)
    await visible(run)


async def empty_site(run: Run) -> None:
    """Statistics of a site without events are zeros"""
    answer = await run.ask("GET", "/api/stats", params={"site_id": f"{run.site_id}-empty", "date": "2024-01-15"})
    expect_status(answer, 200)
    data = answer.body.get("data", {})
    found = (data.get("total_views"), data.get("unique_users_count"), data.get("top_paths"))
    expect(found, (0, 0, []), "views, users and paths")


async def stats_error(run: Run) -> None:
    """400 for statistics of no site"""
    expect_error(await run.ask("GET", "/api/stats"), 400, "site_id")


async def openapi(run: Run) -> None:
    """GET /openapi.json"""
    answer = await run.ask("GET", "/openapi.json")
    expect_status(answer, 200)
    if missing := sorted(
        {"/api/event", "/api/events", "/api/stats", "/api/health"} - answer.body.get("paths", {}).keys()
    ):
        raise Failed(f"does not describe {', '.join(missing)}")


async def docs(run: Run) -> None:
    """GET /docs"""
    expect_status(await run.ask("GET", "/docs"), 200)


async def metrics(run: Run) -> None:
    """GET /metrics"""
    answer = await run.ask("GET", "/metrics")
    expect_status(answer, 200)
    if "footfall_events_accepted_total" not in answer.text:
        raise Failed("has no footfall_events_accepted_total")


Check = Callable[[Run], Awaitable[None]]

CHECKS: tuple[Check, ...] = (
    live, ready, health, one_event, event_as_text, everything_at_once, custom_event, batch, batch_in_part, ndjson,
    sent_twice, bot, missing_fields, wrong_time, future, no_json, strict, nothing_valid, wrong_method, too_large,
    not_found, preflight, visible, stays, empty_site, stats_error, openapi, docs, metrics,
)  # fmt: skip
"""In this order: the counts are looked at after everything was sent, mistakes included."""


async def check_server(url: str, key: str | None = None) -> list[Outcome]:
    """Run every check against the server at *url*; *key* needs the ingest and read scopes where AUTH is not open.

    Raises Unavailable when nothing answers there.
    """
    headers = {"user-agent": BROWSER}
    if key:
        headers["authorization"] = f"Bearer {key}"
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=REQUEST_TIMEOUT_S) as http:
        try:
            await http.get("/api/health/live")
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise Unavailable(
                f"nothing answers at {url} ({error or type(error).__name__}); start it with `footfall up`"
            ) from error
        run = Run(http)
        return [await _checked(check, run) for check in CHECKS]


async def run_smoke(url: str, *, key: str | None = None, console: Console) -> int:
    """Run every check, print the table on *console*; the exit status: 1 where any failed. Raises Unavailable."""
    outcomes = await check_server(url, key)
    render(outcomes, console)
    return 0 if all(outcome.passed for outcome in outcomes) else 1


async def _checked(check: Check, run: Run) -> Outcome:
    name = (check.__doc__ or "").strip()
    started_s = time.perf_counter()
    message = ""
    try:
        await check(run)
    except Failed as failure:
        message = str(failure)
    except httpx.HTTPError as error:
        message = f"no answer: {error or type(error).__name__}"
    return Outcome(name, not message, (time.perf_counter() - started_s) * 1_000, message)


def render(outcomes: Sequence[Outcome], console: Console) -> None:
    """Print the table, and one line at the end that says it all."""
    table = Table("", "check", "ms", "what was wrong")
    for outcome in outcomes:
        mark = "[green]pass[/]" if outcome.passed else "[bold red]FAIL[/]"
        table.add_row(mark, escape(outcome.name), f"{outcome.took_ms:.0f}", escape(outcome.message))
    console.print(table)
    failed = sum(not outcome.passed for outcome in outcomes)
    passed = len(outcomes) - failed
    console.print(f"{passed} passed, {failed} failed", style="bold red" if failed else "bold green")
