"""An HTTP route is one decorated function: what it does, who may ask, what it is told and what it answers.

    @Route("GET", "/api/bans/{subject}", scope=READ, summary="A ban.", answer=BanDocument, statuses=(404, 422))
    async def get_ban(runtime: Runtime, request: web.Request) -> web.Response: ...

The routes of aiohttp, the check of an operator's scope and `/openapi.json` are all made from it. A new route is a new
function in the file of its resource; a new resource is a new file, named in `server.RESOURCES`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from types import ModuleType
from typing import Any

from aiohttp import hdrs, web

from config.settings import Settings
from gateway.core.admission import directory
from gateway.edge.api.schemas import Schema
from gateway.edge.server.runtime import Runtime

RouteHandler = Callable[[Runtime, web.Request], Awaitable[web.StreamResponse]]

OPEN = "open"
"""The scope of a route that everybody may ask, from anywhere."""
PAGE = "page"
"""The scope of the files of the operators' page: they hold no secret, and only pages of other sites get none."""
LINK = "link"
"""The scope of the page itself: as `PAGE`, and a link of another site to it may be followed."""
READ = directory.READ
"""The scope of looking: an operator with any token may, and a program of this machine."""
ADMIN = directory.ADMIN
"""The scope of acting: an operator with a token of this scope may, and a program of this machine."""


@dataclass(eq=False)
class Route:
    """One route; it decorates the function that answers. `path` has the names of its parameters in braces.

    `answer` describes the JSON of status 200: a `TypedDict` or a schema; None is status 204, without a body. `media`
    are the content types of an answer that is no JSON, or not always. `body` describes the JSON that it is told
    likewise, `query` the parameters that it takes. `statuses` are the errors that it answers beside those that every
    route does.

    `open_if` says under which settings everybody may ask, `head` whether HEAD is answered where GET is, and `patterns`
    what a parameter of the path must match where another route has a fixed step.
    """

    method: str
    path: str
    _: KW_ONLY
    scope: str
    summary: str
    answer: Any = None
    media: tuple[str, ...] = ()
    body: Any = None
    query: tuple[Schema, ...] = ()
    statuses: tuple[int, ...] = ()
    open_if: Callable[[Settings], bool] | None = None
    head: bool = True
    patterns: Mapping[str, str] = field(default_factory=dict)
    handler: RouteHandler = field(init=False)

    def __call__(self, handler: RouteHandler) -> Route:
        """Be the route that `handler` answers."""
        self.handler = handler
        return self

    @property
    def pattern(self) -> str:
        """The path as aiohttp takes it."""
        found = self.path
        for name, pattern in self.patterns.items():
            found = found.replace(f"{{{name}}}", f"{{{name}:{pattern}}}")
        return found

    def is_open(self, settings: Settings) -> bool:
        """Return whether everybody may ask under these settings."""
        return self.scope == OPEN or (self.open_if is not None and self.open_if(settings))


ROUTES: web.AppKey[dict[object, Route]] = web.AppKey("routes", dict)
"""The routes of an application, by the handler that aiohttp knows."""


def routes_of(modules: Iterable[ModuleType]) -> list[Route]:
    """Return every route of these modules, in their order."""
    return [each for module in modules for each in vars(module).values() if isinstance(each, Route)]


def add_routes(app: web.Application, runtime: Runtime, routes: Iterable[Route]) -> None:
    """Let `app` answer these routes, about `runtime`."""
    app[ROUTES] = {}
    for each in routes:
        handler = partial(each.handler, runtime)
        app[ROUTES][handler] = each
        options = {"allow_head": each.head} if each.method == hdrs.METH_GET else {}
        app.add_routes([web.RouteDef(each.method, each.pattern, handler, options)])


def route_of(request: web.Request) -> Route | None:
    """Return the route that a request has found; None where there is none."""
    return request.app[ROUTES].get(request.match_info.handler)
