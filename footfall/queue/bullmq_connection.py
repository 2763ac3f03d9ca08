"""The connection of BullmqQueue: one client for a server or a cluster, its limits, and the one place where the driver's
failures become ours."""

import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ClusterDownError,
    ConnectionError,  # noqa: A004 - redis-py's own; the built-in one is an OSError
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    ResponseError,
    TimeoutError,  # noqa: A004
    TryAgainError,
)

from footfall.errors import Misconfigured, Unavailable

Client = Redis | RedisCluster

CONNECT_TIMEOUT_S = 2.0
ANSWER_TIMEOUT_S = 5.0
"""Longer than wait() blocks, and than the longest script runs."""
RETRIES = 1
"""Every script may be repeated: a put knows its jobs by their ids, and a lease by its token."""
CONNECTIONS_MAX = 50

_TRANSIENT = (OutOfMemoryError, ReadOnlyError, ClusterDownError, TryAgainError)
_TRANSIENT_CODES = ("MISCONF", "NOREPLICAS", "BUSY", "UNBLOCKED")
"""Answers of a server that is full, failing over, or can not write its file: the same call is worth repeating."""


class RedisAddress(msgspec.Struct, frozen=True):
    """Where the server is and how to enter."""

    host: str
    port: int = 6379
    password: str | None = None
    tls: bool = False
    cluster: bool = False


def connect(address: RedisAddress) -> Client:
    """A client that is not connected yet; with TLS it checks the server's certificate against those of the system."""
    options: dict[str, Any] = {
        "host": address.host,
        "port": address.port,
        "password": address.password,
        "ssl": address.tls,
        "decode_responses": True,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "socket_timeout": ANSWER_TIMEOUT_S,
        "health_check_interval": 30,
        "max_connections": CONNECTIONS_MAX,
        "retry": Retry(ExponentialBackoff(cap=0.2, base=0.05), RETRIES),
    }
    return RedisCluster(**options) if address.cluster else Redis(**options)


@contextmanager
def translated() -> Iterator[None]:
    """Raise Unavailable for what the server or the way to it is to blame for; a wrong call stays the bug that it is."""
    try:
        yield
    except (ConnectionError, TimeoutError, RedisClusterException, OSError) as error:
        raise Unavailable(f"the Redis queue can not be reached: {error}") from error
    except ResponseError as error:
        if not isinstance(error, _TRANSIENT) and not str(error).startswith(_TRANSIENT_CODES):
            raise
        raise Unavailable(f"the Redis queue can not be used now: {error}") from error


async def check(client: Client, address: RedisAddress) -> None:
    """Connect. Raises Misconfigured for what waiting does not mend, Unavailable for a server that is not there."""
    try:
        with translated():
            # A cluster's client asks the nodes for their slots, with the password, when it first connects.
            await (client.initialize() if isinstance(client, RedisCluster) else client.ping())
    except Unavailable as error:
        cause = error.__cause__
        while cause is not None:
            if isinstance(cause, AuthenticationError | AuthorizationError):
                raise Misconfigured(f"REDIS_PASSWORD: {address.host}:{address.port} refuses it: {cause}") from error
            if isinstance(cause, ssl.SSLCertVerificationError):
                raise Misconfigured(
                    f"REDIS_TLS: the certificate of {address.host}:{address.port} is not trusted "
                    f"({cause.verify_message}); SSL_CERT_FILE can name the file of an authority of your own"
                ) from error
            if "cluster mode is not enabled" in str(cause).lower():
                raise Misconfigured(
                    f"REDIS_CLUSTER: {address.host}:{address.port} is not a Redis Cluster; set it to false"
                ) from error
            cause = cause.__cause__ or cause.__context__
        raise
    except ResponseError as error:
        raise Misconfigured(f"REDIS_HOST: {address.host}:{address.port} refuses us: {error}") from error


async def advice(client: Client, key: str) -> Sequence[str]:
    """What a person should change at the server that holds *key*, as sentences; empty when all is well.

    A server that may not be asked (some that are rented) is not judged.
    """
    try:
        memory = await _info(client, key, "memory")
        persistence = await _info(client, key, "persistence")
    except ResponseError:
        return ()
    found = []
    policy = memory.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        found.append(
            f"Redis has maxmemory-policy {policy} and will throw queued events away when its memory is full: "
            "set it to noeviction"
        )
    if str(persistence.get("aof_enabled", "1")) == "0":
        found.append(
            "Redis writes no append-only file, so events that were accepted are lost when it is killed: "
            "set appendonly to yes"
        )
    return tuple(found)


async def _info(client: Client, key: str, section: str) -> dict[str, Any]:
    if not isinstance(client, RedisCluster):
        return dict(await client.info(section))
    node = client.get_node_from_key(key)
    answer: dict[str, Any] = await client.execute_command("INFO", section, target_nodes=node)
    return answer
