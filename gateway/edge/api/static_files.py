"""The operator's page: a fixed set of files beside the code, read once.

What the browser may do with them is said with every one: run and show what comes from here and nothing else, speak to
here and nowhere else, and be in nobody's frame. The files hold no secret; what they show comes through the API, which
asks for a token where one is needed.
"""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import NamedTuple

from aiohttp import hdrs, web

FOLDER = resources.files("gateway") / "page"
KINDS = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
"""What a file is, by how its name ends; others are not served."""
FRONT = "index.html"
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


class StaticFile(NamedTuple):
    """One file: its bytes, what it is, and the tag that changes with its bytes."""

    body: bytes
    kind: str
    tag: str


def page_routes() -> list[web.RouteDef]:
    """The routes of this file; the files are read here."""
    leaves = read()

    async def front(request: web.Request) -> web.Response:
        return _answer(request, leaves[FRONT])

    async def leaf(request: web.Request) -> web.Response:
        found = leaves.get(request.match_info["file"])
        if found is None:
            raise web.HTTPNotFound
        return _answer(request, found)

    return [web.get("/", front), web.get("/page/{file}", leaf)]


def read() -> dict[str, StaticFile]:
    """Every file of the page, by name."""
    leaves = {}
    for file in sorted(FOLDER.iterdir(), key=lambda each: each.name):
        kind = KINDS.get(file.name[file.name.rfind(".") :])
        if kind is not None:
            body = file.read_bytes()
            leaves[file.name] = StaticFile(body, kind, hashlib.sha256(body).hexdigest()[:32])
    return leaves


def _answer(request: web.Request, leaf: StaticFile) -> web.Response:
    headers = {**HEADERS, hdrs.ETAG: f'"{leaf.tag}"'}
    if any(each.value in {leaf.tag, "*"} for each in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    return web.Response(body=leaf.body, content_type=leaf.kind, charset="utf-8", headers=headers)
