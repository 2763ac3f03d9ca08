"""The registry's port: sites, keys and salts, the few things that every process has to agree on."""

from collections.abc import Sequence
from datetime import date
from enum import StrEnum
from typing import Protocol

import msgspec

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


class Registry(Protocol):
    """A small transactional store shared by every process. Raises Unavailable when it is down."""

    kind: str

    async def ensure_site(self, site_id: str) -> Site | None:
        """The site, created if need be; None when SITES_MAX is reached."""
        ...

    async def sites(self) -> Sequence[Site]:
        """Every site, by id."""
        ...

    async def save_site(self, site: Site) -> None:
        """Create or replace."""
        ...

    async def keys(self) -> Sequence[Key]:
        """Every key, newest first, expired ones included."""
        ...

    async def save_key(self, key: Key) -> None:
        """Create or replace."""
        ...

    async def note_use(self, key_id: str, used_at_ms: int) -> None:
        """Set the last use of a key; nothing where there is none, so that a key revoked meanwhile stays revoked."""
        ...

    async def delete_key(self, key_id: str) -> bool:
        """True if there was one."""
        ...

    async def salt(self, day: date) -> bytes:
        """The salt of that UTC day, SALT_BYTES random bytes, the same for every process that asks.

        Made at the first asking. The salt of today (and of tomorrow, for clocks that differ) is destroyed an hour after
        its day has ended; that of any other day, which only imports and backdated events ask for, 24 hours after it was
        made. Destroyed means overwritten in the file, not only unlinked; who asks afterwards gets a new one.
        """
        ...

    async def close(self) -> None:
        """Let go of everything held."""
        ...
