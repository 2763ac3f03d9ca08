"""MongoTurns: who does what only one process may do at a time, in MongoDB, by the primary's clock."""

import time
from typing import Any

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from footfall.registry.mongo_calls import Document, MongoCalls


class MongoTurns:
    """The Turns port."""

    def __init__(self, calls: MongoCalls) -> None:
        self._calls = calls
        self._turns = calls.database["turns"]

    async def take(self, name: str, holder: str, lease_s: float) -> float | None:
        asked_at_s = time.monotonic()
        found = await self._calls.run(lambda: self._take(name, holder, round(lease_s * 1000)))
        return asked_at_s + lease_s if found is not None and found["holder"] == holder else None

    async def give_back(self, name: str, holder: str) -> None:
        await self._calls.run(lambda: self._turns.delete_one({"_id": name, "holder": {"$eq": holder}}))

    async def _take(self, name: str, holder: str, lease_ms: int) -> Document | None:
        """The turn as it is afterwards. One update decides, so that $$NOW is one instant of one clock."""
        now_ms = {"$toLong": "$$NOW"}
        # In a turn that is new the fields are missing, and missing sorts before every number.
        is_free: dict[str, Any] = {
            "$or": [{"$eq": ["$holder", {"$literal": holder}]}, {"$lte": ["$ends_at_ms", now_ms]}]
        }
        change = {
            "holder": {"$cond": [is_free, {"$literal": holder}, "$holder"]},
            "ends_at_ms": {"$cond": [is_free, {"$add": [now_ms, lease_ms]}, "$ends_at_ms"]},
        }
        try:
            return await self._turns.find_one_and_update(
                {"_id": name}, [{"$set": change}], upsert=True, return_document=ReturnDocument.AFTER
            )
        except DuplicateKeyError:
            return None  # somebody else made it in the same instant, and so took it
