"""Importing access logs."""

import asyncio
import gzip
import io
import re
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from footfall.collect.admit import Admission
from footfall.enrich.bot import is_bot
from footfall.enrich.place import Places
from footfall.enrich.source import is_spam_referrer
from footfall.errors import Invalid, Unavailable
from footfall.event import Event, decode
from footfall.queue.sqlite import SqliteQueue
from footfall.registry.sqlite import SqliteRegistry
from footfall.sites import Sites
from footfall.tools import import_log, log_files
from footfall.tools.access_log import Line, Unreadable, instant_ms, parse
from footfall.tools.import_log import Summary, import_logs, render
from footfall.tools.pages import is_asset
from footfall.visitor import Salts
from tests.real_log import REAL_LOG

CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
)
SITE = "example.org"


def a_line(
    target: str = "/page",
    *,
    address: str = "198.51.100.7",
    time: str = "17/May/2015:10:05:03 +0000",
    method: str = "GET",
    protocol: str = "HTTP/1.1",
    status: int = 200,
    referrer: str = "-",
    user_agent: str = CHROME,
) -> str:
    return f'{address} - - [{time}] "{method} {target} {protocol}" {status} 512 "{referrer}" "{user_agent}"'


class Room:
    """A queue, a registry and the steps, as `footfall import log` has them."""

    def __init__(self, folder: Path, queue: SqliteQueue, admission: Admission) -> None:
        self.folder = folder
        self.queue = queue
        self.admission = admission
        self.files = 0

    def file(self, *lines: str | bytes) -> Path:
        self.files += 1
        path = self.folder / f"access-{self.files}.log"
        path.write_bytes(b"".join((line if isinstance(line, bytes) else line.encode()) + b"\n" for line in lines))
        return path

    async def take(self, *lines: str | bytes) -> tuple[Summary, list[Event]]:
        return await self.take_files(self.file(*lines))

    async def take_files(
        self, *files: log_files.File, stdin: io.BufferedReader | None = None
    ) -> tuple[Summary, list[Event]]:
        summary = await import_logs(files, SITE, self.admission, self.queue, stdin=stdin)
        return summary, await self.drain()

    async def drain(self) -> list[Event]:
        events: list[Event] = []
        while deliveries := await self.queue.reserve(100, 60):
            events += [decode(payload) for delivery in deliveries for payload in delivery.payloads]
            await self.queue.ack(deliveries)
        return events


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    registry = await SqliteRegistry.open(tmp_path / "registry.sqlite")
    queue = await SqliteQueue.open(
        tmp_path / "queue.sqlite", attempts=5, backoff_ms=1_000, max_bytes=1 << 30, fsync=False
    )
    sites = Sites(registry, auto_create=True)
    yield Room(tmp_path, queue, Admission(sites, Salts(registry), Places()))
    await sites.close()
    await queue.close()
    await registry.close()


# --- reading lines ---------------------------------------------------------------------------------------------------


def read(text: str | bytes) -> Line:
    line = parse(text if isinstance(text, bytes) else text.encode())
    assert isinstance(line, Line), line
    return line


def test_a_combined_line_is_read_whole() -> None:
    line = read(a_line("/a?b=c", referrer="https://t.co/x", status=304, address="83.149.9.216"))
    assert line == Line("83.149.9.216", "", 1_431_857_103_000, "GET", "/a?b=c", 304, "https://t.co/x", CHROME)


def test_a_common_line_says_nothing_of_the_user_agent() -> None:
    line = read('127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326')
    assert (line.address, line.target, line.referrer, line.user_agent) == ("127.0.0.1", "/apache_pb.gif", "", None)
    assert line.at_ms == 971_211_336_000


