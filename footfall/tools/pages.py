"""Which lines of an access log are pageviews."""

import re

from footfall.event import FUTURE_MAX_S, PATH_CHARS_MAX
from footfall.tools.access_log import Line

ASSETS = frozenset(
    ending
    for endings in (
        "css js mjs map json jsonp wasm xml xsl xslt webmanifest appcache htc yml yaml toml",
        "png jpg jpeg jpe gif webp avif svg svgz bmp tif tiff heic apng ico cur ani",
        "woff woff2 ttf otf eot",
        "mp3 mp4 m4a m4v ogg ogv oga opus wav flac webm avi mov mkv mpg mpeg m3u8 ts vtt srt swf flv",
        "zip gz tgz tar bz2 xz zst 7z rar jar war deb rpm dmg pkg exe msi apk iso img bin dat torrent",
        "pdf ps eps doc docx xls xlsx ppt pptx odt ods odp csv tsv epub mobi txt ics vcf",
        "rss atom rdf",
        "pem crt key sig asc md5 sha1 sha256 log bak sql db sqlite env ini conf",
    )
    for ending in endings.split()
)
"""Endings that are no pages, whatever the server sends for them: style and data, pictures, fonts, sound and film,
archives, documents, feeds, and what nobody should find. robots.txt, sitemaps and favicons are among them."""

_NO_PAGE = re.compile(
    r"/(?:favicon|apple-touch-icon|sitemap[^/]*|browserconfig|\.well-known(?:/.*)?|\.git/.*|wp-json/.*|xmlrpc\.php"
    r"|wp-cron\.php|(?:.*/)?(?:feeds?|rss2?|atom|rdf|feed/(?:rss2?|atom|rdf))/?)$",
    re.IGNORECASE,
)
_FEED_QUERY = re.compile(
    r"(?:^|&)(?:feed|flav|flavou?r|format|type|output)=(?:rss|atom|rdf|feed|xml|json)", re.IGNORECASE
)


def is_asset(target: str) -> bool:
    """True for a request target (path and query) that is a file, a feed or something for robots, and no page."""
    path, _, query = target.partition("?")
    _, dot, ending = path.rpartition("/")[2].rpartition(".")
    if dot and ending.lower() in ASSETS:
        return True
    return _NO_PAGE.match(path) is not None or (query != "" and _FEED_QUERY.search(query) is not None)


def no_page(line: Line, now_ms: int) -> str:
    """Why *line* is no pageview; empty where it is one. A page is what GET got with 2xx, or 304 for a known one."""
    for claim, reason in (
        (not line.method, "no_request"),
        (line.method != "GET", "not_get"),
        (not 200 <= line.status < 300 and line.status != 304, "status"),
        (not line.target.startswith("/"), "no_request"),
        (len(line.target) > PATH_CHARS_MAX, "path_too_long"),
        (line.at_ms > now_ms + FUTURE_MAX_S * 1_000, "ahead"),
    ):
        if claim:
            return reason
    return "asset" if is_asset(line.target) else ""
