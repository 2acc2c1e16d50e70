"""The API about PRO licenses: who holds one, and for how long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypedDict

from aiohttp import web

from gateway.core.counting.ledger import Ledger
from gateway.core.counting.pool import Lease, Pool, Reservation
from gateway.core.counting.session import utc
from gateway.edge.api.authorization import record_act
from gateway.edge.api.responses import PAGED, Page, done, fail, listed, named, page, utc_text
from gateway.edge.api.routes import ADMIN, READ, Route
from gateway.edge.api.schemas import Time
from gateway.edge.server.runtime import Runtime


class ProDocument(TypedDict):
    """The PRO license of an account."""

    account: str
    kind: Literal["permanent", "temporary"]
    since: Time
    expires: Time | None
    in_conference: bool
    deleted: bool


@Route("GET", "/api/pro", scope=READ, summary="Who holds a PRO license.", answer=Page[ProDocument], query=PAGED)
async def list_pro(runtime: Runtime, request: web.Request) -> web.Response:
    """Show a page of them; nobody holds one where no such model counts."""
    pool = pro_pool(runtime)
    if pool is None:
        return page(request, (), str, str)
    return listed(request, _holders(pool), lambda account, held: _document(pool, account, held))


@Route(
    "DELETE",
    "/api/pro/{account}",
    scope=ADMIN,
    summary="Revoke a temporary PRO license.",
    statuses=(404, 409, 503),
)
async def revoke_pro(runtime: Runtime, request: web.Request) -> web.Response:
    """End a temporary license at once."""
    account = named(request, "account", fold=True)
    await _revoke(runtime, request, account)
    return done()


async def _revoke(runtime: Runtime, request: web.Request, account: str) -> None:
    ledger, pool = _pro_ledger(runtime), pro_pool(runtime)
    if ledger is None or pool is None or account not in pool.claims:
        fail(404, "no_such_license", "the account is unknown or has no PRO license")
    if account in pool.reservations:
        fail(409, "permanent", "a permanent PRO license cannot be revoked")
    if pool.leases[account].deleted:
        fail(409, "account_deleted", "the license of a deleted account cannot be revoked")
    durable = record_act(runtime, request, "license.revoked", account, {"model": ledger.model.name})
    await runtime.decided(runtime.lease_administration.revoke(ledger, account, runtime.now()))
    await durable


# -- what is read of the state -----------------------------------------------------------------------------------------


def pro_pool(runtime: Runtime) -> Pool | None:
    """The pool whose seats are leased to accounts, enforced or in shadow; None where no model has one."""
    ledger = _pro_ledger(runtime)
    return ledger.pools[ledger.model.account_pool] if ledger is not None else None


def holds_license(runtime: Runtime, account: str) -> bool:
    """Whether an account holds a PRO license, connected or not."""
    pool = pro_pool(runtime)
    return pool is not None and account in pool.claims


def _pro_ledger(runtime: Runtime) -> Ledger | None:
    return next((each for each in runtime.admission.ledgers if each.model.account_pool), None)


def _holders(pool: Pool) -> Mapping[str, Lease | Reservation]:
    """What each account holds, whether it is connected or not."""
    leased: dict[str, Lease | Reservation] = {str(key): lease for key, lease in pool.leases.items()}
    return leased | {str(key): held for key, held in pool.reservations.items()}


def _document(pool: Pool, account: str, held: Lease | Reservation) -> ProDocument:
    lease = held if isinstance(held, Lease) else None
    return {
        "account": account,
        "kind": "permanent" if lease is None else "temporary",
        "since": utc_text(held.since),
        "expires": utc(lease.expires) if lease is not None else None,
        "in_conference": pool.in_use(account),
        "deleted": lease is not None and lease.deleted,
    }
