"""Starts tests/clickhouse_http.py as a process of its own, which tests may kill, stop and start again."""

import atexit
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from functools import cache
from pathlib import Path
from urllib.parse import quote

from footfall.errors import FootfallError
from footfall.registry.sqlite import SqliteRegistry
from footfall.store.clickhouse.server import Lease, ServerDoor, open_server_store
from footfall.store.clickhouse.store import ClickHouseStore
from tests.processes import free_port

START_TIMEOUT_S = 30.0
USER = "footfall"
PASSWORD = "s3cret:/@?%&+"
MEMORY_BYTES = 1_000_000_000


class ClickHouseHttp:
    """The endpoint on a folder of its own."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="footfall-clickhouse-"))
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; returns when it answers."""
        arguments = [
            sys.executable,
            "-m",
            "tests.clickhouse_http",
            str(self.folder / "data"),
            str(self.port),
            USER,
            PASSWORD,
        ]
        self.process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ping", timeout=5) as answer:
                    if answer.read() == b"Ok.\n":
                        return
            except OSError:
                time.sleep(0.05)
        raise AssertionError("the ClickHouse endpoint did not start")

    def url(self, database: str, *, user: str = USER, password: str = PASSWORD) -> str:
        """CLICKHOUSE_URL for one of its databases."""
        return f"http://{user}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    def run(self, statement: str) -> bytes:
        """The answer to one statement."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/", statement.encode(), method="POST")
        request.add_header("X-ClickHouse-User", USER)
        request.add_header("X-ClickHouse-Key", PASSWORD)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                body: bytes = answer.read()
                return body
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from error

    def database(self, name: str) -> str:
        """CLICKHOUSE_URL of the database *name*, which is there now."""
        self.run(f"CREATE DATABASE IF NOT EXISTS {name}")
        return self.url(name)

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
def clickhouse() -> ClickHouseHttp:
    """The endpoint that the tests of this process share; a test keeps to a database of its own."""
    server = ClickHouseHttp()
    server.start()
    atexit.register(server.close)
    return server


class ServerStore(ClickHouseStore):
    """The store on the endpoint, with the registry that its turns are kept in."""

    registry: SqliteRegistry
    door: ServerDoor

    @classmethod
    async def on(cls, url: str, registry_path: Path, lease: Lease | None = None) -> "ServerStore":
        """Open both."""
        registry = await SqliteRegistry.open(registry_path)
        try:
            opened = await open_server_store(url, registry.turns, memory_bytes=MEMORY_BYTES, fsync=False, lease=lease)
        except FootfallError:
            await registry.close()
            raise
        assert isinstance(opened._door, ServerDoor)
        made = cls(opened._door)
        made.registry, made.door = registry, opened._door
        return made

    async def close(self) -> None:
        """Close both."""
        await super().close()
        await self.registry.close()
