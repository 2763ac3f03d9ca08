"""Single events: how many a second beside nginx and a bare ASGI server, and how long one takes at half of that."""

from contextlib import ExitStack

import msgspec

from bench import bodies
from bench.pace import pace
from bench.processes import Footfall, Server, echo, footfall, nginx, program
from bench.rows import NotMeasured, Row, Skipped, Verdict, median, percentile, spread, verdict
from bench.run import Run
from bench.sync import sync_ms
from bench.wrk import CONNECTIONS, Load, wrk

RATIO_FLOOR = 0.25
P99_MS_FLOOR = 10.0
WARM_S = 1.0

OURS, ECHO, NGINX = "Footfall", "bare ASGI echo", "nginx"


class _Round(msgspec.Struct, frozen=True):
    """One server's turn."""

    load: Load
    cpu_us: float
    """Of processor time for each request, all threads."""
    first_thread_us: float


def _round(server: Server, seconds: float) -> _Round:
    before = server.cpu_s()
    load = wrk(server.port, seconds)
    after = server.cpu_s()
    return _Round(
        load,
        (after.all_s - before.all_s) / load.requests * 1e6,
        (after.first_thread_s - before.first_thread_s) / load.requests * 1e6,
    )


def requests(run: Run) -> list[Row]:
    """POST /api/event of one process, durable, against nginx answering a constant 200: rounds in turn, medians."""
    program("wrk")
    missing = ""
    with ExitStack() as stack:
        ours = stack.enter_context(footfall(run.folder("requests")))
        servers: dict[str, Server] = {OURS: ours, ECHO: stack.enter_context(echo(run.folder("echo")))}
        try:
            servers[NGINX] = stack.enter_context(nginx(run.folder("nginx")))
        except Skipped as reason:
            missing = str(reason)
        rounds: dict[str, list[_Round]] = {name: [] for name in servers}
        warm = {name: wrk(server.port, WARM_S).requests for name, server in servers.items()}
        ours.settle()
        for number in range(run.plan.rounds):
            for name, server in servers.items():
                run.say(f"round {number + 1} of {run.plan.rounds}: {name}")
                rounds[name].append(_round(server, run.plan.round_s))
                if name == OURS:
                    # The backlog is stored before the next one's turn: its work must not fall into their time.
                    ours.settle()
        answered = warm[OURS] + sum(one.load.requests for one in rounds[OURS])
        _check_all_there(ours, answered, (run.plan.rounds + 1) * CONNECTIONS)
    per_s = {name: [one.load.per_s for one in found] for name, found in rounds.items()}
    run.requests_per_s = median(per_s[OURS])
    return [_ratio_row(per_s, missing), *(_speed_row(name, found) for name, found in rounds.items())]


def _check_all_there(ours: Footfall, answered: int, under_way_max: int) -> None:
    """Every event that was answered is stored; those under way when wrk stopped may be there without an answer."""
    stored = ours.settle().stored
    if not answered <= stored <= answered + under_way_max:
        raise NotMeasured(f"{answered:,} events were answered, and {stored:,} are stored")


def _ratio_row(per_s: dict[str, list[float]], missing: str) -> Row:
    figure, floor = "single events, durable, against nginx", f"{RATIO_FLOOR} x nginx"
    if missing:
        return Row(step="requests", figure=figure, floor=floor, verdict=Verdict.SKIPPED, how=missing)
    ratio = median(per_s[OURS]) / median(per_s[NGINX])
    by_round = [mine / theirs for mine, theirs in zip(per_s[OURS], per_s[NGINX], strict=True)]
    to_echo = median(per_s[OURS]) / median(per_s[ECHO])
    return Row(
        step="requests",
        figure=figure,
        measured=f"{ratio:.2f} x nginx ({min(by_round):.2f} to {max(by_round):.2f})",
        floor=floor,
        verdict=verdict(ratio >= RATIO_FLOOR),
        how=f"POST /api/event, a new user_id each, fsync on; wrk, 1 thread, {CONNECTIONS} connections; "
        f"{len(by_round)} rounds in turn, ratio of medians (lowest to highest of a round); {to_echo:.2f} x the echo",
        values={"ratio": ratio, "ratio_min": min(by_round), "ratio_max": max(by_round), "ratio_to_echo": to_echo},
    )


_HOW = {
    OURS: "one `footfall up`: collector, queue, worker and store; 202 after the fsync",
    ECHO: "uvicorn, uvloop, httptools; reads the body, answers a constant",
    NGINX: "one worker, no access log; `return 200`, which reads the body and drops it",
}


def _speed_row(name: str, rounds: list[_Round]) -> Row:
    per_s = [one.load.per_s for one in rounds]
    cpu_us = median([one.cpu_us for one in rounds])
    first_us = median([one.first_thread_us for one in rounds])
    of_first = f", {first_us:.0f} of them in the HTTP thread" if name == OURS else ""
    return Row(
        step="requests",
        figure=f"  {name}",
        measured=f"{median(per_s):,.0f}/s ({spread(per_s)})",
        how=f"{_HOW[name]}; {cpu_us:.0f} us of CPU a request{of_first}",
        values={
            "per_s": median(per_s),
            "per_s_min": min(per_s),
            "per_s_max": max(per_s),
            "cpu_us": cpu_us,
            "first_thread_us": first_us,
        },
    )


def p99(run: Run) -> list[Row]:
    """The time of one durable event at half of the load, without coordinated omission."""
    of_disk_ms = sync_ms(run.scratch)
    with footfall(run.folder("p99")) as ours:
        if run.requests_per_s is None:
            run.say("finding the full load first")
            run.requests_per_s = median([wrk(ours.port, run.plan.round_s).per_s for _ in range(3)])
            ours.settle()
        half_per_s = run.requests_per_s / 2
        run.say(f"{half_per_s:,.0f} events/s for {run.plan.paced_s:.0f} s")
        pace(ours.port, half_per_s, WARM_S, bodies.single("warm"))
        paced = pace(ours.port, half_per_s, run.plan.paced_s, bodies.single("paced"))
        paced.check(half_per_s)
        ours.settle()
    p50_ms, p99_ms, p999_ms = (percentile(paced.took_ms, share) for share in (0.5, 0.99, 0.999))
    lag_ms = percentile(paced.own_lag_ms, 0.99)
    return [
        Row(
            step="p99",
            figure="p99 of a single event at half of that load",
            measured=f"{p99_ms:.1f} ms (p50 {p50_ms:.1f}, p99.9 {p999_ms:.1f})",
            floor=f"< {P99_MS_FLOOR:.0f} ms",
            verdict=verdict(p99_ms < P99_MS_FLOOR),
            how=f"open loop, Poisson arrivals at {paced.per_s:,.0f}/s, timed from when each was due; "
            f"of that the generator's own lateness: p99 {lag_ms:.1f} ms; an fdatasync of the idle disk takes "
            f"{percentile(of_disk_ms, 0.5):.1f} ms (p99 {percentile(of_disk_ms, 0.99):.1f})",
            values={
                "p50_ms": p50_ms,
                "p99_ms": p99_ms,
                "p999_ms": p999_ms,
                "generator_p99_ms": lag_ms,
                "fdatasync_p50_ms": percentile(of_disk_ms, 0.5),
                "fdatasync_p99_ms": percentile(of_disk_ms, 0.99),
                "per_s": paced.per_s,
            },
        )
    ]
