"""What the checks of `footfall smoke` share: the run they belong to, and the ways to say that something is wrong."""

import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import msgspec


class Failed(Exception):
    """A check met something else than the contract says."""


class Answer(msgspec.Struct, frozen=True):
    """What the server said."""

    status: int
    headers: httpx.Headers
    text: str

    @property
    def body(self) -> dict[str, Any]:
        """The JSON object that it is; anything else fails the check."""
        try:
            found = json.loads(self.text)
        except ValueError:
            raise Failed(f"is no JSON: {self.text[:200]!r}") from None
        if not isinstance(found, dict):
            raise Failed(f"is no JSON object: {self.text[:200]!r}")
        return found


class Run:
    """One run: the client, the site, and what must come out in the end."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.site_id = f"smoke-{uuid4().hex}"
        self.at = datetime.now(UTC)
        self.views: Counter[str] = Counter()
        self.users: set[str] = set()

    def event(self, path: str = "/products", user_id: str = "user-123", **more: Any) -> dict[str, Any]:  # noqa: ANN401
        """A body. All bear one time, so that midnight can not fall between them."""
        at = self.at.isoformat(timespec="milliseconds")
        body = {"site_id": self.site_id, "event_type": "pageview", "path": path, "user_id": user_id, "timestamp": at}
        return {**body, **more}

    def count(self, *events: dict[str, Any], path: str | None = None) -> None:
        """Note that these were accepted and must show."""
        for event in events:
            self.users.add(event["user_id"])
            if event["event_type"] == "pageview":
                self.views[path or event["path"]] += 1

    async def ask(self, method: str, path: str, **request: Any) -> Answer:  # noqa: ANN401 - what httpx takes
        """One request; *request* as httpx takes it."""
        answer = await self.http.request(method, path, **request)
        return Answer(answer.status_code, answer.headers, answer.text)

    async def send(self, body: object, **request: Any) -> Answer:  # noqa: ANN401 - what httpx takes
        """POST to /api/event, or to /api/events where *body* is a list."""
        return await self.ask("POST", "/api/events" if isinstance(body, list) else "/api/event", json=body, **request)


def expect(found: object, wanted: object, what: str) -> None:
    """Fail the check unless the two are equal."""
    if found != wanted:
        raise Failed(f"{what} is {found!r}, not {wanted!r}")


def expect_status(answer: Answer, status: int) -> None:
    """Fail the check on any other status, with what the server said."""
    if answer.status != status:
        hint = "; give a key with --key" if answer.status in {401, 403} else ""
        raise Failed(f"answered {answer.status}, not {status}: {answer.text[:200]}{hint}")


def expect_error(answer: Answer, status: int, *fields: str) -> None:
    """Fail the check unless it is the one shape of errors and names these fields."""
    expect_status(answer, status)
    expect(answer.body.get("success"), False, "success")
    if not isinstance(answer.body.get("error"), str):
        raise Failed(f"has no text under error: {answer.text[:200]}")
    named = {detail.get("field") for detail in answer.body.get("details", [])}
    if missing := sorted(set(fields) - named):
        raise Failed(f"does not name {', '.join(missing)}: {answer.text[:200]}")


def expect_accepted(answer: Answer) -> None:
    """Fail the check unless one event was accepted, and counts."""
    expect_status(answer, 202)
    if reason := answer.headers.get("x-footfall-dropped"):
        raise Failed(f"was dropped: {reason}")
    expect(answer.body.get("success"), True, "success")
    expect(answer.body.get("message"), "Event queued successfully", "message")
    if not isinstance(answer.body.get("processing_time_ms"), int | float):
        raise Failed(f"has no number under processing_time_ms: {answer.text[:200]}")


def expect_batch(answer: Answer, accepted: int, rejected: Sequence[int] = ()) -> None:
    """Fail the check unless so many were accepted, and those at these places refused."""
    expect_status(answer, 202)
    expect(answer.body.get("accepted"), accepted, "accepted")
    expect([refused.get("index") for refused in answer.body.get("rejected", [])], list(rejected), "rejected")
