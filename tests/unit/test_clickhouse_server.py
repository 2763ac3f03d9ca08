"""The server door: settings that can not work are named, values are never SQL, and workers write one at a time."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from footfall.errors import Misconfigured, Unavailable, Unstorable
from footfall.event import Event, key_of
from footfall.registry.sqlite import SqliteRegistry
from footfall.store.base import Batch, Ledger, Written
from footfall.store.clickhouse import statements as sql
from footfall.store.clickhouse.address import server_address
from footfall.store.clickhouse.door import WAITING_MAX
from footfall.store.clickhouse.server import TURN, Lease
from tests.clickhouse_server import PASSWORD, ClickHouseHttp, ServerStore, clickhouse
from tests.conformance.stores import an_event, encoded

SHORT = Lease(lease_s=3, statement_s=1, margin_s=0.5)


@pytest.fixture
def url() -> str:
    return clickhouse().database(f"t_{uuid4().hex}")


@pytest.fixture
async def store(url: str, tmp_path: Path) -> AsyncIterator[ServerStore]:
    made = await ServerStore.on(url, tmp_path / "registry.sqlite")
    yield made
    await made.close()


# --- the setting ---


def test_an_address_has_the_usual_parts_and_defaults() -> None:
    full = server_address("https://me:p%40ss%2F@db.example:9999/stats?ca_cert=/etc/ca.pem&verify=false")
    assert (full.place, full.database, full.user, full.password) == ("https://db.example:9999", "stats", "me", "p@ss/")
    assert (full.ca_cert, full.verify) == ("/etc/ca.pem", False)
    short = server_address("http://db.example")
    assert (short.place, short.database, short.user) == ("http://db.example:8123", "default", "default")
    assert server_address("https://[::1]/x").place == "https://[::1]:8443"
    assert "p@ss" not in repr(full)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://db.example/x", "is not http"),
        ("http:///x", "is not http"),
        ("http://db.example:99999/x", "port"),
        ("http://db.example/x;y", "no name of a database"),
        ("http://db.example/x?compression=1", "'compression'"),
        ("http://db.example/x?verify=maybe", "verify"),
    ],
)
def test_an_address_that_can_not_be_one_is_refused_by_name(url: str, why: str) -> None:
    with pytest.raises(Misconfigured, match=f"CLICKHOUSE_URL.*{why}"):
        server_address(url)


@pytest.mark.parametrize(
    ("user", "password", "database", "why"),
    [
        ("footfall", "wr0ng-secret", "default", "refuses 'footfall'"),
        ("nobody", "wr0ng-secret", "default", "refuses 'nobody'"),
        ("footfall", PASSWORD, "no_such_database", "has no database 'no_such_database'"),
    ],
)
async def test_a_server_that_refuses_us_is_a_matter_of_the_setting_and_no_password_is_said(
    tmp_path: Path, user: str, password: str, database: str, why: str
) -> None:
    with pytest.raises(Misconfigured, match=why) as caught:
        await ServerStore.on(clickhouse().url(database, user=user, password=password), tmp_path / "registry.sqlite")
    said = str(caught.value)
    assert said.startswith("CLICKHOUSE_URL: ")
    assert "secret" not in said
    assert PASSWORD not in said


async def test_a_server_that_does_not_answer_is_unavailable_and_no_password_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="can not be reached") as caught:
        await ServerStore.on("http://footfall:wr0ng-secret@127.0.0.1:1/x", tmp_path / "registry.sqlite")
    assert "secret" not in str(caught.value)


async def test_tables_of_a_newer_version_are_refused(store: ServerStore, url: str, tmp_path: Path) -> None:
    await store.door.command(sql.NOTE_VERSION, {"version": 99})
    with pytest.raises(Misconfigured, match=r"CLICKHOUSE_URL.*newer version"):
        await ServerStore.on(url, tmp_path / "registry.sqlite")


async def test_processes_that_start_at_once_make_the_tables_once(url: str, tmp_path: Path) -> None:
    stores = await asyncio.gather(*[ServerStore.on(url, tmp_path / "registry.sqlite") for _ in range(4)])
    assert await stores[0].door.select("SELECT version FROM schema_version") == [[1]]
    assert (await stores[3].write(Batch(encoded(an_event()), redelivered=False))).stored == 1
    for each in stores:
        await each.close()


# --- statements ---


def test_a_value_comes_back_as_it_went_in(tmp_path: Path) -> None:
    with asyncio.Runner() as runner:
        store = runner.run(ServerStore.on(clickhouse().database("values"), tmp_path / "registry.sqlite"))

        @given(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
            | st.text("\\'\"`\n\t\r\0\b\f{}%&+=#;ntr0N", max_size=12)
            | st.just("ü'\\" * 20_000)
        )
        @settings(max_examples=100, deadline=None)
        def check(text: str) -> None:
            assert runner.run(store.door.select("SELECT {value:String}", {"value": text})) == [[text]]

        check()
        runner.run(store.close())


@pytest.mark.parametrize(
    ("question", "why"),
    [
        (
            "SELECT count() FROM numbers(100000000000) WHERE sipHash64(number) = 7 SETTINGS max_execution_time = 1",
            "longer than",
        ),
        ("SELECT number FROM numbers(3000000)", "more than 1000000 rows"),
        ("SELECT length(groupArray(toString(number))) FROM numbers(100000000)", "memory"),
        ("SELECT no_such_column", "no_such_column"),
    ],
)
async def test_a_question_that_can_not_be_answered_fails_and_the_next_one_does_not(
    store: ServerStore, question: str, why: str
) -> None:
    with pytest.raises(Unavailable, match=why):
        await store.door.select(question)
    assert await store.door.select("SELECT 1") == [[1]]
    assert await store.door.select("SELECT 1", writer=True) == [[1]]


async def test_more_questions_than_may_wait_are_refused(store: ServerStore) -> None:
    asked = [store.door.select("SELECT 1") for _ in range(WAITING_MAX + 1)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(answer) for answer in answers].count(Unavailable) == 1
    assert answers.count([[1]]) == WAITING_MAX


async def test_data_that_does_not_fit_its_table_is_unstorable(store: ServerStore) -> None:
    await store.door.define("CREATE TABLE t (a Int8) ENGINE = Memory")
    with pytest.raises(Unstorable):
        await store.door.insert("INSERT INTO t", "MsgPack", b"\xa3abc")
    assert await store.door.insert("INSERT INTO t", "MsgPack", b"\x07") == 1
    assert await store.door.encoded("SELECT a FROM t", "CSV") == b"7\n"


async def test_a_store_that_is_closed_says_that_it_is_down(url: str, tmp_path: Path) -> None:
    store = await ServerStore.on(url, tmp_path / "registry.sqlite")
    await store.close()
    check = await store.check()
    assert (check.ok, check.message) == (False, "store: closed")


# --- turns ---


async def test_writers_with_the_same_batches_at_once_write_each_event_once(url: str, tmp_path: Path) -> None:
    stores = [await ServerStore.on(url, tmp_path / "registry.sqlite") for _ in range(3)]
    batches = [[an_event(visitor_id=i, key=key_of("shop", f"{n}-{i}")) for i in range(40)] for n in range(4)]
    twins = [[an_event(key=key_of("shop", "the same"))] for _ in stores]

    async def deliver(number: int) -> list[Written]:
        order = batches[number:] + batches[:number]
        first = await stores[number].write(Batch(encoded(*twins[number]), redelivered=False))
        return [first] + [await stores[number].write(Batch(encoded(*each), redelivered=True)) for each in order]

    written = [each for done in await asyncio.gather(*map(deliver, range(3))) for each in done]
    assert sum(each.stored for each in written) == 161
    assert sum(each.duplicates for each in written) == 2
    assert sum(each.already for each in written) == 320
    assert await stores[0].ledger() == Ledger(161, {"duplicate": 2})
    for each in stores:
        await each.close()


async def test_a_writer_waits_for_the_turn_and_gets_it_when_its_holder_is_dead(url: str, tmp_path: Path) -> None:
    store = await ServerStore.on(url, tmp_path / "registry.sqlite", SHORT)
    assert await store.registry.turns.take(TURN, "one that died", 0.5) is not None
    assert (await store.write(Batch(encoded(an_event()), redelivered=False))).stored == 1
    assert await store.registry.turns.take(TURN, "another", 60) is not None
    with pytest.raises(Unavailable, match="other workers"):
        await store.write(Batch(encoded(an_event()), redelivered=False))
    await store.close()


async def test_a_write_that_comes_after_its_turn_is_refused_by_the_server(url: str, tmp_path: Path) -> None:
    stopped = await ServerStore.on(url, tmp_path / "registry.sqlite", SHORT)
    other = await ServerStore.on(url, tmp_path / "registry.sqlite", SHORT)
    events = [an_event(visitor_id=i) for i in range(20)]
    async with stopped.door.turn() as until_ms:
        assert await stopped._load(encoded(*events)) is False
        await asyncio.sleep(SHORT.lease_s)
        assert (await other.write(Batch(encoded(*events), redelivered=True))).stored == 20
        with pytest.raises(Unavailable, match="turn to write was over"):
            await stopped.door.command(sql.WRITE_ALL, {"until_ms": until_ms})
    assert await other.ledger() == Ledger(20, {})
    assert (await stopped.write(Batch(encoded(*events), redelivered=True))).already == 20
    await stopped.close()
    await other.close()


async def test_a_statement_whose_answer_is_lost_has_ended_before_anybody_else_writes(url: str, tmp_path: Path) -> None:
    store = await ServerStore.on(url, tmp_path / "registry.sqlite")
    registry = await SqliteRegistry.open(tmp_path / "registry.sqlite")
    await store.door.define("CREATE TABLE slow (a UInt64) ENGINE = MergeTree ORDER BY a")
    slow = "INSERT INTO slow SELECT number FROM numbers(4) WHERE sleepEachRow(0.5) = 0 SETTINGS max_block_size = 1"

    running = "SELECT 1 FROM system.processes WHERE query LIKE 'INSERT INTO slow%'"

    async def writes() -> None:
        async with store.door.turn():
            await store.door.command(slow)

    writing = asyncio.create_task(writes())
    while not await store.door.select(running):  # noqa: ASYNC110 - what is waited for sends no event
        await asyncio.sleep(0.01)
    writing.cancel()
    while await registry.turns.take(TURN, "another", 60) is None:  # noqa: ASYNC110 - nor does this
        await asyncio.sleep(0.01)
    assert await store.door.select("SELECT count() FROM slow") == [[4]]
    assert await store.door.select(running) == []
    with pytest.raises(asyncio.CancelledError):
        await writing
    await registry.close()
    await store.close()


# --- outages ---


@pytest.fixture
def own() -> Iterator[ClickHouseHttp]:
    server = ClickHouseHttp()
    server.start()
    yield server
    server.close()


async def test_a_server_killed_in_the_middle_of_writes_loses_nothing_and_doubles_nothing(
    own: ClickHouseHttp, tmp_path: Path
) -> None:
    url = own.database("killed")
    stores = [await ServerStore.on(url, tmp_path / "registry.sqlite") for _ in range(2)]
    batches = [[an_event(visitor_id=n * 1000 + i) for i in range(300)] for n in range(60)]

    async def deliver(store: ServerStore, own_batches: list[list[Event]]) -> None:
        for batch in own_batches:
            while True:
                try:
                    await store.write(Batch(encoded(*batch), redelivered=True))
                    break
                except Unavailable:
                    await asyncio.sleep(0.05)

    async def kill() -> None:
        for _ in range(3):
            await asyncio.sleep(0.4)
            await asyncio.to_thread(own.kill)
            await asyncio.to_thread(own.start)

    await asyncio.gather(deliver(stores[0], batches[:40]), deliver(stores[1], batches[20:]), kill())
    assert await stores[0].ledger() == Ledger(18_000, {})
    assert await stores[0].door.select("SELECT uniqExact(id) FROM events") == [[18_000]]
    for each in stores:
        await each.close()


async def test_a_server_that_stands_still_is_down_and_comes_back(own: ClickHouseHttp, tmp_path: Path) -> None:
    store = await ServerStore.on(own.database("still"), tmp_path / "registry.sqlite")
    assert own.process is not None
    own.kill()
    assert not (await store.check()).ok
    with pytest.raises(Unavailable, match="can not be reached"):
        await store.write(Batch(encoded(an_event()), redelivered=False))
    own.start()
    assert (await store.check()).ok
    own.process.send_signal(signal.SIGSTOP)
    asking = asyncio.create_task(store.check())
    await asyncio.sleep(0.2)
    own.process.send_signal(signal.SIGCONT)
    assert (await asking).ok
    assert (await store.write(Batch(encoded(an_event()), redelivered=True))).stored == 1
    await store.close()
