"""Country, region and city of an address."""

import ipaddress
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from footfall.enrich.place import NOWHERE, Place, Places
from footfall.errors import Misconfigured

INTEGER_KINDS = {
    "node_count": 6,
    "record_size": 5,
    "ip_version": 5,
    "binary_format_major_version": 5,
    "binary_format_minor_version": 5,
    "build_epoch": 9,
    "city": 6,
}
"""uint16, uint32 and uint64 as the format asks for them."""


def _encode(value: object, key: str = "") -> bytes:
    """One value in MaxMind DB format 2.0 (maxmind.github.io/MaxMind-DB), as far as this test needs it."""
    if isinstance(value, str):
        raw = value.encode()
        assert len(raw) < 29
        return bytes([2 << 5 | len(raw)]) + raw
    if isinstance(value, int):
        raw = value.to_bytes((value.bit_length() + 7) // 8)
        kind = INTEGER_KINDS[key]
        return (bytes([kind << 5 | len(raw)]) if kind < 8 else bytes([len(raw), kind - 7])) + raw
    if isinstance(value, dict):
        return bytes([7 << 5 | len(value)]) + b"".join(
            _encode(name) + _encode(item, name) for name, item in value.items()
        )
    assert isinstance(value, list)
    return bytes([len(value), 11 - 7]) + b"".join(_encode(item) for item in value)


def write_mmdb(path: Path, network: str, record: object) -> Path:
    """An .mmdb file, IPv4, 24-bit records, that knows one network."""
    net = ipaddress.ip_network(network)
    bits = [int(net.network_address) >> (31 - position) & 1 for position in range(net.prefixlen)]
    nodes = len(bits)
    tree = b""
    for position, bit in enumerate(bits):
        following = position + 1 if position + 1 < nodes else nodes + 16
        pair = (nodes, following) if bit else (following, nodes)
        tree += b"".join(struct.pack(">I", side)[1:] for side in pair)
    metadata = {
        "node_count": nodes,
        "record_size": 24,
        "ip_version": 4,
        "database_type": "Test-City",
        "languages": ["en"],
        "binary_format_major_version": 2,
        "binary_format_minor_version": 0,
        "build_epoch": 1_700_000_000,
        "description": {"en": "test"},
    }
    path.write_bytes(tree + bytes(16) + _encode(record) + b"\xab\xcd\xefMaxMind.com" + _encode(metadata))
    return path


@pytest.mark.parametrize(
    ("ip", "country"),
    [("8.8.8.8", "US"), ("2001:4860:4860::8888", "US"), ("::ffff:8.8.8.8", "US"), ("83.149.9.216", "RU")],
)
def test_a_public_address_has_a_country(ip: str, country: str) -> None:
    assert Places().of(ip) == Place(country)


@pytest.mark.parametrize(
    "ip",
    [
        "",
        "10.0.0.1",
        "192.168.1.1",
        "127.0.0.1",
        "::1",
        "fe80::1",
        "fc00::1",
        "100.64.0.1",
        "abc",
        "1.2.3.4:80",
        "8.8.8",
    ],
)
def test_private_loopback_and_malformed_addresses_are_nowhere(ip: str, tmp_path: Path) -> None:
    database = write_mmdb(tmp_path / "city.mmdb", "10.0.0.0/8", {"country": {"iso_code": "FR"}})
    assert Places().of(ip) == NOWHERE
    assert Places(database).of(ip) == NOWHERE


@given(st.text())
def test_any_string_is_looked_up_without_a_failure(ip: str) -> None:
    assert isinstance(Places().of(ip), Place)


def test_a_city_database_gives_region_and_city(tmp_path: Path) -> None:
    record = {
        "country": {"iso_code": "FR"},
        "subdivisions": [{"iso_code": "IDF"}],
        "city": {"names": {"en": "Paris", "de": "Paris"}},
    }
    places = Places(write_mmdb(tmp_path / "city.mmdb", "81.2.69.0/24", record))
    assert places.of("81.2.69.160") == Place("FR", "FR-IDF", "Paris")
    assert places.of("81.2.70.160") == NOWHERE
    assert places.of("2001:4860:4860::8888") == NOWHERE
    assert places.of("no address") == NOWHERE
    places.close()


def test_a_country_database_gives_the_country_alone(tmp_path: Path) -> None:
    places = Places(write_mmdb(tmp_path / "country.mmdb", "81.2.69.0/24", {"registered_country": {"iso_code": "GB"}}))
    assert places.of("81.2.69.160") == Place("GB")
    places.close()


def test_a_record_of_another_shape_is_nowhere(tmp_path: Path) -> None:
    places = Places(write_mmdb(tmp_path / "odd.mmdb", "81.2.69.0/24", {"country": "FR", "subdivisions": [], "city": 5}))
    assert places.of("81.2.69.160") == NOWHERE
    places.close()


@pytest.mark.parametrize("content", [None, b"", b"no database at all"])
def test_a_file_that_is_no_database_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "broken.mmdb"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Misconfigured, match=r"GEOIP_DATABASE.*broken\.mmdb"):
        Places(path)
