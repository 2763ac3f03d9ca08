"""What is in DATA_DIR is its owner's alone, also where DATA_DIR itself is open to others."""

import os
import stat
from pathlib import Path

from tests.processes import Footfall


def open_to_others(folder: Path) -> list[str]:
    """Everything under *folder* that others than its owner may read, write or enter."""
    found = [path for path in folder.rglob("*") if not path.is_symlink()]  # a link's own mode says nothing
    return [str(path.relative_to(folder)) for path in found if stat.S_IMODE(path.stat().st_mode) & 0o077]


def test_nothing_that_is_made_in_an_open_folder_is_open_to_others(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(0o755)
    before = os.umask(0o022)
    try:
        with Footfall(folder) as footfall:
            event = {"site_id": "shop", "event_type": "pageview", "user_id": "anna"}
            assert footfall.http.post("/api/event", json=event).status_code == 202
            footfall.settle()
            made = {path.name for path in folder.iterdir()}
            assert {"registry.sqlite", "registry.sqlite-wal", "queue.sqlite", "queue.sqlite-wal", "store"} <= made
            assert open_to_others(folder) == []
            for path in folder.iterdir():
                path.chmod(0o755 if path.is_dir() else 0o644)
            footfall.kill()
            footfall.start()
            assert not set(open_to_others(folder)) & made, "what an earlier version left open was not closed"
    finally:
        os.umask(before)
