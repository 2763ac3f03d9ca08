"""MongoRegistry: sites, definitions, keys, salts and turns in MongoDB, for any number of processes on any machines."""

import time
from collections.abc import Callable, Sequence
from datetime import date

import msgspec
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from footfall.errors import Conflict, FootfallError
from footfall.query.definitions import Definitions
from footfall.registry.base import SITES_MAX, Site
from footfall.registry.mongo_calls import Document, MongoCalls
from footfall.registry.mongo_keys import MongoKeys
from footfall.registry.mongo_salts import MongoSalts
from footfall.registry.mongo_turns import MongoTurns


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class MongoRegistry:
    """The Registry port on MongoDB: the collections sites, definitions, keys, salts, turns, counters.

    They lie in the database that the URI names, or in "footfall".
    """

    kind = "mongodb"

    def __init__(self, calls: MongoCalls, now: Callable[[], int]) -> None:
        self._calls = calls
        self._now_ms = now
        self._salts = MongoSalts(calls, now)
        self.keys = MongoKeys(calls)
        self.turns = MongoTurns(calls)
        self._sites = calls.database["sites"]
        self._definitions = calls.database["definitions"]
        self._counters = calls.database["counters"]
        self._is_closed = False

    @classmethod
    async def open(cls, uri: str, *, now: Callable[[], int] = _wall_ms) -> "MongoRegistry":
        """Raises Misconfigured for a URI that is none, a server that refuses us or has no transactions, Unavailable."""
        calls = MongoCalls(uri)
        registry = cls(calls, now)
        try:
            async with calls.starting():
                await calls.check()
                await registry._salts.start()
        except FootfallError:
            await calls.close()
            raise
        return registry

    async def ensure_site(self, site_id: str) -> Site | None:
        found = await self._calls.run(lambda: self._sites.find_one({"_id": site_id}))
        if found is not None:
            return _site(found)
        return await self._calls.run(lambda: self._born(site_id))

    async def sites(self) -> Sequence[Site]:
        return [_site(found) for found in await self._calls.run(lambda: self._sites.find().sort("_id", 1).to_list())]

    async def save_site(self, site: Site) -> None:
        document = msgspec.to_builtins(site)
        site_id = document.pop("id")
        await self._calls.run(lambda: self._sites.replace_one({"_id": site_id}, document, upsert=True))

    async def definitions(self, site_id: str) -> Definitions:
        found = await self._calls.run(lambda: self._definitions.find_one({"_id": site_id}))
        if found is None:
            return Definitions()
        return msgspec.structs.replace(
            msgspec.json.decode(found["body"], type=Definitions), version=int(found["version"])
        )

    async def save_definitions(self, site_id: str, definitions: Definitions, based_on: int) -> int:
        # As one text: keys with a dot, a dollar or a NUL, which a document can not have, come back as they were.
        body = msgspec.json.encode(msgspec.structs.replace(definitions, version=0)).decode()
        changed = {"body": body, "version": based_on + 1}
        if not await self._calls.run(lambda: self._replace(site_id, changed, based_on)):
            raise Conflict(f"the definitions of site {site_id} were changed meanwhile")
        return based_on + 1

    async def salt(self, day: date) -> bytes:
        return await self._salts.of(day)

    async def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        await self._salts.stop()
        await self._calls.close()

    async def _born(self, site_id: str) -> Site | None:
        """Make the site, if there is room. All births write one counter, so that two never count the same sites."""

        async def make(session: AsyncClientSession) -> Site | None:
            await self._counters.update_one({"_id": "sites"}, {"$inc": {"births": 1}}, upsert=True, session=session)
            found = await self._sites.find_one({"_id": site_id}, session=session)
            if found is not None:
                return _site(found)
            if await self._sites.count_documents({}, session=session) >= SITES_MAX:
                return None
            site = Site(id=site_id, created_at_ms=self._now_ms())
            document = msgspec.to_builtins(site)
            await self._sites.insert_one({"_id": document.pop("id"), **document}, session=session)
            return site

        async with self._calls.client.start_session() as session:
            return await session.with_transaction(
                make, self._sites.read_concern, self._sites.write_concern, self._sites.read_preference
            )

    async def _replace(self, site_id: str, changed: Document, based_on: int) -> bool:
        if based_on == 0:
            try:
                await self._definitions.insert_one({"_id": site_id, **changed})
            except DuplicateKeyError:
                return False
            return True
        wanted = {"_id": site_id, "version": based_on}
        return (await self._definitions.update_one(wanted, {"$set": changed})).matched_count > 0


def _site(document: Document) -> Site:
    return msgspec.convert({**document, "id": document["_id"]}, Site)
