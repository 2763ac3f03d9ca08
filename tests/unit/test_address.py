"""Who sends a request, and which forwarding headers are believed."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from footfall import address
from footfall.address import Sender, sender_of

PROXIES = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"))


def scope(peer: str | None, *headers: tuple[str, str]) -> dict[str, object]:
    return {
        "type": "http",
        "client": None if peer is None else (peer, 1234),
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers],
    }


def ip_of(peer: str | None, *headers: tuple[str, str]) -> str:
    return sender_of(scope(peer, *headers), PROXIES).ip


def test_without_forwarding_headers_the_peer_is_the_sender() -> None:
    assert sender_of(scope("203.0.113.9", ("host", "x"), ("user-agent", "y")), PROXIES) == Sender("203.0.113.9", False)


def test_a_peer_that_is_no_trusted_proxy_is_not_believed_but_is_known_to_forward() -> None:
    for header in ("X-Forwarded-For", "X-Real-IP"):
        assert sender_of(scope("203.0.113.9", (header, "1.2.3.4")), PROXIES) == Sender("203.0.113.9", True)
    assert sender_of(scope("203.0.113.9", ("Forwarded", "for=1.2.3.4")), ()) == Sender("203.0.113.9", True)


@pytest.mark.parametrize("header", ["Via", "X-Forwarded-Proto", "X-Forwarded-Host", "CF-Connecting-IP", "Forwarded"])
def test_every_forwarding_header_says_that_there_is_a_proxy(header: str) -> None:
    assert sender_of(scope("127.0.0.1", (header, "")), ()).is_forwarded


def test_the_rightmost_address_that_is_not_a_trusted_proxy_is_the_sender() -> None:
    assert ip_of("10.0.0.1", ("X-Forwarded-For", "6.6.6.6, 203.0.113.9, 10.0.0.2")) == "203.0.113.9"


def test_several_header_lines_are_one_list() -> None:
    lines = (("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-For", "10.0.0.2"))
    assert ip_of("10.0.0.1", *lines) == "203.0.113.9"


def test_where_all_are_trusted_the_farthest_is_the_sender() -> None:
    assert ip_of("10.0.0.1", ("X-Forwarded-For", "10.0.0.3, 10.0.0.2")) == "10.0.0.3"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("garbage", "10.0.0.1"),
        ("", "10.0.0.1"),
        (",,,", "10.0.0.1"),
        ("203.0.113.9, unknown", "10.0.0.1"),
        ("203.0.113.9, unknown, 10.0.0.2", "10.0.0.2"),
        ("203.0.113.9:4711", "203.0.113.9"),
        ("[2001:db8::9]:4711", "2001:db8::9"),
        ("2001:DB8:0::9", "2001:db8::9"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("256.1.1.1", "10.0.0.1"),
    ],
)
def test_an_entry_that_is_no_address_ends_the_walk(value: str, expected: str) -> None:
    assert ip_of("10.0.0.1", ("X-Forwarded-For", value)) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("for=203.0.113.9", "203.0.113.9"),
        ('For="[2001:db8::9]:4711";proto=https;by=10.0.0.1', "2001:db8::9"),
        ("for=6.6.6.6, for=203.0.113.9;proto=http, for=10.0.0.2", "203.0.113.9"),
        ('for="203.0.113.9:80" , for="10.0.0.2"', "203.0.113.9"),
        ("for=203.0.113.9, for=_hidden", "10.0.0.1"),
        ("for=203.0.113.9, proto=https", "10.0.0.1"),
        ('for=203.0.113.9, for="unclosed', "10.0.0.1"),
        ("for=unknown", "10.0.0.1"),
        ("nonsense", "10.0.0.1"),
    ],
)
def test_the_forwarded_header_is_read_as_rfc_7239_says(value: str, expected: str) -> None:
    assert ip_of("10.0.0.1", ("Forwarded", value)) == expected


def test_x_real_ip_is_believed_last() -> None:
    assert ip_of("10.0.0.1", ("X-Real-IP", "203.0.113.9")) == "203.0.113.9"
    assert ip_of("10.0.0.1", ("X-Real-IP", "6.6.6.6"), ("X-Forwarded-For", "203.0.113.9")) == "203.0.113.9"


def test_an_ipv4_address_written_as_ipv6_is_written_plainly_and_is_trusted_as_such() -> None:
    assert ip_of("::ffff:203.0.113.9") == "203.0.113.9"
    assert ip_of("::ffff:10.0.0.1", ("X-Forwarded-For", "203.0.113.9")) == "203.0.113.9"


def test_an_ipv6_proxy_can_be_trusted() -> None:
    assert ip_of("fd00::1", ("X-Forwarded-For", "203.0.113.9")) == "203.0.113.9"


def test_a_unix_socket_has_no_address_and_vouches_for_nothing() -> None:
    assert sender_of(scope(None), PROXIES) == Sender("", False)
    assert sender_of(scope(None, ("X-Forwarded-For", "203.0.113.9")), PROXIES) == Sender("", True)


def test_a_chain_without_end_is_not_walked_to_its_end() -> None:
    assert ip_of("10.0.0.1", ("X-Forwarded-For", "203.0.113.9, " + ", ".join(["10.0.0.2"] * 5_000))) == "10.0.0.2"


@given(st.sampled_from(["x-forwarded-for", "forwarded", "x-real-ip"]), st.text(st.characters(max_codepoint=255)))
def test_whatever_a_header_holds_the_sender_is_an_address(name: str, value: str) -> None:
    ipaddress.ip_address(ip_of("10.0.0.1", (name, value)))


def test_what_came_as_http_1_0_may_have_come_through_a_proxy() -> None:
    for version, is_forwarded in (("0.9", True), ("1.0", True), ("1.1", False), ("2", False), ("3", False)):
        sent = {**scope("127.0.0.1", ("host", "127.0.0.1:3000")), "http_version": version}
        assert sender_of(sent, PROXIES) == Sender("127.0.0.1", is_forwarded), version


@pytest.mark.parametrize(
    "header",
    ["CDN-Loop", "Tailscale-User-Login", "True-Client-IP", "X-Azure-ClientIP", "X-Original-URL", "Forwarded-For"],
)
def test_a_header_that_only_one_kind_of_proxy_writes_says_so_too(header: str) -> None:
    assert sender_of(scope("127.0.0.1", (header, "x")), ()).is_forwarded


def test_the_first_forwarding_header_that_is_not_believed_is_warned_of_once_and_without_an_address() -> None:
    address._warn_of_unbelieved.cache_clear()
    with capture_logs() as logs:
        sender_of(scope("10.0.0.1", ("X-Forwarded-For", "198.51.100.7")), PROXIES)
        sender_of(scope("10.0.0.1", ("Via", "1.1 proxy")), PROXIES)
        assert logs == []
        for peer in ("203.0.113.9", "203.0.113.10"):
            sender_of(scope(peer, ("X-Forwarded-For", "198.51.100.7")), PROXIES)
    (line,) = logs
    assert line["log_level"] == "warning"
    assert "TRUSTED_PROXIES" in line["event"]
    assert "203.0.113" not in repr(line)
    assert "198.51.100" not in repr(line)
