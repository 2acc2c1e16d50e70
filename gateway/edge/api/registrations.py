"""The API about registrations: this gateway's own, and those of the servers that register here."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gateway.core.formats import utc
from gateway.core.registration.registrar import Installation
from gateway.core.wire.messages import RequestFault
from gateway.edge.api.responses import body, listed, only, refuse
from gateway.edge.server.runtime import Runtime


def registration_routes(runtime: Runtime) -> list[web.RouteDef]:
    """The routes of this file."""
    registrations = _Registrations(runtime)
    return [
        web.get("/api/registration", registrations.registration),
        web.post("/api/registration/request", registrations.request),
        web.post("/api/registration/install", registrations.install),
        web.get("/api/registrations", registrations.registrations),
    ]


class _Registrations:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._registrar = runtime.registrar.registrar

    async def registration(self, _: web.Request) -> web.Response:
        return web.json_response(self._runtime.registration.to_json())

    async def request(self, request: web.Request) -> web.Response:
        only(await body(request))
        try:
            return web.json_response(await self._runtime.registration.request())
        except RequestFault as fault:
            refuse(fault)

    async def install(self, request: web.Request) -> web.Response:
        told = await body(request)
        try:
            await self._runtime.registration.install(told)
        except RequestFault as fault:
            refuse(fault)
        return web.json_response(self._runtime.registration.to_json())

    async def registrations(self, request: web.Request) -> web.Response:
        known = {f"{serial}/{server}": each for (serial, server), each in self._registrar.installations.items()}
        return listed(request, known, lambda _, each: self._installation(each))

    def _installation(self, each: Installation) -> dict[str, Any]:
        license = self._registrar.licenses.get(each.serial)
        return {
            "server": each.server,
            "serial": each.serial,
            "model": license.grant.model if license is not None else "",
            "edition": license.grant.edition if license is not None else "",
            "connected": each.since is not None,
            "since": utc(each.since),
            "last_verified": utc(each.verified),
            "used": each.used,
            "address": each.address,
            "version": each.version,
            "clones_suspected": each.clones,
        }