@pytest.mark.parametrize(
    ("text", "part", "expected"),
    [
        (a_line(address="2001:db8::1"), "address", "2001:db8::1"),
        (a_line(address="::1"), "address", "::1"),
        (a_line(address="crawl.example.net"), "address", "crawl.example.net"),
        (a_line(address="-"), "address", ""),
        ("Example.org:443 " + a_line(), "hostname", "example.org"),
        ("example.org:443 " + a_line(), "address", "198.51.100.7"),
        (a_line("http://Shop.Example.org:8080/cart?id=1"), "hostname", "shop.example.org"),
        (a_line("http://shop.example.org:8080/cart?id=1"), "target", "/cart?id=1"),
        (a_line("https://shop.example.org"), "target", "/"),
        (a_line("http://user@[2001:db8::1]:80?x"), "target", "/?x"),
        (a_line(protocol="HTTP/2.0"), "method", "GET"),
        (a_line(protocol="HTTP/3"), "method", "GET"),
        (a_line("/with spaces in it"), "target", "/with spaces in it"),
        (a_line(user_agent=r"say \"hello\" \\ \x41"), "user_agent", 'say "hello" \\ A'),
        (a_line(user_agent=r"\xe2\x98\x83"), "user_agent", "☃"),
        (a_line(user_agent='loose "quotes" inside'), "user_agent", 'loose "quotes" inside'),
        (a_line(user_agent="-"), "user_agent", ""),
        (a_line() + ' "203.0.113.9" 0.004', "user_agent", CHROME),
        (a_line(user_agent="☃").encode(), "user_agent", "☃"),
        (a_line(user_agent="caf\xe9").encode("latin-1"), "user_agent", "caf\ufffd"),
        (a_line(referrer="-"), "referrer", ""),
        (a_line().replace("- - [", "- Jo Smith ["), "address", "198.51.100.7"),
        (r'198.51.100.7 - - [17/May/2015:10:05:03 +0000] "\x16\x03\x01\x02" 400 226 "-" "-"', "method", ""),
        ('198.51.100.7 - - [17/May/2015:10:05:03 +0000] "-" 408 - "-" "-"', "method", ""),
        ('198.51.100.7 - - [17/May/2015:10:05:03 +0000] "" 400 0 "-" "-"', "method", ""),
        (a_line(time="2015-05-17T12:05:03+02:00"), "at_ms", 1_431_857_103_000),
    ],
)
def test_what_servers_write_is_understood(text: str | bytes, part: str, expected: object) -> None:
    assert getattr(read(text), part) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no log at all",
        '{"json": "log"}',
        a_line()[:60],
        a_line(time="31/Feb/2015:10:00:00 +0000"),
        a_line(time="yesterday!!"),
    ],
)
def test_a_line_that_is_none_is_a_value_with_a_reason(text: str) -> None:
    found = parse(text.encode())
    assert isinstance(found, Unreadable)
    assert found.reason


@pytest.mark.parametrize(
    ("when", "at_ms"),
    [
        ("17/May/2015:10:05:03 +0000", 1_431_857_103_000),
        ("17/May/2015:15:35:03 +0530", 1_431_857_103_000),
        ("17/May/2015:03:05:03 -0700", 1_431_857_103_000),
        ("31/Dec/2016:23:59:60 +0000", 1_483_228_799_000),
        ("31/Dec/1969:23:59:59 +0000", None),
        ("2015-05-17T10:05:03", None),
        ("17/Foo/2015:10:05:03 +0000", None),
        ("17/May/2015:25:05:03 +0000", None),
    ],
)
def test_times_are_read_with_their_offset(when: str, at_ms: int | None) -> None:
    assert instant_ms(when) == at_ms


@given(st.binary(max_size=300))
def test_any_bytes_are_a_line_or_none(raw: bytes) -> None:
    assert isinstance(parse(raw), Line | Unreadable)


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_inside_the_quotes_is_survived(referrer: str, user_agent: str) -> None:
    found = parse(a_line(referrer=referrer, user_agent=user_agent).encode("utf-8", "surrogatepass"))
    assert isinstance(found, Line | Unreadable)


# --- what is a page --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/about",
        "/a.b/c",
        "/index.html",
        "/page.php?id=1",
        "/release-2.0",
        "/feedback",
        "/?format=print",
        "/rss-explained",
        "/x.y.z",
    ],
)
def test_a_page_is_no_asset(target: str) -> None:
    assert not is_asset(target)


@pytest.mark.parametrize(
    "target",
    [
        "/s.css",
        "/a/B.JPG?v=2",
        "/robots.txt",
        "/favicon.ico",
        "/sitemap.xml",
        "/sitemap_index.xml.gz",
        "/feed",
        "/blog/feed/",
        "/index.xml",
        "/?flav=rss20",
        "/blog?x=1&feed=rss2",
        "/.well-known/security.txt",
        "/f.woff2",
        "/paper.pdf",
        "/app.js.map",
    ],
)
def test_assets_feeds_and_robot_files_are_no_pages(target: str) -> None:
    assert is_asset(target)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (a_line(method="POST"), "not_get"),
        (a_line(method="HEAD"), "not_get"),
        (a_line(status=404), "status"),
        (a_line(status=301), "status"),
        (a_line(status=500), "status"),
        (a_line("/style.css"), "asset"),
        (a_line("*"), "no_request"),
        (r'198.51.100.7 - - [17/May/2015:10:05:03 +0000] "\x16\x03" 400 226 "-" "-"', "no_request"),
        (a_line("/" + "x" * 3_000), "path_too_long"),
        (a_line(time="17/May/2215:10:05:03 +0000"), "ahead"),
        (a_line(user_agent="Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"), "bot"),
        (a_line(user_agent="-"), "bot"),
        (a_line(referrer="http://semalt.semalt.com/crawler.php"), "spam_referrer"),
    ],
)
async def test_a_line_that_is_no_visit_is_counted_by_reason_and_queued_nowhere(
    room: Room, line: str, reason: str
) -> None:
    summary, events = await room.take(line, a_line("/kept"))
    assert summary.dropped == {reason: 1}
    assert [event.path for event in events] == ["/kept"]
    assert (summary.lines, summary.accepted) == (2, 1)


