"""Where a visitor came from: referrer, campaign parameters and click ids -> a source and a channel.

The channels are those of Google Analytics 4, by its public rule for manual traffic ("Default channel group",
support.google.com/analytics/answer/9756891), with "AI Assistants" beside them. Only hosts are remembered in a cache,
never a query.
"""

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_plus

from footfall.enrich.data.sources import CLICKS, SOURCES
from footfall.enrich.spam import is_spam_host
from footfall.event import SHORT_TEXT_CHARS_MAX, TEXT_CHARS_MAX

HOST_CHARS_MAX = 253
QUERY_CHARS_MAX = 4_096
HOSTS_CACHED_MAX = 4_096


class SourceInfo(NamedTuple):
    """How a visit came about. Empty strings where nothing is known; *channel* is never empty."""

    referrer: str
    """Host without www, and path; no scheme, query or fragment, for a query may hold what somebody typed."""
    source: str
    """A name from our table, a host, or what utm_source says; empty for direct visits."""
    channel: str
    utm_source: str
    utm_medium: str
    utm_campaign: str
    utm_content: str
    utm_term: str
    click_id: str
    """The name of the click parameter that was there, not its value."""


class Site(NamedTuple):
    """A known sender of visitors."""

    name: str
    kind: str
    """search, ai, social, video, audio, shopping, email or referral."""


class Campaign(NamedTuple):
    """What a query string says of a campaign. Every text is decoded, trimmed and cut."""

    utm_source: str = ""
    utm_medium: str = ""
    utm_campaign: str = ""
    utm_content: str = ""
    utm_term: str = ""
    click_id: str = ""
    ref: str = ""
    """The parameter `ref` or `source`, which sites like Product Hunt put where utm_source belongs."""


_NO_CAMPAIGN = Campaign()
_UTM = ("utm_source", "utm_medium", "utm_campaign", "utm_content", "utm_term")
_PLAIN = frozenset({*_UTM, "ref", "source"})
_CLICK_ORDER = {name: place for place, name in enumerate(CLICKS)}

_REFERRER = re.compile(r"(?:(https?|android-app|ios-app):)?//([^/?#\\]*)([^?#]*)", re.IGNORECASE)
_BARE = re.compile(r"((?:[a-z0-9_-]+\.)+[a-z][a-z0-9-]+)(?::\d+)?(/[^?#]*)?(?:[?#]|$)", re.IGNORECASE)
_HOST = re.compile(r"[\w.-]+|\[[0-9a-f:.]+\]")
_PAID = re.compile(r".*cp.*|ppc|retargeting|paid.*", re.DOTALL)
_SHOP = re.compile(r"(?:.*[^a-df-z]|)shop.*|.*shopping.*", re.DOTALL)
_EMAIL = frozenset({"email", "e-mail", "e_mail", "e mail", "newsletter"})  # newsletter is ours, not Google's
_SOCIAL = frozenset({"social", "social-network", "social-media", "sm", "social network", "social media"})
_DISPLAY = frozenset({"display", "banner", "expandable", "interstitial", "cpm"})
_DIRECT_SOURCES = frozenset({"(direct)", "direct"})
_REFERRAL = frozenset({"referral", "app", "link"})
_PAID_CLICKS = frozenset({"Paid Search", "Paid Social", "Display", "Affiliates"})
_PUSH = re.compile(r"mobile|notification")
_AI = frozenset({"ai", "ai-assistant", "ai_assistant", "llm", "chatbot"})
_ENDING = re.compile(r"[a-z]{2,3}|(?:com?|org|net)\.[a-z]{2}")


def _tables() -> tuple[dict[str, Site], dict[str, Site], dict[str, Site]]:
    exact: dict[str, Site] = {}
    any_ending: dict[str, Site] = {}
    by_name: dict[str, Site] = {}
    for kind, name, hosts, aliases in SOURCES:
        site = Site(name, kind)
        by_name[name.lower()] = site
        by_name.update((alias, site) for alias in aliases.split())
        for host in hosts.split():
            if host.endswith(".*"):
                any_ending[host[:-2]] = site
            else:
                exact[host] = site
    return exact, any_ending, by_name


_EXACT, _ANY_ENDING, _BY_NAME = _tables()


@lru_cache(maxsize=HOSTS_CACHED_MAX)
def site_of(host: str) -> Site | None:
    """The known site that *host* (lower case, no port) belongs to; the longest entry of the table decides."""
    labels = host.split(".")
    for start in range(len(labels)):
        if site := _EXACT.get(".".join(labels[start:])):
            return site
        for end in range(len(labels) - 1, max(start, len(labels) - 3), -1):
            site = _ANY_ENDING.get(".".join(labels[start:end]))
            if site and _ENDING.fullmatch(".".join(labels[end:])):
                return site
    return None


def split_referrer(referrer: str) -> tuple[str, str]:
    """Host (lower case; no www, port or user) and path of a referrer; two empty strings where there is none.

    Takes http, https, android-app and ios-app addresses, and bare hosts as some senders write them.
    """
    referrer = referrer[:TEXT_CHARS_MAX].strip()
    if found := _REFERRER.match(referrer):
        host, path = found[2].rpartition("@")[2].lower(), found[3]
        if not host.startswith("["):
            host = host.partition(":")[0]
        elif "]" in host:
            host = host.partition("]")[0] + "]"
    elif found := _BARE.match(referrer):
        host, path = found[1].lower(), found[2] or ""
    else:
        return "", ""
    host = host.removeprefix("www.").strip(".")
    if not host or len(host) > HOST_CHARS_MAX or not _HOST.fullmatch(host):
        return "", ""
    return host, "" if path == "/" else path


