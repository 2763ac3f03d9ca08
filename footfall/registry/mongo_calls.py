"""MongoCalls: every call of the registry to MongoDB goes through here: bounded in number, with our own failures."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from pymongo import AsyncMongoClient, ReadPreference, WriteConcern
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import ConfigurationError, InvalidURI, OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern

from footfall.errors import Misconfigured, Unavailable

Document = dict[str, Any]
T = TypeVar("T")

DATABASE: Final = "footfall"
CALLS_MAX: Final = 1_000
"""Calls that may be under way or wait; the next one is answered with Unavailable instead of filling the memory."""
CALL_MS: Final = 5_000
"""How long one call may take, with all its tries."""
FIND_SERVER_MS: Final = 3_000
_REFUSED: Final = frozenset({13, 18, 8000})
"""Unauthorized, AuthenticationFailed, and what MongoDB Atlas says instead."""


class MongoCalls:
    """A client of the registry's own, which reads from the primary whatever the URI says of the reads of others."""

    def __init__(self, uri: str) -> None:
        try:
            self.client: AsyncMongoClient[Document] = AsyncMongoClient(
                uri, timeoutMS=CALL_MS, serverSelectionTimeoutMS=FIND_SERVER_MS, appname="footfall-registry"
            )
            name = self.client.get_default_database(DATABASE).name
        except (ConfigurationError, InvalidURI, ValueError) as error:
            raise Misconfigured(f"MONGODB_URI: {error}") from error
        # Majority on both sides: what a process has been told stays true when the primary changes.
        self.database: AsyncDatabase[Document] = self.client.get_database(
            name,
            read_preference=ReadPreference.PRIMARY,
            read_concern=ReadConcern("majority"),
            write_concern=WriteConcern("majority", j=True),
        )
        self._under_way = 0
        self._is_closed = False

    @asynccontextmanager
    async def starting(self) -> AsyncIterator[None]:
        """Around the first calls: a server that refuses us is a matter of the settings, and no waiting mends it."""
        try:
            yield
        except Unavailable as error:
            if isinstance(error.__cause__, OperationFailure) and error.__cause__.code in _REFUSED:
                raise Misconfigured(
                    f"MONGODB_URI: the server refuses its user or password: {_said(error.__cause__)}"
                ) from error
            raise

    async def check(self) -> None:
        """Raise Unavailable where no server answers, Misconfigured for one that has no transactions."""
        said = await self.run(lambda: self.client.admin.command("hello"))
        if "setName" not in said and said.get("msg") != "isdbgrid":
            raise Misconfigured(
                "MONGODB_URI: this MongoDB is a standalone server, and Footfall needs transactions, which only a "
                "replica set has; one node is enough: start it with --replSet rs0, then run "
                'mongosh --eval "rs.initiate()"'
            )

    async def run(self, call: Callable[[], Awaitable[T]]) -> T:
        """What *call* returns, with the driver's failures turned into ours: the one place where that is done."""
        if self._is_closed:
            raise Unavailable("the registry is closed")
        if self._under_way >= CALLS_MAX:
            raise Unavailable("the registry is overloaded")
        self._under_way += 1
        try:
            return await call()
        except PyMongoError as error:
            raise Unavailable(f"the registry does not answer: {_said(error)}") from error
        finally:
            self._under_way -= 1

    async def close(self) -> None:
        """Let go of the connections."""
        self._is_closed = True
        await self.client.close()


def _said(error: PyMongoError) -> str:
    """The failure without the topology that the driver adds to it, which fills a screen."""
    if isinstance(error, OperationFailure) and error.details:
        return str(error.details.get("errmsg", error))[:300]
    return str(error).partition(", Timeout:")[0][:300]
