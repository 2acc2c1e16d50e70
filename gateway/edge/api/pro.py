"""The API about PRO licenses."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gateway.core.counting.ledger import Ledger
from gateway.core.formats import utc
from gateway.edge.api.authorization import caller
from gateway.edge.api.responses import fail, listed, named
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

    def _note(self, request: web.Request, action: str, subject: str, detail: dict[str, Any] | None = None) -> None:
        self._runtime.persistence.audit(caller(request), action, subject, detail)

    async def pro(self, request: web.Request) -> web.Response:
        ledger = pro_ledger(self._runtime)
        if ledger is None:
            return listed(request, {}, lambda _, __: None)
        book = ledger.pools[ledger.model.account_pool]
        holders = {str(key): held for key, held in (*book.leases.items(), *book.reservations.items())}

        def render(account: str, _: object) -> dict[str, Any]:
            lease = book.leases.get(account)
            held = lease or book.reservations[account]
            return {
                "account": account,
                "kind": "permanent" if lease is None else "temporary",
                "since": utc(held.since),
                "expires": utc(lease.expires) if lease is not None else None,
                "in_conference": book.in_use(account),
                "deleted": lease is not None and lease.deleted,
            }

        return listed(request, holders, render)

    async def revoke(self, request: web.Request) -> web.Response:
        account = named(request, "account", fold=True)
        ledger = pro_ledger(self._runtime)
        book = ledger.pools[ledger.model.account_pool] if ledger is not None else None
        if ledger is None or book is None or account not in book.claims:
            fail(404, "no_such_license", "the account is unknown or has no PRO license")
        if account in book.reservations:
            fail(409, "permanent", "a permanent PRO license cannot be revoked")
        if book.leases[account].deleted:
            fail(409, "account_deleted", "the license of a deleted account cannot be revoked")
        self._note(request, "license.revoked", account, {"model": ledger.model.name})
        await self._runtime.decided(self._runtime.lease_administration.revoke(ledger, account, self._runtime.now()))
        return web.Response(status=204)


def pro_ledger(runtime: Runtime) -> Ledger | None:
    """The ledger whose seats are leased to accounts, enforced or in shadow."""
    return next((each for each in runtime.admission.ledgers if each.model.account_pool), None)
