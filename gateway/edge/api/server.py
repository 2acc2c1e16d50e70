"""The operator port: metrics, health, the API and the page, for those who run the gateway.

Every resource has a file with its routes. Authorization stands before all of them, and before that only what makes
every error JSON.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import hdrs, web

from gateway.edge.api import (
    account_now,
    accounts,
    audit,
    backup,
    bans,
    cluster,
    conferences,
    connections,
    events,
    groups,
    health,
    hosts,
    idle,
    licenses,
    metrics,
    openapi,
    persons,
    pro,
    queue,
    recent,
    registrations,
    reports,
    runbook,
    sizing,
    static_files,
    tokens,
    usage,
    webhooks,
)
from gateway.edge.api import license as license_in_effect
from gateway.edge.api.authorization import AUTHORIZATION, Authorization
from gateway.edge.api.event_stream import EVENTS, Events
from gateway.edge.api.http_server import BODY_ENCODINGS, UNSUPPORTED_ENCODING, HttpServer
from gateway.edge.api.metrics import REGISTRY, registry_of
from gateway.edge.api.recent import COURSES, Courses
from gateway.edge.api.responses import BODY_LIMIT, code_of, fail
from gateway.edge.api.routes import add_routes, routes_of
from gateway.edge.api.sizing import SIZING
from gateway.edge.api.static_files import CLIENT_FILE, FILES
from gateway.edge.server.runtime import Runtime
from gateway.edge.server.sequencer import NotDecided
from gateway.edge.storage.store import StoreUnavailable

RESOURCES = (
    health,
    metrics,
    static_files,
    runbook,
    openapi,
    license_in_effect,
    events,
    cluster,
    connections,
    conferences,
    queue,
    accounts,
    account_now,
    persons,
    groups,
    pro,
    hosts,
    bans,
    tokens,
    recent,
    idle,
    reports,
    sizing,
    usage,
    audit,
    registrations,
    licenses,
    webhooks,
    backup,
)
"""The files that have routes, in the order of `/openapi.json`."""
BODY_DEADLINE = 5.0
"""Seconds in which a request's body must have come."""

log = logging.getLogger("tallygate.operator")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class OperatorPort:
    """The HTTP server of the operators."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._registry = registry_of(runtime)
        self.authorization = Authorization(runtime)
        self.events = Events(runtime, self.authorization)
        self.server: HttpServer | None = None
        self.port: int | None = None
        """The port that is listened on; None while it is closed."""

    async def open(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        """Listen, where `tls` is given under TLS.

        Raises `OSError` where the address or the port cannot be bound, and `OperatorTokenRequired` where nobody could
        administer it.
        """
        self.authorization.check()
        self.server = HttpServer(self._application(), self._runtime.settings.listen)
        self.port = await self.server.open(host, port, tls)

    def renew(self, tls: ssl.SSLContext | None) -> None:
        """Show another certificate to who comes from now on; None where there is no TLS."""
        if self.server is not None and self.server.acceptor is not None and tls is not None:
            self.server.acceptor.context = tls

    def _application(self) -> web.Application:
        """The routes, and what stands before them."""
        middlewares = [_json_errors, self.authorization.middleware, _read_body]
        app = web.Application(middlewares=middlewares, client_max_size=BODY_LIMIT)
        app[AUTHORIZATION] = self.authorization
        app[EVENTS] = self.events
        app[FILES] = static_files.read()
        app[CLIENT_FILE] = static_files.read_client()
        app[REGISTRY] = self._registry
        app[SIZING] = asyncio.Lock()
        app[COURSES] = Courses()
        add_routes(app, self._runtime, routes_of(RESOURCES))
        return app

    async def close(self) -> None:
        """Stop listening and end what is under way."""
        self.events.close()
        if self.server is not None:
            await self.server.close()
            self.server = self.port = None


@web.middleware
async def _json_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error as JSON: those of this program as they are, aiohttp's own put into the same form."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.content_type == "application/json" or error.status < 400:
            raise
        headers = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
        return _error(error.status, code_of(error), error.reason, headers)
    except TimeoutError:
        return _error(408, "request_timeout", "the body did not come in time")
    except StoreUnavailable as fault:
        return _error(503, "store_unavailable", str(fault))
    except NotDecided as fault:
        return _error(503, "not_decided", str(fault))
    except Exception as fault:
        if isinstance(fault, ConnectionError) and (request.transport is None or request.transport.is_closing()):
            return _error(400, "broken_off", "who asked has gone")  # nobody reads this
        log.exception("%s %s failed", request.method, request.path)
        return _error(500, "internal", "see the gateway's log")


def _error(status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.json_response({"error": code, "detail": detail}, status=status, headers=headers)


@web.middleware
async def _read_body(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Read the whole body, in time and in the encoding that it names, before anything is done."""
    if request.can_read_body:
        if request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() not in {"identity", *BODY_ENCODINGS}:
            fail(*UNSUPPORTED_ENCODING)
        try:
            async with asyncio.timeout(BODY_DEADLINE):
                await request.read()
        except web.RequestPayloadError:
            fail(400, "malformed", "the body is not what its headers say")
    return await handler(request)
