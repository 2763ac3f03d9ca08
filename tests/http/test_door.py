"""Who may read over HTTP, and from where."""

import asyncio
from pathlib import Path

import httpx
import pytest

from footfall.registry.base import Scope
from footfall.settings import AuthMode, Settings
from tests.running import Running, running

READING = ("/api/stats?site_id=shop", "/api/sites", "/api/ledger", "/metrics")
CLOSED = Settings(auth=AuthMode.ON)


async def status(footfall: Running, path: str, headers: dict[str, str] | None = None) -> int:
    return (await footfall.http.get(path, headers=headers)).status_code


@pytest.mark.parametrize("path", READING)
async def test_the_quick_start_needs_no_key(tmp_path: Path, path: str) -> None:
    async with running(tmp_path) as footfall:
        assert await status(footfall, path) == 200


@pytest.mark.parametrize("path", READING)
async def test_where_the_door_is_closed_reading_needs_a_key_with_the_right_scope(tmp_path: Path, path: str) -> None:
    async with running(tmp_path, CLOSED) as footfall:
        response = await footfall.http.get(path)
        assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
        assert response.json()["success"] is False
        assert await status(footfall, path, await footfall.key(Scope.INGEST)) == 403
        assert await status(footfall, path, await footfall.key(Scope.READ)) == 200
        assert await status(footfall, path, await footfall.key(Scope.ADMIN)) == 200
        assert await status(footfall, path, {"authorization": "Bearer ff_wrong"}) == 401


async def test_who_may_not_ask_is_not_told_what_would_be_wrong_with_the_question(tmp_path: Path) -> None:
    async with running(tmp_path, CLOSED) as footfall:
        assert await status(footfall, "/api/stats?nonsense=1") == 401


async def test_a_key_for_one_site_sees_that_site_alone(tmp_path: Path) -> None:
    async with running(tmp_path, CLOSED) as footfall:
        await footfall.send(site_id="shop")
        await footfall.send(site_id="blog")
        key = await footfall.key(Scope.READ, site_ids=("shop",))
        assert await status(footfall, "/api/stats?site_id=shop", key) == 200
        assert await status(footfall, "/api/stats?site_id=blog", key) == 403
        assert await status(footfall, "/api/ledger?site_id=shop", key) == 200
        assert await status(footfall, "/api/ledger", key) == 403
        assert await status(footfall, "/metrics", key) == 403
        listed = (await footfall.http.get("/api/sites", headers=key)).json()["data"]
        assert ([site["id"] for site in listed["sites"]], listed["total"]) == (["shop"], 1)


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via", "X-Forwarded-Proto"])
async def test_a_proxy_in_front_never_opens_the_door(tmp_path: Path, header: str) -> None:
    async with running(tmp_path) as footfall:
        assert await status(footfall, "/api/sites", {header: "127.0.0.1"}) == 401
        assert (await footfall.http.get("/api/health", headers={header: "x"})).json() == {"status": "ok"}


NGINX = (
    b"%s HTTP/1.0\r\nHost: 127.0.0.1:3000\r\nConnection: close\r\n"
    b"User-Agent: Mozilla/5.0 Firefox/128.0\r\nAccept: */*\r\n"
)
"""What nginx 1.28 sends for `location / { proxy_pass http://127.0.0.1:3000; }` and nothing else."""


async def answer_to(footfall: Running, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(footfall.url).port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.parametrize("path", READING)
async def test_a_stock_nginx_in_front_does_not_open_the_door(tmp_path: Path, path: str) -> None:
    async with running(tmp_path) as footfall:
        request = NGINX % f"GET {path}".encode() + b"\r\n"
        assert (await answer_to(footfall, request)).startswith(b"HTTP/1.1 401 ")
        assert (await answer_to(footfall, request.replace(b"HTTP/1.0", b"HTTP/1.1"))).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("more", [b'"ip": "198.51.100.7"', b'"timestamp": "2020-01-01T00:00:00Z"'])
async def test_through_a_stock_nginx_nobody_says_who_or_when_it_was(tmp_path: Path, more: bytes) -> None:
    async with running(tmp_path) as footfall:
        body = b'{"site_id": "shop", "event_type": "pageview", %s}' % more
        head = NGINX % b"POST /api/event" + b"Content-Type: application/json\r\n"
        request = head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        assert (await answer_to(footfall, request)).startswith(b"HTTP/1.1 403 ")
        assert (await answer_to(footfall, request.replace(b"HTTP/1.0", b"HTTP/1.1"))).startswith(b"HTTP/1.1 202 ")


async def test_a_name_that_was_pointed_at_us_does_not_open_the_door(tmp_path: Path) -> None:
    async with running(tmp_path) as footfall:
        assert await status(footfall, "/api/sites", {"host": "evil.example:3000"}) == 401
        assert await status(footfall, "/api/sites", {"host": "localhost:3000"}) == 200


async def test_a_page_elsewhere_reads_nothing_through_an_open_door(tmp_path: Path) -> None:
    async with running(tmp_path) as footfall:
        response = await footfall.http.get("/api/sites", headers={"origin": "https://evil.example"})
        assert response.status_code == 401
        assert "access-control-allow-origin" not in response.headers
        plain = await footfall.http.get("/api/sites")
        assert "access-control-allow-origin" not in plain.headers
        assert plain.headers["cross-origin-resource-policy"] == "same-origin"


async def test_a_page_elsewhere_that_holds_a_key_may_read(tmp_path: Path) -> None:
    async with running(tmp_path, CLOSED) as footfall:
        headers = {"origin": "https://board.example", **await footfall.key(Scope.READ)}
        response = await footfall.http.get("/api/sites", headers=headers)
        assert (response.status_code, response.headers["access-control-allow-origin"]) == (200, "*")
        assert "access-control-allow-credentials" not in response.headers
        preflight = await footfall.http.options("/api/sites", headers={"origin": "https://board.example"})
        assert "authorization" in preflight.headers["access-control-allow-headers"]


async def test_with_auth_off_everybody_may_read(tmp_path: Path) -> None:
    async with running(tmp_path, Settings(auth=AuthMode.OFF)) as footfall:
        assert await status(footfall, "/api/sites", {"x-forwarded-for": "203.0.113.9", "host": "stats.example"}) == 200


async def test_the_pages_need_no_key(tmp_path: Path) -> None:
    async with running(tmp_path, CLOSED) as footfall:
        for path in ("/", "/docs", "/openapi.json", "/static/home.js", "/favicon.ico"):
            assert await status(footfall, path) == 200


async def test_nothing_of_the_request_but_its_path_is_logged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running(tmp_path) as footfall:
        secret = {"authorization": "Bearer ff_top-secret", "x-forwarded-for": "203.0.113.77"}
        await footfall.http.get("/api/sites?private=1", headers=secret)
    logged = "".join(capsys.readouterr())
    assert "/api/sites" in logged
    for hidden in ("top-secret", "203.0.113.77", "127.0.0.1", "private"):
        assert hidden not in logged
