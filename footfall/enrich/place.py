"""Country, region and city of an address, looked up offline.

Nothing here remembers an address: a lookup takes less than a microsecond (iptocc) or a few (MaxMind), so there is no
cache to keep one in.
"""

from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

import iptocc
import maxminddb

from footfall.errors import Misconfigured

_ADDRESS_CHARS_MAX = 45
"""The longest form of an IPv6 address, ::ffff:255.255.255.255 written out."""


class Place(NamedTuple):
    """Where an address is, as far as a database knows. Empty strings where it does not."""

    country: str = ""
    """ISO 3166-1 alpha-2, upper case."""
    region: str = ""
    """ISO 3166-2 subdivision, as "US-CA"; only from a city database."""
    city: str = ""
    """English name; only from a city database."""


NOWHERE = Place()


class Places:
    """The lookup. With *database*, a MaxMind .mmdb file (country or city) decides; without, the countries of iptocc.

    Raises Misconfigured where the file is missing or no MaxMind database.
    """

    def __init__(self, database: Path | None = None) -> None:
        self._reader: maxminddb.Reader | None = None
        if database is not None:
            try:
                self._reader = maxminddb.open_database(database)
            except (OSError, maxminddb.InvalidDatabaseError) as error:
                raise Misconfigured(
                    f"GEOIP_DATABASE: {str(database)!r} can not be read as a MaxMind database: {error}"
                ) from error

    def of(self, ip: str) -> Place:
        """The place of *ip*. Private, loopback and malformed addresses are nowhere. Never raises."""
        if not ip or len(ip) > _ADDRESS_CHARS_MAX or not ip.isascii():
            return NOWHERE
        if ip.startswith("::ffff:") and "." in ip:
            ip = ip[7:]
        if self._reader is None:
            country = iptocc.country_code(ip)
            return Place(country) if country else NOWHERE
        return self._of_database(self._reader, ip)

    def _of_database(self, reader: maxminddb.Reader, ip: str) -> Place:
        try:
            address = ip_address(ip)
            found = reader.get(address) if address.is_global else None
        except (ValueError, maxminddb.InvalidDatabaseError):
            # ValueError: no address, or IPv6 in an IPv4 database. A damaged record is no reason to lose the event.
            return NOWHERE
        if not isinstance(found, Mapping):
            return NOWHERE
        country = _text(found, "country", "iso_code") or _text(found, "registered_country", "iso_code")
        subdivisions = found.get("subdivisions")
        first = subdivisions[0] if isinstance(subdivisions, list) and subdivisions else None
        region = _text({"": first}, "", "iso_code")
        return Place(
            country.upper(),
            f"{country.upper()}-{region}" if country and region else "",
            _text(found, "city", "names", "en"),
        )

    def close(self) -> None:
        """Let go of the database file."""
        if self._reader is not None:
            self._reader.close()


def _text(record: Mapping[str, object], *keys: str) -> str:
    """The text at the end of *keys*, or an empty string where the way breaks off."""
    value: object = record
    for key in keys:
        if not isinstance(value, Mapping):
            return ""
        value = value.get(key)
    return value if isinstance(value, str) else ""
