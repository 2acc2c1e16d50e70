"""The API about named hosts."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gateway.core.admission.outcome import Decision
from gateway.core.counting.ledger import Ledger
from gateway.core.counting.license_model import Refusal
from gateway.core.formats import utc
from gateway.edge.api.authorization import caller
from gateway.edge.api.responses import fail, listed, named
from gateway.edge.server.runtime import Runtime


def host_routes(runtime: Runtime) -> list[web.RouteDef]:
    """The routes of this file."""
    hosts = _Hosts(runtime)
    return [
        web.get("/api/hosts", hosts.hosts),
        web.put("/api/hosts/{account}", hosts.name_host),
        web.delete("/api/hosts/{account}", hosts.unname_host),
    ]


class _Hosts:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def _note(self, request: web.Request, action: str, subject: str, detail: dict[str, Any] | None = None) -> None:
        self._runtime.persistence.audit(caller(request), action, subject, detail)

    def _naming(self) -> Ledger:
        ledger = next((each for each in self._runtime.admission.ledgers if each.model.start_pool), None)
        if ledger is None:
            fail(404, "no_named_hosts", "no license model with named hosts is enforced or in shadow")
        return ledger

    async def hosts(self, request: web.Request) -> web.Response:
        ledger = self._naming()
        book = ledger.pools[ledger.model.start_pool]
        names = {str(key): lease for key, lease in book.leases.items()}
        return listed(
            request,
            names,
            lambda account, lease: {"account": account, "since": utc(lease.since), "hosting": book.in_use(account)},
        )

    async def name_host(self, request: web.Request) -> web.Response:
        account = named(request, "account", fold=True)
        ledger = self._naming()
        if not self._runtime.registration.grants:
            fail(409, "unregistered", str(self._runtime.registration.reason()))
        lease = self._runtime.lease_administration.name_host(ledger, account, self._runtime.now())
        if isinstance(lease, Refusal):
            fail(409, lease.reason, f"all {lease.limit} names are taken")
        outcome = self._runtime.admission.finish(Decision())
        if outcome.changes:
            self._note(request, "host.named", account)
        await self._runtime.decided(outcome)
        return web.json_response({"account": account, "since": utc(lease.since)})

    async def unname_host(self, request: web.Request) -> web.Response:
        account = named(request, "account", fold=True)
        ledger = self._naming()
        if account not in ledger.pools[ledger.model.start_pool].leases:
            fail(404, "no_such_host", "no host has this name")
        self._note(request, "host.released", account)
        await self._runtime.decided(
            self._runtime.lease_administration.release_host(ledger, account, self._runtime.now())
        )
        return web.Response(status=204)
