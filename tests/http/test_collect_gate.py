"""Who may send what over real HTTP: keys, overrides, origins, CORS and rate limits."""

import asyncio
import time
from collections.abc import AsyncIterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx
import pytest

from footfall.collect.gate import is_origin_allowed
from footfall.registry.base import Scope
from footfall.settings import AuthMode
from tests.http.collecting import EVENT, Collecting, collecting

OLD = 1_705_314_600


@pytest.fixture
async def collector(tmp_path: Path) -> AsyncIterator[Collecting]:
    async with collecting(tmp_path) as running:
        yield running


@pytest.fixture
async def closed(tmp_path: Path) -> AsyncIterator[Collecting]:
    """A collector where AUTH is not open."""
    async with collecting(tmp_path, auth=AuthMode.ON) as running:
        yield running


async def test_where_auth_is_open_address_user_agent_and_time_may_be_overridden(collector: Collecting) -> None:
    event = await collector.event_of(
        {
            "user_id": None,
            "ip": "8.8.8.8",
            "user_agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 "
            "(KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
            "timestamp": OLD,
        },
        headers={"user-agent": "python-httpx/0.28"},
    )
    assert (event.country, event.os, event.drop_reason) == ("US", "iOS", "")
    assert event.occurred_at_ms == OLD * 1000


@pytest.mark.parametrize(("field", "value"), [("ip", "8.8.8.8"), ("user_agent", "Firefox"), ("timestamp", OLD)])
async def test_where_it_is_not_an_override_needs_a_key_with_the_ingest_scope(
    closed: Collecting, field: str, value: object
) -> None:
    body = {**EVENT, field: value}
    for headers in ({}, await closed.token(Scope.READ), await closed.token(Scope.INGEST, site_ids=("other",))):
        answer = await closed.post(body, headers=headers)
        assert answer.status_code == 403
        assert [fault["field"] for fault in answer.json()["details"]] == [field]
        assert field in answer.json()["error"]
    for headers in (
        await closed.token(Scope.INGEST),
        await closed.token(Scope.ADMIN),
        await closed.token(Scope.INGEST, site_ids=("my-website",)),
    ):
        assert (await closed.post(body, headers=headers)).status_code == 202
    assert len(closed.events()) == 3


async def test_a_plain_event_needs_no_key_where_auth_is_not_open(closed: Collecting) -> None:
    assert (await closed.post()).status_code == 202
    assert (await closed.post({**EVENT, "timestamp": int(time.time()) - 47 * 3600})).status_code == 202


async def test_what_the_sender_may_not_say_is_rejected_by_its_place_and_the_rest_taken(closed: Collecting) -> None:
    batch = [EVENT, {**EVENT, "timestamp": OLD}, {"site_id": "my-website"}, {**EVENT, "ip": "8.8.8.8"}, EVENT]
    answer = await closed.post(batch, "/api/events")
    assert answer.status_code == 202
    told = answer.json()
    assert told["accepted"] == len(closed.events()) == 2
    assert [(one["index"], one["errors"][0]["field"]) for one in told["rejected"]] == [
        (1, "timestamp"),
        (2, "event_type"),
        (3, "ip"),
    ]
    assert "needs a key" in told["rejected"][0]["errors"][0]["message"]
    headers = await closed.token(Scope.INGEST)
    assert (await closed.post(batch, "/api/events", headers=headers)).json()["accepted"] == 4


async def test_a_batch_of_which_nothing_may_be_sent_says_why_as_a_single_event_would(closed: Collecting) -> None:
    old: Any = {**EVENT, "timestamp": OLD}
    answer = await closed.post([old, {**EVENT, "ip": "8.8.8.8"}], "/api/events")
    assert answer.status_code == 403
    assert [fault["field"] for fault in answer.json()["details"]] == ["events[0].timestamp", "events[1].ip"]
    assert list(await closed.faults_of([old, {"site_id": "a", "event_type": ""}], path="/api/events")) == [
        "events[0].timestamp",
        "events[1].event_type",
    ]
    assert await closed.registry.sites() == ()


