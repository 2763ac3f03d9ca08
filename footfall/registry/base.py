"""The registry's ports: sites, what has a name in them, keys, salts and turns: what every process has to agree on."""

from collections.abc import Sequence
from datetime import date
from enum import StrEnum
from typing import Protocol

import msgspec

from footfall.query.definitions import Definitions, WeekStart

SITES_MAX = 10_000
"""How many sites may come into being by themselves; the next unknown one is dropped as unknown_site."""
SALT_BYTES = 16


class Scope(StrEnum):
    """What a key allows. Each is a permission of its own; admin holds them all."""

    INGEST = "ingest"
    READ = "read"
    ADMIN = "admin"


class Site(msgspec.Struct, frozen=True):
    """The tenant."""

    id: str
    created_at_ms: int
    timezone: str = "UTC"
    """An IANA name."""
    requires_key: bool = False
    """Ingestion only with a key that has the ingest scope."""
    allowed_origins: tuple[str, ...] = ()
    """Origins (scheme://host[:port], `*` for one label) whose browsers may send events; empty: all."""
    rate_per_minute: int | None = None
    """Events per minute; None: the setting RATE_LIMIT_SITE; 0: without limit."""
    week_start: WeekStart = WeekStart.MONDAY
    """The day on which its weeks begin."""


class Key(msgspec.Struct, frozen=True):
    """An API key as it is kept: without its secret."""

    id: str
    """Public, the part of the token after ff_ and before the next underscore."""
    name: str
    scopes: tuple[Scope, ...]
    site_ids: tuple[str, ...]
    """Empty: all sites."""
    created_at_ms: int
    expires_at_ms: int | None = None
    last_used_at_ms: int | None = None
    secret_hash: bytes = b""
    """SHA-256 of the whole token. A token holds 160 random bits, so a slow hash would protect nothing more."""


class Keys(Protocol):
    """The API keys. Raises Unavailable when the registry is down."""

    async def all(self) -> Sequence[Key]:
        """Every key, newest first, expired ones included."""
        ...

    async def save(self, key: Key) -> None:
        """Create or replace."""
        ...

    async def note_use(self, key_id: str, used_at_ms: int) -> None:
        """Set the last use of a key; nothing where there is none, so that a key revoked meanwhile stays revoked."""
        ...

    async def delete(self, key_id: str) -> bool:
        """True if there was one."""
        ...


class Turns(Protocol):
    """Who does what only one process may do at a time. Raises Unavailable when the registry is down.

    One clock judges all leases, whoever asks: the database's where the registry is a server, else the machine's.
    """

    async def take(self, name: str, holder: str, lease_s: float) -> float | None:
        """Take the turn, or keep it for *lease_s* from now; None while somebody else holds it.

        *holder* is a name that no other taker has. Returns until when the turn is surely held, on time.monotonic() of
        this process: counted from before the registry was asked, so that it never ends later than the lease does.
        Where the answer is lost (Unavailable) the turn may have been taken: it ends by itself, or with give_back.
        """
        ...

    async def give_back(self, name: str, holder: str) -> None:
        """End the turn now; nothing where *holder* does not hold it, any more or at all."""
        ...


class Registry(Protocol):
    """A small transactional store shared by every process. Raises Unavailable when it is down."""

    kind: str
    """What health and the start line call it: "sqlite", "mongodb"."""

    @property
    def keys(self) -> Keys:
        """The API keys."""
        ...

    @property
    def turns(self) -> Turns:
        """What only one process may do at a time."""
        ...

    async def ensure_site(self, site_id: str) -> Site | None:
        """The site, created if need be; None when SITES_MAX is reached."""
        ...

    async def sites(self) -> Sequence[Site]:
        """Every site, by id."""
        ...

    async def save_site(self, site: Site) -> None:
        """Create or replace."""
        ...

    async def definitions(self, site_id: str) -> Definitions:
        """What has a name in the site; of version 0 and empty where nothing was ever saved."""
        ...

    async def save_definitions(self, site_id: str, definitions: Definitions, based_on: int) -> int:
        """Replace all of them, where their version still is *based_on*; returns the new version, the next number.

        The version inside *definitions* says nothing. Raises Conflict, and changes nothing, where somebody else has
        saved since: of those who base a change on the same version exactly one succeeds.
        """
        ...

    async def salt(self, day: date) -> bytes:
        """The salt of that UTC day, SALT_BYTES random bytes, the same for every process that asks.

        Made at the first asking. The salt of today (and of tomorrow, for clocks that differ) is destroyed an hour after
        its day has ended; that of any other day, which only imports and backdated events ask for, 24 hours after it was
        made. Destroyed means overwritten where it lay, not only unlinked; who asks afterwards gets a new one.
        """
        ...

    async def close(self) -> None:
        """Let go of everything held."""
        ...
