"""Admission: the list of steps that an event goes through, whether it came by HTTP or from a log file.

A step returns the event, or Dropped with the reason. A dropped event is still an Event: it travels the same road to the
store, where the ledger counts it, with nothing left in it that tells of a person.
"""

import re
from collections.abc import Callable, Sequence
from copy import copy
from decimal import Decimal
from typing import NamedTuple

import msgspec

from footfall.enrich.bot import is_bot
from footfall.enrich.client import ClientInfo, client_of
from footfall.enrich.data.sources import CLICKS
from footfall.enrich.place import Place, Places
from footfall.enrich.source import is_spam_referrer, source_of
from footfall.event import DropReason, Event, key_of, new_id
from footfall.registry.base import Site
from footfall.sites import Sites
from footfall.visitor import DAY_MS, Salts, daily_visitor_id, user_visitor_id

USER_AGENT_CHARS_MAX = 1_024
"""A user agent is cut to this. It is only looked up and hashed, never kept."""


class Override(msgspec.Struct, frozen=True, gc=False):
    """For whom a server sends, where it says so: in place of its own address and user agent. In memory only."""

    ip: str
    """A valid address, or empty for that of the request."""
    user_agent: str

    def __repr__(self) -> str:
        return "Override(...)"


class Incoming(msgspec.Struct, gc=False):
    """What a dialect understood of one event: valid, within the limits of event.py, and nothing looked up yet."""

    site_id: str
    name: str
    path: str = "/"
    """As it was sent: relative, or a full URL."""
    user_id: str = ""
    occurred_at_ms: int | None = None
    """None: when it was received."""
    event_id: str = ""
    referrer: str = ""
    title: str = ""
    hostname: str = ""
    screen: str = ""
    language: str = ""
    props: dict[str, str] = {}
    revenue: Decimal | None = None
    currency: str = ""
    interactive: bool = True
    import_id: str = ""
    override: Override | None = None
    """Whoever calls `admit` sees to it: that the sender may, and that the Origin is made of it."""


class Origin(msgspec.Struct, gc=False):
    """Where events came from. In memory only: never queued, stored or logged, and its repr says nothing.

    All events of one request share one, so that what depends on the sender alone is looked up once.
    """

    ip: str
    """Empty where it is not known."""
    user_agent: str
    received_at_ms: int
    has_key: bool = False
    """The sender showed a key with the ingest scope: a server, so that a missing user agent says nothing."""
    is_bot: bool | None = None
    client: ClientInfo | None = None
    place: Place | None = None
    visitor: tuple[str, int, int] = ("", -1, 0)
    """Site, day and the visitor id that they gave last."""

    def __repr__(self) -> str:
        return "Origin(...)"


class Dropped(NamedTuple):
    """A valid event that is not counted."""

    reason: DropReason


class Known(NamedTuple):
    """What had to be asked for before an event can be admitted."""

    site: Site | None
    """None: nobody collects for this site."""
    salt: bytes
    """Of the event's day; empty where no salt is needed, because the user is named or the site unknown."""


class Arrival(msgspec.Struct, gc=False):
    """What the steps may look at besides the event. *query* is the page's, and is not kept."""

    origin: Origin
    query: str
    known: Known
    places: Places


CAMPAIGN_PARAMETERS = frozenset(CLICKS) | {"oly_anon_id", "oly_enc_id", "wickedid"}
"""Besides utm_*. They mark one click or one recipient, so they name a person sooner than a page: no path keeps them."""

