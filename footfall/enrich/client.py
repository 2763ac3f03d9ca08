"""Browser, operating system and kind of device, read from a user agent.

The patterns are uap-core's, through ua-parser's Rust engine: 20 microseconds for a user agent never seen before, a
fraction of one for a known one. uap-core's device patterns are not loaded: they name makes and models, which nobody
asks for, and cost as much again; what kind of device it is, is decided here. An iPad that calls itself a Macintosh is
a Desktop: its user agent says nothing else.
"""

from functools import cache, lru_cache
from operator import attrgetter
from typing import NamedTuple

import ua_parser_rs
from ua_parser.loaders import load_lazy_builtins

from footfall.enrich.text import readable

CACHE_ENTRIES_MAX = 4_096


class ClientInfo(NamedTuple):
    """What a user agent says of the visitor's software. Empty strings where it says nothing."""

    browser: str = ""
    browser_version: str = ""
    """Major; major.minor for Safari and its kin, whose minor releases bring features."""
    os: str = ""
    os_version: str = ""
    """Major, and minor where there is one: 10.15, 17.4, 11, XP."""
    device: str = ""
    """Desktop, Mobile, Tablet, TV, Console or Other."""


UNKNOWN = ClientInfo()

BROWSER_NAMES = {
    "AndroidBrowser": "Android Browser",
    "Android": "Android Browser",
    "Amazon Silk": "Silk",
    "Apple Mail": "Apple Mail",
    "Brave Mobile": "Brave",
    "Chrome Mobile": "Chrome",
    "Chrome Mobile iOS": "Chrome",
    "Chrome Mobile WebView": "Android WebView",
    "Chrome Frame": "Internet Explorer",
    "DuckDuckGo Mobile": "DuckDuckGo",
    "Edge Mobile": "Edge",
    "Firefox Beta": "Firefox",
    "Firefox Focus": "Firefox",
    "Firefox Mobile": "Firefox",
    "Firefox iOS": "Firefox",
    "HuaweiBrowser": "Huawei Browser",
    "IE": "Internet Explorer",
    "IE Mobile": "Internet Explorer",
    "IE Large Screen": "Internet Explorer",
    "MiuiBrowser": "Mi Browser",
    "Mobile Safari": "Safari",
    "Mobile Safari UI/WKWebView": "iOS WebView",
    "MobileSafari": "Safari",
    "Opera Coast": "Opera",
    "Opera GX": "Opera",
    "Opera Mobile": "Opera",
    "Opera Touch": "Opera",
    "Opera Tablet": "Opera",
    "Samsung Internet": "Samsung Internet",
    "UC Browser": "UC Browser",
    "Vivaldi Mobile": "Vivaldi",
    "Yandex Browser": "Yandex",
    "YaBrowser": "Yandex",
}
"""uap-core names the phone's edition of a browser apart; a report asks for the browser, with the device beside it."""

MINOR_MATTERS = frozenset({"Safari", "iOS WebView"})
OS_NAMES = {
    "Mac OS X": "macOS",
    "Mac OS": "macOS",
    "Chrome OS": "ChromeOS",
    "Chromecast": "Chromecast",
    "ATV OS X": "tvOS",
}
OS_MAJOR_ONLY = frozenset({"ChromeOS", "Linux", "Ubuntu", "Fedora", "Debian"})

DEVICES: tuple[tuple[str, str], ...] = (
    ("Console", r"PlayStation|Nintendo|Xbox|\bPSP\b|Steam ?Deck"),
    (
        "TV",
        (
            r"(?i)smart-?tv|\bhbbtv|apple ?tv|\btvos|\bcrkey|\broku|\bbravia|android ?tv|google ?tv"
            r"|\baft[a-z]|netcast|web0s|webos\.tv"
            r"|\bviera|\bdtv\b|\bvidaa|philipstv|\btv\b"
        ),
    ),
    # Before the tablets: Internet Explorer on Windows says "Tablet PC" on any machine.
    ("Desktop", r"Windows NT (?:[0-57-9]|6\.[013-9]|10)|Macintosh|\bCrOS\b"),
    ("Mobile", r"(?i)\bsilk/.*mobile"),
    ("Tablet", r"(?i)ipad|\btablet\b|kindle|playbook|touchpad|\bsilk/|\bsm-[tx]\d|\bnexus (?:7|9|10)\b|\bxoom\b"),
    (
        "Mobile",
        (
            r"(?i)\bmobile|mobile[/ ]|iphone|ipod|windows (?:phone|ce)|blackberry|\bbb10\b|opera m(?:ini|obi)"
            r"|\bmidp|\bwap\b|symbian|symbos"
            r"|series ?[46]0|nokia|openwave|up\.browser|ucweb|\bdalvik|\bkaios|\bphone\b"
            r"|\bmaui\b|fennec|semc-browser|^instagram"
        ),
    ),
    # Google's rule for the user agent of Chrome: a telephone says "Mobile", a tablet does not.
    ("Tablet", r"Android"),
    (
        "Desktop",
        r"(?i)windows|mac os x|mac_powerpc|x11|linux|bsd|sunos|solaris|haiku|cygwin|\bwin(?:9[58]|nt)|darwin.*x86_64",
    ),
)
"""Kind of device by pattern, the first match decides."""


class _Patterns:
    def __init__(self) -> None:
        browsers, systems, _ = load_lazy_builtins()
        columns = attrgetter("regex", "family", "major", "minor", "patch", "patch_minor")
        self.browser = ua_parser_rs.UserAgentExtractor(map(columns, browsers))
        self.os = ua_parser_rs.OSExtractor(map(columns, systems))
        self.device = ua_parser_rs.UserAgentExtractor(
            (pattern, kind, None, None, None, None) for kind, pattern in DEVICES
        )


_patterns = cache(_Patterns)


def client_of(user_agent: str) -> ClientInfo:
    """What *user_agent* says. Never raises; an empty one says nothing.

    The first call builds the matchers (about 100 ms, 20 MB); see warm_up.
    """
    return _client_of(readable(user_agent)) if user_agent else UNKNOWN


@lru_cache(maxsize=CACHE_ENTRIES_MAX)
def _client_of(user_agent: str) -> ClientInfo:
    patterns = _patterns()
    browser = patterns.browser.extract(user_agent)
    system = patterns.os.extract(user_agent)
    device = patterns.device.extract(user_agent)
    browser_name = BROWSER_NAMES.get(browser.family, browser.family) if browser else ""
    os_name = OS_NAMES.get(system.family, system.family) if system else ""
    return ClientInfo(
        browser_name,
        _version(browser.major, browser.minor if browser_name in MINOR_MATTERS else None) if browser else "",
        os_name,
        _version(system.major, None if os_name in OS_MAJOR_ONLY else system.minor) if system else "",
        device.family if device else "Other",
    )


def _version(major: str | None, minor: str | None) -> str:
    if not major:
        return ""
    return f"{major}.{minor}" if minor else major


def warm_up() -> None:
    """Build the matchers now, so that no request pays for it."""
    _patterns()
