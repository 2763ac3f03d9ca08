"""Browser, system and device of a user agent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from footfall.enrich import client
from footfall.enrich.client import UNKNOWN, ClientInfo, client_of
from footfall.enrich.text import readable

KHTML = "(KHTML, like Gecko)"
APPLE = f"AppleWebKit/605.1.15 {KHTML}"
WEBKIT = f"AppleWebKit/537.36 {KHTML}"


@pytest.mark.parametrize(
    ("user_agent", "expected"),
    [
        (
            f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/126.0.0.0 Safari/537.36",
            ClientInfo("Chrome", "126", "Windows", "10", "Desktop"),
        ),
        (
            f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {APPLE} Version/17.4 Safari/605.1.15",
            ClientInfo("Safari", "17.4", "macOS", "10.15", "Desktop"),
        ),
        (
            (f"Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) {APPLE} Version/17.4 Mobile/15E148 Safari/604.1"),
            ClientInfo("Safari", "17.4", "iOS", "17.4", "Mobile"),
        ),
        (
            (
                f"Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) {APPLE} CriOS/126.0.6478.54 "
                "Mobile/15E148 Safari/604.1"
            ),
            ClientInfo("Chrome", "126", "iOS", "17.4", "Mobile"),
        ),
        (
            (f"Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) {APPLE} Version/16.6 Mobile/15E148 Safari/604.1"),
            ClientInfo("Safari", "16.6", "iOS", "16.6", "Tablet"),
        ),
        (
            f"Mozilla/5.0 (Linux; Android 14; Pixel 8) {WEBKIT} Chrome/126.0.0.0 Mobile Safari/537.36",
            ClientInfo("Chrome", "126", "Android", "14", "Mobile"),
        ),
        (
            f"Mozilla/5.0 (Linux; Android 13; SM-X700) {WEBKIT} Chrome/126.0.0.0 Safari/537.36",
            ClientInfo("Chrome", "126", "Android", "13", "Tablet"),
        ),
        (
            "Mozilla/5.0 (Android 14; Mobile; rv:127.0) Gecko/127.0 Firefox/127.0",
            ClientInfo("Firefox", "127", "Android", "14", "Mobile"),
        ),
        (
            "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
            ClientInfo("Firefox", "127", "Ubuntu", "", "Desktop"),
        ),
        (
            f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {WEBKIT} Chrome/126.0.0.0 Safari/537.36",
            ClientInfo("Chrome", "126", "ChromeOS", "14541", "Desktop"),
        ),
        (
            "Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; Tablet PC 2.0; rv:11.0) like Gecko",
            ClientInfo("Internet Explorer", "11", "Windows", "7", "Desktop"),
        ),
        (
            f"Mozilla/5.0 (PlayStation; PlayStation 5/2.26) {APPLE} Version/13.0 Safari/605.1.15",
            ClientInfo("Safari", "13.0", "", "", "Console"),
        ),
        (
            f"Mozilla/5.0 (Web0S; Linux/SmartTV) {WEBKIT} Chrome/94.0.4606.128 Safari/537.36",
            ClientInfo("Chrome", "94", "Web0S", "", "TV"),
        ),
        (
            (
                f"Mozilla/5.0 (Windows NT 10.0; Win64; x64; Xbox; Xbox One) {WEBKIT} Chrome/126 Safari/537.36"
                " Edg/126.0.0.0"
            ),
            ClientInfo("Edge", "126", "Windows", "10", "Console"),
        ),
        ("something else", ClientInfo("", "", "", "", "Other")),
    ],
)
def test_a_user_agent_says_browser_system_and_device(user_agent: str, expected: ClientInfo) -> None:
    assert client_of(user_agent) == expected


def test_an_empty_user_agent_says_nothing() -> None:
    assert client_of("") == UNKNOWN == ("", "", "", "", "")


@given(st.text())
def test_any_string_is_read_and_the_cache_changes_nothing(user_agent: str) -> None:
    first = client_of(user_agent)
    assert first == client_of(user_agent)
    if user_agent:
        assert first == client._client_of.__wrapped__(readable(user_agent))
        assert first.device in {"Desktop", "Mobile", "Tablet", "TV", "Console", "Other"}


@given(st.text(st.characters(categories=["Cs", "Cc"])))
def test_lone_surrogates_and_control_characters_are_no_reason_to_fail(user_agent: str) -> None:
    assert isinstance(client_of(user_agent), ClientInfo)


def test_the_cache_is_bounded() -> None:
    assert client._client_of.cache_parameters()["maxsize"] == client.CACHE_ENTRIES_MAX
