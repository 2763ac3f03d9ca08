"""Runs Footfall as a user would, as processes of their own on an empty folder, so that tests may kill them."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

START_TIMEOUT_S = 60.0
SETTLE_TIMEOUT_S = 60.0


def free_port() -> int:
    """A port that nothing listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Footfall:
    """One running `footfall up`, or a half of it; `kill` and `start` it as often as wanted on the same folder."""

    def __init__(self, data_dir: Path, half: str = "up", *, name: str = "", **environment: str) -> None:
        self.data_dir = data_dir
        self.half = half
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_path = data_dir.with_name(f"{data_dir.name}{name}.log")
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/"),
            "DATA_DIR": str(data_dir),
            "WORKER_PORT" if half == "worker" else "PORT": str(self.port),
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.http = httpx.Client(base_url=self.url, timeout=30)

    def start(self) -> None:
        """Start it and return when it is ready to take traffic."""
        self.launch()
        self.until_status("/api/health/ready", 200)

    def launch(self) -> None:
        """Start it and return at once."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "footfall", self.half],
                env=self.environment,
                cwd=self.data_dir.parent,
                stdout=log,
                stderr=log,
            )

    def until_status(self, path: str, status: int) -> None:
        """Wait until it answers a GET of *path* with *status*; an end of the process fails the test."""
        assert self.process is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if self.http.get(path).status_code == status:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"{path} was not answered with {status}:\n{self.log_path.read_text()[-4000:]}")

    def kill(self, number: int = signal.SIGKILL) -> int:
        """Send it a signal and wait for its end; its exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        status = self.process.wait(timeout=30)
        self.process = None
        return status

    def footfall(
        self, *arguments: str, stdin: bytes | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run another `footfall` command on the same settings."""
        done = subprocess.run(
            [sys.executable, "-m", "footfall", *arguments],
            env={**self.environment, "COLUMNS": "200", **environment},
            cwd=self.data_dir.parent,
            input=stdin,
            capture_output=True,
            check=False,
            timeout=120,
        )
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        )

    def ledger(self, site_id: str | None = None) -> dict[str, Any]:
        """The ledger, as anyone can read it."""
        answer = self.http.get("/api/ledger", params={"site_id": site_id} if site_id else {})
        answer.raise_for_status()
        data: dict[str, Any] = answer.json()["data"]
        return data

    def settle(self) -> dict[str, Any]:
        """Wait until nothing is under way in the queue; the ledger then."""
        deadline = time.monotonic() + SETTLE_TIMEOUT_S
        while time.monotonic() < deadline:
            ledger = self.ledger()
            if ledger["waiting"] == 0:
                return ledger
            time.sleep(0.05)
        raise AssertionError(f"the queue did not drain: {self.ledger()}\n{self.log_path.read_text()[-4000:]}")

    def stats(self, site_id: str, **parameters: str | int) -> dict[str, Any]:
        """`GET /api/stats`, its data."""
        answer = self.http.get("/api/stats", params={"site_id": site_id, **parameters})
        assert answer.status_code == 200, answer.text
        data: dict[str, Any] = answer.json()["data"]
        return data

    def __enter__(self) -> "Footfall":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
        self.http.close()


@contextmanager
def footfall_on(data_dir: Path, settings: Mapping[str, str] | None = None) -> Iterator[Footfall]:
    """A running `footfall up` on *data_dir*, gone at the end."""
    with Footfall(data_dir, **(settings or {})) as running:
        yield running