async def test_events_of_a_site_that_does_not_take_them_are_rejected_by_their_place(collector: Collecting) -> None:
    await collector.save_site(requires_key=True)
    other = {**EVENT, "site_id": "other"}
    answer = await collector.post([EVENT, other, EVENT], "/api/events")
    assert answer.status_code == 202
    told = answer.json()
    assert told["accepted"] == 1
    assert told["rejected"] == [
        {"index": index, "errors": [{"field": "site_id", "message": "needs a key with the ingest scope"}]}
        for index in (0, 2)
    ]
    assert [event.site_id for event in collector.events()] == ["other"]
    anonymous = await collector.post([EVENT], "/api/events")
    assert (anonymous.status_code, anonymous.json()["details"][0]["field"]) == (401, "events[0].site_id")
    foreign = await collector.token(Scope.INGEST, site_ids=("other",))
    assert (await collector.post([EVENT], "/api/events", headers=foreign)).status_code == 403


@pytest.mark.parametrize("authorization", ["Bearer ff_0123456789_" + "0" * 40, "Bearer x", "Basic dTpw", ""])
@pytest.mark.parametrize("path", ["/api/event", "/api/events"])
async def test_a_key_that_does_not_work_is_a_401_though_none_is_needed(
    collector: Collecting, authorization: str, path: str
) -> None:
    await collector.post()
    answer = await collector.post(EVENT, path, headers={"authorization": authorization})
    assert answer.status_code == 401
    assert answer.json()["success"] is False
    assert len(collector.events()) == 1


async def test_a_site_can_require_a_key_also_where_auth_is_open(collector: Collecting) -> None:
    await collector.save_site(requires_key=True)
    for _ in range(2):
        assert (await collector.post()).status_code == 401
        assert (await collector.post([EVENT], "/api/events")).status_code == 401
    assert (await collector.post(headers=await collector.token(Scope.READ))).status_code == 401
    elsewhere = await collector.token(Scope.INGEST, site_ids=("other",))
    assert (await collector.post(headers=elsewhere)).status_code == 403
    assert collector.events() == []
    assert (await collector.post(headers=await collector.token(Scope.INGEST))).status_code == 202
    assert (await collector.post({**EVENT, "site_id": "other"})).status_code == 202


async def test_a_site_can_restrict_origins(collector: Collecting) -> None:
    await collector.save_site(allowed_origins=("https://example.org", "https://*.example.com"))

    async def status(**headers: str) -> int:
        return (await collector.post(headers=headers)).status_code

    assert await status(origin="https://example.org") == 202
    assert await status(origin="https://shop.example.com") == 202
    assert await status(origin="https://evil.example") == 403
    assert await status(origin="null") == 403
    assert await status() == 403, "who names no origin has to show a key"
    key = await collector.token(Scope.INGEST)
    assert await status(**key) == 202
    assert await status(origin="https://evil.example", **key) == 403
    assert len(collector.events()) == 3


@pytest.mark.parametrize(
    ("allowed", "origin", "expected"),
    [
        ("https://example.org", "https://example.org", True),
        ("https://example.org/", "https://EXAMPLE.org", True),
        ("https://example.org", "http://example.org", False),
        ("https://example.org", "https://example.org:8443", False),
        ("https://example.org", "https://example.org.evil.example", False),
        ("https://*.example.org", "https://a.example.org", True),
        ("https://*.example.org", "https://a.b.example.org", False),
        ("https://*.example.org", "https://example.org", False),
        ("https://*.example.org", "https://evil.example/.example.org", False),
        ("http://localhost:*", "http://localhost:5173", True),
        ("https://a.example.org", "https://aXexample.org", False),
    ],
)
def test_an_origin_matches_as_a_whole_and_a_star_is_one_label(allowed: str, origin: str, expected: bool) -> None:
    assert is_origin_allowed(allowed, origin) is expected


@pytest.mark.parametrize("path", ["/api/event", "/api/events"])
async def test_a_preflight_is_answered_for_all_where_cors_is_open(collector: Collecting, path: str) -> None:
    headers = {"origin": "https://example.org", "access-control-request-method": "POST"}
    answer = await collector.http.options(path, headers=headers)
    assert answer.status_code == 204
    assert answer.content == b""
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-allow-methods"] == "POST, OPTIONS"
    assert answer.headers["access-control-allow-headers"] == "Content-Type, Authorization"
    assert int(answer.headers["access-control-max-age"]) > 0


async def test_cors_origins_decides_who_may_read_any_answer(tmp_path: Path) -> None:
    async with collecting(tmp_path, cors_origins=("https://example.org",)) as collector:
        ours, theirs = {"origin": "https://example.org"}, {"origin": "https://evil.example"}
        for body in (EVENT, {}, EVENT):
            answer = await collector.post(body, headers=ours)
            assert answer.headers["access-control-allow-origin"] == "https://example.org"
            assert answer.headers["vary"] == "Origin"
            assert "X-Footfall-Dropped" in answer.headers["access-control-expose-headers"]
            for headers in (theirs, {}):
                answer = await collector.post(body, headers=headers)
                assert "access-control-allow-origin" not in answer.headers
                assert answer.headers["vary"] == "Origin"
        assert (await collector.http.options("/api/event", headers=ours)).headers["access-control-allow-methods"]
        assert (
            "access-control-allow-methods" not in (await collector.http.options("/api/event", headers=theirs)).headers
        )


