"""wrk: as many single events as a server takes, in a closed loop on a fixed number of connections."""

import subprocess
import uuid
from pathlib import Path

import msgspec

from bench.processes import program
from bench.rows import NotMeasured

CONNECTIONS = 64
_SCRIPT = Path(__file__).with_name("event.lua")
_MARK = "RESULT "


class Load(msgspec.Struct, frozen=True):
    """What wrk counted."""

    requests: int
    duration_us: int
    bad_status: int
    broken: int
    """Connections that failed, reads and writes that failed, answers that took longer than two seconds."""
    p50_ms: float
    """Of a saturated server in a closed loop: how long the line is, not how fast the server."""
    p99_ms: float

    @property
    def per_s(self) -> float:
        """Answers a second."""
        return self.requests / (self.duration_us / 1e6)


def wrk(port: int, seconds: float) -> Load:
    """POST events to *port* for so long. Raises NotMeasured unless every one was answered well, Skipped without wrk."""
    whole_s = max(1, round(seconds))
    command = [program("wrk"), "-t1", f"-c{CONNECTIONS}", f"-d{whole_s}s", "-s", str(_SCRIPT)]
    command += [f"http://127.0.0.1:{port}", "--", uuid.uuid4().hex[:8]]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=whole_s + 60)
    line = next((line for line in done.stdout.splitlines() if line.startswith(_MARK)), None)
    if line is None:
        raise NotMeasured(f"wrk ended with status {done.returncode}: {(done.stderr or done.stdout)[-500:]}")
    load = msgspec.json.decode(line.removeprefix(_MARK), type=Load)
    if load.bad_status or load.broken or not load.requests:
        raise NotMeasured(f"wrk met errors, so its figure means nothing: {load}")
    return load
