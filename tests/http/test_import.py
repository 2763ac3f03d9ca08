"""Four days of a real server's log, from the file to the answers, by the commands a user types."""

import gzip
import re
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tests.processes import Footfall
from tests.real_log import REAL_LOG

SITE = "semicomplete.com"
ZONES = ("UTC", "Asia/Tehran", "America/St_Johns")
LINE = re.compile(r'(\S+) \S+ \S+ \[([^]]+)\] "(\S+) (\S+)[^"]*" (\d+) \S+ "([^"]*)" "([^"]*)"$')


def pages_of_the_log() -> list[tuple[datetime, str, str]]:
    """(when, address, path) of each line that was answered: these few lines are the test's own rules."""
    found = []
    with gzip.open(REAL_LOG, "rt", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if (match := LINE.match(line.rstrip("\n"))) and match[3] == "GET" and match[5] in {"200", "206", "304"}:
                when = datetime.strptime(match[2], "%d/%b/%Y:%H:%M:%S %z")
                found.append((when, match[1], match[4]))
    return found


def by_http(footfall: Footfall, events: Iterable[dict[str, str]]) -> None:
    batch = list(events)
    for start in range(0, len(batch), 1_000):
        answer = footfall.http.post("/api/events", json=batch[start : start + 1_000])
        assert (answer.status_code, answer.json()["rejected"]) == (202, []), answer.text


def assert_same(footfall: Footfall, site_id: str, pages: list[tuple[datetime, str, str]], zone: str) -> None:
    """Views, visitors and the ten most viewed paths of each day, exactly."""
    days: dict[str, list[tuple[str, str]]] = {}
    for when, visitor, path in pages:
        days.setdefault(when.astimezone(ZoneInfo(zone)).date().isoformat(), []).append((visitor, path))
    assert len(days) >= 4
    for day, seen in days.items():
        top = sorted(Counter(path for _, path in seen).items(), key=lambda item: (-item[1], item[0]))[:10]
        assert footfall.stats(site_id, date=day, timezone=zone) == {
            "site_id": site_id,
            "date": day,
            "total_views": len(seen),
            "unique_users_count": len({visitor for visitor, _ in seen}),
            "top_paths": [{"path": path, "views": views} for path, views in top],
        }


def test_the_real_log_sent_as_events_gives_the_numbers_of_a_recount(tmp_path: Path) -> None:
    pages = [(when, visitor, path) for when, visitor, path in pages_of_the_log() if "utm_" not in path]
    with Footfall(tmp_path / "data") as footfall:
        by_http(
            footfall,
            (
                {
                    "site_id": SITE,
                    "event_type": "pageview",
                    "path": path,
                    "user_id": visitor,
                    "timestamp": when.isoformat(),
                }
                for when, visitor, path in pages
            ),
        )
        ledger = footfall.settle()
        assert (ledger["received"], ledger["stored"], ledger["balanced"]) == (len(pages), len(pages), True)
        for zone in ZONES:
            assert_same(footfall, SITE, pages, zone)


def summary_of(text: str) -> dict[str, int]:
    """The import's table as numbers."""
    cells = (line.strip("│ ").split("│") for line in text.splitlines() if line.startswith("│"))
    return {name.strip(): int(count.replace(",", "")) for name, count in cells}


@pytest.mark.parametrize("is_running", [True, False], ids=["beside a running server", "without a server"])
def test_the_real_log_imported_is_stored_once_however_often(tmp_path: Path, is_running: bool) -> None:
    footfall = Footfall(tmp_path / "data")
    try:
        if is_running:
            footfall.start()
        first = footfall.footfall("import", "log", str(REAL_LOG), "--site", SITE)
        assert first.returncode == 0, first.stderr
        counts = summary_of(first.stdout)
        assert counts.pop("read") == 10_000 == sum(counts.values())
        assert f"{counts['accepted']:,} stored" in first.stdout
        again = footfall.footfall("import", "log", str(REAL_LOG), "--site", SITE)
        assert f"0 stored, {counts['accepted']:,} were there already" in again.stdout
        if not is_running:
            footfall.start()
        ledger = footfall.settle()
        assert ledger["stored"] == counts["accepted"]
        assert ledger["dropped"] == {"duplicate": counts["accepted"]}
        span: dict[str, str | int] = {"from": "2015-05-17", "to": "2015-05-20", "limit": 1000}
        possible = Counter(re.sub(r"[?&]utm_.*", "", path) for _, _, path in pages_of_the_log())
        data = footfall.stats(SITE, **span)
        assert data["total_views"] == counts["accepted"] == sum(row["views"] for row in data["top_paths"])
        assert all(row["views"] <= possible[row["path"]] for row in data["top_paths"])
        # No robot asks for these, and no rule of the import could take any of them for an asset: every one is there.
        assert next(row["views"] for row in data["top_paths"] if row["path"] == "/projects/xdotool/") > 50
    finally:
        footfall.__exit__(None, None, None)
