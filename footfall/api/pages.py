"""The pages and their parts: read once into memory, answered with a validator, free of anything from elsewhere."""

from hashlib import blake2b
from importlib import resources
from typing import Any, Final

import msgspec
from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler

from footfall.errors import NotFound

MEDIA_TYPES: Final = {
    "html": "text/html",
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
}
REVALIDATE: Final = "no-cache"
"""Kept by the browser and asked for again each time: after an upgrade nobody sees an old page with a new script."""


class Page(msgspec.Struct, frozen=True):
    """One file, ready to be sent."""

    body: bytes
    media_type: str
    tag: str


def load() -> dict[str, Page]:
    """Every file of web/static whose kind is known, by name."""
    folder = resources.files("footfall.web") / "static"
    found = {}
    for file in folder.iterdir():
        media_type = MEDIA_TYPES.get(file.name.rpartition(".")[2])
        if media_type is not None:
            found[file.name] = page(file.read_bytes(), media_type)
    return found


def page(body: bytes, media_type: str) -> Page:
    """*body* with its validator."""
    return Page(body, media_type, f'"{blake2b(body, digest_size=12).hexdigest()}"')


def answer(request: Request[Any, Any, Any], found: Page) -> Response[bytes]:
    """The page, or 304 for a browser that has it."""
    headers = {"etag": found.tag, "cache-control": REVALIDATE}
    tags = request.headers.get("if-none-match", "")
    if found.tag in (tag.strip().removeprefix("W/") for tag in tags.split(",")):
        return Response(b"", status_code=304, headers=headers, media_type=found.media_type)
    return Response(found.body, headers=headers, media_type=found.media_type)


def routes() -> list[HTTPRouteHandler]:
    """The home page, the page that describes the API, and their parts."""
    files = load()

    @get("/", include_in_schema=False)
    async def home(request: Request[Any, Any, Any]) -> Response[bytes]:
        return answer(request, files["home.html"])

    @get("/docs", include_in_schema=False)
    async def docs(request: Request[Any, Any, Any]) -> Response[bytes]:
        return answer(request, files["docs.html"])

    @get("/favicon.ico", include_in_schema=False)
    async def favicon(request: Request[Any, Any, Any]) -> Response[bytes]:
        return answer(request, files["favicon.svg"])

    @get("/static/{name:str}", include_in_schema=False)
    async def static(request: Request[Any, Any, Any]) -> Response[bytes]:
        name: str = request.path_params["name"]
        if name not in files:
            raise NotFound("there is nothing at this address")
        return answer(request, files[name])

    return [home, docs, favicon, static]
