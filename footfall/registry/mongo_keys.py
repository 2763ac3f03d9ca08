"""MongoKeys: the API keys in MongoDB, one document each."""

from collections.abc import Sequence

import msgspec

from footfall.registry.base import Key
from footfall.registry.mongo_calls import Document, MongoCalls


class MongoKeys:
    """The Keys port."""

    def __init__(self, calls: MongoCalls) -> None:
        self._calls = calls
        self._keys = calls.database["keys"]

    async def all(self) -> Sequence[Key]:
        order = [("created_at_ms", -1), ("_id", 1)]
        return [_key(found) for found in await self._calls.run(lambda: self._keys.find().sort(order).to_list())]

    async def save(self, key: Key) -> None:
        document = msgspec.to_builtins(key, builtin_types=(bytes,))
        key_id = document.pop("id")
        await self._calls.run(lambda: self._keys.replace_one({"_id": key_id}, document, upsert=True))

    async def note_use(self, key_id: str, used_at_ms: int) -> None:
        change = {"$set": {"last_used_at_ms": used_at_ms}}
        await self._calls.run(lambda: self._keys.update_one({"_id": key_id}, change))

    async def delete(self, key_id: str) -> bool:
        return (await self._calls.run(lambda: self._keys.delete_one({"_id": key_id}))).deleted_count > 0


def _key(document: Document) -> Key:
    return msgspec.convert({**document, "id": document["_id"]}, Key)
