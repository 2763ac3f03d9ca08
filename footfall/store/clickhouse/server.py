"""The server door: ClickHouse's SQL over HTTP, to one server or to a cluster; several workers write by turns.

What one write needs happens in one session of the server, in which its temporary tables live. A session runs one
statement at a time and refuses another meanwhile, so one that gets through proves that the one before it is over.

How two workers never write at once: the turn is a lease in the registry, a statement that writes is refused by the
server from a moment on that leaves it time to end before the lease does, and where it is not known whether a statement
is over, the turn is not given back but ends by itself. What this can not see is a server that stands still between its
last look at the clock and the end of the insert, for longer than Lease.margin_s.

The server must be the same one for a whole write: CLICKHOUSE_URL names a server, or a balancer that keeps a session.
"""

import asyncio
import itertools
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Protocol, TypeVar

import msgspec
import structlog
from clickhouse_connect.driver import create_async_client
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.exceptions import Error as DriverError
from clickhouse_connect.driver.summary import QuerySummary

from footfall.errors import FootfallError, Misconfigured, Unavailable
from footfall.store.clickhouse import statements as sql
from footfall.store.clickhouse.address import ServerAddress, server_address
from footfall.store.clickhouse.cluster import on_cluster
from footfall.store.clickhouse.door import (
    EXPORTING,
    QUERY_S_MAX,
    READING,
    SESSION,
    WAITING_MAX,
    WRITING,
    Params,
    Rows,
    failure,
    rows_of,
)
from footfall.store.clickhouse.store import ClickHouseStore

ASKED_AT_ONCE_MAX = 8
EXPORTED_AT_ONCE_MAX = 2
ANSWER_SLACK_S = 10
"""An answer may come so much later than the server's own limit ends a statement; then the connection is given up."""
DEFINE_S_MAX = 120
"""For a statement that all servers of a cluster have to run."""
CONNECT_S_MAX = 5
KEEP_CONNECTION_S = 2.0
"""A server closes idle connections, older ones after 3 s; what it has closed already would fail a write."""
SESSION_S = 60
"""The server forgets a session, and the batch that is laid out in it, so long after its last statement."""
TURN = "store"
PAUSE_MIN_S = 0.01
PAUSE_MAX_S = 0.2
"""Between two looks whether the turn is free."""

_SETTINGS = SESSION | {
    # What a server's profile may say otherwise: what is inserted is there on return, and no limit cuts an answer.
    "async_insert": 0,
    "wait_end_of_query": 1,
    "result_overflow_mode": "throw",
    "timeout_overflow_mode": "throw",
    "http_write_exception_in_output_format": 0,
}
_ON_CLUSTER = {
    "distributed_foreground_insert": 1,
    # Each write reaches most replicas, one after the other, and only such are asked as have all of them.
    "insert_quorum": "auto",
    "insert_quorum_parallel": 0,
    "select_sequential_consistency": 1,
    # A block that equals an earlier one would be dropped without a word: our ids decide what is a twin.
    "insert_deduplicate": 0,
    "skip_unavailable_shards": 0,
    # A visitor lies on one shard, so a question about visitors within a question is asked there too.
    "distributed_product_mode": "local",
}
_REFUSED_CODES = {
    81: "CLICKHOUSE_URL: the server at {place} has no database {database!r}: run CREATE DATABASE {database} there",
    192: "CLICKHOUSE_URL: the server at {place} does not know the user {user!r}",
    193: "CLICKHOUSE_URL: the server at {place} refuses the password of {user!r}",
    194: "CLICKHOUSE_URL: the server at {place} wants a password for {user!r}",
    497: "CLICKHOUSE_URL: {user!r} may not do at {place} what a store needs: grant ALL ON {database}.* and "
    "CREATE TEMPORARY TABLE ON *.*",
    516: "CLICKHOUSE_URL: the server at {place} refuses {user!r} or its password",
    701: "CLICKHOUSE_CLUSTER: the server at {place} knows no such cluster",
}
# After these the coordinating server has ended, but some other one may still be at it.
_UNSURE_CODES = {159, 209, 210, 279, 319}
_SESSION_IS_LOCKED = 373

