"""Admission: each step and each reason to drop, the same for HTTP and for imports."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from footfall.collect.admit import STEPS, Admission, Incoming, Known, Origin, Override, overridden, split_page
from footfall.collect.rates import Rates
from footfall.enrich.place import Places
from footfall.errors import Overloaded
from footfall.event import DropReason, Event, decode, encode, key_of
from footfall.registry.base import Site
from footfall.registry.sqlite import SqliteRegistry
from footfall.sites import Sites
from footfall.visitor import Salts, daily_visitor_id, user_visitor_id
from tests.http.collecting import BROWSER

NOW_MS = int(datetime(2024, 1, 15, 12, tzinfo=UTC).timestamp() * 1000)
SALT = b"0123456789abcdef"
KNOWN = Known(Site("my-website", 1), SALT)


class Nothing:
    """Registry and sites of an admission that is only asked for pure steps."""


def admitted(incoming: Incoming, origin: Origin | None = None, known: Known = KNOWN) -> Event:
    registry: SqliteRegistry = Nothing()  # type: ignore[assignment]
    admission = Admission(Sites(registry, auto_create=True), Salts(registry), Places())
    return admission.admit(incoming, origin or an_origin(), known)


def an_origin(ip: str = "192.0.2.1", user_agent: str = BROWSER, *, has_key: bool = False) -> Origin:
    return Origin(ip, user_agent, NOW_MS, has_key)


def an_incoming(**changes: object) -> Incoming:
    return msgspec.structs.replace(Incoming("my-website", "pageview"), **changes)


def test_the_steps_can_be_read_aloud() -> None:
    assert [step.__name__ for step in STEPS] == [
        "refuse_unknown_site",
        "drop_bot",
        "drop_spam_referrer",
        "name_visitor",
        "name_source",
        "name_client",
        "name_place",
    ]


def test_an_event_is_named_and_enriched_and_holds_nothing_of_its_origin() -> None:
    incoming = an_incoming(
        path="/a?utm_source=news&q=1&fbclid=secret",
        referrer="https://www.google.com/search?q=private",
        event_id="e1",
        title="Title",
        hostname="example.org",
        props={"plan": "pro"},
        screen="1x1",
        language="de",
    )
    event = admitted(incoming, an_origin("8.8.8.8"))
    assert event.drop_reason == ""
    assert event.visitor_id == daily_visitor_id(SALT, "my-website", "8.8.8.8", BROWSER)
    assert (event.path, event.hostname, event.utm_source, event.click_id) == ("/a?q=1", "example.org", "news", "fbclid")
    assert (event.browser, event.os, event.device) == ("Firefox", "Linux", "Desktop")
    assert event.country == "US"
    assert event.key == key_of("my-website", "e1")
    assert len(event.id) == 16
    assert event.occurred_at_ms == event.received_at_ms == NOW_MS
    encoded = encode(event)
    assert decode(encoded) == event
    for private in (b"8.8.8.8", b"Gecko", b"private", b"secret"):
        assert private not in encoded


def test_a_named_user_is_one_visitor_from_every_address() -> None:
    at_home = admitted(an_incoming(user_id="u"), an_origin("192.0.2.1"))
    at_work = admitted(an_incoming(user_id="u"), an_origin("192.0.2.2", "curl/8"))
    assert at_home.visitor_id == at_work.visitor_id == user_visitor_id("my-website", "u")


@pytest.mark.parametrize("user_agent", ["Googlebot/2.1 (+http://www.google.com/bot.html)", "curl/8.5.0", ""])
def test_a_program_is_dropped_unless_it_names_its_user(user_agent: str) -> None:
    origin = an_origin(user_agent=user_agent)
    assert admitted(an_incoming(), origin).drop_reason == DropReason.BOT
    assert admitted(an_incoming(user_id="user-123"), origin).drop_reason == ""


def test_a_missing_user_agent_says_nothing_about_a_server_with_a_key() -> None:
    assert admitted(an_incoming(), an_origin(user_agent="", has_key=True)).drop_reason == ""
    assert admitted(an_incoming(), an_origin(user_agent="Googlebot/2.1", has_key=True)).drop_reason == DropReason.BOT


def test_a_spam_referrer_is_dropped_also_with_a_user() -> None:
    spam = an_incoming(referrer="http://semalt.com/crawler.php", user_id="u")
    assert admitted(spam).drop_reason == DropReason.SPAM_REFERRER


def test_an_unknown_site_is_dropped_before_anything_else_is_looked_at() -> None:
    assert admitted(an_incoming(), an_origin(user_agent="Googlebot"), Known(None, b"")).drop_reason == "unknown_site"


def test_a_dropped_event_keeps_what_the_ledger_needs_and_nothing_of_a_person() -> None:
    incoming = an_incoming(
        path="https://example.org/p?email=a@b.example",
        event_id="e1",
        title="T",
        hostname="h",
        props={"a": "b"},
        referrer="http://semalt.com/x",
        user_id="u",
        language="de",
    )
    event = admitted(incoming)
    assert event == Event(
        event.id,
        key_of("my-website", "e1"),
        "my-website",
        "pageview",
        NOW_MS,
        NOW_MS,
        0,
        path="/p",
        drop_reason=DropReason.SPAM_REFERRER,
    )


def test_events_of_one_request_are_each_named_for_their_own_day_and_site() -> None:
    origin = an_origin()
    yesterday = Known(Site("my-website", 1), SALT[::-1])
    first = admitted(an_incoming(), origin)
    second = admitted(an_incoming(occurred_at_ms=NOW_MS - 86_400_000), origin, yesterday)
    third = admitted(an_incoming(site_id="other"), origin)
    assert second.visitor_id == daily_visitor_id(SALT[::-1], "my-website", origin.ip, BROWSER)
    assert third.visitor_id == daily_visitor_id(SALT, "other", origin.ip, BROWSER)
    assert len({first.visitor_id, second.visitor_id, third.visitor_id}) == 3


plain_or_not = st.builds(
    Incoming,
    st.sampled_from(["my-website", "other"]),
    st.sampled_from(["pageview", "signup"]),
    path=st.sampled_from(["/", "/a", "/a?utm_source=x", "https://h.example/b?gclid=1", ""]),
    user_id=st.sampled_from(["", "u", "v"]),
    occurred_at_ms=st.sampled_from([None, NOW_MS - 1, NOW_MS - 86_400_000]),
    event_id=st.sampled_from(["", "e"]),
    referrer=st.sampled_from(["", "https://www.google.com/", "http://semalt.com/"]),
    title=st.sampled_from(["", "T"]),
    hostname=st.sampled_from(["", "h.example"]),
    screen=st.sampled_from(["", "1x1"]),
    language=st.sampled_from(["", "de"]),
    props=st.sampled_from([{}, {"a": "b"}]),
    revenue=st.sampled_from([None, Decimal(1)]),
    currency=st.just("EUR"),
    interactive=st.booleans(),
    import_id=st.sampled_from(["", "i"]),
    override=st.sampled_from([None, Override("8.8.8.8", ""), Override("", "Googlebot/2.1")]),
)


@given(st.lists(plain_or_not, max_size=8), st.sampled_from([BROWSER, "Googlebot/2.1", ""]))
def test_a_batch_becomes_exactly_what_its_events_would_become_one_by_one(
    incoming: list[Incoming], user_agent: str
) -> None:
    incoming = [one if one.revenue else msgspec.structs.replace(one, currency="") for one in incoming]
    knowns = [Known(Site(one.site_id, 1), SALT) for one in incoming]
    registry: SqliteRegistry = Nothing()  # type: ignore[assignment]
    admission = Admission(Sites(registry, auto_create=True), Salts(registry), Places())
    together = admission.admit_all(incoming, an_origin(user_agent=user_agent), knowns)
    singly = [
        admission.admit(one, overridden(one, an_origin(user_agent=user_agent)), known)
        for one, known in zip(incoming, knowns, strict=True)
    ]
    assert len({event.id for event in together}) == len(together)
    for event in (*together, *singly):
        event.id = b""
    assert together == singly


def test_an_origin_never_tells_its_address_when_printed() -> None:
    assert "192.0.2.1" not in repr(an_origin()) + f"{an_origin()!s}"


async def test_prepare_fetches_the_site_and_the_salt_of_the_day_that_the_event_happened_on(tmp_path: Path) -> None:
    registry = await SqliteRegistry.open(tmp_path / "registry", now=lambda: NOW_MS)
    sites = Sites(registry, auto_create=True)
    admission = Admission(sites, Salts(registry, now_ms=lambda: NOW_MS), Places())
    past = an_incoming(occurred_at_ms=NOW_MS - 40 * 86_400_000)
    assert admission.known(past, an_origin()) is None
    known = await admission.prepare(past, an_origin())
    assert known.site is not None
    assert known.site.id == "my-website"
    assert known.salt == await registry.salt(datetime(2023, 12, 6, tzinfo=UTC).date())
    assert admission.known(past, an_origin()) == known
    assert admission.known(an_incoming(), an_origin()) is None, "today's salt is another one"
    assert admission.known(an_incoming(user_id="u"), an_origin()) == Known(known.site, b"")
    await sites.close()
    await registry.close()


@pytest.mark.parametrize(
    ("sent", "hostname", "path", "query"),
    [
        ("/", "", "/", ""),
        ("", "", "/", ""),
        ("home", "", "home", ""),
        ("/a?b=1#c", "", "/a?b=1#c", "b=1"),
        ("/a?utm_source=x", "", "/a", "utm_source=x"),
        ("/a?UTM_Source=x&b=1&gclid=2#c", "", "/a?b=1#c", "UTM_Source=x&b=1&gclid=2"),
        ("?fbclid=1", "", "/", "fbclid=1"),
        ("/a?b=/x://y", "", "/a?b=/x://y", "b=/x://y"),
        ("https://Example.ORG:8443/A/b?q=1&utm_medium=m#frag", "example.org", "/A/b", "q=1&utm_medium=m"),
        ("HTTP://example.org", "example.org", "/", ""),
        ("https://example.org?x=1", "example.org", "/", "x=1"),
        ("https://user:secret@example.org/", "example.org", "/", ""),
        ("http://[2001:db8::1]:80/x", "[2001:db8::1]", "/x", ""),
        ("https://www.example.org/", "www.example.org", "/", ""),
        ("//example.org/x", "", "//example.org/x", ""),
    ],
)
def test_a_page_is_split_into_host_path_and_query(sent: str, hostname: str, path: str, query: str) -> None:
    assert split_page(sent) == (hostname, path, query)


@given(st.text(max_size=100))
def test_any_path_gives_a_page_with_a_path(sent: str) -> None:
    assert split_page(sent)[1]
    assert split_page("https://" + sent)[1]


class Clock:
    """Seconds, as a test wants them."""

    def __init__(self) -> None:
        self.at_s = 1_000.0

    def __call__(self) -> float:
        return self.at_s


def take(rates: Rates, key: str, events: int, per_minute: int) -> None:
    rates.check(key, events, per_minute)
    rates.take(key, events, per_minute)


def test_a_minute_of_events_may_come_at_once_and_the_next_one_after_its_share_of_a_minute() -> None:
    clock = Clock()
    rates = Rates("address", now_s=clock)
    for _ in range(60):
        take(rates, "a", 1, 60)
    with pytest.raises(Overloaded, match="more than 60 events per minute from this address") as caught:
        take(rates, "a", 1, 60)
    assert caught.value.retry_after_s == 1
    take(rates, "b", 1, 60)
    clock.at_s += 1
    take(rates, "a", 1, 60)
    with pytest.raises(Overloaded):
        take(rates, "a", 1, 60)


def test_a_batch_over_the_limit_passes_when_nothing_is_owed_and_is_owed_then() -> None:
    clock = Clock()
    rates = Rates("site", now_s=clock)
    take(rates, "s", 1_000, 100)
    with pytest.raises(Overloaded) as caught:
        take(rates, "s", 1, 100)
    assert caught.value.retry_after_s == 541
    clock.at_s += 541
    take(rates, "s", 1, 100)


def test_zero_is_no_limit_and_holds_nothing() -> None:
    rates = Rates("site")
    take(rates, "s", 10**9, 0)
    assert len(rates) == 0


def test_many_addresses_take_bounded_memory_and_who_owes_is_kept_longest() -> None:
    clock = Clock()
    rates = Rates("address", keys_max=100, now_s=clock)
    take(rates, "busy", 100, 100)
    for number in range(99):
        take(rates, f"old-{number}", 1, 100)
    clock.at_s += 30
    for number in range(99):
        take(rates, f"new-{number}", 1, 100)
        assert len(rates) <= 100
    with pytest.raises(Overloaded):
        take(rates, "busy", 60, 100)
