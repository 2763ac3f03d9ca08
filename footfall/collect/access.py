"""What of a request may be taken: the gate's rules event by event, before any site comes into being for them."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from footfall.collect.admit import Admission, Incoming, Known, Origin
from footfall.collect.dialects.footfall import Batch, Rejected, rejected_faults
from footfall.collect.gate import Gate, Knock
from footfall.errors import FootfallError, Forbidden, Invalid, Overloaded, Unauthorized
from footfall.registry.base import Site
from footfall.sites import Sites

FAULTS_MAX = 1_000
"""Named in the answer to a batch of which nothing was accepted."""

Refusal = Unauthorized | Forbidden | Overloaded


class Allowed(NamedTuple):
    """What is left of a batch, in its order."""

    incoming: Sequence[Incoming]
    knowns: Sequence[Known]
    """For each of *incoming*."""
    rejected: Sequence[Rejected]
    """All of the others, by index: invalid, or not this sender's to send."""


class _Way(msgspec.Struct):
    """What one request's events meet at one site."""

    site: Site | None
    is_new: bool
    error: Refusal | None
    events: int = 0


class Access:
    """Lets events through to the sites that take them from this sender. A request that is refused creates no site."""

    def __init__(self, gate: Gate, sites: Sites, admission: Admission) -> None:
        self.gate = gate
        self._sites = sites
        self._admission = admission

    async def one(self, knock: Knock, incoming: Incoming, origin: Origin) -> Known:
        """What `admit` needs of an event that `check_event` let through; its site exists then, where it may.

        `check_site` is still to be asked. Raises Overloaded, and Unavailable when the registry is down.
        """
        site_id = incoming.site_id
        if await self._sites.find(site_id) is None and self._sites.would_create(site_id):
            self.gate.check_rates(knock, {site_id: (None, 1)})
            self.gate.admit_new_site(knock, site_id)
        return await self._admission.prepare(incoming, origin)

    async def many(self, knock: Knock, batch: Batch, origin: Origin) -> Allowed:
        """The events of a batch that may be taken, and why not the others.

        Raises what fits all of them where that is none, Overloaded where a site's limit is in the way (then of all of
        them none is taken), and Unavailable when the registry is down.
        """
        ways: dict[str, _Way] = {}
        kept: list[Incoming] = []
        errors: list[Refusal] = []
        rejected = list(batch.rejected)
        for index, incoming in zip(batch.indices, batch.incoming, strict=True):
            way = ways.get(incoming.site_id)
            if way is None:
                way = ways[incoming.site_id] = await self._way(knock, incoming.site_id)
            error = way.error or self._error_of(knock, incoming, origin, way)
            if error is None:
                way.events += 1
                kept.append(incoming)
            else:
                errors.append(error)
                rejected.append(Rejected(index, error.faults))
        rejected.sort(key=lambda one: one.index)
        if not kept:
            raise self._refusal(knock, errors, rejected)
        await self._open(knock, ways)
        return Allowed(kept, await self._knowns(kept, origin), rejected)

    async def _way(self, knock: Knock, site_id: str) -> _Way:
        site = self._sites.known(site_id) or await self._sites.find(site_id)
        if site is None:
            return _Way(None, self._sites.would_create(site_id), None)
        try:
            self.gate.check_rules(knock, site)
        except (Unauthorized, Forbidden) as error:
            return _Way(site, is_new=False, error=error)
        return _Way(site, is_new=False, error=None)

    def _error_of(self, knock: Knock, incoming: Incoming, origin: Origin, way: _Way) -> Refusal | None:
        try:
            if incoming.override is not None or incoming.occurred_at_ms is not None:
                self.gate.check_event(knock, incoming, origin.received_at_ms)
            if way.is_new and not way.events:
                self.gate.admit_new_site(knock, incoming.site_id)
        except Forbidden as error:
            return error
        except Overloaded as error:
            way.error = error
            return error
        return None

    async def _open(self, knock: Knock, ways: dict[str, _Way]) -> None:
        """Take the events from what the sites may be sent, all or none, and only then let new sites come into being."""
        used = {site_id: way for site_id, way in ways.items() if way.events}
        new = [site_id for site_id, way in used.items() if way.is_new]
        counts = {site_id: (way.site, way.events) for site_id, way in used.items() if way.site or way.is_new}
        try:
            self.gate.check_rates(knock, counts)
        except Overloaded:
            for site_id in new:
                self.gate.admit_new_site(knock, site_id, -1)
            raise
        self.gate.take_rates(knock, counts)
        for site_id in new:
            site = await self._sites.resolve(site_id)
            if site is not None:
                # Somebody may have made it in the meantime, with rules.
                self.gate.check_rules(knock, site)

    async def _knowns(self, kept: Sequence[Incoming], origin: Origin) -> Sequence[Known]:
        admission = self._admission
        knowns: list[Known] = []
        known, site_id = Known(None, b""), ""
        for incoming in kept:
            if not (incoming.user_id and incoming.site_id == site_id):
                known = admission.known(incoming, origin) or await admission.prepare(incoming, origin)
                site_id = incoming.site_id
            knowns.append(known)
        return knowns

    def _refusal(self, knock: Knock, errors: Sequence[Refusal], rejected: Sequence[Rejected]) -> FootfallError:
        """The one failure that tells of a batch of which nothing may be taken. *errors* are those of valid events."""
        faults = tuple(rejected_faults(rejected, FAULTS_MAX))
        kinds = {type(error) for error in errors}
        if len(errors) < len(rejected) or (Overloaded in kinds and len(kinds) > 1):
            return Invalid(*faults)
        message = str(errors[0])
        if kinds == {Overloaded}:
            self.gate.give_back(knock, len(rejected))
            return Overloaded(message, _soonest_s(errors), faults)
        return Unauthorized(message, *faults) if Unauthorized in kinds else Forbidden(message, *faults)


def _soonest_s(errors: Sequence[Refusal]) -> int:
    return min(error.retry_after_s for error in errors if isinstance(error, Overloaded))