def is_spam_referrer(referrer: str) -> bool:
    """Whether *referrer* is an address that shows up in reports only to be clicked on. Never raises."""
    host, _ = split_referrer(referrer)
    return bool(host) and is_spam_host(host)


def take_campaign(query: str) -> Campaign:
    """The campaign in a page's *query* (without the question mark). Names in any case; the first of each counts."""
    if not query:
        return _NO_CAMPAIGN
    found: dict[str, str] = {}
    click = ""
    for pair in query[:QUERY_CHARS_MAX].split("&"):
        name, _, value = pair.partition("=")
        name = name.lower()
        if name in _PLAIN:
            if value and name not in found:
                found[name] = unquote_plus(value).strip()[:SHORT_TEXT_CHARS_MAX]
        elif value and name in CLICKS and (not click or _CLICK_ORDER[name] < _CLICK_ORDER[click]):
            click = name
    if not found and not click:
        return _NO_CAMPAIGN
    source, medium, name, content, term = (found.get(utm, "") for utm in _UTM)
    return Campaign(source, medium, name, content, term, click, found.get("ref") or found.get("source", ""))


def source_of(referrer: str, query: str, hostname: str) -> SourceInfo:
    """The source of a page that was asked for with *query*, from *referrer*, on the site's own *hostname*.

    utm_source speaks first, then the referrer, then a click id, then `ref`. A referrer on the own host is none: what
    was clicked there is part of the same visit. Never raises.
    """
    host, path = split_referrer(referrer) if referrer else ("", "")
    if host and hostname and host == hostname.lower().partition(":")[0].removeprefix("www."):
        host = path = ""
    campaign = take_campaign(query)
    if campaign.utm_source:
        source, site = _named(campaign.utm_source)
    elif host:
        site = site_of(host)
        source = site.name if site else host
    elif campaign.click_id and CLICKS[campaign.click_id][0]:
        source = CLICKS[campaign.click_id][0]
        site = _BY_NAME[source.lower()]
    elif campaign.ref:
        source, site = _named(campaign.ref)
    else:
        source, site = "", None
    return SourceInfo(host + path, source, _channel(source, site, campaign), *campaign[:6])


def _named(text: str) -> tuple[str, Site | None]:
    """What somebody wrote for a source: a name or a host of the table, or else the text as it is."""
    key = text.lower()
    if key in _DIRECT_SOURCES:
        return "", None
    site = _BY_NAME.get(key)
    if site is None and "." in key and len(key) <= HOST_CHARS_MAX:
        site = site_of(key.removeprefix("www."))
    return (site.name if site else text), site


_ORGANIC = {
    "shopping": "Organic Shopping",
    "social": "Organic Social",
    "video": "Organic Video",
    "search": "Organic Search",
    "ai": "AI Assistants",
    "email": "Email",
    "audio": "Audio",
    "referral": "Referral",
}


def _channel(source: str, site: Site | None, campaign: Campaign) -> str:
    """The channel: Google's rules in Google's order for what is tagged, the kind of site for what is not."""
    kind = site.kind if site else ""
    if campaign is _NO_CAMPAIGN:
        return _ORGANIC[kind] if kind else ("Referral" if source else "Direct")
    click = CLICKS[campaign.click_id][1] if campaign.click_id else ""
    medium = campaign.utm_medium.lower()
    if not medium and (click in _PAID_CLICKS or click == "Organic Shopping"):
        return click
    name = campaign.utm_campaign.lower()
    lower = source.lower()
    paid = _PAID.fullmatch(medium) is not None
    shop = kind == "shopping" or (name != "" and _SHOP.fullmatch(name) is not None)
    for claim, channel in (
        ("cross-network" in name or medium == "cross-network", "Cross-network"),
        (paid and shop, "Paid Shopping"),
        (paid and kind == "search", "Paid Search"),
        (paid and (kind == "social" or "social" in medium), "Paid Social"),
        (paid and kind == "video", "Paid Video"),
        (medium in _DISPLAY, "Display"),
        (paid, "Paid Other"),
        (medium in _EMAIL or lower in _EMAIL, "Email"),
        (shop, "Organic Shopping"),
        (kind == "social" or medium in _SOCIAL, "Organic Social"),
        (kind == "video" or "video" in medium, "Organic Video"),
        (kind == "ai" or medium in _AI, "AI Assistants"),
        (kind == "search" or medium == "organic", "Organic Search"),
        (medium in {"affiliate", "affiliates"}, "Affiliates"),
        (kind == "email", "Email"),
        (kind == "audio" or medium == "audio", "Audio"),
        (medium == "sms" or lower == "sms", "SMS"),
        (medium.endswith("push") or _PUSH.search(medium) is not None or lower == "firebase", "Mobile Push"),
        (click != "", click),
        (source != "" or medium in _REFERRAL, "Referral"),
        (medium in {"", "none", "(none)", "(not set)"}, "Direct"),
    ):
        if claim:
            return channel
    return "Unassigned"
