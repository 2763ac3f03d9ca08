"""The small print of a request to the collector: its path, its query and its encoding."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.http.collecting import EVENT, Collecting, collecting


@pytest.fixture(params=["short cut", "httptools"])
async def collector(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Collecting]:
    async with collecting(tmp_path, http=None if request.param == "short cut" else request.param) as running:
        yield running


async def test_strict_says_yes_or_no_and_nothing_else(collector: Collecting) -> None:
    body = {**EVENT, "user-id": "typo"}
    for yes in ("strict", "strict=", "strict=true", "strict=YES", "a=b&strict=1"):
        assert await collector.faults_of(body, path=f"/api/event?{yes}") == {"user-id": "is not a known field"}
    for no in ("strict=0", "strict=false", "strict=no", "unstrict=1"):
        assert (await collector.post(body, path=f"/api/event?{no}")).status_code == 202
    for path in ("/api/event", "/api/events"):
        faults = await collector.faults_of(EVENT, path=f"{path}?strict=maybe")
        assert faults == {"strict": "must be 1, true or yes, or 0, false or no"}


async def test_a_slash_at_the_end_of_the_path_makes_no_difference(collector: Collecting) -> None:
    assert (await collector.post(path="/api/event/")).status_code == 202
    assert (await collector.post([EVENT], path="/api/events/")).json()["accepted"] == 1


@pytest.mark.parametrize("path", ["/api/event", "/api/events"])
async def test_a_compressed_body_is_refused_by_the_name_of_the_header(collector: Collecting, path: str) -> None:
    body: Any = EVENT if path == "/api/event" else [EVENT]
    assert list(await collector.faults_of(body, path=path, headers={"content-encoding": "gzip"})) == [
        "Content-Encoding"
    ]
    assert (await collector.post(body, path, headers={"content-encoding": "identity"})).status_code == 202
