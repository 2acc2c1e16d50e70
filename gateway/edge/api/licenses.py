"""The API about the licenses that this registrar has sold."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gateway.core.formats import utc
from gateway.core.registration.messages import TERMS
from gateway.core.registration.registrar import SoldLicense
from gateway.core.wire.messages import RequestFault
from gateway.edge.api.authorization import caller
from gateway.edge.api.responses import body, fail, listed, named, only, refuse
from gateway.edge.server.runtime import Runtime
from gateway.edge.storage.store import StoreUnavailable


def sold_license_routes(runtime: Runtime) -> list[web.RouteDef]:
    """The routes of this file."""
    licenses = _Licenses(runtime)
    return [
        web.get("/api/licenses", licenses.licenses),
        web.put("/api/licenses/{serial}", licenses.sell),
        web.get("/api/licenses/{serial}", licenses.license),
        web.delete("/api/licenses/{serial}", licenses.remove),
        web.post("/api/licenses/{serial}/revoke", licenses.revoke),
        web.post("/api/licenses/{serial}/answer", licenses.answer),
    ]


class _Licenses:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._registrar_service = runtime.registrar
        self._registrar = runtime.registrar.registrar

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
            refuse(fault)
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
            refuse(fault)
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
