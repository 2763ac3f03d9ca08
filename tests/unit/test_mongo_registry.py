"""MongoRegistry: what is true of a server: its address, its kinds, its end and its return, and where salts go."""

import asyncio
import gc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pymongo
import pytest

from footfall.errors import Misconfigured, Unavailable
from footfall.registry import mongo_calls, mongo_salts
from footfall.registry.base import SALT_BYTES
from footfall.registry.mongo import MongoRegistry
from tests.conformance.registries import TODAY, Clock
from tests.servers import Mongo, mongo


@pytest.fixture
def name() -> str:
    """A database of the test's own."""
    return f"registry_{uuid4().hex}"


@pytest.fixture
def raw() -> Iterator[pymongo.MongoClient[dict[str, Any]]]:
    with pymongo.MongoClient[dict[str, Any]](mongo().uri("")) as client:
        yield client


async def test_it_lies_in_the_database_of_the_address_or_in_one_of_our_name(
    name: str, raw: pymongo.MongoClient[dict[str, Any]]
) -> None:
    registry = await MongoRegistry.open(mongo().uri(name, "readPreference=secondaryPreferred&w=1"))
    await registry.ensure_site("shop")
    assert [site["_id"] for site in raw[name]["sites"].find()] == ["shop"]
    await registry.close()
    unnamed = await MongoRegistry.open(f"mongodb://127.0.0.1:{mongo().port}")
    await unnamed.ensure_site(name)
    assert raw["footfall"]["sites"].count_documents({"_id": name}) == 1
    await unnamed.close()


@pytest.mark.parametrize("uri", ["mongodb://", "mongodb://host:99999/a"])
async def test_an_address_that_is_none_is_refused_by_the_name_of_the_setting(uri: str) -> None:
    with pytest.raises(Misconfigured, match="MONGODB_URI"):
        await MongoRegistry.open(uri)


async def test_a_standalone_server_is_refused_with_the_command_that_mends_it() -> None:
    server = Mongo("--standalone")
    try:
        server.start()
        with pytest.raises(Misconfigured, match=r"rs\.initiate\(\)"):
            await MongoRegistry.open(server.uri("registry"))
    finally:
        server.close()


async def test_a_wrong_password_is_a_matter_of_the_settings_and_is_not_told() -> None:
    server = Mongo("--auth")
    try:
        server.start()
        uri = server.uri("registry", "authSource=admin").replace("//", "//footfall:s3cret@")
        with pytest.raises(Misconfigured, match="MONGODB_URI: the server refuses its user or password") as caught:
            await MongoRegistry.open(uri)
        assert "s3cret" not in str(caught.value)
    finally:
        server.close()


@contextmanager
def lost_sockets_forgiven() -> Iterator[None]:
    """The driver loses a socket where it is closed while it connects, which it does all the time to a dead server."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


async def test_a_server_that_is_down_is_unavailable_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mongo_calls, "CALL_MS", 500)
    server = Mongo()
    try:
        server.start()
        registry = await MongoRegistry.open(server.uri("registry"))
        await registry.ensure_site("shop")
        server.kill()
        for asked in (registry.sites(), registry.ensure_site("new"), registry.salt(TODAY), registry.keys.all()):
            with pytest.raises(Unavailable):
                await asked
        with lost_sockets_forgiven(), pytest.raises(Unavailable):
            await MongoRegistry.open(server.uri("registry"))
        server.start()
        assert [site.id for site in await registry.sites()] == ["shop"]
        with lost_sockets_forgiven():
            await registry.close()
    finally:
        server.close()


async def test_due_salts_are_destroyed_without_anybody_asking(
    name: str, raw: pymongo.MongoClient[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mongo_salts, "LOOK_EVERY_S", 0.01)
    clock = Clock()
    registry = await MongoRegistry.open(mongo().uri(name), now=clock)
    salt = await registry.salt(TODAY)
    assert [found["salt"] for found in raw[name]["salts"].find()] == [salt]
    clock.at = clock.at.replace(day=clock.at.day + 2)
    async with asyncio.timeout(30):
        while raw[name]["salts"].count_documents({}):  # noqa: ASYNC110 - a document's end sends no event
            await asyncio.sleep(0.01)
    await registry.close()


async def test_a_salt_is_overwritten_before_it_is_deleted(name: str, raw: pymongo.MongoClient[dict[str, Any]]) -> None:
    clock = Clock()
    registry = await MongoRegistry.open(mongo().uri(name), now=clock)
    await registry.salt(TODAY)
    with raw[name]["salts"].watch() as changes:
        clock.at = clock.at.replace(day=clock.at.day + 2)
        await registry.salt(clock.at.date())
        seen = [changes.next() for _ in range(2)]
    assert [change["operationType"] for change in seen] == ["update", "delete"]
    assert seen[0]["updateDescription"]["updatedFields"] == {"salt": bytes(SALT_BYTES)}
    await registry.close()
