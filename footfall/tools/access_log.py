"""Access logs, line by line: Apache and nginx, common and combined, with or without the virtual host in front.

Knows nothing of sites or events. A line that can not be read is a value, Unreadable, never an exception.
"""

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

_QUOTED = r'"([^"\\]*(?:\\.[^"\\]*)*)"'
_START = (
    r"(?:([A-Za-z0-9_.-]+:\d{1,5}) )?"  # virtual host with port, as in Apache's vhost_combined
    r"(\S+) \S+ (?:\S+(?: [^\[\s]\S*)*) "  # address, ident, user; user names may hold spaces
    r"\[([^\]]{10,40})\] "
)
_LINE = re.compile(rf"{_START}{_QUOTED} (\d{{3}}) (?:\d+|-)(?: {_QUOTED} {_QUOTED}|(?= |$))", re.DOTALL)
_LOOSE = re.compile(rf'{_START}"(.*?)" (\d{{3}}) (?:\d+|-) "(.*?)" "(.*)"', re.DOTALL)
"""For servers that leave quotes inside the user agent as they are."""
_LOOSE_CHARS_MAX = 8_192
"""_LOOSE takes time with the square of a line's length where somebody made the line for that."""
_ESCAPE = re.compile(rb"\\(x[0-9A-Fa-f]{2}|.)", re.DOTALL)
_CONTROLS = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"b": b"\b", b"v": b"\v", b"f": b"\f"}
_APACHE_TIME = re.compile(r"(\d{2})/([A-Z][a-z]{2})/(\d{4}):(\d{2}):(\d{2}):(\d{2}) ([+-])(\d{2})(\d{2})")
_MONTH_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, 1)}
_PROTOCOL = re.compile(r"HTTP/\d(?:\.\d)?")
_TIMES_CACHED_MAX = 4_096


class Line(NamedTuple):
    """One request, as the server wrote it down. Empty strings where it wrote a dash or nothing."""

    address: str
    """An IP address, or a host name where the server looks names up."""
    hostname: str
    """The virtual host, or that of an absolute request target; lower case, without port."""
    at_ms: int
    """Milliseconds since 1970-01-01 UTC."""
    method: str
    """Empty where the request was no HTTP."""
    target: str
    """Path and query, as they stand in the line."""
    status: int
    referrer: str
    user_agent: str | None
    """None where the format has no such field: then its absence says nothing."""


class Unreadable(NamedTuple):
    """A line that is none, and why."""

    reason: str


def parse(raw: bytes) -> Line | Unreadable:
    """Read one line (without its line end). What is not UTF-8 becomes replacement characters."""
    text = raw.decode("utf-8", "replace")
    found = _LINE.match(text)
    if found is None or not _is_whole(text, found):
        found = _LOOSE.match(text) if len(text) <= _LOOSE_CHARS_MAX else None
    if found is None:
        return Unreadable("is no line of an access log")
    virtual_host, address, when, request, status, referrer, user_agent = found.groups()
    at_ms = instant_ms(when)
    if at_ms is None:
        return Unreadable("has a time that is none")
    method, hostname, target = _request(request)
    return Line(
        "" if address == "-" else address,
        hostname or (virtual_host or "").rpartition(":")[0].lower(),
        at_ms,
        method,
        target,
        int(status),
        _unescaped(referrer) if referrer else "",
        None if user_agent is None else _unescaped(user_agent),
    )


def _is_whole(text: str, found: re.Match[str]) -> bool:
    """False where quotes inside a field cut it short, or where the line itself was cut short inside one."""
    rest = text[found.end() : found.end() + 2]
    return not rest or (rest[0] == " " and (found[7] is not None or rest != ' "'))


def _unescaped(text: str) -> str:
    if text == "-":
        return ""
    return _ESCAPE.sub(_unescape, text.encode()).decode("utf-8", "replace") if "\\" in text else text


def _unescape(escape: re.Match[bytes]) -> bytes:
    code = escape[1]
    return bytes([int(code[1:], 16)]) if len(code) == 3 else _CONTROLS.get(code, code)


def _request(request: str) -> tuple[str, str, str]:
    """Method, host name of an absolute target, and target; three empty strings where it is no HTTP request."""
    method, _, rest = request.partition(" ")
    target, _, protocol = rest.rpartition(" ")
    if not (method.isascii() and method.isalpha() and method.isupper() and _PROTOCOL.fullmatch(protocol)):
        return "", "", ""
    if target.startswith("/"):
        return method, "", target
    scheme, separator, after = target.partition("://")
    if not separator or scheme.lower() not in {"http", "https"}:
        return method, "", target
    host = re.split(r"[/?#]", after, maxsplit=1)[0]
    path = after[len(host) :]
    host = host.rpartition("@")[2].lower()
    host = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
    return method, host, path if path.startswith("/") else "/" + path


@lru_cache(maxsize=_TIMES_CACHED_MAX)
def instant_ms(when: str) -> int | None:
    """`17/May/2015:10:05:03 +0200`, or ISO 8601 with an offset -> milliseconds since 1970; None where it is neither.

    A leap second counts as the second before it.
    """
    try:
        if found := _APACHE_TIME.fullmatch(when):
            day, month, year, hour, minute, second, sign, hours, minutes = found.groups()
            date = (int(year), _MONTHS[month], int(day))
            local = datetime(*date, int(hour), int(minute), 59 if second == "60" else int(second), tzinfo=UTC)
            offset_s = (int(hours) * 60 + int(minutes)) * 60
            at_ms = (int(local.timestamp()) - (offset_s if sign == "+" else -offset_s)) * 1_000
        else:
            iso = datetime.fromisoformat(when)
            if iso.tzinfo is None:
                return None
            at_ms = int(iso.timestamp() * 1_000)
    except (ValueError, KeyError, OverflowError):
        return None
    return at_ms if at_ms >= 0 else None
