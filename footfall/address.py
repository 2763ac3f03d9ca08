"""Who sends a request: the address behind the proxies that are trusted, and whether there was a proxy at all."""

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final

import msgspec
import structlog

from footfall.settings import Network

log = structlog.stdlib.get_logger(__name__)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

BELIEVED: Final = (b"x-forwarded-for", b"forwarded", b"x-real-ip")
"""In this order, the first that is there. Most proxies write X-Forwarded-For, and pass the others on as they came: so
where it is there, it is the one that the proxy vouches for. A trusted proxy that writes one of the others alone must
take X-Forwarded-For out of what it passes on, or the client's own is believed: nothing in a request tells which of the
headers the proxy wrote."""

FORWARDING: Final = frozenset(BELIEVED) | {
    b"via",
    b"cdn-loop",
    b"client-ip",
    b"forwarded-for",
    b"front-end-https",
    b"max-forwards",
    b"surrogate-capability",
    b"tailscale-user-login",
    b"tailscale-user-name",
    b"x-amzn-trace-id",
    b"x-appengine-user-ip",
    b"x-arr-log-id",
    b"x-arr-ssl",
    b"x-azure-clientip",
    b"x-azure-fdid",
    b"x-azure-ref",
    b"x-azure-socketip",
    b"x-cloud-trace-context",
    b"x-envoy-internal",
    b"x-envoy-expected-rq-timeout-ms",
    b"x-nf-client-connection-ip",
    b"x-original-for",
    b"x-original-proto",
    b"x-original-uri",
    b"x-original-url",
    b"x-proxyuser-ip",
    b"x-real-port",
    b"x-remote-addr",
    b"x-remote-ip",
    b"x-rewrite-url",
    b"x-url-scheme",
    b"x-varnish",
    b"x-vercel-id",
    b"x-forwarded",
    b"x-forwarded-by",
    b"x-forwarded-client-cert",
    b"x-forwarded-email",
    b"x-forwarded-for-original",
    b"x-forwarded-host",
    b"x-forwarded-method",
    b"x-forwarded-path",
    b"x-forwarded-port",
    b"x-forwarded-prefix",
    b"x-forwarded-proto",
    b"x-forwarded-protocol",
    b"x-forwarded-scheme",
    b"x-forwarded-server",
    b"x-forwarded-ssl",
    b"x-forwarded-uri",
    b"x-forwarded-user",
    b"x-original-forwarded-for",
    b"x-original-host",
    b"x-client-ip",
    b"x-cluster-client-ip",
    b"x-envoy-external-address",
    b"true-client-ip",
    b"cf-connecting-ip",
    b"cf-connecting-ipv6",
    b"cf-ipcountry",
    b"cf-ray",
    b"cf-visitor",
    b"fastly-client-ip",
    b"fly-client-ip",
}
"""Headers that only something between client and us writes: one of them says that we are reached through a proxy."""

HOPS_MAX: Final = 32
"""Proxies looked at, from ours outwards; a chain that is longer was made to cost us time."""

_FORWARDED_PAIR = re.compile(r'\s*([!#$%&\'*+.^_`|~\w-]+)=("(?:[^"\\]|\\.)*"|[^\s;,"]*)\s*(;|,|$)')


class Sender(msgspec.Struct, frozen=True, gc=False):
    """The other end of a request. Lives as long as the request: an address is never kept."""

    ip: str
    """Empty where there is none (a Unix socket)."""
    is_forwarded: bool
    """A proxy may stand between: there is a forwarding header, believed or not, or the request came as HTTP/1.0.

    nginx before 1.29.7 speaks that to what is behind it unless it is told not to, adds no header of its own, and makes
    the Host ours; browsers, curl and HTTP libraries have spoken 1.1 for decades.
    """


def sender_of(scope: Mapping[str, Any], trusted: Sequence[Network]) -> Sender:
    """The sender of the request in the ASGI *scope*.

    Forwarding headers are believed only where the peer itself is in *trusted*. Then the chain is walked from our side
    outwards to the first address that is not trusted; an entry that is no address ends the walk, because nobody
    vouches for what stands behind it.
    """
    client = scope.get("client")
    peer = plain(client[0]) if client else ""
    found: dict[bytes, list[bytes]] | None = None
    for name, value in scope["headers"]:
        if name in FORWARDING:
            if found is None:
                found = {}
            found.setdefault(name, []).append(value)
    if found is None:
        return Sender(peer, scope.get("http_version", "1.1") < "1.1")
    address = _address(peer)
    if address is None or not _is_trusted(address, trusted):
        _warn_of_unbelieved()
        return Sender(peer, True)
    return Sender(_behind(address, found, trusted) or peer, True)


@cache
def _warn_of_unbelieved() -> None:
    """Once per process. Without the header's value or the peer: an address is never logged."""
    log.warning(
        "a request came with a forwarding header from where none is believed. Is Footfall behind a proxy? Then set "
        "TRUSTED_PROXIES=<the proxy's address>: until then all visitors look like one"
    )


def plain(host: str) -> str:
    """*host*, with an IPv4 address that is written as an IPv6 one (::ffff:192.0.2.1) written plainly."""
    if ":" not in host:
        return host
    address = _address(host)
    return host if address is None else str(address)


def _behind(proxy: Address, found: Mapping[bytes, list[bytes]], trusted: Sequence[Network]) -> str | None:
    """Whom the trusted *proxy* speaks for; None where it does not say."""
    name = next((name for name in BELIEVED if name in found), None)
    if name is None:
        return None
    address = proxy
    text = b",".join(found[name]).decode("latin-1")
    hops = _forwarded_for(text) if name == b"forwarded" else text.split(",")
    for hop in list(hops)[: -HOPS_MAX - 1 : -1]:
        nearer = _address(_without_port(hop.strip()))
        if nearer is None:
            break
        address = nearer
        if not _is_trusted(address, trusted):
            break
    return str(address)


def _is_trusted(address: Address, trusted: Iterable[Network]) -> bool:
    return any(address in network for network in trusted)


def _address(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _without_port(text: str) -> str:
    """The address in `192.0.2.1:80`, `[2001:db8::1]:80` or a bare one; anything else as it is."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


def _forwarded_for(text: str) -> list[str]:
    """The `for` of each element of a Forwarded header (RFC 7239, section 4), "" where an element has none.

    What can not be parsed ends the list with an empty entry, so that the walk from the right stops there.
    """
    hops: list[str] = []
    hop = ""
    position = 0
    while position < len(text):
        match = _FORWARDED_PAIR.match(text, position)
        if match is None:
            return ["", ""]
        name, value, separator = match.groups()
        if name.lower() == "for":
            hop = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
        if separator != ";":
            hops.append(hop)
            hop = ""
        position = match.end()
    return hops
