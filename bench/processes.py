"""The processes that are measured: `footfall up` as a user starts it, nginx, and a bare ASGI server."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psutil

from bench.http import Connection, get
from bench.rows import NotMeasured, Skipped

START_S = 120.0
STOP_S = 30.0
SETTLE_S = 600.0
APT = "apt-get install nginx-light wrk"
ROOT = Path(__file__).parent.parent
"""The checkout of this very file, which is what is measured, wherever else one is installed."""
SHOWN_CHARS = 800
"""Of a log, when a process did not start or died."""


def free_port() -> int:
    """A port that nothing listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def program(name: str) -> str:
    """Where *name* is. Raises Skipped with the command that installs it."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if found is None:
        raise Skipped(f"needs {name}: {APT}")
    return found


@contextmanager
def child(
    command: Sequence[str], log_path: Path, environment: Mapping[str, str], cwd: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A process with its output in *log_path*, asked to stop at the end, and made to if it does not."""
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            command, env=dict(environment), cwd=cwd, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(process: subprocess.Popen[bytes], port: int, path: str, log_path: Path) -> None:
    """Return when *path* is answered 200."""
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s and process.poll() is None:
        try:
            with Connection(port) as connection:
                if connection.exchange(get(path))[0] == 200:
                    return
        except (OSError, NotMeasured):
            pass  # not there yet; the deadline and the process itself decide
        time.sleep(0.05)
    raise NotMeasured(f"it did not start: {tail(log_path)}")


def tail(log_path: Path) -> str:
    """The end of a log."""
    return log_path.read_text(errors="replace")[-SHOWN_CHARS:].strip()


class Cpu(msgspec.Struct, frozen=True):
    """Seconds of processor time, user and system."""

    all_s: float
    first_thread_s: float
    """Of the thread that the process began with; in ours it is the one that speaks HTTP."""


class Server(msgspec.Struct, frozen=True):
    """A running one, whichever it is."""

    port: int
    pid: int

    def cpu_s(self) -> Cpu:
        """What it has used of the processors so far, its children included."""
        process = psutil.Process(self.pid)
        used = [one.cpu_times() for one in (process, *process.children(recursive=True))]
        first = [thread for thread in process.threads() if thread.id == self.pid]
        return Cpu(
            all_s=sum(one.user + one.system for one in used),
            first_thread_s=sum(thread.user_time + thread.system_time for thread in first),
        )


class Ledger(msgspec.Struct, frozen=True):
    """The account of all events, as /api/ledger tells it."""

    received: int
    stored: int
    waiting: int
    failed: int
    dropped: dict[str, int]
    balanced: bool


class Footfall(Server, frozen=True):
    """A running `footfall up`."""

    data_dir: Path

    def get(self, path: str) -> Any:
        """The decoded answer to a GET, on a connection of its own."""
        with Connection(self.port) as connection:
            return connection.json(path)

    def ledger(self) -> Ledger:
        """The account."""
        return msgspec.convert(self.get("/api/ledger")["data"], Ledger)

    def settle(self, timeout_s: float = SETTLE_S) -> Ledger:
        """Wait until everything accepted is stored. Raises NotMeasured if it is not, or if an event is missing."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            ledger = self.ledger()
            if ledger.waiting == 0:
                break
            if time.monotonic() > deadline_s:
                raise NotMeasured(f"{ledger.waiting:,} events still wait after {timeout_s:.0f} s")
            time.sleep(0.05)
        if not ledger.balanced or ledger.failed or ledger.dropped:
            raise NotMeasured(f"the account is wrong: {ledger}")
        return ledger


@contextmanager
def footfall(data_dir: Path) -> Iterator[Footfall]:
    """`footfall up` on *data_dir* with the default settings, fsync among them, once it is ready."""
    port = free_port()
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    log_path = data_dir.with_name(data_dir.name + ".log")
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": os.environ.get("HOME", "/"),
        "DATA_DIR": str(data_dir),
        "PORT": str(port),
        "PYTHONPATH": str(ROOT),
    }
    # Its own folder, so that a developer's .env changes nothing here.
    with child([sys.executable, "-m", "footfall", "up"], log_path, environment, data_dir.parent) as process:
        _wait_for(process, port, "/api/health/ready", log_path)
        yield Footfall(port, process.pid, data_dir)
        if process.poll() is not None:
            raise NotMeasured(f"Footfall ended by itself with status {process.returncode}: {tail(log_path)}")


ANSWER = b'{"success":true,"message":"Event queued successfully","processing_time_ms":12}'
"""What Footfall answers; the others send the same bytes."""

_NGINX = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_timeout 75s;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    default_type application/json;
    server {{
        listen 127.0.0.1:{port};
        location / {{ return 200 '{answer}'; }}
    }}
}}
"""


@contextmanager
def nginx(folder: Path) -> Iterator[Server]:
    """nginx with one worker, which answers every request with a constant 200.

    `return` reads the request's body off the connection and throws it away without looking at it, which is the least
    that a server on a kept connection can do.
    """
    command = program("nginx")
    port = free_port()
    folder.mkdir(parents=True)
    conf = folder / "nginx.conf"
    conf.write_text(_NGINX.format(folder=folder, port=port, answer=ANSWER.decode()))
    log_path = folder / "nginx.log"
    with child([command, "-p", str(folder), "-c", str(conf), "-e", "stderr"], log_path, os.environ, folder) as process:
        _wait_for(process, port, "/", log_path)
        yield Server(port, process.pid)


@contextmanager
def echo(folder: Path) -> Iterator[Server]:
    """A bare ASGI application (echo.py) on uvicorn with uvloop and httptools."""
    port = free_port()
    folder.mkdir(parents=True)
    log_path = folder / "echo.log"
    options = ["--loop", "uvloop", "--http", "httptools", "--lifespan", "off", "--ws", "none"]
    options += ["--no-access-log", "--no-server-header", "--no-proxy-headers", "--log-level", "warning"]
    command = [sys.executable, "-m", "uvicorn", "bench.echo:app", "--host", "127.0.0.1", "--port", str(port), *options]
    with child(command, log_path, os.environ, ROOT) as process:
        _wait_for(process, port, "/", log_path)
        yield Server(port, process.pid)
