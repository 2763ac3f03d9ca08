"""`footfall keys` and `footfall sites`: who may do what, and the rules of a site."""

import re
import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from zoneinfo import available_timezones

import msgspec
from cyclopts import App, Parameter
from rich.markup import escape
from rich.table import Table

from footfall.cli.terminal import err, opened_registry, out, print_json, run, settings, when
from footfall.door import create_key
from footfall.errors import Fault, Invalid, NotFound
from footfall.event import SITE_ID_PATTERN
from footfall.registry.base import Scope, Site
from footfall.settings import place_of

DAYS_MAX = 36_500

_KEY_SHOWN = ("id", "name", "scopes", "site_ids", "created_at_ms", "expires_at_ms", "last_used_at_ms")

keys_app = App(name="keys", help="Create, list and revoke API keys.")
sites_app = App(name="sites", help="List sites and set their rules.")


@keys_app.command(name="create")
def create(
    name: str,
    *,
    scope: Annotated[list[Scope] | None, Parameter(negative="")] = None,
    site: Annotated[list[str] | None, Parameter(negative="")] = None,
    expires_in_days: int | None = None,
) -> None:
    """Create a key and print it: the only time it is shown.

    Parameters
    ----------
    name
        What it is for, in your words.
    scope
        What it allows; may be given several times. Default: read. admin allows all.
    site
        A site it is good for; may be given several times. Default: all sites.
    expires_in_days
        Default: it does not expire.
    """
    wrong = [site_id for site_id in site or () if not re.fullmatch(SITE_ID_PATTERN, site_id)]
    faults = [Fault("site", f"{site_id!r} is no site id") for site_id in wrong]
    if expires_in_days is not None and not 1 <= expires_in_days <= DAYS_MAX:
        faults.append(Fault("expires-in-days", f"must be 1 to {DAYS_MAX}"))
    if faults:
        raise Invalid(*faults)
    expires_at_ms = None
    if expires_in_days is not None:
        expires_at_ms = int((datetime.now(UTC) + timedelta(days=expires_in_days)).timestamp() * 1000)

    async def work() -> str:
        async with opened_registry() as registry:
            err.print(f"For the Footfall in {_place()}", highlight=False, markup=False, soft_wrap=True)
            _, token = await create_key(registry, name, tuple(scope or [Scope.READ]), tuple(site or ()), expires_at_ms)
            return token

    token = run(work())
    err.print(
        "Keep this key safe; it is not shown again. Send it as the header `Authorization: Bearer KEY`:", soft_wrap=True
    )
    sys.stdout.write(token + "\n")


def _place() -> str:
    """Where the registry is: a key is good for nobody else's Footfall."""
    here = settings()
    return place_of(here.mongodb_uri) if here.mongodb_uri else str(here.data_dir.resolve())


@keys_app.command(name="list")
def list_keys(*, as_json: Annotated[bool, Parameter(name="--json", negative="")] = False) -> None:
    """List the keys, newest first, without their secrets.

    Parameters
    ----------
    as_json
        For machines.
    """

    async def work() -> None:
        async with opened_registry() as registry:
            keys = await registry.keys.all()
        if as_json:
            print_json([{name: getattr(key, name) for name in _KEY_SHOWN} for key in keys])
            return
        table = Table("id", "name", "scopes", "sites", "created", "expires", "last used")
        for key in keys:
            table.add_row(
                key.id,
                escape(key.name),
                " ".join(key.scopes),
                " ".join(key.site_ids) or "all",
                when(key.created_at_ms),
                when(key.expires_at_ms),
                when(key.last_used_at_ms),
            )
        out.print(table)

    run(work())


@keys_app.command
def revoke(key_id: str) -> None:
    """Revoke a key; it stops working within five seconds.

    Parameters
    ----------
    key_id
        As `footfall keys list` shows it.
    """

    async def work() -> bool:
        async with opened_registry() as registry:
            return await registry.keys.delete(key_id)

    if not run(work()):
        raise NotFound(f"there is no key {key_id!r}; see `footfall keys list`")
    out.print(f"Key {key_id} is revoked.")


@sites_app.command(name="list")
def list_sites(*, as_json: Annotated[bool, Parameter(name="--json", negative="")] = False) -> None:
    """List the sites and their rules.

    Parameters
    ----------
    as_json
        For machines.
    """

    async def work() -> None:
        async with opened_registry() as registry:
            sites = await registry.sites()
        if as_json:
            print_json(sites)
            return
        table = Table("site", "time zone", "needs a key", "origins", "events a minute", "created")
        for site in sites:
            table.add_row(
                site.id,
                site.timezone,
                "yes" if site.requires_key else "no",
                " ".join(site.allowed_origins) or "all",
                _rate(site.rate_per_minute),
                when(site.created_at_ms),
            )
        out.print(table)

    run(work())


def _rate(rate_per_minute: int | None) -> str:
    if rate_per_minute is None:
        return "RATE_LIMIT_SITE"
    return f"{rate_per_minute:,}" if rate_per_minute else "no limit"


@sites_app.command(name="set")
def set_site(
    site_id: str,
    *,
    timezone: str | None = None,
    requires_key: bool | None = None,
    origin: Annotated[list[str] | None, Parameter(negative="")] = None,
    any_origin: Annotated[bool, Parameter(negative="")] = False,
    rate_per_minute: int | None = None,
) -> None:
    """Create a site, or change its rules; running processes follow within five seconds.

    Parameters
    ----------
    site_id
        1 to 128 of A-Z a-z 0-9 . _ : -
    timezone
        The zone of its days, Europe/Paris for one.
    requires_key
        Take its events only with a key that has the ingest scope.
    origin
        An origin whose browsers may send events, https://example.org for one; may be given several times.
    any_origin
        Take events from every origin again.
    rate_per_minute
        Events per minute; 0: no limit.
    """
    faults = []
    if not re.fullmatch(SITE_ID_PATTERN, site_id):
        faults.append(Fault("site-id", "must be 1 to 128 of A-Z a-z 0-9 . _ : -"))
    if timezone is not None and timezone not in available_timezones():
        faults.append(Fault("timezone", f"{timezone!r} is not a time zone; Europe/Paris is one"))
    if rate_per_minute is not None and rate_per_minute < 0:
        faults.append(Fault("rate-per-minute", "must be 0 or more"))
    faults += [
        Fault("origin", f"{one!r} is not an origin; https://example.org is one")
        for one in origin or ()
        if not re.fullmatch(r"https?://[^\s/]+", one)
    ]
    if faults:
        raise Invalid(*faults)

    async def work() -> Site:
        async with opened_registry() as registry:
            site = await registry.ensure_site(site_id)
            if site is None:
                raise Invalid(Fault("site-id", "can not be created: there are too many sites already"))
            wanted: dict[str, Any] = {
                "timezone": timezone,
                "requires_key": requires_key,
                "rate_per_minute": rate_per_minute,
                "allowed_origins": () if any_origin else tuple(origin) if origin else None,
            }
            changed = {name: value for name, value in wanted.items() if value is not None}
            site = msgspec.structs.replace(site, **changed)
            await registry.save_site(site)
            return site

    print_json(run(work()))