# --- the import ------------------------------------------------------------------------------------------------------


async def test_a_line_becomes_a_pageview_with_all_that_it_says(room: Room) -> None:
    target = "/a?utm_source=weekly&utm_medium=email&id=1&gclid=x"
    line = a_line(target, status=304, address="83.149.9.216", referrer="https://www.google.com/search?q=secret")
    summary, (event,) = await room.take(line)
    assert (event.site_id, event.name, event.path, event.hostname) == (SITE, "pageview", "/a?id=1", "example.org")
    assert (event.occurred_at_ms, event.import_id) == (1_431_857_103_000, summary.import_id)
    assert (event.source, event.channel, event.click_id) == ("weekly", "Email", "gclid")
    assert (event.referrer, event.country) == ("google.com/search", "RU")
    assert (event.browser, event.os, event.device) == ("Chrome", "Windows", "Desktop")
    assert event.visitor_id
    assert (summary.first_at_ms, summary.last_at_ms) == (1_431_857_103_000, 1_431_857_103_000)


async def test_no_address_is_in_what_is_queued(room: Room) -> None:
    await import_logs([room.file(a_line(address="83.149.9.216"))], SITE, room.admission, room.queue)
    for path in room.folder.glob("queue.sqlite*"):
        assert b"83.149.9.216" not in path.read_bytes()


async def test_clicks_from_page_to_page_are_no_referrals(room: Room) -> None:
    _, (event,) = await room.take(a_line(referrer="https://www.example.org/"))
    assert (event.referrer, event.source, event.channel) == ("", "", "Direct")


async def test_one_visitor_is_one_for_a_day_and_another_on_the_next(room: Room) -> None:
    _, events = await room.take(
        a_line("/1"),
        a_line("/2"),
        a_line("/3", address="198.51.100.8"),
        a_line("/4", time="18/May/2015:10:05:03 +0000"),
    )
    first, second, other, tomorrow = (event.visitor_id for event in events)
    assert first == second
    assert len({first, other, tomorrow}) == 3


async def test_the_same_file_again_brings_the_same_keys_and_twins_are_two(room: Room) -> None:
    lines = [a_line("/a"), a_line("/a"), a_line("/b")]
    _, first = await room.take(*lines)
    _, second = await room.take(*lines)
    keys = [event.key for event in first]
    assert len(set(keys)) == 3
    assert keys == [event.key for event in second]
    assert not {event.id for event in first} & {event.id for event in second}


async def test_a_file_that_grew_was_packed_or_overlaps_brings_the_same_keys_for_the_same_lines(room: Room) -> None:
    lines = [a_line(f"/{number}") for number in range(6)]
    _, old = await room.take(*lines[:4])
    packed = room.folder / "packed.gz"
    packed.write_bytes(gzip.compress("\r\n".join(lines).encode()))
    _, grown = await room.take_files(packed)
    _, overlapping = await room.take(*lines[2:])
    assert [event.key for event in grown][:4] == [event.key for event in old]
    assert [event.key for event in grown][2:] == [event.key for event in overlapping]


async def test_two_sites_keep_the_same_line_apart(room: Room) -> None:
    _, (here,) = await room.take(a_line())
    await import_logs([room.file(a_line())], "another", room.admission, room.queue)
    (there,) = await room.drain()
    assert here.key != there.key


async def test_unreadable_lines_are_named_by_number_and_hold_nothing_up(room: Room) -> None:
    long = a_line("/" + "x" * log_files.LINE_BYTES_MAX)
    exact = a_line(user_agent="x")
    exact = exact[:-1] + "y" * (log_files.LINE_BYTES_MAX - len(exact)) + '"'
    summary, events = await room.take("garbage", "", a_line("/a"), long, a_line("/b"), exact, b"\xff\xfe\x00")
    assert [(place.line, place.reason) for place in summary.first_unreadable] == [
        (1, "is no line of an access log"),
        (4, "is longer than 65536 bytes"),
        (7, "is no line of an access log"),
    ]
    assert [event.path for event in events] == ["/a", "/b", "/page"]
    assert summary.lines == 6
    assert summary.unreadable == 3


async def test_only_the_first_unreadable_lines_are_kept(room: Room) -> None:
    summary, _ = await room.take(*["garbage"] * 50)
    assert summary.unreadable == 50
    assert len(summary.first_unreadable) == import_log.UNREADABLE_SHOWN_MAX


