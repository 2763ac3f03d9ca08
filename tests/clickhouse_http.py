"""ClickHouse's HTTP interface before the in-process engine, as a process of its own: FOR TESTS ONLY.

There is no ClickHouse server in the package registries, and this is none: it has one user, no cluster, no rights, and
answers only when a statement is done. What it has, it has as https://clickhouse.com/docs/en/interfaces/http says:
statement in the URL or the body, `param_*`, settings in the URL, sessions, formats, codes of exceptions.
"""

import argparse
import asyncio
import json
import re
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from aiohttp import BasicAuth, web

sys.modules["pyarrow"] = None  # type: ignore[assignment]  # the engine's package needs it for nothing that is used here
from chdb.state.sqlitelike import Connection  # noqa: E402

VERSION = "26.9.2.1"
SESSION_S_MAX = 3600
NOT_SETTINGS = {
    *("query", "database", "default_format", "session_id", "session_timeout", "session_check", "query_id", "user"),
    *("password", "quota_key", "wait_end_of_query", "buffer_size", "compress", "decompress", "client_protocol_version"),
    *("role", "stacktrace"),
}
"""Names in the URL that belong to the interface itself; `param_*` too. Any other one is a setting."""
STATUS = {60: 404, 81: 404, 46: 404, 47: 404, 62: 400, 516: 403, 164: 403, 36: 400, 6: 400, 27: 400, 48: 501}
_INSERT = re.compile(r"\s*INSERT\s+INTO\s.*\bFORMAT\s+(\w+)\s*", re.IGNORECASE | re.DOTALL)
_HAS_ANSWER = re.compile(r"\s*(SELECT|WITH|SHOW|DESCRIBE|EXPLAIN|EXISTS)\b", re.IGNORECASE)


class ServerError(Exception):
    """An exception of the server."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Request(NamedTuple):
    """What was asked."""

    sql: str
    data: bytes
    form: str
    database: str
    settings: dict[str, str]
    params: dict[str, str]


class Session:
    """Temporary tables and one statement at a time."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.is_locked = False
        self.ends_at = float("inf")


