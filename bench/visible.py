"""From the 202 to the report: how long until one event shows in /api/stats, while others arrive."""

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from bench import bodies
from bench.http import Connection
from bench.pace import pace
from bench.processes import Footfall, footfall
from bench.rows import NotMeasured, Row, percentile, verdict
from bench.run import Run

FLOOR_S = 1.0
BACKGROUND_PER_S = 500.0
SITE = "marked"
POLL_S = 0.005
GIVE_UP_S = 30.0


@contextmanager
def _background(ours: Footfall, seconds_max: float) -> Iterator[None]:
    """Other people's events, all the while."""
    stop = threading.Event()
    with ThreadPoolExecutor(1, "background") as pool:
        request = bodies.single("background")
        pacing = pool.submit(pace, ours.port, BACKGROUND_PER_S, seconds_max, request, stop)
        try:
            yield
        finally:
            stop.set()
        if pacing.result().refused:
            raise NotMeasured("some events of the background load were refused")


def visible(run: Run) -> list[Row]:
    """One marked event after the other, at random moments of the worker's rhythm."""
    draw = random.Random(5)
    took_s: list[float] = []
    probes = run.plan.probes
    run.say(f"{probes} marked events, {BACKGROUND_PER_S:.0f} others a second beside them")
    with (
        footfall(run.folder("visible")) as ours,
        Connection(ours.port) as connection,
        _background(ours, probes * (GIVE_UP_S + 1)),
    ):
        request = bodies.single("marked", SITE, "/marked")
        # The first one makes the site, and is no measurement.
        for number in range(probes + 1):
            time.sleep(draw.uniform(0.05, 0.5))
            seconds = _probe(connection, request(number), number + 1)
            if number:
                took_s.append(seconds)
    p50_s, p95_s = percentile(took_s, 0.5), percentile(took_s, 0.95)
    return [
        Row(
            step="visible",
            figure="accepted to visible in /api/stats, p95",
            measured=f"{p95_s:.2f} s (p50 {p50_s:.2f}, longest {max(took_s):.2f})",
            floor=f"< {FLOOR_S:.0f} s",
            verdict=verdict(p95_s < FLOOR_S),
            how=f"{probes} marked events, /api/stats asked every {POLL_S * 1000:.0f} ms from the 202 on; "
            f"{BACKGROUND_PER_S:.0f} single events/s beside them",
            values={"p50_s": p50_s, "p95_s": p95_s, "max_s": max(took_s)},
        )
    ]


def _probe(connection: Connection, request: bytes, expected: int) -> float:
    """Seconds from the answer to this event until the site's views are *expected*."""
    status, body = connection.exchange(request)
    accepted_s = time.perf_counter()
    if status != 202:
        raise NotMeasured(f"an event was answered {status}: {body[:300].decode(errors='replace')}")
    # Two days, so that midnight may pass meanwhile.
    today = time.time()
    days = [time.strftime("%Y-%m-%d", time.gmtime(today + shift)) for shift in (0, 86_400)]
    path = f"/api/stats?site_id={SITE}&from={days[0]}&to={days[1]}"
    views = _views(connection, path)
    while views < expected:
        if time.perf_counter() - accepted_s > GIVE_UP_S:
            raise NotMeasured(f"an event was not visible after {GIVE_UP_S:.0f} s")
        time.sleep(POLL_S)
        views = _views(connection, path)
    return time.perf_counter() - accepted_s


def _views(connection: Connection, path: str) -> int:
    views: int = connection.json(path)["data"]["total_views"]
    return views
