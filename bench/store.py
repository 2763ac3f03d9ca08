"""Ten million events: how fast /api/stats answers, and how much disk an event takes."""

import time
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlencode

from bench.fill import filled
from bench.http import Connection
from bench.processes import footfall
from bench.rows import NotMeasured, Row, Verdict, percentile, verdict
from bench.run import Run
from bench.world import DAYS, FIRST_DAY, SITE
from footfall.wire import STORE_FOLDER

DAY_MS_FLOOR = 20.0
MONTH_MS_FLOOR = 100.0
"""The contract's for any report of 30 days; its row for /api/stats speaks of a day."""
BYTES_FLOOR = 25.0
WARM_QUESTIONS = 5
ZONE = "Asia/Tehran"
"""Half an hour off, so no day of it begins where one of UTC does."""


def question(number: int, days: int, zone: str | None) -> str:
    first = FIRST_DAY + timedelta(days=number % DAYS if days == 1 else 0)
    asked = {"site_id": SITE}
    if days == 1:
        asked["date"] = first.isoformat()
    else:
        asked |= {"from": first.isoformat(), "to": (first + timedelta(days=days - 1)).isoformat()}
    if zone is not None:
        asked["timezone"] = zone
    return "/api/stats?" + urlencode(asked)


CASES = (
    # what, days, zone, floor in ms
    ("one day, UTC", 1, None, DAY_MS_FLOOR),
    (f"one day, {ZONE}", 1, ZONE, DAY_MS_FLOOR),
    ("30 days, UTC", DAYS, None, MONTH_MS_FLOOR),
    (f"30 days, {ZONE}", DAYS, ZONE, MONTH_MS_FLOOR),
)


def stats(run: Run) -> list[Row]:
    """GET /api/stats, one after the other on one connection, the kinds in turn."""
    data_dir, _ = filled(run)
    took_ms: dict[str, list[float]] = {what: [] for what, *_ in CASES}
    with footfall(data_dir) as ours, Connection(ours.port) as connection:
        run.say(f"{run.plan.questions} questions of each of {len(CASES)} kinds")
        for number in range(-WARM_QUESTIONS, run.plan.questions):
            for what, days, zone, _ in CASES:
                path = question(number, days, zone)
                began_s = time.perf_counter()
                views = connection.json(path)["data"]["total_views"]
                if number >= 0:
                    took_ms[what].append((time.perf_counter() - began_s) * 1000)
                if not views:
                    raise NotMeasured(f"{path} answers that there are no views")
    return [_stats_row(run, what, took_ms[what], days, floor_ms) for what, days, _, floor_ms in CASES]


def _stats_row(run: Run, what: str, took_ms: list[float], days: int, floor_ms: float) -> Row:
    p50_ms, p95_ms = percentile(took_ms, 0.5), percentile(took_ms, 0.95)
    which = f"every one of {DAYS} days in turn" if days == 1 else "the whole site"
    return Row(
        step="stats",
        figure=f"/api/stats at {_events(run)}, p95: {what}",
        measured=f"{p95_ms:.1f} ms (p50 {p50_ms:.1f})",
        floor=f"< {floor_ms:.0f} ms",
        verdict=_verdict(run, p95_ms < floor_ms),
        how=f"{len(took_ms)} questions over HTTP, one at a time, {which}; one site, {DAYS} days from {FIRST_DAY}",
        values={"p50_ms": p50_ms, "p95_ms": p95_ms, "max_ms": max(took_ms)},
    )


def _events(run: Run) -> str:
    return f"{run.plan.filled_events // 1_000_000} million events"


def _verdict(run: Run, is_met: bool) -> Verdict:
    """The floors are those of the full number of events; fewer prove nothing."""
    return Verdict.NO_FLOOR if run.plan.is_quick else verdict(is_met)


def disk(run: Run) -> list[Row]:
    """Bytes of the store's folder for each event, once the merges have settled and the store is closed."""
    data_dir, found = filled(run)
    size = _folder_bytes(data_dir / STORE_FOLDER)
    per_event = size / found.events
    largest = sorted(found.column_bytes.items(), key=lambda column: -column[1])[:4]
    shares = ", ".join(f"{name} {amount / found.events:.1f}" for name, amount in largest)
    state = "after the merges settled" if found.has_settled else "merges had NOT settled"
    return [
        Row(
            step="disk",
            figure=f"disk per event, {_events(run)}",
            measured=f"{per_event:.1f} bytes",
            floor=f"< {BYTES_FLOOR:.0f} bytes",
            verdict=_verdict(run, per_event < BYTES_FLOOR),
            how=f"everything in the store's folder, {size / 1e6:,.0f} MB in {found.parts} parts, {state}; "
            f"largest columns: {shares}",
            values={
                "bytes_per_event": per_event,
                "bytes": size,
                **{f"column_{name}_bytes": amount for name, amount in found.column_bytes.items() if amount},
            },
        )
    ]


def _folder_bytes(folder: Path) -> int:
    """The blocks that its files take, each counted once; links are not followed."""
    inodes: dict[tuple[int, int], int] = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        if path.is_file() and not path.is_symlink():
            inodes[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(inodes.values())
