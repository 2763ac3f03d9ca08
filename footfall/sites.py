"""Sites: what the registry knows of each site, near enough for the hot path and never older than a few seconds."""

import asyncio
from typing import Any, Final

import structlog

from footfall.errors import Unavailable
from footfall.registry.base import Registry, Site

REFRESH_S: Final = 2.0
"""How often the copy is renewed while somebody uses it: a change by another process takes effect within that."""
IDLE_TICKS: Final = 15
"""Without a question for so many renewals the copy is left to age, and the next question renews it first."""
FULL_S: Final = 3.0
"""How long "there are too many sites" is taken for granted."""

log = structlog.stdlib.get_logger(__name__)


class Sites:
    """A copy of all sites (SITES_MAX bounds those that come by themselves), and the way to new ones.

    While the registry is down a site that is in the copy stays known, however old the copy is: events go on being
    accepted, which matters more than a change that nobody can make at that time. Belongs to one event loop.
    """

    def __init__(self, registry: Registry, auto_create: bool, *, refresh_s: float = REFRESH_S) -> None:
        self._registry = registry
        self._auto_create = auto_create
        self._refresh_s = refresh_s
        self._copy: dict[str, Site] = {}
        self._is_used = False
        self._renewing: asyncio.Task[None] | None = None
        self._refreshing: asyncio.Task[None] | None = None
        self._creating: dict[str, asyncio.Task[Site | None]] = {}
        self._created_meanwhile: dict[str, Site] = {}
        self._full_until_s = 0.0

    def known(self, site_id: str) -> Site | None:
        """The site, if it is in a copy that is kept fresh; None says no more than that `resolve` has to be asked."""
        self._is_used = True
        return self._copy.get(site_id) if self._renewing is not None else None

    async def find(self, site_id: str) -> Site | None:
        """The site, or None where it does not exist: for reading, which never creates one. Raises Unavailable."""
        self._is_used = True
        if self._renewing is None:
            try:
                await self._refresh_once()
            except Unavailable:
                if site_id not in self._copy:
                    raise
            if self._renewing is None:
                self._renewing = asyncio.create_task(self._renew())
        return self._copy.get(site_id)

    def would_create(self, site_id: str) -> bool:
        """True right after `find` said None, if `resolve` would now have one made: none is on its way."""
        now_s = asyncio.get_running_loop().time()
        return self._auto_create and site_id not in self._creating and now_s >= self._full_until_s

    async def resolve(self, site_id: str) -> Site | None:
        """The site, created where that is allowed; None where it is not, or where SITES_MAX is reached.

        A None costs no query: which sites do not exist is known from the copy, and "full" is remembered. Raises
        Unavailable for a site that is not in the copy while the registry is down.
        """
        site = await self.find(site_id)
        if site is not None or not self._auto_create or asyncio.get_running_loop().time() < self._full_until_s:
            return site
        task = self._creating.get(site_id)
        if task is None:
            task = self._creating[site_id] = asyncio.create_task(self._create(site_id))
            task.add_done_callback(_note_failure)
        return await asyncio.shield(task)

    def changed(self, site: Site) -> None:
        """Take note of what was just saved, so that whoever saved it here meets it at once."""
        self._copy[site.id] = self._created_meanwhile[site.id] = site

    async def close(self) -> None:
        """Stop renewing, and wait for what is under way."""
        if self._renewing is not None:
            self._renewing.cancel()
        tasks = [task for task in (self._renewing, self._refreshing, *self._creating.values()) if task is not None]
        if tasks:
            await asyncio.wait(tasks)

    async def _create(self, site_id: str) -> Site | None:
        try:
            site = await self._registry.ensure_site(site_id)
        finally:
            del self._creating[site_id]
        if site is None:
            self._full_until_s = asyncio.get_running_loop().time() + FULL_S
            log.warning("a new site was refused, there are too many", site_id=site_id)
        else:
            self._copy[site_id] = self._created_meanwhile[site_id] = site
        return site

    async def _renew(self) -> None:
        idle_ticks = 0
        try:
            while idle_ticks < IDLE_TICKS:
                await asyncio.sleep(self._refresh_s)
                idle_ticks = 0 if self._is_used else idle_ticks + 1
                self._is_used = False
                try:
                    await self._refresh_once()
                except Unavailable as error:
                    log.warning("the sites could not be read; going on with those that are known", error=str(error))
        finally:
            self._renewing = None

    async def _refresh_once(self) -> None:
        """Renew the copy; whoever asks while that is under way waits for the same answer."""
        if self._refreshing is None:
            self._refreshing = asyncio.create_task(self._refresh())
            self._refreshing.add_done_callback(_note_failure)
        await asyncio.shield(self._refreshing)

    async def _refresh(self) -> None:
        self._created_meanwhile.clear()
        try:
            sites = await self._registry.sites()
        finally:
            self._refreshing = None
        # What was created after the registry began to answer is missing from its answer, and exists all the same.
        self._copy = self._created_meanwhile | {site.id: site for site in sites}


def _note_failure(task: asyncio.Task[Any]) -> None:
    """Take note of a failure whose waiters have all gone; those who still wait are told by the task itself."""
    if not task.cancelled():
        task.exception()
