"""The API about PRO licenses: who holds one, and for how long."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from aiohttp import web

from gateway.core.admission.commands import RevokeLease
from gateway.core.counting.claims import Lease, Reservation
from gateway.core.counting.pool import Pool
from gateway.core.formats import utc
from gateway.edge.api.acts import act
from gateway.edge.api.pages import PAGED, Page, listed, page
from gateway.edge.api.responses import HOME, done, named_identity, utc_text
from gateway.edge.api.routes import ADMIN, READ, Route
from gateway.edge.api.schemas import Time
from gateway.edge.server.runtime import Runtime


class ProDocument(TypedDict):
    """The PRO license of an account."""

    account: str
    home: Annotated[None, "An account of another server has no PRO license."]
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
    return await listed(
        request,
        {str(key): held for key, held in pool.holders().items()},
        lambda account, held: pro_document(pool, account, held),
    )


@Route(
    "DELETE",
    "/api/pro/{account}",
    scope=ADMIN,
    summary="Revoke a temporary PRO license.",
    query=(HOME,),
    statuses=(404, 409, 503),
)
async def revoke_pro(runtime: Runtime, request: web.Request) -> web.Response:
    """End a temporary license at once."""
    await act(runtime, request, RevokeLease(named_identity(request, runtime.settings.accounts.home)))
    return done()


# -- what is read of the state -----------------------------------------------------------------------------------------


def pro_pool(runtime: Runtime) -> Pool | None:
    """Return the pool whose seats are leased to accounts, enforced or in shadow; None where no model has one."""
    ledger = runtime.state.account_ledger()
    return ledger.pools[ledger.model.account_pool] if ledger is not None else None


def pro_document(pool: Pool, account: str, held: Lease | Reservation) -> ProDocument:
    """Return what is shown of a license that is held."""
    lease = held if isinstance(held, Lease) else None
    return {
        "account": account,
        "home": None,
        "kind": "permanent" if lease is None else "temporary",
        "since": utc_text(held.since),
        "expires": utc(lease.expires) if lease is not None else None,
        "in_conference": pool.in_use(account),
        "deleted": lease is not None and lease.deleted,
    }
