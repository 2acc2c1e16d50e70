"""The API about licenses: this gateway's own registration, and what its registrar has sold to whom."""

from __future__ import annotations

from typing import Any, NoReturn

from aiohttp import web

from gateway.core.formats import utc
from gateway.core.registration.messages import TERMS
from gateway.core.registration.registrar import Installation, SoldLicense
from gateway.core.wire.messages import RequestFault
from gateway.edge.api.authorization import caller
from gateway.edge.api.responses import body, fail, listed, named, only
from gateway.edge.server.runtime import Runtime
from gateway.edge.storage.store import StoreUnavailable


def license_routes(runtime: Runtime) -> list[web.RouteDef]:
    """The routes of this file."""
    registrar_service = _Licenses(runtime)
    return [
        web.get("/api/registration", registrar_service.registration),
        web.post("/api/registration/request", registrar_service.request),
        web.post("/api/registration/install", registrar_service.install),
        web.get("/api/registrations", registrar_service.registrations),
        web.get("/api/licenses", registrar_service.licenses),
        web.put("/api/licenses/{serial}", registrar_service.sell),
        web.get("/api/licenses/{serial}", registrar_service.license),
        web.delete("/api/licenses/{serial}", registrar_service.remove),
        web.post("/api/licenses/{serial}/revoke", registrar_service.revoke),
        web.post("/api/licenses/{serial}/answer", registrar_service.answer),
    ]


class _Licenses:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._registrar_service = runtime.registrar
        self._registrar = runtime.registrar.registrar

    # -- this gateway's own ------------------------------------------------------------------------------------------

    async def registration(self, _: web.Request) -> web.Response:
        return web.json_response(self._runtime.registration.to_json())

    async def request(self, request: web.Request) -> web.Response:
        only(await body(request))
        try:
            return web.json_response(await self._runtime.registration.request())
        except RequestFault as fault:
            _refuse(fault)

    async def install(self, request: web.Request) -> web.Response:
        told = await body(request)
        try:
            await self._runtime.registration.install(told)
        except RequestFault as fault:
            _refuse(fault)
        return web.json_response(self._runtime.registration.to_json())

    # -- the registrar -----------------------------------------------------------------------------------------------

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

    async def licenses(self, request: web.Request) -> web.Response:
        return listed(request, self._registrar.licenses, lambda _, sold: self._document(sold))

    async def license(self, request: web.Request) -> web.Response:
        return web.json_response(self._document(self._found(request)))

    async def sell(self, request: web.Request) -> web.Response:
        serial, told = named(request, "serial"), await body(request)
        only(told, *TERMS)
        try:
            fresh = self._registrar_service.issue(serial, told)
        except RequestFault as fault:
            _refuse(fault)
        license = self._registrar.licenses[serial]
        action = "license.sold" if fresh else "license.changed"
        self._runtime.persistence.audit(caller(request), action, serial, license.grant.to_json())
        try:
            await self._runtime.persistence.license(serial)
        except StoreUnavailable:
            if fresh:  # a key that nobody was told is no license
                self._registrar_service.remove(serial)
                self._runtime.persistence.audit(caller(request), "license.removed", serial)
            raise
        key = {"key": license.key.hex()} if fresh else {}
        return web.json_response(self._document(license) | key)

    async def revoke(self, request: web.Request) -> web.Response:
        only(await body(request))
        serial = self._found(request).serial
        self._registrar_service.revoke(serial)
        self._runtime.persistence.audit(caller(request), "license.revoked", serial)
        await self._runtime.persistence.license(serial)
        return web.json_response(self._document(self._registrar.licenses[serial]))

    async def remove(self, request: web.Request) -> web.Response:
        serial = self._found(request).serial
        self._registrar_service.remove(serial)
        self._runtime.persistence.audit(caller(request), "license.removed", serial)
        await self._runtime.persistence.license(serial)
        return web.Response(status=204)

    async def answer(self, request: web.Request) -> web.Response:
        told = await body(request)
        serial = self._found(request).serial
        if told.get("serial") != serial:
            fail(422, "bad_field", f"serial: the request is not of {serial}")
        try:
            answer = self._registrar.answer(told, self._runtime.clock.wall())
        except RequestFault as fault:
            _refuse(fault)
        await self._runtime.persistence.audit(caller(request), "license.answered", serial, {"server": told["server"]})
        return web.json_response(answer)

    def _found(self, request: web.Request) -> SoldLicense:
        license = self._registrar.licenses.get(named(request, "serial"))
        if license is None:
            fail(404, "no_such_license", "no license has this serial")
        return license

    def _document(self, license: SoldLicense) -> dict[str, Any]:
        return document(license, self._runtime.clock.wall())


def document(license: SoldLicense, now: float) -> dict[str, Any]:
    """A license as an operator sees it, without its key; `now` is in seconds UTC."""
    return {
        "serial": license.serial,
        **license.grant.to_json(),
        "created": utc(license.created),
        "revoked_at": utc(license.revoked),
        "state": license.state(now),
    }


def _refuse(fault: RequestFault) -> NoReturn:
    """Answer a fault: what is wrong in itself is 422, what does not fit to what is here 409."""
    fail(422 if fault.code == "bad_field" else 409, fault.code, fault.detail)
