"""The examples of docs/query.md answer what the page says."""

import json
import re
from pathlib import Path

from footfall.query.asked import Share
from footfall.query.query import Metric, Scope
from tests.running import running

PAGE = Path(__file__).parents[2] / "docs" / "query.md"


def test_the_page_says_of_every_metric_what_the_table_says() -> None:
    of = {Scope.EVENT: "events", Scope.SESSION: "sessions", Scope.PAGE: "pages"}
    lines = [f"| `{metric}` | {of[metric.scope]} | {metric.meaning} |" for metric in Metric]
    lines += [f"| `{share}` | visitors | {share.meaning} |" for share in Share]
    assert re.findall(r"^\| `.*", PAGE.read_text(), re.MULTILINE) == lines


async def test_the_examples_of_the_page_are_true(tmp_path: Path) -> None:
    first, report, *examples = [
        json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
    ]
    assert len(examples) == 6
    async with running(tmp_path) as footfall:
        await footfall.send(user_id="anna", path="/", timestamp="2024-01-15T10:00:00Z")
        await footfall.send(user_id="anna", path="/blog", timestamp="2024-01-15T10:05:00Z")
        await footfall.send(
            user_id="ben", path="/blog", timestamp="2024-01-15T11:00:00Z", referrer="https://www.google.com/"
        )
        for question, results in zip(examples[::2], examples[1::2], strict=True):
            response = await footfall.http.post("/api/query", json=question)
            assert response.json()["results"] == results
        assert (await footfall.http.post("/api/query", json=first)).status_code == 200
        await footfall.send(**report)
