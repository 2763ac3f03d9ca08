"""`footfall export`: the file is whole or not there, nothing is replaced unasked, and a refusal says what to do."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyarrow import parquet  # type: ignore[import-untyped]

from footfall.errors import Forbidden, Invalid, Unauthorized, Unavailable
from footfall.registry.base import Scope
from footfall.settings import AuthMode, Settings
from footfall.tools.export_file import export_file
from tests.http.test_export import DAY, Failing, store
from tests.processes import Footfall, footfall_on, free_port
from tests.running import running

DAYS = ("--from", "2024-01-15", "--to", "2024-01-15")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Footfall]:
    """With seven events of Anna's in the store."""
    with footfall_on(tmp_path_factory.mktemp("export") / "data") as started:
        events = [
            {
                "site_id": "shop",
                "event_type": "pageview",
                "path": f"/{number}",
                "user_id": "anna",
                "timestamp": f"2024-01-15T10:0{number}:00Z",
            }
            for number in range(7)
        ]
        assert started.http.post("/api/events", json=events).json()["accepted"] == 7
        started.settle()
        yield started


def files_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def paths_in(file: Path) -> list[str]:
    match file.suffix:
        case ".csv":
            with file.open(newline="") as opened:
                return [row["path"] for row in csv.DictReader(opened)]
        case ".ndjson":
            return [json.loads(line)["path"] for line in file.read_text().splitlines()]
        case _:
            found: list[str] = parquet.read_table(file).column("path").to_pylist()
            return found


@pytest.mark.parametrize("form", ["csv", "ndjson", "parquet"])
def test_a_file_of_every_form_holds_the_events(server: Footfall, tmp_path: Path, form: str) -> None:
    file = tmp_path / f"shop.{form}"
    done = server.footfall("export", "shop", *DAYS, "--format", form, "--output", str(file))
    assert (done.returncode, done.stderr) == (0, "")
    assert str(file) in done.stdout
    assert paths_in(file) == [f"/{number}" for number in range(7)]
    assert files_in(tmp_path) == [file]


def test_filters_zone_and_user_ids_are_handed_on(server: Footfall, tmp_path: Path) -> None:
    file = tmp_path / "shop.ndjson"
    more = ("--filters", '[["is", "event:page", ["/3"]]]', "--user-ids", "--timezone", "Asia/Kolkata")
    done = server.footfall("export", "shop", *DAYS, "--format", "ndjson", *more, "-o", str(file))
    assert done.returncode == 0, done.stderr
    (line,) = file.read_text().splitlines()
    assert (json.loads(line)["path"], json.loads(line)["user_id"]) == ("/3", "anna")
    refused = server.footfall("export", "shop", *DAYS, "--timezone", "Mars", "-o", str(tmp_path / "no.csv"))
    assert refused.returncode == 1
    assert "timezone" in refused.stderr
    assert files_in(tmp_path) == [file]


def test_a_file_that_is_there_is_replaced_only_by_force(server: Footfall, tmp_path: Path) -> None:
    file = tmp_path / "shop.csv"
    file.write_text("mine")
    arguments = ("export", "shop", *DAYS, "--output", str(file))
    refused = server.footfall(*arguments)
    assert refused.returncode == 1
    assert "--force" in refused.stderr
    assert file.read_text() == "mine"
    assert server.footfall(*arguments, "--force").returncode == 0
    assert len(paths_in(file)) == 7


async def test_an_export_that_breaks_off_leaves_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "files" / "shop.csv"
    file.parent.mkdir()
    file.write_text("mine")
    async with running(tmp_path, store=Failing(pages=1)) as footfall:
        await store(footfall, 3_000)
        with pytest.raises(Unavailable, match="nothing was written"):
            await export_file(footfall.url, DAY, file, overwrite=True)
        with pytest.raises(Unavailable, match="ask for fewer days"):
            await export_file(footfall.url, DAY, file, overwrite=True)
    assert file.read_text() == "mine"
    assert files_in(file.parent) == [file]


async def test_a_closed_door_says_which_key_opens_it(tmp_path: Path) -> None:
    file = tmp_path / "shop.csv"
    async with running(tmp_path, Settings(auth=AuthMode.ON)) as footfall:
        await store(footfall, 2)
        key = (await footfall.key(Scope.READ))["authorization"].removeprefix("Bearer ")
        with pytest.raises(Unauthorized, match="footfall keys create"):
            await export_file(footfall.url, DAY, file)
        with pytest.raises(Forbidden, match="--scope admin"):
            await export_file(footfall.url, {**DAY, "user_ids": "true"}, file, key=key)
        assert not file.exists()
        written = await export_file(footfall.url, DAY, file, key=key)
    assert written.size_bytes == file.stat().st_size
    assert paths_in(file) == ["/0", "/1"]


async def test_what_can_not_be_written_or_asked_is_said_before_anything_is_done(tmp_path: Path) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(Invalid, match="is a folder"):
        await export_file(nobody, DAY, tmp_path)
    with pytest.raises(Invalid, match="make it first"):
        await export_file(nobody, DAY, tmp_path / "missing" / "shop.csv")
    with pytest.raises(Unavailable, match="footfall up"):
        await export_file(nobody, DAY, tmp_path / "shop.csv")
    assert files_in(tmp_path) == []
