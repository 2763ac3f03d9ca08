"""The door: who is asking, what they may do, and the keys that say so.

A reverse proxy on this machine turns strangers into loopback. AUTH=auto stays shut for every request that shows signs
of one (address.py): a forwarding header, HTTP/1.0, a Host or Origin that is not this machine. What can not be told from
a program on this machine is a proxy that speaks HTTP/1.1, adds no header and rewrites Host to a loopback name: nginx
from 1.29.7 on, or with `proxy_http_version 1.1`, and no `proxy_set_header`. Behind a proxy, AUTH=on leaves nothing to
tell.
"""

import asyncio
import hmac
import ipaddress
import re
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any, Final

import msgspec
import structlog

from footfall.address import Sender
from footfall.errors import Fault, Forbidden, Invalid, Unauthorized, Unavailable
from footfall.event import SITE_ID_PATTERN
from footfall.registry.base import Key, Registry, Scope
from footfall.settings import AuthMode, Settings

ID_BYTES: Final = 5
SECRET_BYTES: Final = 20
KEYS_MAX: Final = 1_000
KEY_NAME_CHARS_MAX: Final = 100
KEY_SITES_MAX: Final = 1_000

FRESH_S: Final = 3.0
"""How old the copy of the keys may be: a revoked key stops within this, and a hot key costs no query."""
LOOKS_PER_S: Final = 10
"""A key that is not in the copy may be just made, so the registry is asked; in a flood of wrong ones only so often."""
NOTE_USE_MS: Final = 60_000

_TOKEN = re.compile(rf"ff_([0-9a-f]{{{2 * ID_BYTES}}})_[0-9a-f]{{{2 * SECRET_BYTES}}}")

log = structlog.stdlib.get_logger(__name__)


class Caller(msgspec.Struct, frozen=True):
    """Who is asking: somebody with a key, or anybody."""

    is_open: bool
    """The door is open to this request: it may do everything, with a key or without."""
    key: Key | None = None

    def allows(self, scope: Scope, site_id: str | None = None) -> bool:
        """May they do *scope* to that site? With None: to all sites, which a key for some of them does not allow."""
        if self.is_open:
            return True
        if self.key is None or not (scope in self.key.scopes or Scope.ADMIN in self.key.scopes):
            return False
        return not self.key.site_ids or site_id in self.key.site_ids

    def allows_somewhere(self, scope: Scope) -> bool:
        """May they do *scope* to any site at all?"""
        return self.is_open or (self.key is not None and (scope in self.key.scopes or Scope.ADMIN in self.key.scopes))


ANYBODY: Final = Caller(is_open=False)
OPEN: Final = Caller(is_open=True)


def require(caller: Caller, scope: Scope, site_id: str | None = None) -> None:
    """Raise Unauthorized for nobody in particular, Forbidden for a key, unless *scope* is allowed."""
    if caller.allows(scope, site_id):
        return
    refuse(caller, scope, "for all sites" if site_id is None else f"for site {site_id}")


def require_somewhere(caller: Caller, scope: Scope) -> None:
    """The same for a question that shows of all sites those that the caller may see."""
    if not caller.allows_somewhere(scope):
        refuse(caller, scope, "")


def refuse(caller: Caller, scope: Scope, where: str) -> None:
    """Raise what says to *caller* that *scope* is missing."""
    if caller.key is None:
        raise Unauthorized(f"an API key with the scope {scope} is needed: Authorization: Bearer ff_...")
    raise Forbidden(f"this key has not the scope {scope} {where}".rstrip())


async def create_key(
    registry: Registry,
    name: str,
    scopes: Sequence[Scope],
    site_ids: Sequence[str] = (),
    expires_at_ms: int | None = None,
    *,
    now_ms: int | None = None,
) -> tuple[Key, str]:
    """Make a key; returns it and its token, which exists nowhere else and can not be shown again.

    Raises Invalid for a name, scopes, sites or an expiry that make no sense, and when there are KEYS_MAX keys.
    """
    at_ms = _wall_ms() if now_ms is None else now_ms
    faults = [
        *_faults_of_name(name),
        *([] if scopes else [Fault("scopes", "must name at least one of " + ", ".join(Scope))]),
        *(Fault("site_ids", f"{site_id!r} is not a site id") for site_id in site_ids if not _is_site_id(site_id)),
        *([Fault("site_ids", f"must be at most {KEY_SITES_MAX}")] if len(site_ids) > KEY_SITES_MAX else []),
        *(
            [Fault("expires_at_ms", "must be in the future")]
            if expires_at_ms is not None and expires_at_ms <= at_ms
            else []
        ),
    ]
    if len(await registry.keys.all()) >= KEYS_MAX:
        faults.append(Fault("name", f"there are {KEYS_MAX} keys already; revoke one first"))
    if faults:
        raise Invalid(*faults)
    key_id = secrets.token_hex(ID_BYTES)
    token = f"ff_{key_id}_{secrets.token_hex(SECRET_BYTES)}"
    key = Key(
        id=key_id,
        name=name,
        scopes=tuple(dict.fromkeys(scopes)),
        site_ids=tuple(dict.fromkeys(site_ids)),
        created_at_ms=at_ms,
        expires_at_ms=expires_at_ms,
        secret_hash=_hash(token),
    )
    await registry.keys.save(key)
    return key, token


