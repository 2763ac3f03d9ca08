"""One run of the benchmarks: how long everything takes, where it happens, and what one step tells the next."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from bench.rows import Row

OUT = Path(__file__).parent / "out"
"""On the disk of the checkout: a temporary folder is memory on many machines, where fsync costs nothing."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How much of everything."""

    is_quick: bool = False
    rounds: int = 5
    round_s: float = 6.0
    paced_s: float = 20.0
    sustained_s: float = 30.0
    probes: int = 60
    filled_events: int = 10_000_000
    questions: int = 200
    idle_s: float = 30.0
    rest_s: float = 8.0
    """Between the last work and the look at an idle process."""


FULL = Plan()
QUICK = Plan(
    is_quick=True,
    rounds=2,
    round_s=2.0,
    paced_s=5.0,
    sustained_s=6.0,
    probes=15,
    filled_events=1_000_000,
    questions=40,
    idle_s=5.0,
    rest_s=3.0,
)


class Run:
    """What every step gets."""

    def __init__(self, plan: Plan, scratch: Path, say: Callable[[str], None]) -> None:
        self.plan = plan
        self.scratch = scratch
        self.step = ""
        self._print = say
        self.requests_per_s: float | None = None
        """What `requests` found, for `p99` to take half of."""
        self._folders = 0

    def say(self, text: str) -> None:
        """One line of progress."""
        self._print(f"{self.step}: {text}")

    def folder(self, name: str) -> Path:
        """A path that nothing is at yet, for a fresh DATA_DIR among others."""
        self._folders += 1
        return self.scratch / f"{self._folders:02}-{name}"


Step = Callable[[Run], list[Row]]


class Clock:
    """Seconds since it was made, or until it was stopped."""

    def __init__(self) -> None:
        self._began_s = time.perf_counter()
        self._ended_s: float | None = None

    @property
    def seconds(self) -> float:
        """So far, or in all."""
        return (self._ended_s or time.perf_counter()) - self._began_s

    def stop(self) -> None:
        """Stand still from now on."""
        self._ended_s = time.perf_counter()


@contextmanager
def timed() -> Iterator[Clock]:
    """How long the block takes."""
    clock = Clock()
    try:
        yield clock
    finally:
        clock.stop()
