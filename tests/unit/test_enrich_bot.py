"""Bots by their user agents."""

import gzip
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from footfall.enrich import bot
from footfall.enrich.bot import bot_name, is_bot
from footfall.enrich.text import readable
from tests.real_log import REAL_LOG

WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
CHROME = f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/126.0.0.0 Safari/537.36"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.4 Mobile/15E148 Safari/604.1"
)

BROWSERS = [
    CHROME,
    IPHONE,
    CHROME.replace("Safari/537.36", "Safari/537.36 Edg/126.0.0.0"),
    CHROME.replace("Safari/537.36", "Safari/537.36 OPR/112.0.0.0"),
    "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
    "Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko",
    f"Mozilla/5.0 (Linux; Android 10; CUBOT X30) {WEBKIT} Chrome/96.0 Mobile Safari/537.36",
    (f"Mozilla/5.0 (Linux; Android 13; Pixel 7; wv) {WEBKIT} Version/4.0 Chrome/126.0.0.0 Mobile Safari/537.36"),
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 "
        "[FBAN/FBIOS;FBAV/460.0.0.31.103;FBBV/591234567;FBDV/iPhone15,2;FBMD/iPhone;FBSN/iOS;FBSV/17.4;FBSS/3;FBLC/en_US]"
    ),
    (f"Mozilla/5.0 (Linux; Android 14; SM-S918B) {WEBKIT} SamsungBrowser/25.0 Chrome/121.0.0.0 Mobile Safari/537.36"),
    "Mozilla/5.0 (PlayStation; PlayStation 5/2.26) AppleWebKit/605.1.15 (KHTML, like Gecko) Safari/605.1.15",
    "Opera/9.80 (J2ME/MIDP; Opera Mini/9.80 (S60; SymbOS; Opera Mobi/23.348; U; en) Presto/2.5.25 Version/10.54",
    (
        f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {WEBKIT} Slack/4.38.125 "
        "Chrome/124.0.6367.207 Electron/30.0.9 Safari/537.36"
    ),
    "Dalvik/2.1.0 (Linux; U; Android 14; Pixel 8 Build/AP1A.240405.002)",
]

BOTS = [
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; PerplexityBot/1.0; +https://perplexity.ai/bot)",
    "meta-externalagent/1.1 (+https://developers.facebook.com/docs/sharing/webmasters/crawler)",
    "Mozilla/5.0 (compatible; ClaudeBot/1.0; +claudebot@anthropic.com)",
    CHROME.replace("Chrome/", "HeadlessChrome/"),
    "Mozilla/5.0 (Unknown; Linux x86_64) AppleWebKit/538.1 (KHTML, like Gecko) PhantomJS/2.1.1 Safari/538.1",
    "curl/8.5.0",
    "Wget/1.21.4",
    "python-requests/2.31.0",
    "python-httpx/0.28.1",
    "Python/3.12 aiohttp/3.9.5",
    "Go-http-client/1.1",
    "okhttp/4.12.0",
    "axios/1.7.2",
    "node",
    "undici",
    "Java/17.0.9",
    "Ruby",
    "GuzzleHttp/7",
    "PostmanRuntime/7.39.0",
    "kube-probe/1.29",
    "ELB-HealthChecker/2.0",
    "Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)",
    "Mozilla/5.0 (compatible; Nmap Scripting Engine; https://nmap.org/book/nse.html)",
    "Screaming Frog SEO Spider/20.1",
    "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
    "Mozilla/5.0 (compatible; Ezooms/1.0; help@moz.com)",
    "UniversalFeedParser/4.2-pre-314-svn +http://feedparser.org/",
    "Mozilla/5.0",
    "Mozilla/4.0 (compatible;)",
    "-",
]


@pytest.mark.parametrize("user_agent", BROWSERS)
def test_a_browser_is_no_bot(user_agent: str) -> None:
    assert bot_name(user_agent) == ""
    assert not is_bot(user_agent)


@pytest.mark.parametrize("user_agent", BOTS)
def test_a_bot_is_known_and_has_a_name(user_agent: str) -> None:
    assert is_bot(user_agent)
    assert bot_name(user_agent)


def test_the_name_is_one_that_a_person_can_read() -> None:
    assert bot_name(BOTS[0]) == "Googlebot"
    assert bot_name("Wget/1.21.4") == "Wget"


def test_an_empty_user_agent_is_left_to_the_caller() -> None:
    assert not is_bot("")


def test_every_pattern_of_our_table_compiles_and_every_name_reads() -> None:
    names = bot._bots().names
    assert all(names), [index for index, name in enumerate(names) if not name]
    assert not any("\\" in name for name in names)


@given(st.text())
def test_any_string_is_judged_and_the_cache_changes_nothing(user_agent: str) -> None:
    first = bot_name(user_agent)
    assert first == bot_name(user_agent)
    if user_agent:
        assert first == bot._bot_name.__wrapped__(readable(user_agent))


@given(st.text(st.characters(categories=["Cs", "Cc", "Lu"])))
def test_lone_surrogates_and_control_characters_are_no_reason_to_fail(user_agent: str) -> None:
    assert is_bot(user_agent) in {True, False}


def test_a_megabyte_of_user_agent_is_cut_first() -> None:
    assert is_bot("curl/8 " + "x" * 1_000_000)
    assert not is_bot(CHROME + " " * 1_000_000 + "Googlebot")


def test_in_a_real_log_all_that_is_left_looks_like_a_browser() -> None:
    seen: Counter[str] = Counter()
    with gzip.open(REAL_LOG, "rt", encoding="latin-1") as lines:
        for line in lines:
            if found := re.search(r'"([^"]*)"\s*$', line):
                seen[found[1]] += 1
    left = Counter({user_agent: count for user_agent, count in seen.items() if not is_bot(user_agent)})
    assert sum(left.values()) > 6_500
    suspicious = re.compile(r"bot|crawl|spider|fetch|monitor|http:|https:|@", re.IGNORECASE)
    # A toolbar of old Internet Explorers put a shop's address into the user agents of real people.
    assert [user_agent for user_agent in left if suspicious.search(user_agent)] == [
        "Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1; SV1; http://www.tropicdesigns.net)"
    ]