class Server:
    """The engine on *folder*, behind a port."""

    def __init__(self, folder: str, user: str, password: str) -> None:
        self._address = f"{folder}?max_server_memory_usage=2000000000&max_concurrent_queries=0"
        self._keeps = Connection(self._address)
        self._user, self._password = user, password
        self._sessions: dict[str, Session] = {}
        self._threads = ThreadPoolExecutor(12)

    async def answer(self, request: web.Request) -> web.Response:
        """One request."""
        if request.path == "/ping":
            return web.Response(text="Ok.\n")
        query_id = request.query.get("query_id") or str(uuid.uuid4())
        try:
            self._let_in(request)
            asked = await self._read(request)
            if not asked.sql:
                return web.Response(text="Ok.\n")
            body, written = await self._run(request, asked)
        except ServerError as error:
            text = f"{error} (version {VERSION} (official build))\n"
            headers = {"X-ClickHouse-Exception-Code": str(error.code), "X-ClickHouse-Query-Id": query_id}
            return web.Response(status=STATUS.get(error.code, 500), text=text, headers=headers)
        headers = {
            "X-ClickHouse-Query-Id": query_id,
            "X-ClickHouse-Timezone": "UTC",
            "X-ClickHouse-Summary": json.dumps({"read_rows": "0", "written_rows": str(written)}),
        }
        if _HAS_ANSWER.match(asked.sql):
            headers["X-ClickHouse-Format"] = asked.form
        return web.Response(body=body, headers=headers)

    def _let_in(self, request: web.Request) -> None:
        user, password = request.query.get("user", "default"), request.query.get("password", "")
        if "X-ClickHouse-User" in request.headers:
            user, password = request.headers["X-ClickHouse-User"], request.headers.get("X-ClickHouse-Key", "")
        elif "Authorization" in request.headers:
            basic = BasicAuth.decode(request.headers["Authorization"], "utf-8")
            user, password = basic.login, basic.password
        if (user, password) != (self._user, self._password):
            text = (
                f"Code: 516. DB::Exception: {user}: Authentication failed: password is incorrect, or there is no user"
            )
            raise ServerError(516, f"{text} with such name. (AUTHENTICATION_FAILED)")

    async def _read(self, request: web.Request) -> Request:
        values: dict[str, str] = dict(request.query)
        if request.content_type == "multipart/form-data":
            values |= {name: str(value) for name, value in (await request.post()).items()}
            body = b""
        else:
            body = await request.read()
        sql = values.get("query", "")
        if not sql:
            sql, body = body.decode(), b""
        settings = {
            name: value for name, value in values.items() if name not in NOT_SETTINGS and not name.startswith("param_")
        }
        if request.method == "GET":
            settings["readonly"] = "2"
        return Request(
            sql,
            body,
            request.headers.get("X-ClickHouse-Format") or values.get("default_format", "TabSeparated"),
            values.get("database", "default"),
            settings,
            {name.removeprefix("param_"): value for name, value in values.items() if name.startswith("param_")},
        )

    async def _run(self, request: web.Request, asked: Request) -> tuple[bytes, int]:
        loop = asyncio.get_running_loop()
        name = request.query.get("session_id")
        if name is None:
            connection = Connection(self._address)
            try:
                return await loop.run_in_executor(self._threads, run, connection, asked)
            finally:
                connection.close()
        session = self._session(name, request)
        session.is_locked = True
        try:
            return await loop.run_in_executor(self._threads, run, session.connection, asked)
        finally:
            session.is_locked = False
            session.ends_at = time.monotonic() + float(request.query.get("session_timeout", "60"))

    def _session(self, name: str, request: web.Request) -> Session:
        if float(request.query.get("session_timeout", "60")) > SESSION_S_MAX:
            raise ServerError(374, "Code: 374. DB::Exception: Session timeout is too large. (INVALID_SESSION_TIMEOUT)")
        for other, session in list(self._sessions.items()):
            if not session.is_locked and session.ends_at < time.monotonic():
                self._sessions.pop(other).connection.close()
        found = self._sessions.get(name)
        if found is None:
            if request.query.get("session_check") == "1":
                raise ServerError(372, f"Code: 372. DB::Exception: Session {name} not found. (SESSION_NOT_FOUND)")
            found = self._sessions[name] = Session(Connection(self._address))
        if found.is_locked:
            text = f"Code: 373. DB::Exception: Session {name} is locked by a concurrent client. (SESSION_IS_LOCKED)"
            raise ServerError(373, text)
        return found


def run(connection: Connection, asked: Request) -> tuple[bytes, int]:
    """The answer and the number of rows written."""
    try:
        connection.query(f"USE `{asked.database}`")
        if asked.settings:
            said = ", ".join(f"{name} = {quoted(value)}" for name, value in asked.settings.items())
            connection.query(f"SET {said}")
        insert = _INSERT.fullmatch(asked.sql)
        if insert is None:
            result: bytes = connection.query(asked.sql, asked.form, params=asked.params).bytes()
            return result, 0
        inserter: Any = connection.send_insert(asked.sql[: insert.start(1)].rstrip()[: -len("FORMAT")], insert[1])
        try:
            inserter.append(asked.data)
        except RuntimeError:
            inserter.cancel()
            raise
        return b"", int(inserter.finish().rows_written)
    except RuntimeError as error:
        found = re.search(r"Code: (\d+)", str(error))
        raise ServerError(int(found[1]) if found else 1001, str(error)) from error


def quoted(value: str) -> str:
    """A literal of SQL."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def main() -> None:
    """Serve until killed; says the port on the standard output once it answers."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("port", type=int)
    parser.add_argument("user")
    parser.add_argument("password")
    options = parser.parse_args()
    server = Server(options.folder, options.user, options.password)
    application = web.Application(client_max_size=2**30)
    application.router.add_route("*", "/{path:.*}", server.answer)
    web.run_app(application, host="127.0.0.1", port=options.port, print=lambda *_: print("ready", flush=True))  # noqa: T201
    sys.exit()


if __name__ == "__main__":
    main()
