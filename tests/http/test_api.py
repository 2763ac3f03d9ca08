"""Reading over HTTP: statistics, sites, ledger, metrics, and the shape of everything that goes wrong."""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from footfall.errors import Unavailable
from footfall.query.query import Query
from footfall.registry.base import Site
from footfall.store.base import Ledger, Table
from tests.fakes_store import MemoryStore
from tests.running import Running, running


@pytest.fixture
async def footfall(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as one:
        yield one


async def stats(footfall: Running, **parameters: str) -> Any:
    response = await footfall.http.get("/api/stats", params={"site_id": "shop", **parameters})
    assert response.status_code == 200, response.text
    return response.json()["data"]


async def faults(footfall: Running, query: str, path: str = "/api/stats") -> dict[str, str]:
    response = await footfall.http.get(f"{path}?{query}")
    assert response.status_code == 400, response.text
    body = response.json()
    assert body["success"] is False
    assert body["error"] == "Validation failed"
    return {fault["field"]: fault["message"] for fault in body["details"]}


async def test_a_day_answers_as_the_contract_says(footfall: Running) -> None:
    for user, path in (("anna", "/b"), ("anna", "/a"), ("ben", "/b"), ("cleo", "/c")):
        await footfall.send(user_id=user, path=path, timestamp="2024-01-15T10:30:00Z")
    await footfall.send(user_id="dora", event_type="signup", timestamp="2024-01-15T10:30:00Z")
    response = await footfall.http.get("/api/stats", params={"site_id": "shop", "date": "2024-01-15"})
    assert response.json() == {
        "success": True,
        "data": {
            "site_id": "shop",
            "date": "2024-01-15",
            "total_views": 4,
            "unique_users_count": 4,
            "top_paths": [
                {"path": "/b", "views": 2},
                {"path": "/a", "views": 1},
                {"path": "/c", "views": 1},
            ],
        },
    }
    assert response.headers["cache-control"] == "no-store"


async def test_a_limit_cuts_the_paths_and_a_range_names_its_days(footfall: Running) -> None:
    for day in ("2024-01-15", "2024-01-16", "2024-01-17"):
        await footfall.send(path=f"/{day}", timestamp=f"{day}T12:00:00Z")
    data = await stats(footfall, **{"from": "2024-01-15", "to": "2024-01-16", "limit": "1"})
    assert (data["from"], data["to"], data["total_views"]) == ("2024-01-15", "2024-01-16", 2)
    assert data["top_paths"] == [{"path": "/2024-01-15", "views": 1}]


async def test_days_are_those_of_the_zone_asked_for_or_of_the_site(footfall: Running) -> None:
    await footfall.send(timestamp="2024-01-15T22:30:00Z")
    assert (await stats(footfall, date="2024-01-15"))["total_views"] == 1
    assert (await stats(footfall, date="2024-01-15", timezone="Asia/Tehran"))["total_views"] == 0
    assert (await stats(footfall, date="2024-01-16", timezone="Asia/Tehran"))["total_views"] == 1
    await footfall.registry.save_site(Site(id="shop", created_at_ms=1, timezone="Asia/Tehran"))

    async def takes_effect() -> bool:
        return bool((await stats(footfall, date="2024-01-16"))["total_views"] == 1)

    await footfall.until(takes_effect)


async def test_without_a_date_it_is_today(footfall: Running) -> None:
    before = datetime.now(UTC).date().isoformat()
    data = await stats(footfall)
    assert data["date"] in {before, datetime.now(UTC).date().isoformat()}


async def test_asking_for_an_unknown_site_answers_zeros_and_creates_nothing(footfall: Running) -> None:
    data = await stats(footfall, site_id="nobody", date="2024-01-15")
    assert (data["total_views"], data["unique_users_count"], data["top_paths"]) == (0, 0, [])
    assert list(await footfall.registry.sites()) == []


WRONG: list[tuple[str, set[str]]] = [
    ("", {"site_id"}),
    ("site_id=", {"site_id"}),
    ("site_id=a%20b", {"site_id"}),
    ("site_id=a%0a", {"site_id"}),
    ("site_id=" + "x" * 129, {"site_id"}),
    ("site_id=a&site_id=b", {"site_id"}),
    ("site_id=a&date=2024-02-30", {"date"}),
    ("site_id=a&date=20240101", {"date"}),
    ("site_id=a&date=1969-12-31", {"date"}),
    ("site_id=a&date=9999-12-31", {"date"}),
    ("site_id=a&date=2024-01-01&from=2024-01-01&to=2024-01-02", {"date"}),
    ("site_id=a&from=2024-01-01", {"to"}),
    ("site_id=a&to=2024-01-01", {"from"}),
    ("site_id=a&from=2024-01-02&to=2024-01-01", {"to"}),
    ("site_id=a&from=1970-01-01&to=2100-01-01", {"to"}),
    ("site_id=a&timezone=Mars/Olympus", {"timezone"}),
    ("site_id=a&timezone=../../etc/passwd", {"timezone"}),
    ("site_id=a&timezone=", {"timezone"}),
    ("site_id=a&limit=0", {"limit"}),
    ("site_id=a&limit=1001", {"limit"}),
    ("site_id=a&limit=ten", {"limit"}),
    ("site_id=a&limit=%D9%A3", {"limit"}),
    ("site_id=a&limt=3", {"limt"}),
    ("siteid=a&date=x&limit=-1&timezone=y", {"siteid", "site_id", "date", "limit", "timezone"}),
    ("&".join(f"a{number}=1" for number in range(60)), {"query"}),
    ("site_id=%ff%00", {"site_id"}),
]


async def test_every_wrong_parameter_is_named_at_once(footfall: Running) -> None:
    for query, fields in WRONG:
        assert set(await faults(footfall, query)) == fields, query


async def test_other_routes_refuse_unknown_parameters_too(footfall: Running) -> None:
    assert set(await faults(footfall, "sort=up&limit=500", "/api/sites")) == {"sort", "limit"}
    assert set(await faults(footfall, "site_id=+", "/api/ledger")) == {"site_id"}
    assert set(await faults(footfall, "verbose=1", "/api/health")) == {"verbose"}


async def test_sites_come_latest_first_with_the_numbers_of_today(footfall: Running) -> None:
    await footfall.send(site_id="old", timestamp="2024-01-15T12:00:00Z")
    await footfall.send(site_id="new", user_id="anna")
    await footfall.send(site_id="new", user_id="ben", event_type="signup")
    body = (await footfall.http.get("/api/sites")).json()
    assert body["data"]["total"] == 2
    new, old = body["data"]["sites"]
    assert (new["id"], new["timezone"]) == ("new", "UTC")
    assert (new["today"]["total_views"], new["today"]["unique_users_count"]) == (1, 2)
    assert (old["id"], old["last_event_at"], old["today"]["total_views"]) == ("old", "2024-01-15T12:00:00Z", 0)
    one = (await footfall.http.get("/api/sites?limit=1")).json()["data"]
    assert ([site["id"] for site in one["sites"]], one["total"]) == (["new"], 2)


async def test_a_site_without_events_is_listed(footfall: Running) -> None:
    await footfall.registry.save_site(Site(id="quiet", created_at_ms=1))
    (site,) = (await footfall.http.get("/api/sites")).json()["data"]["sites"]
    assert (site["id"], site["last_event_at"], site["today"]["total_views"]) == ("quiet", None, 0)


async def test_the_ledger_balances(footfall: Running) -> None:
    for user in ("anna", "ben", "cleo"):
        await footfall.send(user_id=user)
    bot = {"site_id": "shop", "event_type": "pageview"}
    crawler = {"user-agent": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"}
    assert (await footfall.http.post("/api/event", json=bot, headers=crawler)).status_code == 202

    async def counts() -> bool:
        return bool((await footfall.http.get("/api/ledger")).json()["data"]["dropped"])

    await footfall.until(counts)
    data = (await footfall.http.get("/api/ledger")).json()["data"]
    assert data == {
        "received": 4,
        "stored": 3,
        "dropped": {"bot": 1},
        "waiting": 0,
        "failed": 0,
        "purged": 0,
        "balanced": True,
    }
    of_site = (await footfall.http.get("/api/ledger?site_id=shop")).json()["data"]
    assert of_site == {"site_id": "shop", "stored": 3, "dropped": {"bot": 1}}


class ForgetfulStore(MemoryStore):
    """A store that has lost one event."""

    async def ledger(self, site_id: str | None = None, import_id: str | None = None) -> Ledger:
        found = await super().ledger(site_id, import_id)
        return Ledger(max(0, found.stored - 1), found.dropped)


async def test_a_lost_event_shows_in_the_ledger(tmp_path: Path) -> None:
    async with running(tmp_path, store=ForgetfulStore()) as footfall:
        await footfall.http.post("/api/event", json={"site_id": "a", "event_type": "x", "user_id": "u"})

        async def is_written() -> bool:
            return (await footfall.queue.depth()).unfinished_events == 0

        await footfall.until(is_written)
        data = (await footfall.http.get("/api/ledger")).json()["data"]
        assert (data["received"], data["stored"], data["balanced"]) == (1, 0, False)


async def test_metrics_are_for_prometheus_and_show_the_queue_as_it_is(footfall: Running) -> None:
    await footfall.send()
    response = await footfall.http.get("/metrics")
    assert response.headers.get_list("content-type") == ["text/plain; version=1.0.0; charset=utf-8"]
    assert 'footfall_queue_jobs{state="waiting"} 0.0' in response.text
    assert "footfall_events_accepted_total" in response.text


class TiredStore(MemoryStore):
    """A store that answers nothing but its check."""

    async def rows(self, query: Query) -> Table:
        raise Unavailable("the question costs too much", retry_after_s=7)

    async def sites(self) -> Mapping[str, int]:
        raise Unavailable("away")


async def test_a_store_that_is_down_is_503_with_a_time_to_come_back(tmp_path: Path) -> None:
    async with running(tmp_path, store=TiredStore()) as footfall:
        response = await footfall.http.get("/api/stats?site_id=a")
        assert (response.status_code, response.headers["retry-after"]) == (503, "7")
        assert response.json() == {"success": False, "error": "the question costs too much", "details": []}
        assert (await footfall.http.get("/api/sites")).status_code == 503


class BrokenStore(MemoryStore):
    """A store with a bug."""

    async def rows(self, query: Query) -> Table:
        raise RuntimeError("secret-of-the-inside")


async def test_a_bug_is_a_500_in_the_same_shape_and_tells_nothing_of_the_inside(tmp_path: Path) -> None:
    async with running(tmp_path, store=BrokenStore()) as footfall:
        response = await footfall.http.get("/api/stats?site_id=a")
        assert response.status_code == 500
        assert response.json()["success"] is False
        assert "secret" not in response.text
        assert "Traceback" not in response.text


async def test_an_address_without_anything_is_404_in_the_same_shape(footfall: Running) -> None:
    for path in ("/nope", "/api", "/api/nope", "/static/nope.js", "/static/..%2fhome.html", "/schema"):
        response = await footfall.http.get(path)
        assert response.status_code == 404, path
        assert response.json() == {"success": False, "error": "there is nothing at this address", "details": []}


async def test_a_wrong_method_is_405_and_says_which_are_right(footfall: Running) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH", "PROPFIND"):
        for path in ("/api/stats", "/api/health", "/api/sites", "/", "/docs"):
            response = await footfall.http.request(method, path, content=b"x")
            assert response.status_code == 405, (method, path)
            assert response.headers["allow"] == "GET, HEAD, OPTIONS"
            assert response.json()["success"] is False


async def test_head_is_get_without_the_body(footfall: Running) -> None:
    for path in ("/api/stats?site_id=a&date=2024-01-15", "/api/health/live", "/", "/nope"):
        head, full = await footfall.http.head(path), await footfall.http.get(path)
        assert (head.status_code, head.content) == (full.status_code, b"")
        assert head.headers["content-length"] == full.headers["content-length"] == str(len(full.content))


API_PATHS = ("stats", "sites", "ledger", "health", "health/live", "health/ready", "event", "events")


async def test_options_is_answered_for_every_route_of_the_api(footfall: Running) -> None:
    for path in API_PATHS:
        response = await footfall.http.options(f"/api/{path}", headers={"origin": "https://x.example"})
        assert response.status_code == 204, path
        assert response.headers["access-control-allow-methods"]


async def test_every_answer_tells_the_browser_not_to_guess(footfall: Running) -> None:
    for path in ("/", "/docs", "/static/home.js", "/api/health", "/nope"):
        assert (await footfall.http.get(path)).headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_pages_can_not_be_framed_and_run_only_their_own_scripts(footfall: Running, path: str) -> None:
    response = await footfall.http.get(path)
    policy = response.headers["content-security-policy"]
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "frame-ancestors 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "http://" not in response.text
    assert "https://" not in response.text
    assert " on" + "click=" not in response.text


async def test_what_the_browser_has_is_not_sent_again(footfall: Running) -> None:
    first = await footfall.http.get("/static/house.css")
    assert first.headers["content-type"].startswith("text/css")
    again = await footfall.http.get("/static/house.css", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = await footfall.http.get("/static/house.css", headers={"if-none-match": '"other"'})
    assert other.status_code == 200
