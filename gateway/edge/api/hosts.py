"""The API about named hosts: the accounts that may hold conferences under Nefsis' named licensing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NotRequired, TypedDict

from aiohttp import web

from gateway.core.admission.commands import NameHost, ReleaseHost
from gateway.core.counting.claims import Lease
from gateway.core.counting.leases import LeaseChange
from gateway.core.counting.pool import Pool
from gateway.core.counting.session import Key, account_and_home
from gateway.core.names import join_names
from gateway.edge.api.acts import act, refuse
from gateway.edge.api.pages import PAGED, Page, listed
from gateway.edge.api.responses import HOME, done, named_identity, utc_text
from gateway.edge.api.routes import ADMIN, READ, Route
from gateway.edge.api.schemas import HomeOrNull, Time
from gateway.edge.server.runtime import Runtime


class HostDocument(TypedDict):
    """An account that is named as a host; `hosting` is there in lists."""

    account: str
    home: HomeOrNull
    since: Time
    hosting: NotRequired[bool]


@Route(
    "GET",
    "/api/hosts",
    scope=READ,
    summary="The named hosts.",
    answer=Page[HostDocument],
    query=PAGED,
    statuses=(404,),
)
async def list_hosts(runtime: Runtime, request: web.Request) -> web.Response:
    """Show a page of them."""
    pool = _host_pool(runtime)
    return await listed(request, _hosts(pool), lambda _, host: _document(pool, *host))


@Route(
    "PUT",
    "/api/hosts/{account}",
    scope=ADMIN,
    summary="Name a host.",
    answer=HostDocument,
    query=(HOME,),
    statuses=(404, 409, 503),
)
async def put_host(runtime: Runtime, request: web.Request) -> web.Response:
    """Give an account a host's name, unless it has one."""
    who = named_identity(request, runtime.settings.accounts.home)
    before = _host_pool(runtime).leases.get(who)
    decision = await act(runtime, request, NameHost(who))
    made = [change.since for change in decision.changes if isinstance(change, LeaseChange) and change.key == who]
    since = before.since if before is not None else made[0]
    account, home = account_and_home(who)
    return web.json_response(HostDocument(account=account, home=home or None, since=utc_text(since)))


@Route(
    "DELETE",
    "/api/hosts/{account}",
    scope=ADMIN,
    summary="Free the name of a host.",
    query=(HOME,),
    statuses=(404, 503),
)
async def delete_host(runtime: Runtime, request: web.Request) -> web.Response:
    """Let an account be a host no longer; its conferences go on."""
    await act(runtime, request, ReleaseHost(named_identity(request, runtime.settings.accounts.home)))
    return done()


# -- what is read of the state -----------------------------------------------------------------------------------------


def _host_pool(runtime: Runtime) -> Pool:
    """The pool of the named hosts, enforced or in shadow."""
    ledger = runtime.state.host_ledger()
    if ledger is None:
        refuse("no_named_hosts", runtime)
    return ledger.pools[ledger.model.start_pool]


def _hosts(pool: Pool) -> Mapping[str, tuple[Key, Lease]]:
    """The hosts in the order of a list, by account and home: who each is, and since when it is a host."""
    return {join_names(*account_and_home(key)): (key, lease) for key, lease in pool.leases.items()}


def _document(pool: Pool, key: Key, lease: Lease) -> HostDocument:
    account, home = account_and_home(key)
    return {"account": account, "home": home or None, "since": utc_text(lease.since), "hosting": pool.in_use(key)}
