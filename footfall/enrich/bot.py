"""Bots known by their user agents: crawlers, HTTP libraries, monitors, headless browsers.

The patterns are those of the crawler-user-agents package and our own table. They are matched as one set by the engine
that ua-parser uses (Rust's regex-filtered: one scan for literals, then only the patterns whose literals were there).
Measured on the 558 user agents of a real log: 4 microseconds for one never seen before, against 186 for the package's
own Python alternations.
"""

import re
from functools import cache, lru_cache
from importlib.metadata import distribution
from pathlib import Path

import msgspec
import ua_parser_rs

from footfall.enrich.data.bots import BOTS
from footfall.enrich.text import readable

CACHE_ENTRIES_MAX = 4_096


class _Crawler(msgspec.Struct):
    pattern: str


class _Bots:
    """The matcher and, by the index that it returns, the names."""

    def __init__(self) -> None:
        # Read as a file: importing the package would keep every example user agent in memory.
        path = Path(str(distribution("crawler-user-agents").locate_file("crawleruseragents/crawler-user-agents.json")))
        listed = msgspec.json.decode(path.read_bytes(), type=list[_Crawler])
        patterns = [crawler.pattern for crawler in listed] + [pattern for _, pattern in BOTS]
        self.names = [_readable_name(crawler.pattern) for crawler in listed] + [name for name, _ in BOTS]
        self.matcher = ua_parser_rs.UserAgentExtractor(
            (pattern, str(index), None, None, None, None) for index, pattern in enumerate(patterns)
        )


def _readable_name(pattern: str) -> str:
    """`[sS]emrush\\/` -> `Semrush`: a pattern of the list as something that a person can read."""
    name = re.sub(r"\[(\w)\w\]", lambda match: match[1].upper(), pattern)
    name = re.sub(r"\(\^\| \)|\(\[\^[^)]*\)|\\[dbs][+*]?|[\^$?*+]", "", name)
    return name.replace("\\", "").strip("/ ;(")


_bots = cache(_Bots)


def bot_name(user_agent: str) -> str:
    """The name of the bot that *user_agent* is, or an empty string. An empty user agent is no bot: the caller decides.

    Never raises. The first call builds the matcher (about 40 ms, 8 MB); see warm_up.
    """
    return _bot_name(readable(user_agent)) if user_agent else ""


@lru_cache(maxsize=CACHE_ENTRIES_MAX)
def _bot_name(user_agent: str) -> str:
    bots = _bots()
    found = bots.matcher.extract(user_agent)
    return bots.names[int(found.family)] if found else ""


def is_bot(user_agent: str) -> bool:
    """Whether *user_agent* names a program that nobody sits in front of."""
    return bot_name(user_agent) != ""


def warm_up() -> None:
    """Build the matcher now, so that no request pays for it."""
    _bots()
