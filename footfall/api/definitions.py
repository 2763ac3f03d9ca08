"""GET, PUT and DELETE of a site's goals, segments and funnels; GET and PATCH of its rules."""

import re
from typing import Any, Final
from urllib.parse import unquote

import msgspec
from litestar import Request, Response, delete, get, patch, put
from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from litestar.handlers import HTTPRouteHandler

from footfall.api.context import ApiContext
from footfall.api.parameters import read
from footfall.door import require, require_somewhere
from footfall.errors import Conflict, Fault, Invalid, NotFound, TooLarge
from footfall.event import SITE_ID_PATTERN
from footfall.query.defining import Definition, Kind, all_of, named, parse_name, parse_one, with_one, without_one
from footfall.query.reading import decoded
from footfall.registry.base import Scope, Site
from footfall.rules import parse_rules, rules_of

BODY_BYTES_MAX: Final = 64 * 1024
TRIES_MAX: Final = 5
"""A change to one definition goes with any to another: so it is tried again where somebody was faster."""
_SITE: Final = "/api/sites/{site_id:str}"
_NAME_PLACE: Final = 5
"""Of the name among the parts of the address: "", api, sites, the site, the kind."""

Asking = Request[Any, Any, Any]


def routes(context: ApiContext) -> list[HTTPRouteHandler]:
    """The routes."""
    return [*_site_routes(context), *(route for kind in Kind for route in _routes_of(context, kind))]


def _site_routes(context: ApiContext) -> list[HTTPRouteHandler]:
    @get(_SITE, include_in_schema=False)
    async def site(request: Asking) -> Response[bytes]:
        site_id = await _enter(context, request, Scope.READ)
        found = next((site for site in await context.registry.sites() if site.id == site_id), None)
        if found is None:
            raise NotFound(f"there is no site {site_id}")
        return _answer(_site_body(found))

    @patch(_SITE, include_in_schema=False, request_max_body_size=BODY_BYTES_MAX)
    async def change(request: Asking) -> Response[bytes]:
        site_id = await _enter(context, request, Scope.ADMIN)
        changes = parse_rules(await _body(request))
        changed = msgspec.structs.replace(await _ensured(context, site_id), **changes)
        await context.registry.save_site(changed)
        context.sites.changed(changed)
        return _answer(_site_body(changed))

    return [site, change]


def _routes_of(context: ApiContext, kind: Kind) -> list[HTTPRouteHandler]:
    many, one = f"{_SITE}/{kind}", f"{_SITE}/{kind}/{{name:path}}"

    @get(many, name=f"list {kind}", include_in_schema=False)
    async def list_all(request: Asking) -> Response[bytes]:
        site_id = await _enter(context, request, Scope.READ)
        return _answer({kind.value: all_of(await context.registry.definitions(site_id), kind)})

    @get(one, name=f"get {kind}", include_in_schema=False)
    async def get_one(request: Asking) -> Response[bytes]:
        site_id = await _enter(context, request, Scope.READ)
        return _answer(named(await context.registry.definitions(site_id), kind, _name(request)))

    @put(one, name=f"put {kind}", status_code=200, include_in_schema=False, request_max_body_size=BODY_BYTES_MAX)
    async def put_one(request: Asking) -> Response[bytes]:
        site_id = await _enter(context, request, Scope.ADMIN)
        name, body = _name(request), await _body(request)
        return _answer(await _put(context, site_id, kind, name, body))

    @delete(one, name=f"delete {kind}", status_code=200, include_in_schema=False)
    async def delete_one(request: Asking) -> Response[bytes]:
        site_id = await _enter(context, request, Scope.ADMIN)
        await _delete(context, site_id, kind, _name(request))
        return _answer(None)

    return [list_all, get_one, put_one, delete_one]


async def _put(context: ApiContext, site_id: str, kind: Kind, name: str, body: dict[str, Any]) -> Definition:
    for tries_left in reversed(range(TRIES_MAX)):
        before = await context.registry.definitions(site_id)
        one = parse_one(kind, body, before, name=name)
        after = with_one(before, kind, one)
        if after == before:
            return one
        await _ensured(context, site_id)
        try:
            await context.registry.save_definitions(site_id, after, before.version)
        except Conflict:
            if not tries_left:
                raise
        else:
            break
    return one


async def _delete(context: ApiContext, site_id: str, kind: Kind, name: str) -> None:
    for tries_left in reversed(range(TRIES_MAX)):
        before = await context.registry.definitions(site_id)
        after = without_one(before, kind, name)
        try:
            await context.registry.save_definitions(site_id, after, before.version)
        except Conflict:
            if not tries_left:
                raise
        else:
            return


async def _enter(context: ApiContext, request: Asking, scope: Scope) -> str:
    """The site in the address. Lets nobody in who may not do *scope* there."""
    site_id: str = request.path_params["site_id"]
    caller = await context.caller(request.scope)
    require_somewhere(caller, scope)
    if not re.fullmatch(SITE_ID_PATTERN, site_id):
        raise Invalid(Fault("site_id", "must be 1 to 128 of A-Z a-z 0-9 . _ : -"))
    require(caller, scope, site_id)
    read(request.scope["query_string"], ())
    return site_id


async def _ensured(context: ApiContext, site_id: str) -> Site:
    site = await context.registry.ensure_site(site_id)
    if site is None:
        raise Invalid(Fault("site_id", "can not be created: there are too many sites already"))
    return site


async def _body(request: Asking) -> dict[str, Any]:
    try:
        return decoded(await request.body())
    except RequestEntityTooLarge:
        raise TooLarge(f"the body must be at most {BODY_BYTES_MAX} bytes") from None


def _name(request: Asking) -> str:
    """The name in the address, from the bytes that were sent: in what the framework makes of them `//` is `/`."""
    parts = request.scope["raw_path"].split(b"/", _NAME_PLACE)
    try:
        return parse_name(unquote(parts[_NAME_PLACE].decode("ascii"), errors="strict"), "name")
    except UnicodeDecodeError:
        raise Invalid(Fault("name", "must be UTF-8, percent-encoded")) from None


def _site_body(site: Site) -> dict[str, Any]:
    return {"id": site.id, **rules_of(site)}


def _answer(data: object) -> Response[bytes]:
    return Response(msgspec.json.encode({"success": True, "data": data}), media_type="application/json")
