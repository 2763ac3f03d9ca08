"""What a question costs is bounded, and one that fails leaves nothing behind for the next."""

from pathlib import Path

import pytest

from footfall.errors import Unavailable
from footfall.store.clickhouse.engine import READERS, ChdbEngine

FAILS_HALFWAY = "SELECT number, throwIf(number = 900000) FROM numbers(1000000) SETTINGS max_block_size = 1000"


async def test_an_answer_begins_at_its_beginning_after_one_that_broke_off(tmp_path: Path) -> None:
    engine = ChdbEngine(tmp_path / "events", memory_bytes=1_000_000_000)
    try:
        for _ in range(READERS):
            with pytest.raises(Unavailable):
                await engine.select(FAILS_HALFWAY)
            assert await engine.select("SELECT 7") == [[7]]
        for _ in range(READERS):
            assert await engine.select("SELECT 8") == [[8]]
    finally:
        await engine.close()


async def test_a_question_over_the_memory_limit_says_so_and_the_next_is_answered(tmp_path: Path) -> None:
    engine = ChdbEngine(tmp_path / "events", memory_bytes=400_000_000)
    try:
        with pytest.raises(Unavailable, match="memory"):
            await engine.select("SELECT length(groupArray(number)) FROM numbers(100000000)")
        assert await engine.select("SELECT 7") == [[7]]
    finally:
        await engine.close()
