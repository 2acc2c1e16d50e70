"""The operator's page, and the client for JavaScript: a fixed set of files beside the code, read once.

What the browser may do with them is said with every one: run and show what comes from here and nothing else, speak to
here and nowhere else, and be in nobody's frame. The files hold no secret; what they show comes through the API, which
asks for a token where one is needed.
"""

from __future__ import annotations

import functools
import hashlib
from importlib import resources
from importlib.resources.abc import Traversable
from typing import NamedTuple

from aiohttp import hdrs, web

from gateway.edge.api.routes import LINK, OPEN, PAGE, Route
from gateway.edge.server.runtime import Runtime

FOLDER = resources.files("gateway") / "page"
KINDS = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
"""What a file is, by how its name ends; others are not served."""
FRONT = "index.html"
CLIENT = "client.js"
"""The client for JavaScript; the one for Python is its neighbor."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
"""Said with every file. A browser may keep it, and asks each time whether it is still the same."""
FOR_ALL = {"Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin"}
"""Said with what pages of other sites may use too."""


class StaticFile(NamedTuple):
    """One file: its bytes, what it is, and the tag that changes with its bytes."""

    body: bytes
    kind: str
    tag: str


FILES: web.AppKey[dict[str, StaticFile]] = web.AppKey("files", dict)
"""The files of the page, read once."""
CLIENT_FILE: web.AppKey[StaticFile] = web.AppKey("client_file", StaticFile)
"""The client for JavaScript, read once."""


@Route("GET", "/", scope=LINK, summary="The page.", media=(KINDS[".html"],))
async def get_front(_: Runtime, request: web.Request) -> web.Response:
    """Show the page."""
    return _answer(request, request.app[FILES][FRONT])


@Route(
    "GET",
    "/page/{file}",
    scope=PAGE,
    summary="A file of the page.",
    media=tuple(KINDS.values()),
    statuses=(404,),
)
async def get_file(_: Runtime, request: web.Request) -> web.Response:
    """Show a file of it."""
    found = request.app[FILES].get(request.match_info["file"])
    if found is None:
        raise web.HTTPNotFound
    return _answer(request, found)


@Route("GET", "/client.js", scope=OPEN, summary="The client for JavaScript.", media=(KINDS[".js"],))
async def get_client(_: Runtime, request: web.Request) -> web.Response:
    """Give the client to whoever writes an application."""
    answer = _answer(request, request.app[CLIENT_FILE])
    answer.headers.update(FOR_ALL)
    return answer


@functools.cache
def read() -> dict[str, StaticFile]:
    """Return every file of the page, by name."""
    files = sorted(FOLDER.iterdir(), key=lambda each: each.name)
    return {file.name: _read(file) for file in files if _ending(file) in KINDS}


@functools.cache
def read_client() -> StaticFile:
    """Return the client for JavaScript."""
    return _read(resources.files("gateway") / CLIENT)


def _ending(file: Traversable) -> str:
    return file.name[file.name.rfind(".") :]


def _read(file: Traversable) -> StaticFile:
    body = file.read_bytes()
    return StaticFile(body, KINDS[_ending(file)], hashlib.sha256(body).hexdigest()[:32])


def _answer(request: web.Request, file: StaticFile) -> web.Response:
    headers = {**HEADERS, hdrs.ETAG: f'"{file.tag}"'}
    if any(each.value in {file.tag, "*"} for each in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    return web.Response(body=file.body, content_type=file.kind, charset="utf-8", headers=headers)
