"""The gate before ingestion: keys, overrides, the rules of each site and the rate limits.

Ingestion is public. What a site asks for beyond that (a key, certain origins) is asked of everybody, also where AUTH is
open: its owner set it, and the openness of a machine of one's own is about reading.
"""

import re
import socket
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from footfall.address import Sender
from footfall.collect.admit import Incoming
from footfall.collect.rates import Rates
from footfall.door import Caller, Door
from footfall.errors import Fault, Forbidden, Overloaded, Unauthorized
from footfall.registry.base import Scope, Site
from footfall.settings import RATE_LIMIT_ADDRESS_DEFAULT, RATE_LIMIT_SITE_DEFAULT, Settings

BACKDATED_MS = 48 * 3_600_000
"""A timestamp further back than this rewrites reports that somebody has read, so it takes a key."""
NEW_SITES_PER_HOUR = 20
"""May come into being by what one address sends: so many at once, and then one every three minutes. Else a stranger
who invents names uses up SITES_MAX in seconds, and real sites are no longer known."""
_NEEDS_SCOPE = "needs a key with the ingest scope"


class Knock(NamedTuple):
    """One request at the gate."""

    sender: Sender
    key: Caller | None
    """What its key allows, without anything that is open to all; None where it shows none with the ingest scope."""
    headers: Mapping[bytes, bytes]
    is_local: bool
    """This machine sends to itself, with no proxy between."""

    def header(self, name: bytes) -> str | None:
        """A header as text; None where it is not there."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")


class Gate:
    """Decides who may send what, and how much of it."""

    def __init__(self, settings: Settings, door: Door) -> None:
        self._door = door
        self._address_limit = settings.rate_limit_address
        self._site_limit = settings.rate_limit_site
        self._addresses = Rates("address")
        self._sites = Rates("site")
        self._new_sites = Rates("address", period_s=3_600.0)

    async def key(self, authorization: bytes, sender: Sender) -> Caller | None:
        """What the key in the Authorization header allows; None where it may not send events anywhere.

        Raises Unauthorized for a key that does not work, even though none is needed: who sends one should hear it.
        """
        caller = await self._door.caller(authorization.decode("latin-1"), sender)
        by_key = Caller(is_open=False, key=caller.key)
        return by_key if by_key.allows_somewhere(Scope.INGEST) else None

    def knock(self, sender: Sender, headers: Mapping[bytes, bytes], key: Caller | None = None) -> Knock:
        """Who is there. Counts one event against the address; raises Overloaded."""
        knock = Knock(sender, key, headers, is_local(sender))
        self.charge(knock, 1)
        return knock

    def charge(self, knock: Knock, events: int) -> None:
        """Count *events* against the address. A key speaks for many visitors, so only its sites limit it.

        Raises Overloaded.
        """
        per_minute = _limit(self._address_limit, RATE_LIMIT_ADDRESS_DEFAULT, knock)
        if events and per_minute and knock.key is None and knock.sender.ip:
            address = _address_key(knock.sender.ip)
            self._addresses.check(address, events, per_minute)
            self._addresses.take(address, events, per_minute)

    def charge_batch(self, knock: Knock, events: int) -> None:
        """Count *events* in place of the one of the knock, all or none: what is refused is not owed, and a batch over
        the limit passes when nothing is. Raises Overloaded."""
        self.give_back(knock)
        self.charge(knock, events)

    def check_event(self, knock: Knock, incoming: Incoming, received_at_ms: int) -> None:
        """Raise Forbidden for what only a server of one's own may say."""
        override, at_ms = incoming.override, incoming.occurred_at_ms
        is_backdated = at_ms is not None and at_ms < received_at_ms - BACKDATED_MS
        if override is None and not is_backdated:
            return
        if knock.key is not None and knock.key.allows(Scope.INGEST, incoming.site_id):
            return
        if self._door.is_open(knock.sender, knock.header(b"host"), knock.header(b"origin")):
            return
        fields = []
        if override is not None:
            fields += [name for name in ("ip", "user_agent") if getattr(override, name)]
        faults = [Fault(field, _NEEDS_SCOPE) for field in fields]
        if is_backdated:
            faults.append(Fault("timestamp", f"is older than 48 hours, which {_NEEDS_SCOPE}"))
        raise Forbidden("; ".join(f"{fault.field} {fault.message}" for fault in faults), *faults)

    def give_back(self, knock: Knock, events: int = 1) -> None:
        """Uncount the events of a knock that will come again."""
        per_minute = _limit(self._address_limit, RATE_LIMIT_ADDRESS_DEFAULT, knock)
        if per_minute and knock.key is None and knock.sender.ip:
            self._addresses.take(_address_key(knock.sender.ip), -events, per_minute)

    def admit_new_site(self, knock: Knock, site_id: str, sites: int = 1) -> None:
        """Count a site that comes into being by *knock*, or with *sites* -1 one that does not; raises Overloaded.

        A key for the site may have it made, and so may this machine itself, as with other limits that nobody has set.
        """
        if knock.is_local or not knock.sender.ip or _has_key(knock, site_id):
            return
        address = _address_key(knock.sender.ip)
        wait_s = self._new_sites.wait_s(address, sites, NEW_SITES_PER_HOUR) if sites > 0 else 0
        if wait_s:
            what = f"more than {NEW_SITES_PER_HOUR} new sites per hour from this address"
            raise Overloaded(what, wait_s, (Fault("site_id", f"is new, and {what} {_NEEDS_SCOPE}"),))
        self._new_sites.take(address, sites, NEW_SITES_PER_HOUR)

    def check_site(self, knock: Knock, site: Site | None, site_id: str) -> None:
        """`check_sites` of one event, which is most of them."""
        if site is None:
            return
        if knock.is_local and self._site_limit is None and site.rate_per_minute is None:
            if site.requires_key or site.allowed_origins:
                self.check_rules(knock, site)
            return
        self.check_rules(knock, site)
        self.check_rates(knock, {site_id: (site, 1)})
        self.take_rates(knock, {site_id: (site, 1)})

    def check_rates(self, knock: Knock, counts: Mapping[str, tuple[Site | None, int]]) -> None:
        """Raise Overloaded if not all of so many events may go to these sites now. None: a site that is new.

        Then nothing of the request is owed by the address either, and all of it may come again when the slowest may.
        """
        slowest: Overloaded | None = None
        for site_id, (site, events) in counts.items():
            per_minute = self._site_rate(knock, site)
            wait_s = self._sites.wait_s(site_id, events, per_minute)
            if wait_s and (slowest is None or wait_s > slowest.retry_after_s):
                slowest = Overloaded(f"more than {per_minute} events per minute from this site", wait_s)
        if slowest is not None:
            self.give_back(knock, sum(events for _, events in counts.values()))
            raise slowest

    def take_rates(self, knock: Knock, counts: Mapping[str, tuple[Site | None, int]]) -> None:
        """Count what `check_rates` has let through."""
        for site_id, (site, events) in counts.items():
            self._sites.take(site_id, events, self._site_rate(knock, site))

    def _site_rate(self, knock: Knock, site: Site | None) -> int:
        if site is not None and site.rate_per_minute is not None:
            return site.rate_per_minute
        return _limit(self._site_limit, RATE_LIMIT_SITE_DEFAULT, knock)

    def check_rules(self, knock: Knock, site: Site) -> None:
        """Raise Unauthorized or Forbidden for what the site's owner does not want: no key, or another's page."""
        has_key = _has_key(knock, site.id)
        if site.requires_key and not has_key:
            if knock.key is None:
                message = f"site {site.id} {_NEEDS_SCOPE}: Authorization: Bearer ff_..."
                raise Unauthorized(message, Fault("site_id", _NEEDS_SCOPE))
            raise Forbidden(f"this key may not send events to site {site.id}", Fault("site_id", "is not this key's"))
        if not site.allowed_origins:
            return
        # Browsers name their origin with every POST. Who names none is no page, and has to show a key instead.
        origin = knock.header(b"origin")
        if origin is None:
            if not has_key:
                message = "takes events from its own origins, or with a key; there is no Origin"
                raise Forbidden(f"site {site.id} {message}", Fault("site_id", message))
        elif not any(is_origin_allowed(allowed, origin) for allowed in site.allowed_origins):
            raise Forbidden(
                f"site {site.id} takes no events from {origin}", Fault("site_id", f"takes none from {origin}")
            )


