"""The examples of the pages on reports answer what the pages say."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from footfall.query.definitions import Definitions, Goal
from tests.running import Running, running

DOCS = Path(__file__).parents[2] / "docs"
GOALS = Definitions(goals=(Goal("Signup", page="/signup"), Goal("Purchase", event="purchase")))


async def send_row(footfall: Running, who: str, when: str, what: str, source: str) -> None:
    """One line of a page's table of visits."""
    day, _, time = when.rpartition(" ")
    event: dict[str, Any] = {"user_id": who, "timestamp": f"{day or '2024-01-15'}T{time}:00Z"}
    if source:
        event["referrer"] = "https://www.google.com/"
    name, *revenue = what.split()
    if revenue:
        event["revenue"] = {"amount": float(revenue[0]), "currency": revenue[1]}
    await footfall.send(**event, **({"path": name} if name.startswith("/") else {"event_type": name}))


async def asked(tmp_path: Path, page: str) -> tuple[Any, Any]:
    """What is answered to the page's question, and what the page says."""
    text = (DOCS / f"{page}.md").read_text()
    question, answer = (json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL))
    visits = re.findall(r"^\| (\w+) \| ([-0-9 ]*\d\d:\d\d) \| ([^|]+?) \| (\w*) ?\|$", text, re.MULTILINE)
    async with running(tmp_path) as footfall:
        await footfall.registry.save_definitions("shop", GOALS, 0)
        for visit in visits:
            await send_row(footfall, *visit)
        path = "goals/report" if page == "goals" else page
        response = await footfall.http.post(f"/api/{path}", json=question)
        assert response.status_code == 200, response.text
        return response.json()["results"], answer


@pytest.mark.parametrize("page", ["funnel", "retention", "journey", "goals"])
async def test_the_example_of_the_page_is_true(tmp_path: Path, page: str) -> None:
    answered, said = await asked(tmp_path, page)
    assert answered == said
