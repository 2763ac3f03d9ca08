"""Referrer spam: hosts that send requests only so that their name stands in somebody's report."""

import re
from functools import lru_cache
from importlib.resources import files

HOSTS_CACHED_MAX = 4_096

_COMMENT = "#"


def _read() -> frozenset[str]:
    lines = files("footfall.enrich.data").joinpath("spam_referrers.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(host for line in lines if (host := line.partition(_COMMENT)[0].strip()))


SPAM_HOSTS = _read()

_FAMILIES = re.compile(
    r"(?:^|\.)(?:"
    r"[a-z0-9-]*(?:semalt|darodar|hulfingtonpost|bottraffic|o-o-\d+-o-o)[a-z0-9-]*|"
    r"[a-z0-9-]*(?:share|social|floating)-?buttons?-?(?:for-[a-z-]+|[ivx]+|\d*)|buttons-for-[a-z-]+|"
    r"(?:get-)?free-(?:[a-z]+-)*traffic(?:-now)?|bot-traffic\d*|social-traffic-\d+|"
    r"traffic(?:2cash|2money|monetizer?|genius|-cash)|"
    r"(?:eu-)?cookie-law-enforcement-?[a-z0-9]*|law-enforcement-(?:[a-z-]+)|"
    r"compliance-(?:alexa?|andrew|barak|brian|don|donald|elena|fred|george|irvin|ivan|john|julianna)|"
    r"\d+-(?:best-seo|reasons-for-seo|free-share-buttons)|auto-?seo-(?:service|traffic)|anti-crisis-seo|"
    r"ilove?v?italy|ilikevitaly|keywords-monitoring-(?:your-)?success|"
    r"get(?:-clickize|fy-click|py-click)|1xbet[a-z-]*|1xslots?[a-z-]*|"
    r"(?:kabinet|bonus|login|lk)-[a-z-]*(?:bank|vtb|sber|tinkoff|megafon|beeline|gosuslugi)[a-z-]*"
    r")\.(?:com|net|org|info|xyz|ru|co|top|site|online|club|host|live|icu|shop|tk|ml|ga|cf|gq|space|website|pro|fun|blue)$"
)
"""Names that come back with a new number or ending as soon as one is blocked."""


@lru_cache(maxsize=HOSTS_CACHED_MAX)
def is_spam_host(host: str) -> bool:
    """Whether *host* (lower case, no www) is, or lies under, a spammer's; one look-up per label, then the families."""
    rest = host
    while rest:
        if rest in SPAM_HOSTS:
            return True
        rest = rest.partition(".")[2]
    return _FAMILIES.search(host) is not None