T = TypeVar("T")
log = structlog.stdlib.get_logger(__name__)


class Turns(Protocol):
    """What a store needs of the registry, whose port of this name says what it promises."""

    async def take(self, name: str, holder: str, lease_s: float) -> float | None:
        """Until when the turn is surely held, on time.monotonic(); None while somebody else holds it."""
        ...

    async def give_back(self, name: str, holder: str) -> None:
        """End the turn now."""
        ...


class Lease(msgspec.Struct, frozen=True):
    """How long a turn lasts, and what of it a statement may use."""

    lease_s: float = 25.0
    """A worker that dies keeps the others waiting for so long."""
    statement_s: int = 10
    margin_s: float = 3.0
    """For a statement that the server ends late."""


class ServerDoor:
    """See Door. Questions go side by side, writes through one session."""

    kind = "clickhouse"
    setting = "CLICKHOUSE_URL"
    is_alone = False

    def __init__(
        self,
        client: AsyncClient,
        address: ServerAddress,
        turns: Turns,
        *,
        cluster: str,
        memory_bytes: int,
        lease: Lease,
    ) -> None:
        self._client = client
        self._address = address
        self._turns = turns
        self._cluster = cluster
        self._lease = lease
        self._name = f"{os.getpid()}-{os.urandom(8).hex()}"
        self._numbers = itertools.count(1)
        settings: dict[str, Any] = _SETTINGS | (_ON_CLUSTER if cluster else {})
        reading = {"max_memory_usage": memory_bytes, "max_bytes_before_external_group_by": memory_bytes // 2}
        self._reading = settings | READING | reading
        self._exporting = settings | EXPORTING | reading
        self._writing = settings | WRITING | {"max_execution_time": lease.statement_s, "session_timeout": SESSION_S}
        self._renew_session()
        self._asking = asyncio.Semaphore(ASKED_AT_ONCE_MAX)
        self._encoding = asyncio.Semaphore(EXPORTED_AT_ONCE_MAX)
        self._in_session = asyncio.Lock()
        self._waiting = 0
        self._closed = False
        self._is_broken = False
        """A statement of the session may still run, or be yet to come; the next write begins another session."""
        self._is_unsure = False
        """So may one that writes."""
        self._kept: tuple[str, float] | None = None
        """Holder and end of a turn that was not given back, for what it wrote may not be over."""

    def _renew_session(self) -> None:
        self._writing["session_id"] = f"footfall-{self._name}-{next(self._numbers)}"
        self._is_broken = False

    @classmethod
    async def open(
        cls, url: str, turns: Turns, *, memory_bytes: int, cluster: str | None = None, lease: Lease | None = None
    ) -> "ServerDoor":
        """Connect. Raises Misconfigured where the server refuses us, Unavailable where it does not answer."""
        address = server_address(url)
        try:
            async with asyncio.timeout(CONNECT_S_MAX + ANSWER_SLACK_S):
                client = await create_async_client(
                    interface=address.interface,
                    host=address.host,
                    port=address.port,
                    username=address.user,
                    password=address.password,
                    database=address.database,
                    ca_cert=address.ca_cert,
                    verify=address.verify,
                    compress=False,
                    client_name="footfall",
                    connect_timeout=CONNECT_S_MAX,
                    send_receive_timeout=DEFINE_S_MAX + ANSWER_SLACK_S,
                    connector_limit=ASKED_AT_ONCE_MAX + EXPORTED_AT_ONCE_MAX + 2,
                    connector_limit_per_host=ASKED_AT_ONCE_MAX + EXPORTED_AT_ONCE_MAX + 2,
                    keepalive_timeout=KEEP_CONNECTION_S,
                    autogenerate_session_id=False,
                )
        except (DriverError, TimeoutError) as error:
            raise _refusal(error, address) from error
        return cls(client, address, turns, cluster=cluster or "", memory_bytes=memory_bytes, lease=lease or Lease())

    # --- questions ---

    async def select(self, sql: str, params: Params | None = None, *, writer: bool = False) -> Rows:
        """See Door."""
        if writer:
            body = await self._on_session(partial(self._query, sql, params, self._writing))
        else:
            body = await self._asked(self._asking, partial(self._query, sql, params, self._reading))
        return rows_of(body)

    async def encoded(self, sql: str, format_name: str, params: Params | None = None) -> bytes:
        """See Door."""
        return await self._asked(self._encoding, partial(self._query, sql, params, self._exporting, format_name))

    async def _query(
        self, sql: str, params: Params | None, settings: dict[str, Any], format_name: str = "JSONCompact"
    ) -> bytes:
        parameters = dict(params) if params else None
        return await self._client.raw_query(sql, parameters, settings=settings, fmt=format_name)

    async def _asked(self, places: asyncio.Semaphore, ask: Callable[[], Awaitable[T]]) -> T:
        if self._waiting >= WAITING_MAX:
            raise Unavailable(f"store: {WAITING_MAX} questions are waiting already")
        self._waiting += 1
        try:
            async with places:
                return await self._answer(ask, QUERY_S_MAX + ANSWER_SLACK_S)
        finally:
            self._waiting -= 1

    async def _answer(self, ask: Callable[[], Awaitable[T]], limit_s: float) -> T:
        if self._closed:
            raise Unavailable("store: closed")
        try:
            async with asyncio.timeout(limit_s):
                return await ask()
        except (DriverError, TimeoutError) as error:
            raise _failure(error, self._address) from error

    # --- writes ---

    async def insert(self, sql: str, format_name: str, body: bytes) -> int:
        """See Door."""
        # Not the client's raw_insert, which sends the body again when the connection breaks off.
        statement = f"{sql} FORMAT {format_name}"
        done = await self._on_session(partial(self._client.command, statement, data=body, settings=self._writing))
        return int(done.written_rows) if isinstance(done, QuerySummary) else 0

    async def command(self, sql: str, params: Params | None = None) -> None:
        """See Door."""
        parameters = dict(params) if params else None
        ask = partial(self._client.command, sql, parameters, settings=self._writing)
        await self._on_session(ask, may_write=True)

    async def define(self, sql: str) -> None:
        """See Door."""
        statements = on_cluster(sql, self._cluster, self._address.database) if self._cluster else [sql]
        settings = {"distributed_ddl_task_timeout": DEFINE_S_MAX, "wait_end_of_query": 1}
        for statement in statements:
            try:
                async with asyncio.timeout(DEFINE_S_MAX + ANSWER_SLACK_S):
                    await self._client.command(statement, settings=settings)
            except (DriverError, TimeoutError) as error:
                raise _refusal(error, self._address) from error

    async def _on_session(self, ask: Callable[[], Awaitable[T]], *, may_write: bool = False) -> T:
        async with self._in_session:
            was_broken, was_unsure = self._is_broken, self._is_unsure
            self._is_broken, self._is_unsure = True, was_unsure or may_write
            try:
                answer = await self._answer(ask, self._lease.statement_s + ANSWER_SLACK_S)
            except FootfallError as error:
                code = getattr(error.__cause__, "code", None)
                if code is not None and code not in _UNSURE_CODES:
                    self._is_broken, self._is_unsure = was_broken, was_unsure
                raise
            self._is_broken, self._is_unsure = was_broken, was_unsure
            return answer

    # --- turns ---

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[int]:
        """See Door."""
        holder = f"{self._name}-{next(self._numbers)}"
        until_s = await self._take(holder)
        self._kept = (holder, until_s)
        self._is_unsure = False
        if self._is_broken:
            self._renew_session()
        try:
            yield await self._last_ms(until_s)
        finally:
            if not self._is_unsure or await self._is_over(until_s):
                await self._give_back(holder)

    async def _take(self, holder: str) -> float:
        """Until when the turn is ours, on time.monotonic(). Waits for as long as one lease lasts."""
        give_up_s = time.monotonic() + self._lease.lease_s + self._lease.margin_s
        pause_s = PAUSE_MIN_S
        while True:
            if self._kept is not None and await self._is_over(self._kept[1]):
                await self._give_back(self._kept[0])
            until_s = await self._turns.take(TURN, holder, self._lease.lease_s)
            if until_s is not None:
                return until_s
            if time.monotonic() > give_up_s:
                raise Unavailable("store: other workers write all the time")
            # Not all in step, else the same ones meet again and again.
            await asyncio.sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311 - no secret
            pause_s = min(pause_s * 1.5, PAUSE_MAX_S)

    async def _last_ms(self, until_s: float) -> int:
        """The last moment, on the server's clock, at which a statement may begin that has to end before *until_s*.

        The server has looked at its clock before we look at ours, so the difference errs on the safe side.
        """
        ((server_ms,),) = await self.select(sql.NOW_MS, writer=True)
        left_s = until_s - time.monotonic() - self._lease.statement_s - self._lease.margin_s
        return int(server_ms) + int(left_s * 1000)

    async def _is_over(self, until_s: float) -> bool:
        """Whether it is sure that nothing of this turn runs or comes any more.

        The table from which it would write is dropped in its own session, which waits for nothing but for what runs
        there. On a cluster that proves nothing about the other servers, and the turn has to end by itself.
        """
        if self._cluster:
            return False
        while time.monotonic() < until_s:
            try:
                await self.command(sql.CLEAR_INCOMING)
            except FootfallError as error:
                if getattr(error.__cause__, "code", None) != _SESSION_IS_LOCKED:
                    return False
            else:
                return True
            await asyncio.sleep(PAUSE_MAX_S)
        return True

    async def _give_back(self, holder: str) -> None:
        self._kept = None
        try:
            await self._turns.give_back(TURN, holder)
        except Unavailable as error:
            log.warning("the turn to write could not be given back and ends by itself", error=str(error))

    async def close(self) -> None:
        """Let go of the connections; the server ends the session by itself."""
        if not self._closed:
            self._closed = True
            await self._client.close()


def _code_and_text(error: DriverError | TimeoutError, address: ServerAddress) -> tuple[int, str]:
    if isinstance(error, TimeoutError):
        return 0, f"the ClickHouse server at {address.place} did not answer in time"
    if error.code is None and error.__cause__ is not None:
        return 0, f"the ClickHouse server at {address.place} can not be reached: {type(error.__cause__).__name__}"
    text = str(error).partition("server response: ")[2] or str(error)
    return error.code or 0, text.partition(" (for url ")[0]


def _failure(error: DriverError | TimeoutError, address: ServerAddress) -> FootfallError:
    """What the client's *error* means to us. It never holds the password, and neither does what is made of it."""
    return failure(*_code_and_text(error, address))


def _refusal(error: DriverError | TimeoutError, address: ServerAddress) -> FootfallError:
    """The same where the store is opened: what no waiting mends is a matter of the settings."""
    code, text = _code_and_text(error, address)
    if code in _REFUSED_CODES:
        said = _REFUSED_CODES[code].format(place=address.place, database=address.database, user=address.user)
        return Misconfigured(said)
    return failure(code, text)


async def open_server_store(
    url: str,
    turns: Turns,
    *,
    memory_bytes: int,
    fsync: bool = True,
    cluster: str | None = None,
    lease: Lease | None = None,
) -> ClickHouseStore:
    """The store on the server of *url*. *memory_bytes*: what one question may use there. Raises as ServerDoor.open."""
    door = await ServerDoor.open(url, turns, memory_bytes=memory_bytes, cluster=cluster, lease=lease)
    try:
        return await ClickHouseStore.open(door, fsync=fsync)
    except FootfallError:
        await door.close()
        raise
