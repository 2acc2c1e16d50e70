"""The API about PRO licenses."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gateway.core.admission.commands import RevokeLease
from gateway.core.counting.pool import Lease, Reservation
from gateway.core.formats import utc
from gateway.edge.api.acts import act
from gateway.edge.api.responses import listed, named
from gateway.edge.server.runtime import Runtime


def pro_routes(runtime: Runtime) -> list[web.RouteDef]:
    """The routes of this file."""
    pro = _Pro(runtime)
    return [
        web.get("/api/pro", pro.pro),
        web.delete("/api/pro/{account}", pro.revoke),
    ]


class _Pro:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def pro(self, request: web.Request) -> web.Response:
        ledger = self._runtime.state.account_ledger()
        if ledger is None:
            return listed(request, {}, lambda _, __: None)
        pool = ledger.pools[ledger.model.account_pool]
        holders = {str(key): held for key, held in pool.holders().items()}

        def render(account: str, held: Lease | Reservation) -> dict[str, Any]:
            lease = held if isinstance(held, Lease) else None
            return {
                "account": account,
                "kind": "permanent" if lease is None else "temporary",
                "since": utc(held.since),
                "expires": utc(lease.expires) if lease is not None else None,
                "in_conference": pool.in_use(account),
                "deleted": lease is not None and lease.deleted,
            }

        return listed(request, holders, render)

    async def revoke(self, request: web.Request) -> web.Response:
        await act(self._runtime, request, RevokeLease(named(request, "account", fold=True)))
        return web.Response(status=204)