def _has_key(knock: Knock, site_id: str) -> bool:
    return knock.key is not None and knock.key.allows(Scope.INGEST, site_id)


def _limit(setting: int | None, default: int, knock: Knock) -> int:
    """Events per minute, 0 for no limit. Unless it was set, this machine itself is not limited: a demo, a benchmark and
    an import on the first evening should not meet a wall that is there against strangers."""
    if setting is not None:
        return setting
    return 0 if knock.is_local else default


def is_local(sender: Sender) -> bool:
    """True for a sender on this machine that is no proxy."""
    return not sender.is_forwarded and (sender.ip in {"127.0.0.1", "::1"} or sender.ip.startswith("127."))


def _address_key(ip: str) -> str | bytes:
    """What is limited: an IPv4 address, or the /64 network of an IPv6 one, which is what a single line is given."""
    if ":" not in ip:
        return ip
    try:
        return socket.inet_pton(socket.AF_INET6, ip.partition("%")[0])[:8]
    except OSError:
        return ip


def is_origin_allowed(allowed: str, origin: str) -> bool:
    """Does *origin* match *allowed*, in which `*` stands for one label of the host name?"""
    return _origin_pattern(allowed).fullmatch(origin) is not None


@lru_cache(1_024)
def _origin_pattern(allowed: str) -> re.Pattern[str]:
    return re.compile(re.escape(allowed.rstrip("/")).replace(r"\*", "[^./:@]+"), re.IGNORECASE)