async def test_every_answer_can_be_read_by_a_browser_where_cors_is_open(collector: Collecting) -> None:
    answers: list[httpx.Response] = [
        await collector.post(),
        await collector.post(b"{"),
        await collector.post([{}], "/api/events"),
        await collector.http.get("/api/event"),
        await collector.post(b"x" * 70_000),
        await collector.post(headers={"authorization": "Bearer x"}),
    ]
    assert [answer.status_code for answer in answers] == [202, 400, 400, 405, 413, 401]
    assert {answer.headers["access-control-allow-origin"] for answer in answers} == {"*"}


async def _refused_after(collector: Collecting, body: Any, path: str, taken: int, **headers: str) -> httpx.Response:
    for _ in range(taken):
        assert (await collector.post(body, path, headers=headers)).status_code == 202
    return await collector.post(body, path, headers=headers)


@pytest.mark.parametrize(("body", "path", "taken"), [(EVENT, "/api/event", 6), ([EVENT] * 3, "/api/events", 2)])
async def test_an_address_over_its_limit_is_a_429_with_a_time_to_come_back(
    tmp_path: Path, body: Any, path: str, taken: int
) -> None:
    async with collecting(tmp_path, rate_limit_address=6, trusted_proxies=(ip_network("127.0.0.1"),)) as collector:
        answer = await _refused_after(collector, body, path, taken, **{"x-forwarded-for": "192.0.2.1"})
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["error"] == "more than 6 events per minute from this address"
        assert len(collector.events()) == 6
        other = await collector.post(body, path, headers={"x-forwarded-for": "192.0.2.2"})
        assert other.status_code == 202
        key = await collector.token(Scope.INGEST)
        keyed = await collector.post(body, path, headers={"x-forwarded-for": "192.0.2.1", **key})
        assert keyed.status_code == 202, "a key speaks for many visitors"


async def test_addresses_of_one_ipv6_network_share_a_limit(tmp_path: Path) -> None:
    async with collecting(tmp_path, rate_limit_address=2, trusted_proxies=(ip_network("127.0.0.1"),)) as collector:
        statuses = [
            (await collector.post(headers={"x-forwarded-for": ip})).status_code
            for ip in ("2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1")
        ]
        assert statuses == [202, 202, 429, 202]


async def test_a_site_has_a_limit_of_its_own_that_wins_over_the_setting(tmp_path: Path) -> None:
    async with collecting(tmp_path, rate_limit_site=4) as collector:
        assert (await _refused_after(collector, EVENT, "/api/event", 4)).status_code == 429
        other = {**EVENT, "site_id": "other"}
        assert (await collector.post(other)).status_code == 202
        await collector.save_site(rate_per_minute=0)
        await collector.sites.close()


async def test_a_sites_own_limit_holds_by_the_short_cut_and_for_batches(collector: Collecting) -> None:
    await collector.save_site(rate_per_minute=3)
    assert (await _refused_after(collector, EVENT, "/api/event", 3)).status_code == 429
    answer = await collector.post([EVENT], "/api/events")
    assert answer.status_code == 429
    assert answer.json()["error"] == "more than 3 events per minute from this site"
    assert len(collector.events()) == 3


async def test_this_machine_meets_no_limit_unless_one_is_set(collector: Collecting) -> None:
    for _ in range(7):
        assert (await collector.post([EVENT] * 1_000, "/api/events")).status_code == 202
    assert len(collector.events()) == 7_000


async def test_a_forwarding_header_closes_the_open_door(collector: Collecting) -> None:
    body = {**EVENT, "ip": "8.8.8.8"}
    assert (await collector.post(body)).status_code == 202
    assert (await collector.post(body, headers={"x-forwarded-for": "192.0.2.1"})).status_code == 403


FORWARDED = {"x-forwarded-for": "192.0.2.1"}
PROXIED: dict[str, Any] = {"trusted_proxies": (ip_network("127.0.0.1"),)}


