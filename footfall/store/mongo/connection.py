"""The client, what it may do for whom, and the one place where the driver's failures become our own."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import msgspec
from bson.errors import BSONError
from pymongo import AsyncMongoClient, ReadPreference, WriteConcern
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import (
    ConfigurationError,
    DocumentTooLarge,
    InvalidURI,
    OperationFailure,
    PyMongoError,
)
from pymongo.read_concern import ReadConcern
from pymongo.uri_parser import parse_uri

from footfall.errors import FootfallError, Misconfigured, Unavailable, Unstorable

Document = dict[str, Any]

DATABASE: Final = "footfall"
"""Where the URI names none."""
_OPTIONS: Final = {"serverSelectionTimeoutMS": 3_000, "connectTimeoutMS": 3_000, "appname": "footfall-store"}
"""Unless the URI says otherwise. Half a minute, the driver's own, is longer than anybody waits for an answer."""
STANDALONE: Final = (
    "MONGODB_URI: this MongoDB is a standalone server, and Footfall needs transactions, which only a replica set has; "
    'one node is enough: start it with --replSet rs0, then run mongosh --eval "rs.initiate()"'
)


class Connection(msgspec.Struct, frozen=True):
    """One client, with a database for each of the two roads."""

    client: AsyncMongoClient[Document]
    primary: AsyncDatabase[Document]
    """For writes, and for what they have to know: always the primary, majority and journal."""
    reading: AsyncDatabase[Document]
    """For questions: where the URI's readPreference says."""


@contextmanager
def our_failures() -> Iterator[None]:
    """Around every call of the driver."""
    try:
        yield
    except PyMongoError as error:
        raise failure(error) from error
    except BSONError as error:
        raise Unstorable(f"the store refuses the data: {error}") from error


@asynccontextmanager
async def answered_within(limit_s: float) -> AsyncIterator[None]:
    """Around calls that may take so long together; a caller is told at once, and not then, when no server is there.

    The driver's own time limit would try again until it is over.
    """
    try:
        async with asyncio.timeout(limit_s):
            with our_failures():
                yield
    except TimeoutError as error:
        raise Unavailable(f"store: MongoDB took longer than {limit_s:g} s") from error


def failure(error: PyMongoError) -> FootfallError:
    """What the driver's *error* means to us."""
    if isinstance(error, DocumentTooLarge):
        return Unstorable(f"the store refuses the data: {str(error)[:300]}")
    details: Mapping[str, Any] | None = error.details if isinstance(error, OperationFailure) else None
    # Without the topology that the driver adds to what it says, which fills a screen.
    said = str((details or {}).get("errmsg") or error).partition(", Timeout:")[0]
    return Unavailable(f"store: {said[:300]}")


async def connect(uri: str) -> Connection:
    """A client of a replica set or a sharded cluster. Raises Misconfigured for anything else, Unavailable."""
    try:
        # It asks the name servers for mongodb+srv.
        asked = await asyncio.to_thread(parse_uri, uri, validate=True)
        given = {name.lower() for name in asked["options"]}
        options: Any = {name: value for name, value in _OPTIONS.items() if name.lower() not in given}
        client: AsyncMongoClient[Document] = AsyncMongoClient(uri, **options)
    except (ConfigurationError, InvalidURI, ValueError) as error:
        raise Misconfigured(f"MONGODB_URI: {error}") from error
    try:
        with our_failures():
            said = await client.admin.command("hello")
        if "setName" not in said and said.get("msg") != "isdbgrid":
            raise Misconfigured(STANDALONE)
    except FootfallError:
        await client.close()
        raise
    name = asked["database"] or DATABASE
    concern = ReadConcern("majority")
    return Connection(
        client,
        client.get_database(
            name,
            read_concern=concern,
            read_preference=ReadPreference.PRIMARY,
            write_concern=WriteConcern("majority", j=True),
        ),
        client.get_database(name, read_concern=concern),
    )
