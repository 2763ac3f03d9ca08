"""A cluster's tables come of the same SQL files, and are what ClickHouse's own parser and planner understand."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from footfall.store.clickhouse import statements as sql
from footfall.store.clickhouse.cluster import SHARDED_BY, on_cluster
from footfall.store.clickhouse.engine import ChdbEngine

TABLES = ("schema_version", "events", "drops")


def set_up() -> list[str]:
    """Everything that opening a store defines."""
    steps = [sql.VERSION_TABLE, *[step for _, steps in sql.migrations() for step in steps]]
    return steps + [sql.durable(table, fsync=True) for table in TABLES]


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[ChdbEngine]:
    made = ChdbEngine(tmp_path / "events", 400_000_000)
    yield made
    await made.close()


async def formatted(engine: ChdbEngine, statement: str) -> str:
    """As ClickHouse writes it; fails where it can not read it."""
    ((text,),) = await engine.select("SELECT formatQuerySingleLine({statement:String})", {"statement": statement})
    return str(text)


async def test_every_step_of_the_set_up_is_valid_on_a_cluster(engine: ChdbEngine) -> None:
    made: dict[str, list[str]] = {}
    for step in set_up():
        for statement in on_cluster(step, "two-by-two", "footfall"):
            text = await formatted(engine, statement)
            assert " ON CLUSTER `two-by-two`" in text
            await engine.select(f"EXPLAIN AST {statement}")
            engines = re.findall(r"ENGINE = (\w+)", text)
            name = re.match(r"CREATE TABLE IF NOT EXISTS (\w+) ", text)
            if name is not None:
                made[name[1]] = engines
            else:
                assert re.match(r"ALTER TABLE (events|drops|schema_version)_local ", text), text
    assert made == {
        name: [kind]
        for table in TABLES
        for name, kind in ((f"{table}_local", "ReplicatedMergeTree"), (table, "Distributed"))
    }


async def test_a_local_table_is_the_plain_one_but_for_name_and_engine(engine: ChdbEngine) -> None:
    for step in set_up():
        local, *_ = on_cluster(step, "c", "footfall")
        plain = re.sub(r"_local ON CLUSTER '?`?c'?`?", "", await formatted(engine, local))
        plain = re.sub(r"ReplicatedMergeTree\([^)]*\)", "MergeTree", plain)
        assert plain == await formatted(engine, step)


def test_each_table_has_a_key_that_says_to_which_shard_a_row_goes() -> None:
    assert set(SHARDED_BY) == set(TABLES)
    for table, key in SHARDED_BY.items():
        step = f"CREATE TABLE IF NOT EXISTS {table} (a Int8) ENGINE = MergeTree ORDER BY a"
        assert f"'footfall', '{table}_local', {key})" in on_cluster(step, "c", "footfall")[1]


@pytest.mark.parametrize(
    ("change", "tables"),
    [
        ("ADD COLUMN IF NOT EXISTS a Int8", ["events_local", "events"]),
        ("MODIFY SETTING old_parts_lifetime = 1", ["events_local"]),
        ("ADD INDEX IF NOT EXISTS i a TYPE minmax", ["events_local"]),
        ("ADD PROJECTION IF NOT EXISTS p (SELECT a)", ["events_local"]),
        ("MODIFY TTL a + 1", ["events_local"]),
    ],
)
def test_a_later_change_reaches_the_tables_that_it_is_about(change: str, tables: list[str]) -> None:
    changed = on_cluster(f"ALTER TABLE events {change}", "c", "footfall")
    assert changed == [f"ALTER TABLE {table} ON CLUSTER 'c' {change}" for table in tables]


@pytest.mark.parametrize(
    "statement", ["DROP TABLE events", "CREATE TABLE events (a Int8) ENGINE = MergeTree ORDER BY a"]
)
def test_what_nobody_has_thought_about_is_refused_and_not_guessed(statement: str) -> None:
    with pytest.raises(ValueError, match="no way is known"):
        on_cluster(statement, "c", "footfall")
