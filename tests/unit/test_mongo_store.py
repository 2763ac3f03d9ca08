"""What only the MongoDB store has to prove: transactions, several writers, the daily collections, a server that dies.

The server is SecantusDB. It stands in for MongoDB and takes about a millisecond an event: the numbers here are small.
"""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, date, timedelta
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import pymongo
import pytest

from footfall.errors import Misconfigured, Unavailable
from footfall.event import Event, encode, key_of
from footfall.store.base import Batch, Ledger
from footfall.store.clickhouse.statements import migrations
from footfall.store.mongo.documents import COLUMNS
from footfall.store.mongo.store import MongoStore
from tests.conformance.stores import NOON, an_event, encoded
from tests.servers import Mongo, mongo

Document = dict[str, Any]


@pytest.fixture
def name() -> str:
    return f"own_{uuid4().hex}"


@pytest.fixture
async def server() -> AsyncIterator[Mongo]:
    made = Mongo()
    made.start()
    yield made
    made.close()


def documents(server: Mongo, name: str, collection: str) -> list[Document]:
    with pymongo.MongoClient[Document](server.uri(name)) as client:
        return client[name][collection].find().to_list()


def random_events(random: Random, size: int) -> list[Event]:
    return [
        an_event(
            NOON + timedelta(minutes=random.randrange(3 * 24 * 60)),
            site_id=random.choice(["shop", "blog"]),
            visitor_id=random.choice([1, 2, 2**64 - 1, 2**63]),
            name=random.choice(["pageview", "pageview", "click"]),
            interactive=random.random() < 0.5,
            path=f"/{random.randrange(80)}",
            key=key_of("", str(random.randrange(40))) if random.random() < 0.3 else b"",
            drop_reason="bot" if random.random() < 0.1 else "",
        )
        for _ in range(size)
    ]


def check_days(server: Mongo, name: str) -> None:
    """The daily collections say what the events say."""
    events = documents(server, name, "events")
    by_day: dict[tuple[str, str], list[Document]] = {}
    for event in events:
        by_day.setdefault((event["site_id"], event["timestamp"].date().isoformat()), []).append(event)
    days = documents(server, name, "daily_stats")
    assert sorted((day["site_id"], day["date"]) for day in days) == sorted(by_day)
    for day in days:
        own = by_day[day["site_id"], day["date"]]
        paths = Counter(event["path"] for event in own if event["event_type"] == "pageview")
        visitors = {event["visitor_id"] for event in own}
        leading = sorted(paths.items(), key=lambda row: (-row[1], row[0]))[:50]
        assert (day["events"], day["total_views"]) == (len(own), paths.total())
        assert day["unique_users_count"] == len(visitors)
        assert [(row["path"], row["views"]) for row in day["top_paths"]] == leading
        assert day["last_event_at"] == max(event["timestamp"] for event in own)


async def test_the_daily_documents_agree_with_the_events_after_any_history(name: str) -> None:
    random = Random(7)
    store = await MongoStore.open(mongo().uri(name))
    payloads: list[bytes] = []
    for _ in range(5):
        new = [encode(event) for event in random_events(random, 60)]
        await store.write(Batch(new, redelivered=False))
        payloads += new
        await store.write(Batch(random.sample(payloads, 40), redelivered=True))
    await store.close()
    check_days(mongo(), name)


async def test_two_writers_with_the_same_batch_and_the_same_keys_count_each_event_and_each_key_once(name: str) -> None:
    one, two = [await MongoStore.open(mongo().uri(name)) for _ in range(2)]
    batches = [
        [an_event(visitor_id=i, path=f"/{i % 7}", key=key_of("shop", f"{turn}-{i}")) for i in range(20)]
        for turn in range(4)
    ]
    # The same keys from another sender of the same things, with ids of their own.
    twins = [[an_event(key=event.key) for event in batch] for batch in batches]
    for batch, twin in zip(batches, twins, strict=True):
        await asyncio.gather(
            one.write(Batch(encoded(*batch), redelivered=True)),
            two.write(Batch(encoded(*batch), redelivered=True)),
            two.write(Batch(encoded(*twin), redelivered=False)),
        )
    assert await one.ledger() == Ledger(80, {"duplicate": 80})
    await one.close()
    await two.close()
    keys = Counter(event["key"] for event in documents(mongo(), name, "events"))
    assert len(keys) == 80
    assert set(keys.values()) == {1}
    check_days(mongo(), name)