@pytest.mark.parametrize("path", ["/api/event", "/api/events"])
async def test_a_request_that_is_refused_creates_no_site(tmp_path: Path, path: str) -> None:
    def body(site_id: str, **more: object) -> Any:
        event = {**EVENT, "site_id": site_id, **more}
        return event if path == "/api/event" else [event]

    async with collecting(tmp_path, rate_limit_site=1, **PROXIED) as collector:
        wrong = {"authorization": "Bearer x"}
        assert (await collector.post(body("by-no-key"), path, headers=wrong)).status_code == 401
        assert (await collector.post(body("by-old", timestamp=OLD), path, headers=FORWARDED)).status_code == 403
        assert (await collector.post(body("known"), path, headers=FORWARDED)).status_code == 202
        assert (await collector.post(body("known"), path, headers=FORWARDED)).status_code == 429
        batch = [{**EVENT, "site_id": "known"}, {**EVENT, "site_id": "beside"}]
        assert (await collector.post(batch, "/api/events", headers=FORWARDED)).status_code == 429
        assert [site.id for site in await collector.registry.sites()] == ["known"]


async def test_a_stranger_may_bring_twenty_sites_into_being_and_then_has_to_wait(tmp_path: Path) -> None:
    batch = [{**EVENT, "site_id": f"made-up-{number}"} for number in range(25)]
    async with collecting(tmp_path, **PROXIED) as collector:
        told = (await collector.post(batch, "/api/events", headers=FORWARDED)).json()
        assert told["accepted"] == 20
        assert [one["index"] for one in told["rejected"]] == list(range(20, 25))
        assert {one["errors"][0]["field"] for one in told["rejected"]} == {"site_id"}
        assert len(await collector.registry.sites()) == 20
        for _ in range(2):
            single = await collector.post({**EVENT, "site_id": "another"}, headers=FORWARDED)
            assert (single.status_code, single.json()["details"][0]["field"]) == (429, "site_id")
            assert int(single.headers["retry-after"]) <= 180
        nothing = await collector.post(batch[20:], "/api/events", headers=FORWARDED)
        assert (nothing.status_code, len(nothing.json()["details"])) == (429, 5)
        assert int(nothing.headers["retry-after"]) <= 180
        assert (await collector.post(batch[0], headers=FORWARDED)).status_code == 202, "a known site is no new one"
        key = await collector.token(Scope.INGEST)
        assert (await collector.post(batch[20:], "/api/events", headers={**FORWARDED, **key})).status_code == 202
        assert (await collector.post({**EVENT, "site_id": "local"})).status_code == 202
        assert (await collector.post({**EVENT, "site_id": "x"}, headers={"x-forwarded-for": "::2"})).status_code == 202


async def test_a_new_sites_first_visitors_count_it_once(tmp_path: Path) -> None:
    async with collecting(tmp_path, **PROXIED) as collector:
        answers = await asyncio.gather(*(collector.post(headers=FORWARDED) for _ in range(60)))
        assert {answer.status_code for answer in answers} == {202}
        told = await collector.post(
            [{**EVENT, "site_id": f"next-{number}"} for number in range(20)], "/api/events", headers=FORWARDED
        )
        assert told.json()["accepted"] == 19


async def test_a_batch_that_is_refused_is_not_owed(tmp_path: Path) -> None:
    async with collecting(tmp_path, rate_limit_address=6) as collector:
        assert (await collector.post()).status_code == 202
        for _ in range(3):
            answer = await collector.post([EVENT] * 6, "/api/events")
            assert answer.status_code == 429
            assert int(answer.headers["retry-after"]) <= 10, "it does not grow"
        assert (await collector.post([EVENT] * 5, "/api/events")).status_code == 202


async def test_a_batch_over_the_limit_passes_when_nothing_is_owed(tmp_path: Path) -> None:
    async with collecting(tmp_path, rate_limit_address=6) as collector:
        assert (await collector.post([EVENT] * 7, "/api/events")).json()["accepted"] == 7
        assert (await collector.post()).status_code == 429


async def test_events_that_a_sites_limit_refuses_are_not_owed_by_the_address(tmp_path: Path) -> None:
    async with collecting(tmp_path, rate_limit_address=8, rate_limit_site=4) as collector:
        assert (await collector.post([EVENT] * 4, "/api/events")).status_code == 202
        for body, path in ((EVENT, "/api/event"), ([EVENT] * 3, "/api/events")):
            assert "this site" in (await collector.post(body, path)).json()["error"]
        assert (await collector.post([{**EVENT, "site_id": "other"}] * 4, "/api/events")).status_code == 202
