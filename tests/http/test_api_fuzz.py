"""The API against its own description: whatever is sent, no 500, and every answer is one that it describes."""

import asyncio
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from footfall.settings import AuthMode, Settings
from tests.running import running

EXAMPLES = 30
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


def fuzz(url: str) -> list[str]:
    """Send what the description allows and what it does not, to every operation; returns which were sent to."""
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    tried = []
    for result in schema.get_all_operations():
        assert isinstance(result, Ok), "the description itself is wrong"
        operation = result.ok()
        if "text/event-stream" in str(operation.definition.raw["responses"].get("200")):
            continue  # a stream that is as it should be does not end; test_live.py asks it
        can_be_wrong = any(operation.definition.raw.get(part) for part in ("parameters", "requestBody"))
        for mode in schemathesis.GenerationMode:
            if mode is schemathesis.GenerationMode.NEGATIVE and not can_be_wrong:
                continue

            @settings(
                max_examples=EXAMPLES,
                deadline=None,
                database=None,
                phases=[Phase.explicit, Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def send(case: schemathesis.Case[Any]) -> None:
                case.call_and_validate(base_url=url, checks=CHECKS, timeout=30)

            send()
        tried.append(operation.path)
    return tried


async def test_nothing_that_is_sent_breaks_it_and_every_answer_is_described(tmp_path: Path) -> None:
    async with running(tmp_path, Settings(rate_limit_address=0, rate_limit_site=0)) as footfall:
        tried = await asyncio.to_thread(fuzz, footfall.url)
        assert {"/api/event", "/api/events", "/api/stats", "/api/sites", "/api/ledger", "/api/health"} <= set(tried)


async def test_nor_where_the_door_is_closed(tmp_path: Path) -> None:
    async with running(tmp_path, Settings(auth=AuthMode.ON, rate_limit_address=0, rate_limit_site=0)) as footfall:
        await asyncio.to_thread(fuzz, footfall.url)