async def test_a_standalone_server_is_refused_with_the_way_out() -> None:
    server = Mongo("--standalone")
    server.start()
    try:
        with pytest.raises(Misconfigured, match=re.escape("rs.initiate()")):
            await MongoStore.open(server.uri("footfall"))
    finally:
        server.close()


@pytest.mark.parametrize("uri", ["http://x/", "mongodb://", "mongodb://a/?readPreference=never"])
async def test_a_uri_that_is_none_is_refused_by_the_name_of_its_setting(uri: str) -> None:
    with pytest.raises(Misconfigured, match="MONGODB_URI"):
        await MongoStore.open(uri)


async def test_a_server_that_is_killed_during_writes_loses_and_doubles_nothing(server: Mongo, name: str) -> None:
    store = await MongoStore.open(server.uri(name, "serverSelectionTimeoutMS=300"))
    batches = [[an_event(visitor_id=i * 30 + j, path=f"/{j}") for j in range(30)] for i in range(40)]
    refused = 0

    async def write_all() -> None:
        nonlocal refused
        for batch in batches:
            redelivered = False
            async with asyncio.timeout(60):
                while True:
                    try:
                        await store.write(Batch(encoded(*batch), redelivered))
                        break
                    except Unavailable:
                        refused += 1
                        redelivered = True

    async def one_is_stored() -> None:
        while (await store.ledger()).stored == 0:  # noqa: ASYNC110 - what is waited for sends no event
            await asyncio.sleep(0.01)

    writing = asyncio.create_task(write_all())
    await one_is_stored()
    server.kill()
    while refused == 0:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0.01)
    assert not (await store.check()).ok
    with pytest.raises(Unavailable):
        await store.sites()
    await asyncio.to_thread(server.start)
    await writing
    assert (await store.check()).ok
    assert (await store.ledger()).stored == 1_200
    await store.close()
    assert len(documents(server, name, "events")) == 1_200
    check_days(server, name)


async def test_a_write_that_fails_at_its_last_step_leaves_nothing(name: str, server: Mongo) -> None:
    store = await MongoStore.open(server.uri(name))
    with pymongo.MongoClient[Document](server.uri(name)) as client:
        client[name].drop_collection("daily_stats")
        # A number that can not be added to: the first step goes through nowhere, whatever came before it.
        client[name]["daily_paths"].insert_one(
            {"site_id": "shop", "date": date(2024, 1, 15).isoformat(), "path": "/", "views": "no number"}
        )
    with pytest.raises(Unavailable):
        await store.write(Batch(encoded(an_event(key=key_of("shop", "a"))), redelivered=False))
    assert await store.ledger() == Ledger(0, {})
    await store.close()
    for collection in ("events", "event_keys", "daily_visitors", "daily_stats"):
        assert documents(server, name, collection) == []


def test_the_engine_is_told_of_every_column_that_it_knows(tmp_path: Path) -> None:
    (statement,) = [step for step in migrations()[0][1] if re.match(r"CREATE TABLE (IF NOT EXISTS )?events\b", step)]
    named = set(
        re.findall(r"^\s+(\w+) (?:FixedString|UInt|Int|String|LowCard|Map|Nullable|Bool|Date)", statement, re.MULTILINE)
    )
    assert named - set(COLUMNS) == {"key_head", "key_tail", "received_at"}


async def test_a_day_is_one_of_utc_also_for_an_event_before_its_midnight(name: str) -> None:
    store = await MongoStore.open(mongo().uri(name))
    midnight = NOON.astimezone(UTC).replace(hour=0)
    await store.write(Batch(encoded(an_event(midnight - timedelta(milliseconds=1)), an_event(midnight)), False))
    await store.close()
    found = {day["date"]: day["total_views"] for day in documents(mongo(), name, "daily_stats")}
    assert found == {"2024-01-14": 1, "2024-01-15": 1}
