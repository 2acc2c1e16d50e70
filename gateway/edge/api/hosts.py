"""The API about named hosts."""

from __future__ import annotations

from aiohttp import web

from gateway.core.admission.commands import NameHost, ReleaseHost
from gateway.core.counting.pool import Lease, Pool
from gateway.core.counting.session import Key
from gateway.core.formats import utc
from gateway.edge.api.acts import act, refuse
from gateway.edge.api.responses import listed, named
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

    def _names(self) -> tuple[Pool, dict[Key, Lease]]:
        """The pool of named hosts, and the leases of their names."""
        ledger = self._runtime.state.host_ledger()
        if ledger is None:
            refuse("no_named_hosts", self._runtime)
        pool = ledger.pools[ledger.model.start_pool]
        return pool, pool.leases

    async def hosts(self, request: web.Request) -> web.Response:
        pool, names = self._names()
        return listed(
            request,
            {str(key): lease for key, lease in names.items()},
            lambda account, lease: {"account": account, "since": utc(lease.since), "hosting": pool.in_use(account)},
        )

    async def name_host(self, request: web.Request) -> web.Response:
        account = named(request, "account", fold=True)
        _, names = self._names()
        await act(self._runtime, request, NameHost(account))
        return web.json_response({"account": account, "since": utc(names[account].since)})

    async def unname_host(self, request: web.Request) -> web.Response:
        await act(self._runtime, request, ReleaseHost(named(request, "account", fold=True)))
        return web.Response(status=204)