class Door:
    """Turns the Authorization header of a request into a Caller."""

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        *,
        now_ms: Callable[[], int] | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._auth = settings.auth
        self._listens_on_loopback = is_loopback(settings.host)
        self._registry = registry
        self._now_ms = now_ms or _wall_ms
        self._clock_s = clock_s
        self._keys: dict[str, Key] = {}
        self._copied_at_s = float("-inf")
        self._looked_at_s: deque[float] = deque([float("-inf")] * LOOKS_PER_S, LOOKS_PER_S)
        self._refreshing: asyncio.Task[None] | None = None
        self._noting: set[asyncio.Task[None]] = set()
        self._noted_at_ms: dict[str, int] = {}

    async def caller(
        self, authorization: str | None, sender: Sender, *, host: str | None = None, origin: str | None = None
    ) -> Caller:
        """Who sends this. *host* and *origin* are those headers, for what a browser could be tricked into asking.

        Raises Unauthorized for a key that is malformed, unknown, revoked or expired, even where the door is open: who
        sends one believes in it, and should hear that it does not work. Raises Unavailable while the registry is down.
        """
        is_open = self.is_open(sender, host, origin)
        if authorization is None:
            return OPEN if is_open else ANYBODY
        return Caller(is_open, await self._key(authorization))

    def is_open(self, sender: Sender, host: str | None = None, origin: str | None = None) -> bool:
        """True where nobody needs a key: the one place that decides it.

        AUTH=auto: we listen on loopback, and nothing says that the request was forwarded (what can not be told: see
        the top of this file). (That no user exists is the
        third condition; while the registry keeps no users, it holds by itself. Users bring their question to here.)

        Loopback keeps other machines out, but not the pages in this machine's own browser. One could give its own name
        our address (DNS rebinding) and read the answers as same-origin: the Host header still bears that name, so only
        loopback names open. Another could send what changes something from its own origin without reading the answer:
        so a foreign Origin does not open either.
        """
        if self._auth is not AuthMode.AUTO:
            return self._auth is AuthMode.OFF
        return (
            self._listens_on_loopback
            and not sender.is_forwarded
            and (host is None or is_loopback(host_of(host)))
            and (origin is None or _is_same_origin(origin, host))
        )

    async def key_named(self, key_id: str) -> Key | None:
        """The key of that id, as fresh as every other; who says an id has proved nothing yet. Raises Unavailable."""
        return await self._stored(key_id)

    async def close(self) -> None:
        """Wait for what is under way."""
        tasks = {*self._noting, *([self._refreshing] if self._refreshing else [])}
        if tasks:
            await asyncio.wait(tasks)

    async def _key(self, authorization: str) -> Key:
        kind, _, token = authorization.partition(" ")
        token = token.strip()
        match = _TOKEN.fullmatch(token)
        if kind.lower() != "bearer" or match is None:
            raise Unauthorized("the Authorization header must be: Bearer ff_<id>_<secret>")
        key = await self._stored(match[1])
        # The id is public, so that an unknown one is answered sooner tells nothing; the secret is what must not leak.
        if key is None or not hmac.compare_digest(key.secret_hash, _hash(token)):
            raise Unauthorized("this API key is not known; it may have been revoked")
        now_ms = self._now_ms()
        if key.expires_at_ms is not None and key.expires_at_ms <= now_ms:
            raise Unauthorized("this API key has expired")
        self._note_use(key, now_ms)
        return key

    async def _stored(self, key_id: str) -> Key | None:
        now_s = self._clock_s()
        is_known_or_flood = key_id in self._keys or now_s - self._looked_at_s[0] < 1
        if now_s - self._copied_at_s > FRESH_S or not is_known_or_flood:
            if self._refreshing is None:
                self._refreshing = asyncio.create_task(self._refresh())
                self._refreshing.add_done_callback(_note_failure)
            await asyncio.shield(self._refreshing)
        return self._keys.get(key_id)

    async def _refresh(self) -> None:
        asked_at_s = self._clock_s()
        self._looked_at_s.append(asked_at_s)
        try:
            keys = await self._registry.keys.all()
        finally:
            self._refreshing = None
        self._keys = {key.id: key for key in keys}
        self._noted_at_ms = {key_id: at for key_id, at in self._noted_at_ms.items() if key_id in self._keys}
        self._copied_at_s = asked_at_s

    def _note_use(self, key: Key, now_ms: int) -> None:
        if now_ms - max(self._noted_at_ms.get(key.id, 0), key.last_used_at_ms or 0) < NOTE_USE_MS:
            return
        self._noted_at_ms[key.id] = now_ms
        task = asyncio.create_task(self._write_use(key.id, now_ms))
        self._noting.add(task)
        task.add_done_callback(self._noting.discard)

    async def _write_use(self, key_id: str, now_ms: int) -> None:
        try:
            await self._registry.keys.note_use(key_id, now_ms)
        except Unavailable as error:
            log.warning("the last use of a key was not noted", key_id=key_id, error=str(error))


def is_loopback(host: str) -> bool:
    """Is *host*, a name or an address without a port, this machine itself and nothing else?"""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761: these never leave the machine
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def host_of(header: str) -> str:
    """The name or address in a Host header, without its port and brackets."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0] if header.count(":") == 1 else header


def _is_same_origin(origin: str, host: str | None) -> bool:
    return host is not None and origin.partition("://")[2].lower() == host.lower()


def _hash(token: str) -> bytes:
    return sha256(token.encode()).digest()


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


def _is_site_id(text: str) -> bool:
    return re.fullmatch(SITE_ID_PATTERN, text) is not None


def _faults_of_name(name: str) -> list[Fault]:
    if not name.strip():
        return [Fault("name", "is required")]
    if len(name) > KEY_NAME_CHARS_MAX or not name.isprintable():
        return [Fault("name", f"must be at most {KEY_NAME_CHARS_MAX} printable characters")]
    return []


def _note_failure(task: asyncio.Task[Any]) -> None:
    """Take note of a failure whose waiters have all gone; those who still wait are told by the task itself."""
    if not task.cancelled():
        task.exception()
