"""The in-process door: limits end a question and not the engine, values are never SQL, one process holds a folder."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from footfall.errors import Misconfigured, Unavailable, Unstorable
from footfall.store.clickhouse import statements as sql
from footfall.store.clickhouse.door import WAITING_MAX
from footfall.store.clickhouse.engine import ChdbEngine
from footfall.store.clickhouse.store import ClickHouseStore
from tests.conformance.stores import open_chdb

MEMORY_BYTES = 400_000_000


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[ChdbEngine]:
    made = ChdbEngine(tmp_path / "events", MEMORY_BYTES)
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("question", "why"),
    [
        (
            "SELECT count() FROM numbers(100000000000) WHERE sipHash64(number) = 7 SETTINGS max_execution_time = 1",
            "longer than",
        ),
        ("SELECT number FROM numbers(3000000)", "more than 1000000 rows"),
        ("SELECT length(groupArray(toString(number))) FROM numbers(100000000)", "STORE_MEMORY_BYTES"),
    ],
)
async def test_a_question_over_its_limit_fails_and_the_engine_goes_on(
    engine: ChdbEngine, question: str, why: str
) -> None:
    with pytest.raises(Unavailable, match=why):
        await engine.select(question)
    assert await engine.select("SELECT 1") == [[1]]
    assert await engine.select("SELECT 1", writer=True) == [[1]]


async def test_a_quick_question_does_not_wait_for_a_slow_one(engine: ChdbEngine) -> None:
    slow = asyncio.create_task(engine.select("SELECT count() FROM numbers(8) WHERE sleepEachRow(0.25) = 0"))
    await asyncio.sleep(0)
    assert await engine.select("SELECT 1") == [[1]]
    assert not slow.done()
    assert await slow == [[8]]


async def test_more_questions_than_may_wait_are_refused(engine: ChdbEngine) -> None:
    answers = await asyncio.gather(*[engine.select("SELECT 1") for _ in range(WAITING_MAX + 1)], return_exceptions=True)
    assert [type(answer) for answer in answers].count(Unavailable) == 1
    assert answers.count([[1]]) == WAITING_MAX


def test_a_value_comes_back_as_it_went_in(tmp_path: Path) -> None:
    with asyncio.Runner() as runner:

        async def opened() -> ChdbEngine:
            return ChdbEngine(tmp_path / "events", MEMORY_BYTES)

        engine = runner.run(opened())

        @given(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
            | st.text("\\'\"`\n\t\r\0\b\f{}ntr0N", max_size=12)
        )
        @settings(max_examples=200, deadline=None)
        def check(text: str) -> None:
            assert runner.run(engine.select("SELECT {value:String}", {"value": text})) == [[text]]

        check()
        runner.run(engine.close())


async def test_a_folder_is_held_by_one_and_free_after_its_close(tmp_path: Path, engine: ChdbEngine) -> None:
    with pytest.raises(Misconfigured, match=r"DATA_DIR.*in use"):
        ChdbEngine(tmp_path / "events", MEMORY_BYTES)
    await engine.close()
    await engine.close()
    with pytest.raises(Unavailable):
        await engine.select("SELECT 1")
    again = ChdbEngine(tmp_path / "events", MEMORY_BYTES)
    assert await again.select("SELECT 1") == [[1]]
    await again.close()


async def test_a_second_folder_in_one_process_is_refused_and_left_free(tmp_path: Path, engine: ChdbEngine) -> None:
    with pytest.raises(Misconfigured, match="DATA_DIR"):
        ChdbEngine(tmp_path / "other", MEMORY_BYTES)
    await engine.close()
    other = ChdbEngine(tmp_path / "other", MEMORY_BYTES)
    assert await other.select("SELECT 1") == [[1]]
    await other.close()


async def test_a_folder_with_a_question_mark_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="question mark"):
        ChdbEngine(tmp_path / "what?" / "events", MEMORY_BYTES)


async def test_odd_names_of_folders_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "ü & a=b %20 #'" / "events"
    engine = ChdbEngine(path, MEMORY_BYTES)
    await engine.command("CREATE TABLE t (a Int8) ENGINE = MergeTree ORDER BY a")
    await engine.close()
    assert (path / "data").is_dir()


async def test_data_that_does_not_fit_its_table_is_unstorable(engine: ChdbEngine) -> None:
    await engine.command("CREATE TABLE t (a Int8) ENGINE = Memory")
    with pytest.raises(Unstorable):
        await engine.insert("INSERT INTO t", "MsgPack", b"\xa3abc")
    assert await engine.insert("INSERT INTO t", "MsgPack", b"\x07") == 1
    assert await engine.select("SELECT a FROM t") == [[7]]


async def test_tables_of_a_newer_version_are_refused(engine: ChdbEngine) -> None:
    await ClickHouseStore.open(engine)
    await engine.command(sql.NOTE_VERSION, {"version": 99})
    with pytest.raises(Misconfigured, match="newer version"):
        await ClickHouseStore.open(engine)


@pytest.mark.parametrize("fsync", [True, False])
async def test_inserts_are_as_durable_as_the_setting_says(engine: ChdbEngine, fsync: bool) -> None:
    await ClickHouseStore.open(engine, fsync=not fsync)
    await ClickHouseStore.open(engine, fsync=fsync)
    for table in ("events", "drops"):
        ((created,),) = await engine.select(
            "SELECT create_table_query FROM system.tables WHERE database = 'footfall' AND name = {name:String}",
            {"name": table},
        )
        assert f"fsync_after_insert = {int(fsync)}" in created
        assert f"fsync_part_directory = {int(fsync)}" in created


async def test_a_store_that_is_closed_says_that_it_is_down(tmp_path: Path) -> None:
    store = await open_chdb(tmp_path)
    await store.close()
    check = await store.check()
    assert not check.ok
    assert check.message