_FULL_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)([^?#]*)(?:\?([^#]*))?")


def is_campaign_parameter(pair: str) -> bool:
    """True for one `name=value` of a query string that tells how the visitor came, not which page it is."""
    name = pair.partition("=")[0].lower()
    return name.startswith("utm_") or name in CAMPAIGN_PARAMETERS


def split_page(sent: str) -> tuple[str, str, str]:
    """What a sender calls its path -> host name, path, and the query that the source is read from (never stored).

    The host name is in lower case, without port, and empty for a relative path. Such a path is kept as sent, but for
    campaign parameters. A full URL's query only tells the source, for search words and tokens in it are nobody's page,
    and its fragment is left out. Nothing at all is "/".
    """
    if "://" in sent and (url := _FULL_URL.match(sent)):
        host = url[1].rpartition("@")[2]
        host = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
        return host.lower(), url[2] or "/", url[3] or ""
    if "?" not in sent:
        return "", sent or "/", ""
    before, _, rest = sent.partition("?")
    query, hash_sign, fragment = rest.partition("#")
    pairs = query.split("&")
    kept = [pair for pair in pairs if not is_campaign_parameter(pair)]
    if len(kept) == len(pairs):
        return "", sent, query
    path = (before or "/") + ("?" if kept else "") + "&".join(kept) + hash_sign + fragment
    return "", path, query


Step = Callable[[Event, Arrival], "Event | Dropped"]


def refuse_unknown_site(event: Event, arrival: Arrival) -> Event | Dropped:
    """Nobody collects for this site, and AUTO_CREATE_SITES is off or there are too many."""
    return Dropped(DropReason.UNKNOWN_SITE) if arrival.known.site is None else event


def drop_bot(event: Event, arrival: Arrival) -> Event | Dropped:
    """Programs that visit pages, by their user agent; whoever names its user speaks for a person and passes.

    Every browser says what it is. So nothing at all is a program too, unless it showed a key: then it is a server
    that tells of its own events, and the header that it leaves out would only have named its HTTP library.
    """
    if event.user_id:
        return event
    origin = arrival.origin
    if origin.is_bot is None:
        origin.is_bot = is_bot(origin.user_agent) if origin.user_agent else not origin.has_key
    return Dropped(DropReason.BOT) if origin.is_bot else event


def drop_spam_referrer(event: Event, _: Arrival) -> Event | Dropped:
    """Visits that never were, made to put a link into somebody's report."""
    return Dropped(DropReason.SPAM_REFERRER) if event.referrer and is_spam_referrer(event.referrer) else event


def name_visitor(event: Event, arrival: Arrival) -> Event:
    """Who: for ever by user id, else for a day. The day is that on which it happened, not that on which it was sent."""
    if event.user_id:
        event.visitor_id = user_visitor_id(event.site_id, event.user_id)
        return event
    origin = arrival.origin
    day = event.occurred_at_ms // DAY_MS
    last_site, last_day, visitor_id = origin.visitor
    if last_day != day or last_site != event.site_id:
        visitor_id = daily_visitor_id(arrival.known.salt, event.site_id, origin.ip, origin.user_agent)
        origin.visitor = (event.site_id, day, visitor_id)
    event.visitor_id = visitor_id
    return event


def name_source(event: Event, arrival: Arrival) -> Event:
    """Where the visitor came from. The referrer is kept without its query."""
    if not event.referrer and not arrival.query:
        event.channel = _DIRECT.channel
        event.source = _DIRECT.source
        return event
    found = source_of(event.referrer, arrival.query, event.hostname)
    event.referrer = found.referrer
    event.source = found.source
    event.channel = found.channel
    event.utm_source = found.utm_source
    event.utm_medium = found.utm_medium
    event.utm_campaign = found.utm_campaign
    event.utm_content = found.utm_content
    event.utm_term = found.utm_term
    event.click_id = found.click_id
    return event


def name_client(event: Event, arrival: Arrival) -> Event:
    """Browser, system and device."""
    client = arrival.origin.client
    if client is None:
        client = arrival.origin.client = client_of(arrival.origin.user_agent)
    event.browser = client.browser
    event.browser_version = client.browser_version
    event.os = client.os
    event.os_version = client.os_version
    event.device = client.device
    return event


def name_place(event: Event, arrival: Arrival) -> Event:
    """Country, and region and city where the database knows them."""
    place = arrival.origin.place
    if place is None:
        place = arrival.origin.place = arrival.places.of(arrival.origin.ip)
    event.country = place.country
    event.region = place.region
    event.city = place.city
    return event


STEPS: tuple[Step, ...] = (
    refuse_unknown_site,
    drop_bot,
    drop_spam_referrer,
    name_visitor,
    name_source,
    name_client,
    name_place,
)

_DIRECT = source_of("", "", "")


class Admission:
    """The steps, with what they look things up in."""

    def __init__(self, sites: Sites, salts: Salts, places: Places) -> None:
        self._sites = sites
        self._salts = salts
        self._places = places

    def known(self, incoming: Incoming, origin: Origin) -> Known | None:
        """What `admit` needs for this event, if all of it is at hand; None: `prepare` it."""
        site = self._sites.known(incoming.site_id)
        if site is None:
            return None
        if incoming.user_id:
            return Known(site, b"")
        salt = self._salts.known(_day(incoming, origin))
        return None if salt is None else Known(site, salt)

    async def prepare(self, incoming: Incoming, origin: Origin) -> Known:
        """Fetch what `admit` needs for this event. Raises Unavailable when the registry is down."""
        site = self._sites.known(incoming.site_id) or await self._sites.resolve(incoming.site_id)
        if site is None or incoming.user_id:
            return Known(site, b"")
        return Known(site, await self._salts.load(_day(incoming, origin)))

    def admit(self, incoming: Incoming, origin: Origin, known: Known) -> Event:
        """The event, named and enriched; or, with its drop_reason set, what the ledger needs of a dropped one."""
        hostname, path, query = split_page(incoming.path)
        at_ms = incoming.occurred_at_ms
        event = Event(
            new_id(),
            key_of(incoming.site_id, incoming.event_id) if incoming.event_id else b"",
            incoming.site_id,
            incoming.name,
            origin.received_at_ms if at_ms is None else at_ms,
            origin.received_at_ms,
            0,
            incoming.user_id,
            incoming.hostname or hostname,
            path,
            incoming.title,
            incoming.referrer,
        )
        event.language = incoming.language
        event.screen = incoming.screen
        event.props = incoming.props
        event.revenue = incoming.revenue
        event.currency = incoming.currency
        event.interactive = incoming.interactive
        event.import_id = incoming.import_id
        arrival = Arrival(origin, query, known, self._places)
        for step in STEPS:
            outcome = step(event, arrival)
            if outcome is not event and isinstance(outcome, Dropped):
                return _only_for_the_ledger(event, outcome.reason)
        return event

    def admit_all(self, incoming: Sequence[Incoming], origin: Origin, knowns: Sequence[Known]) -> list[Event]:
        """`admit` of each, quicker: half of a batch's time went into naming the same client and place a thousand times.

        An event that differs from one before it in no more than name, path, time, user and content is made as a copy
        of that one, which has been through the steps.
        """
        events: list[Event] = []
        model: Event | None = None
        for one, known in zip(incoming, knowns, strict=True):
            if model is not None and one.site_id == model.site_id and _is_plain(one):
                events.append(_like(model, one))
                continue
            event = self.admit(one, overridden(one, origin), known)
            events.append(event)
            if not event.drop_reason and _is_plain(one):
                model = _without_content(event)
        return events


def overridden(incoming: Incoming, origin: Origin) -> Origin:
    """The origin that the sender named in place of *origin*, or just that."""
    override = incoming.override
    if override is None:
        return origin
    return Origin(
        override.ip or origin.ip, override.user_agent or origin.user_agent, origin.received_at_ms, origin.has_key
    )


def _is_plain(incoming: Incoming) -> bool:
    """True where the steps name nothing by this event but its user: no bot to look for, no source, no page to split."""
    path = incoming.path
    return bool(
        incoming.user_id
        and not incoming.referrer
        and "?" not in path
        and "://" not in path
        and incoming.override is None
    )


def _without_content(event: Event) -> Event:
    """A model for `_like`: *event* with everything that comes from the sender's body as if it were left out."""
    model = copy(event)
    model.key = b""
    model.hostname = model.title = model.language = model.screen = model.currency = ""
    model.props = {}
    model.revenue = None
    model.interactive = True
    return model


def _like(model: Event, incoming: Incoming) -> Event:
    """What the steps would make of a plain *incoming*, by one of the same request and site that they were made on."""
    event = copy(model)
    event.id = new_id()
    event.name = incoming.name
    at_ms = incoming.occurred_at_ms
    event.occurred_at_ms = event.received_at_ms if at_ms is None else at_ms
    event.user_id = incoming.user_id
    event.visitor_id = user_visitor_id(incoming.site_id, incoming.user_id)
    event.path = incoming.path or "/"
    event.import_id = incoming.import_id
    if incoming.event_id:
        event.key = key_of(incoming.site_id, incoming.event_id)
    if incoming.hostname:
        event.hostname = incoming.hostname
    if incoming.title:
        event.title = incoming.title
    if incoming.language:
        event.language = incoming.language
    if incoming.screen:
        event.screen = incoming.screen
    if incoming.revenue is not None:
        event.revenue = incoming.revenue
        event.currency = incoming.currency
    event.props = incoming.props
    event.interactive = incoming.interactive
    return event


def _day(incoming: Incoming, origin: Origin) -> int:
    at_ms = incoming.occurred_at_ms
    return (origin.received_at_ms if at_ms is None else at_ms) // DAY_MS


def _only_for_the_ledger(event: Event, reason: DropReason) -> Event:
    """Which site lost what, when and why. Nothing of who: a dropped event is not analysed, so nobody needs it."""
    return Event(
        event.id,
        event.key,
        event.site_id,
        event.name,
        event.occurred_at_ms,
        event.received_at_ms,
        0,
        path=event.path,
        drop_reason=reason,
        import_id=event.import_id,
    )