async def test_standard_input_is_read_packed_or_not(room: Room) -> None:
    plain = a_line("/stdin").encode()
    for content in (plain, gzip.compress(plain)):
        summary, (event,) = await room.take_files("-", stdin=io.BufferedReader(io.BytesIO(content)))
        assert (event.path, summary.accepted) == ("/stdin", 1)


async def test_a_packed_file_that_breaks_off_gives_what_it_has_and_says_so(room: Room) -> None:
    lines = "\n".join(a_line(f"/{number}?{number * 7919}") for number in range(20_000)).encode()
    packed = gzip.compress(lines)
    path = room.folder / "cut.gz"
    path.write_bytes(packed[: len(packed) // 2])
    summary, events = await room.take_files(path)
    assert 1_000 < len(events) < 20_000
    assert len(summary.broken) == 1
    assert "cut.gz breaks off after line" in summary.broken[0]


async def test_a_wrong_name_among_the_files_is_told_before_anything_is_taken_in(room: Room) -> None:
    with pytest.raises(Invalid, match=r"missing\.log can not be read"):
        await room.take_files(room.file(a_line()), room.folder / "missing.log", room.folder)
    with pytest.raises(Invalid, match="files must name"):
        await room.take_files()
    with pytest.raises(Invalid, match="site_id"):
        await import_logs([room.file(a_line())], "no site", room.admission, room.queue)
    assert (await room.queue.depth()).received_events == 0


async def test_a_full_queue_is_waited_for_and_nothing_is_lost(room: Room, tmp_path: Path) -> None:
    small = await SqliteQueue.open(
        tmp_path / "small.sqlite", attempts=5, backoff_ms=1_000, max_bytes=1 << 20, fsync=False
    )
    lines = [a_line(f"/{number}/{'x' * 200}") for number in range(9_000)]
    task = asyncio.create_task(import_logs([room.file(*lines)], SITE, room.admission, small, patience_s=60))
    paths: list[str] = []
    was_full = False
    while not task.done() or (await small.depth()).unfinished_events:
        depth = await small.depth()
        was_full = was_full or depth.unfinished_events > 2_000
        for delivery in await small.reserve(1, 60):
            paths += [decode(payload).path for payload in delivery.payloads]
            await small.ack([delivery])
        await asyncio.sleep(0.01)
    summary = await task
    assert summary.accepted == len(paths) == len(set(paths)) == 9_000
    await small.close()


async def test_a_queue_that_stays_full_ends_the_import_with_its_own_words(room: Room, tmp_path: Path) -> None:
    small = await SqliteQueue.open(
        tmp_path / "small.sqlite", attempts=5, backoff_ms=1_000, max_bytes=1 << 20, fsync=False
    )
    lines = [a_line(f"/{number}/{'x' * 200}") for number in range(9_000)]
    with pytest.raises(Unavailable):
        await import_logs([room.file(*lines)], SITE, room.admission, small, patience_s=0.1)
    await small.close()


async def test_the_summary_is_printed_with_every_count(room: Room) -> None:
    summary, _ = await room.take(a_line(), a_line("/x.css"), "garbage [bold]")
    console = Console(file=io.StringIO(), width=100)
    render(summary, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for expected in ("read", "accepted", "dropped: asset", "unreadable", "line 3: is no line", summary.import_id):
        assert expected in text


async def test_the_real_log_agrees_with_a_recount_by_other_means(room: Room) -> None:
    summary, events = await room.take_files(REAL_LOG)
    pattern = re.compile(r'^(\S+) \S+ \S+ \[[^]]+\] "([A-Z]+) (\S+)[^"]*" (\d+) \S+ "([^"]*)" "(.*)"$')
    counts: Counter[str] = Counter()
    pages: Counter[str] = Counter()
    with gzip.open(REAL_LOG, "rt", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            found = pattern.match(line.rstrip("\n"))
            if not found:
                counts["unreadable"] += 1
                continue
            _, method, target, status, referrer, user_agent = found.groups()
            if method != "GET":
                counts["not_get"] += 1
            elif not (status.startswith("2") or status == "304"):
                counts["status"] += 1
            elif is_asset(target):
                counts["asset"] += 1
            elif user_agent == "-" or is_bot(user_agent):
                counts["bot"] += 1
            elif is_spam_referrer(referrer):
                counts["spam_referrer"] += 1
            else:
                pages[re.sub(r"[?&]utm_.*", "", target)] += 1
    assert summary.lines == 10_000
    # The log's publishers cut one line short.
    assert summary.unreadable == counts.pop("unreadable") == 1
    assert summary.dropped == counts
    assert summary.accepted == len(events) == pages.total()
    assert Counter(event.path for event in events) == pages
    assert pages.most_common(1)[0][0] == "/projects/xdotool/"
    assert len({event.key for event in events}) == len(events)


def test_a_summary_can_be_written_as_json() -> None:
    assert msgspec.json.decode(msgspec.json.encode(Summary("x")))["import_id"] == "x"
