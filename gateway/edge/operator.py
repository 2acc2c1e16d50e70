"""The operator port: metrics, health, and the API, for those who run the gateway.

It listens on loopback only, and answers only requests that come from this machine: a Host that is not a local name is
a page of another site that found a way here (DNS rebinding), forwarding headers mean a proxy that would let everybody
in, and a browser says by `Origin` or `Sec-Fetch-Site` when another site sends the request.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from importlib import metadata

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from gateway.core.snapshot import snapshot
from gateway.edge.answers import BODY_LIMIT, fail
from gateway.edge.connections import connection_routes
from gateway.edge.hub import Hub
from gateway.edge.people import people_routes
from gateway.edge.store import StoreUnavailable
from metrics.collector import DoorView, GatewayCollector, View
from metrics.process import ProcessCollector

FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Via")
KEEP_ALIVE = 15.0
"""Seconds an idle operator connection is kept."""
BODY_DEADLINE = 5.0
"""Seconds in which a request's body must have come."""

log = logging.getLogger("tallygate.operator")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class OperatorPort:
    """The HTTP server of the operators."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._registry = CollectorRegistry()
        self._registry.register(GatewayCollector(self._view))
        self._registry.register(ProcessCollector())
        self._runner: web.AppRunner | None = None
        self.port: int | None = None
        """The port that is listened on; None while it is closed."""

    async def open(self, host: str, port: int) -> None:
        """Listen.

        Raises `OSError` where the address or the port cannot be had.
        """
        app = web.Application(middlewares=[_json_errors, _guard, _body_deadline], client_max_size=BODY_LIMIT)
        app.add_routes(
            [
                web.get("/metrics", self._metrics),
                web.get("/livez", _live),
                web.get("/readyz", self._ready),
                *connection_routes(self._hub),
                *people_routes(self._hub),
            ]
        )
        self._runner = web.AppRunner(app, keepalive_timeout=KEEP_ALIVE, access_log=None, shutdown_timeout=2.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        self.port = int(self._runner.addresses[0][1])

    async def close(self) -> None:
        """Stop listening and end what is under way."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = self.port = None

    async def _metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self._registry), headers={"Content-Type": content_type})

    async def _ready(self, _: web.Request) -> web.Response:
        if self._hub.draining:
            return web.Response(status=503, text="draining\n")
        if any(door.port is None for door in self._hub.doors):
            return web.Response(status=503, text="client doors are closed\n")
        return web.Response(text="ready\n")

    def _view(self) -> View:
        hub = self._hub
        return View(
            snapshot=snapshot(hub.admission, hub.clock.mono()),
            doors=[
                DoorView(
                    transport=door.transport,
                    pending=door.waiting,
                    open=len(door.connections) - len(door.pending),
                    accepted=door.accepted,
                    heartbeats=door.beats,
                    rejected=door.rejected,
                    closed=door.closed,
                    durations=door.durations,
                )
                for door in hub.doors
            ],
            lag=hub.lag,
            draining=hub.draining,
            version=metadata.version("tallygate"),
            started=hub.started,
        )


async def _live(_: web.Request) -> web.Response:
    return web.Response(text="live\n")


@web.middleware
async def _json_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error is JSON: ours as they are, aiohttp's own in the same words."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.content_type == "application/json" or error.status < 400:
            raise
        code = HTTPStatus(error.status).phrase.lower().replace(" ", "_")
        headers = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
        return web.json_response({"error": code, "detail": error.reason}, status=error.status, headers=headers)
    except TimeoutError:
        return web.json_response({"error": "request_timeout", "detail": "the body did not come in time"}, status=408)
    except StoreUnavailable as fault:
        return web.json_response({"error": "store_unavailable", "detail": str(fault)}, status=503)
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        return web.json_response({"error": "internal", "detail": "see the gateway's log"}, status=500)


@web.middleware
async def _guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.path in {"/livez", "/readyz"}:
        return await handler(request)
    if any(name in request.headers for name in FORWARDED):
        fail(401, "token_required", "requests through a proxy need an operator token")
    host = request.headers.get("Host", "")
    if not local(host):
        fail(403, "foreign_host", "the Host header must be a local name")
    origin = request.headers.get("Origin")
    if origin is not None and origin.partition("://")[2] != host:
        fail(403, "cross_site", "requests of other sites are refused")
    if request.headers.get("Sec-Fetch-Site", "none") not in {"none", "same-origin"}:
        fail(403, "cross_site", "requests of other sites are refused")
    return await handler(request)


@web.middleware
async def _body_deadline(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.can_read_body:
        async with asyncio.timeout(BODY_DEADLINE):
            await request.read()
    return await handler(request)


def local(host: str) -> bool:
    """Whether a Host header names this machine: `localhost`, or a loopback address."""
    name = host[: host.index("]") + 1] if host.startswith("[") and "]" in host else host.partition(":")[0]
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False
