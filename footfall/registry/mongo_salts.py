"""MongoSalts: the salts of days in MongoDB, and their end."""

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from typing import Final

import structlog
from pymongo.errors import DuplicateKeyError

from footfall.errors import Unavailable
from footfall.registry.base import SALT_BYTES
from footfall.registry.mongo_calls import MongoCalls
from footfall.registry.salts import destroy_at_ms

LOOK_EVERY_S: Final = 30.0
"""How often every process looks for salts that are due. An hour's grace needs no better clock."""
LOOKS_MAX: Final = 20
PAUSE_S: Final = 0.05

log = structlog.stdlib.get_logger(__name__)


class MongoSalts:
    """Makes and destroys them; a task of its own sees to it though nobody asks.

    Destroyed is overwritten with zeros, then deleted, so that the salt is in no current document. MongoDB keeps what
    was written once in its oplog until that has gone round, in its journal until the next checkpoint, and in backups.
    """

    def __init__(self, calls: MongoCalls, now_ms: Callable[[], int]) -> None:
        self._calls = calls
        self._salts = calls.database["salts"]
        self._now_ms = now_ms
        self._clock: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Destroy what is due, and go on doing so. Raises Unavailable."""
        await self._destroy_due()
        self._clock = asyncio.create_task(self._keep_time())

    async def stop(self) -> None:
        """Let the clock run out."""
        if self._clock is not None:
            self._clock.cancel()
            await asyncio.wait([self._clock])

    async def of(self, day: date) -> bytes:
        """The salt of *day*, made if need be."""
        await self._destroy_due()
        for look in range(LOOKS_MAX):
            found = await self._calls.run(lambda: self._salts.find_one({"_id": day.isoformat()}))
            if found is not None:
                salt: bytes = found["salt"]
                return salt
            # The first to insert wins, and everybody, the loser included, reads what the winner wrote: as soon as most
            # of the set have it, which for the loser may be a moment later.
            await asyncio.sleep(PAUSE_S if look > 1 else 0)
            await self._make(day)
        raise Unavailable("the registry does not keep the salt that it was given")

    async def _make(self, day: date) -> None:
        now_ms = self._now_ms()
        salt = {
            "_id": day.isoformat(),
            "salt": secrets.token_bytes(SALT_BYTES),
            "destroy_at_ms": destroy_at_ms(day, now_ms),
        }

        async def insert() -> None:
            with suppress(DuplicateKeyError):
                await self._salts.insert_one(salt)

        await self._calls.run(insert)

    async def _keep_time(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await self._destroy_due()
            except Unavailable as error:
                log.warning("salts that are due could not be destroyed yet; trying again", error=str(error))

    async def _destroy_due(self) -> None:
        due = {"destroy_at_ms": {"$lte": self._now_ms()}}
        if await self._calls.run(lambda: self._salts.find_one(due, {"_id": 1})) is None:
            return
        zeros = {"$set": {"salt": bytes(SALT_BYTES)}}
        await self._calls.run(lambda: self._salts.update_many(due, zeros))
        await self._calls.run(lambda: self._salts.delete_many(due))
