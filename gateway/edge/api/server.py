"""The operator port: metrics, health, the API and the page, for those who run the gateway.

Each room of the API brings its routes; the guard stands before all of them, and before the guard only what makes every
error JSON.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from importlib import metadata

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from gateway.core.admission.snapshot import snapshot
from gateway.core.registration.license_status import LicenseState
from gateway.edge.api.authorization import Authorization
from gateway.edge.api.connections import connection_routes
from gateway.edge.api.custody import custody_routes
from gateway.edge.api.event_stream import Events
from gateway.edge.api.licenses import license_routes
from gateway.edge.api.openapi import document
from gateway.edge.api.people import people_routes
from gateway.edge.api.reports import report_routes
from gateway.edge.api.responses import BODY_LIMIT, code_of
from gateway.edge.api.static_files import page_routes
from gateway.edge.server.bound_sockets import bound_sockets
from gateway.edge.server.runtime import Runtime
from gateway.edge.storage.store import StoreUnavailable
from metrics.collector import GatewayCollector, ListenerView, RegistrationView, StoreView, View
from metrics.process import ProcessCollector

KEEP_ALIVE = 15.0
"""Seconds an idle operator connection is kept."""
BODY_DEADLINE = 5.0
"""Seconds in which a request's body must have come."""

log = logging.getLogger("tallygate.operator")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class OperatorPort:
    """The HTTP server of the operators."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._version = metadata.version("tallygate")
        self._registry = CollectorRegistry()
        self._registry.register(GatewayCollector(self._view))
        self._registry.register(ProcessCollector())
        self.guard = Authorization(runtime)
        self.events = Events(runtime, self.guard)
        self._runner: web.AppRunner | None = None
        self.port: int | None = None
        """The port that is listened on; None while it is closed."""

    async def open(self, host: str, port: int) -> None:
        """Listen.

        Raises `OSError` where an address or the port cannot be had, `Unguarded` where everybody would be let in.
        """
        self.guard.check()
        middlewares = [_json_errors, self.guard.middleware, _body_deadline]
        app = web.Application(middlewares=middlewares, client_max_size=BODY_LIMIT)
        app.add_routes(
            [
                web.get("/metrics", self._metrics),
                web.get("/livez", _live),
                web.get("/readyz", self._ready),
                web.get("/openapi.json", _describe),
                *connection_routes(self._runtime),
                *people_routes(self._runtime),
                *report_routes(self._runtime),
                *custody_routes(self._runtime, self.guard),
                *license_routes(self._runtime),
                *self.events.routes(),
                *page_routes(),
            ]
        )
        self._runner = web.AppRunner(app, keepalive_timeout=KEEP_ALIVE, access_log=None, shutdown_timeout=2.0)
        await self._runner.setup()
        try:
            sockets = bound_sockets(host, port)
            for each in sockets:
                await web.SockSite(self._runner, each).start()
        except OSError as fault:
            raise OSError(fault.errno, f"operator port {port} on {host}: {fault.strerror or fault}") from fault
        self.port = int(self._runner.addresses[0][1])

    async def close(self) -> None:
        """Stop listening and end what is under way."""
        self.events.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = self.port = None

    async def _metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self._registry), headers={"Content-Type": content_type})

    async def _ready(self, _: web.Request) -> web.Response:
        if self._runtime.draining:
            return web.Response(status=503, text="draining\n")
        reason = self._runtime.registration.reason()
        if reason is not None:
            return web.Response(status=503, text=f"{reason}\n")
        listeners = self._runtime.client_listeners if self._runtime.clients else (self._runtime.registrar.listener,)
        if any(listener.port is None for listener in listeners):
            return web.Response(status=503, text="doors are closed\n")
        left = self._runtime.registration.left()
        return web.Response(text="ready\n" if left is None else f"ready; registration lost, service ends in {left}\n")

    def _view(self) -> View:
        runtime, store = self._runtime, self._runtime.persistence.store
        return View(
            snapshot=snapshot(runtime.admission, runtime.clock.mono()),
            listeners=[
                ListenerView(
                    transport=listener.transport,
                    pending=listener.connections.waiting,
                    open=len(listener.connections) - len(listener.connections.pending),
                    accepted=listener.accepted,
                    heartbeats=listener.heartbeats,
                    rejected=listener.rejected,
                    closed=listener.closed,
                    durations=listener.durations,
                )
                for listener in runtime.client_listeners
            ],
            store=StoreView(store.commits, store.pending, store.errors),
            registration=self._registration(),
            lag=runtime.ticker.lag,
            draining=runtime.draining,
            version=self._version,
            started=runtime.started,
        )

    def _registration(self) -> RegistrationView:
        registration, registrar_service = self._runtime.registration, self._runtime.registrar
        shown, grant = registration.shown, registration.grant
        return RegistrationView(
            state=shown.state,
            states=tuple(LicenseState),
            verified=registration.status.accepted if grant is not None else None,
            shutdown_at=shown.shutdown_at,
            not_after=grant.not_after if grant is not None else None,
            checks=registration.checks,
            servers=len(registrar_service.registrar.talks),
            served={**registrar_service.results, **registrar_service.listener.rejected},
            clones=registrar_service.registrar.clones,
        )


async def _describe(_: web.Request) -> web.Response:
    return web.json_response(document())


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
        headers = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
        return web.json_response(
            {"error": code_of(error), "detail": error.reason}, status=error.status, headers=headers
        )
    except TimeoutError:
        return web.json_response({"error": "request_timeout", "detail": "the body did not come in time"}, status=408)
    except StoreUnavailable as fault:
        return web.json_response({"error": "store_unavailable", "detail": str(fault)}, status=503)
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        return web.json_response({"error": "internal", "detail": "see the gateway's log"}, status=500)


@web.middleware
async def _body_deadline(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.can_read_body:
        async with asyncio.timeout(BODY_DEADLINE):
            await request.read()
    return await handler(request)
