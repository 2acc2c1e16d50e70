"""The API about named hosts: the accounts that may hold conferences under Nefsis' named licensing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NotRequired, TypedDict

from aiohttp import web

from gateway.core.admission.outcome import Decision
from gateway.core.counting.ledger import Ledger
from gateway.core.counting.license_model import Refusal
from gateway.core.counting.pool import Lease, Pool
from gateway.edge.api.authorization import record_act
from gateway.edge.api.responses import PAGED, Page, done, fail, listed, named, utc_text
from gateway.edge.api.routes import ADMIN, READ, Route
from gateway.edge.api.schemas import Time
from gateway.edge.server.runtime import Runtime


class HostDocument(TypedDict):
    """An account that is named as a host; `hosting` is there in lists."""

    account: str
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
    pool = _host_pool(_host_ledger(runtime))
    return listed(request, _hosts(pool), lambda account, lease: _document(pool, account, lease))


@Route(
    "PUT",
    "/api/hosts/{account}",
    scope=ADMIN,
    summary="Name a host.",
    answer=HostDocument,
    statuses=(404, 409, 503),
)
async def put_host(runtime: Runtime, request: web.Request) -> web.Response:
    """Give an account a host's name, unless it has one."""
    account = named(request, "account", fold=True)
    lease = await _name(runtime, request, account)
    return web.json_response(HostDocument(account=account, since=utc_text(lease.since)))


async def _name(runtime: Runtime, request: web.Request, account: str) -> Lease:
    ledger = _host_ledger(runtime)
    if not runtime.registration.grants:
        fail(409, "unregistered", str(runtime.registration.reason()))
    lease = runtime.lease_administration.name_host(ledger, account, runtime.now())
    if isinstance(lease, Refusal):
        fail(409, lease.reason, f"all {lease.limit} names are taken")
    outcome = runtime.admission.finish(Decision())
    if not outcome.changes:
        return lease
    durable = record_act(runtime, request, "host.named", account)
    await runtime.decided(outcome)
    await durable
    return lease


@Route(
    "DELETE",
    "/api/hosts/{account}",
    scope=ADMIN,
    summary="Free the name of a host.",
    statuses=(404, 503),
)
async def delete_host(runtime: Runtime, request: web.Request) -> web.Response:
    """Let an account be a host no longer; its conferences go on."""
    account = named(request, "account", fold=True)
    await _release(runtime, request, account)
    return done()


async def _release(runtime: Runtime, request: web.Request, account: str) -> None:
    ledger = _host_ledger(runtime)
    if account not in _host_pool(ledger).leases:
        fail(404, "no_such_host", "no host has this name")
    durable = record_act(runtime, request, "host.released", account)
    await runtime.decided(runtime.lease_administration.release_host(ledger, account, runtime.now()))
    await durable


# -- what is read of the state -----------------------------------------------------------------------------------------


def _host_ledger(runtime: Runtime) -> Ledger:
    """The ledger that names hosts, enforced or in shadow."""
    ledger = next((each for each in runtime.admission.ledgers if each.model.start_pool), None)
    if ledger is None:
        fail(404, "no_named_hosts", "no license model with named hosts is enforced or in shadow")
    return ledger


def _host_pool(ledger: Ledger) -> Pool:
    return ledger.pools[ledger.model.start_pool]


def _hosts(pool: Pool) -> Mapping[str, Lease]:
    """The name of each host, and since when it is one."""
    return {str(key): lease for key, lease in pool.leases.items()}


def _document(pool: Pool, account: str, lease: Lease) -> HostDocument:
    return {"account": account, "since": utc_text(lease.since), "hosting": pool.in_use(account)}
