"""CLICKHOUSE_URL -> where the server is and who we are there."""

import re
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from footfall.errors import Misconfigured

_SCHEMES = {
    "http": ("http", 8123),
    "https": ("https", 8443),
    "clickhouse": ("http", 8123),
    "clickhouses": ("https", 8443),
}
_OPTIONS = {"ca_cert": "the path of a certificate authority's file", "verify": "true or false"}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class ServerAddress(msgspec.Struct, frozen=True):
    """A server, a database in it, a user. The password shows in no text that is made of it."""

    interface: str
    host: str
    port: int
    database: str
    user: str
    password: str
    ca_cert: str | None = None
    verify: bool = True

    def __repr__(self) -> str:
        return f"ServerAddress({self.place}, database {self.database})"

    @property
    def place(self) -> str:
        """For logs and messages."""
        return f"{self.interface}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def server_address(url: str) -> ServerAddress:
    """The address that *url* says: http(s)://user:password@host:port/database?option=value; database "default" if none.

    Raises Misconfigured with all that is wrong.
    """
    parts = urlsplit(url)
    problems = []
    interface, port = _SCHEMES.get(parts.scheme, ("http", 8123))
    try:
        port = parts.port or port
    except ValueError:
        problems.append("CLICKHOUSE_URL: its port is not a number from 1 to 65535")
    if parts.scheme not in _SCHEMES or not parts.hostname:
        problems.append("CLICKHOUSE_URL: is not http(s)://user:password@host:port/database")
    database = unquote(parts.path).strip("/") or "default"
    if not _NAME.fullmatch(database):
        problems.append(f"CLICKHOUSE_URL: {database!r} is no name of a database: letters, digits and _ only")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in options.keys() - _OPTIONS.keys():
        known = ", ".join(f"{each} ({what})" for each, what in _OPTIONS.items())
        problems.append(f"CLICKHOUSE_URL: knows no option {name!r}, only {known}")
    if options.get("verify", "true") not in {"true", "false"}:
        problems.append("CLICKHOUSE_URL: verify is true or false")
    if problems:
        raise Misconfigured(*problems)
    return ServerAddress(
        interface=interface,
        host=parts.hostname or "",
        port=port,
        database=database,
        user=unquote(parts.username or "default"),
        password=unquote(parts.password or ""),
        ca_cert=options.get("ca_cert"),
        verify=options.get("verify", "true") == "true",
    )
