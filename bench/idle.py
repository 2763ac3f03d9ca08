"""What the one process costs while nobody asks for anything: memory and processor time."""

import time
from pathlib import Path

import msgspec
import psutil

from bench.fill import filled
from bench.http import Connection
from bench.processes import Footfall, footfall
from bench.rows import Row, verdict
from bench.run import Run
from bench.store import CASES, question

MEMORY_MB_FLOOR = 300.0
CPU_PERCENT_FLOOR = 1.0
MB = 1_000_000
QUESTIONS = 12


class _Idle(msgspec.Struct, frozen=True):
    """One look."""

    resident_mb: float
    anonymous_mb: float
    """What it holds of its own; only this has to stay in memory."""
    file_mb: float
    """Pages of programs and libraries, which the kernel can drop and read again."""
    cpu_percent: float
    """Of one core."""
    threads: int


def idle(run: Run) -> list[Row]:
    """A fresh folder, and one with all the events after some questions."""
    with footfall(run.folder("idle")) as ours:
        fresh = _look(run, ours)
    data_dir, _ = filled(run)
    with footfall(data_dir) as ours:
        with Connection(ours.port) as connection:
            for number in range(QUESTIONS):
                for _, days, zone, _ in CASES:
                    connection.json(question(number, days, zone))
        full = _look(run, ours)
    millions = f"{run.plan.filled_events // MB} million events, after {QUESTIONS * len(CASES)} questions"
    return [
        row
        for where, look in (("a fresh folder", fresh), (millions, full))
        for row in _rows(run.plan.idle_s, where, look)
    ]


def _look(run: Run, ours: Footfall) -> _Idle:
    time.sleep(run.plan.rest_s)
    run.say(f"doing nothing for {run.plan.idle_s:.0f} s")
    process = psutil.Process(ours.pid)
    before = process.cpu_times()
    began_s = time.perf_counter()
    time.sleep(run.plan.idle_s)
    after = process.cpu_times()
    used_s = after.user + after.system - before.user - before.system
    cpu_percent = 100 * used_s / (time.perf_counter() - began_s)
    resident, anonymous, of_files = _memory(process)
    return _Idle(resident / MB, anonymous / MB, of_files / MB, cpu_percent, process.num_threads())


def _memory(process: psutil.Process) -> tuple[int, int, int]:
    """Resident bytes: all, anonymous, of files. https://docs.kernel.org/filesystems/proc.html, /proc/PID/status."""
    status = Path(f"/proc/{process.pid}/status")
    if not status.exists():
        return process.memory_info().rss, 0, 0
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
    resident, anonymous, of_files, shared = (
        int(lines[name].split()[0]) * 1024 for name in ("VmRSS", "RssAnon", "RssFile", "RssShmem")
    )
    return resident, anonymous, of_files + shared


def _rows(seconds: float, where: str, look: _Idle) -> list[Row]:
    return [
        Row(
            step="idle",
            figure=f"idle memory, {where}",
            measured=f"{look.resident_mb:.0f} MB ({look.anonymous_mb:.0f} own, {look.file_mb:.0f} of files)",
            floor=f"< {MEMORY_MB_FLOOR:.0f} MB",
            verdict=verdict(look.resident_mb < MEMORY_MB_FLOOR),
            how=f"resident set of the one process (10^6 bytes), {look.threads} threads",
            values={"resident_mb": look.resident_mb, "anonymous_mb": look.anonymous_mb, "file_mb": look.file_mb},
        ),
        Row(
            step="idle",
            figure=f"idle CPU, {where}",
            measured=f"{look.cpu_percent:.2f} % of a core",
            floor=f"< {CPU_PERCENT_FLOOR:.0f} %",
            verdict=verdict(look.cpu_percent < CPU_PERCENT_FLOOR),
            how=f"user and system time over {seconds:.0f} s",
            values={"cpu_percent": look.cpu_percent},
        ),
    ]
