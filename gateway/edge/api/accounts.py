"""The API about accounts and the tokens that prove them."""

from __future__ import annotations

import secrets
from typing import TypedDict

from aiohttp import web

from gateway.core.admission.directory import Directory, Group, Token
from gateway.edge.api.authorization import record_act
from gateway.edge.api.pro import holds_license
from gateway.edge.api.responses import PAGED, Page, body, done, fail, listed, named, only, utc_text
from gateway.edge.api.routes import ADMIN, READ, Route
from gateway.edge.api.schemas import NOTHING, Count, Id, Secret, Time
from gateway.edge.server.runtime import Runtime


class AccountTokenDocument(TypedDict):
    """A token of an account, without its secret."""

    fingerprint: str
    created: Time


class AccountDocument(TypedDict):
    """An account that is registered."""

    account: Id
    tokens: list[AccountTokenDocument]
    connections: Count
    groups: list[str]


class NewAccountTokenDocument(TypedDict):
    """A token that was just made."""

    account: Id
    token: Secret
    fingerprint: str


@Route(
    "GET",
    "/api/accounts",
    scope=READ,
    summary="The registered accounts.",
    answer=Page[AccountDocument],
    query=PAGED,
)
async def list_accounts(runtime: Runtime, request: web.Request) -> web.Response:
    """Show a page of them."""
    return listed(request, runtime.directory.accounts, lambda account, _: _document(runtime, account))


@Route(
    "GET",
    "/api/accounts/{account}",
    scope=READ,
    summary="An account and its tokens.",
    answer=AccountDocument,
    statuses=(404,),
)
async def get_account(runtime: Runtime, request: web.Request) -> web.Response:
    """Show one."""
    account = named(request, "account", fold=True)
    _check_registered(runtime, account)
    return web.json_response(_document(runtime, account))


@Route(
    "PUT",
    "/api/accounts/{account}",
    scope=ADMIN,
    summary="Register an account.",
    answer=AccountDocument,
    body=NOTHING,
    statuses=(503,),
)
async def put_account(runtime: Runtime, request: web.Request) -> web.Response:
    """Register it, unless it is."""
    account = named(request, "account", fold=True)
    only(await body(request))
    return web.json_response(await _register(runtime, request, account))


async def _register(runtime: Runtime, request: web.Request, account: str) -> AccountDocument:
    """Returns the account as it is now: by the time that it is durable, it may be gone again."""
    if account not in runtime.directory.accounts:
        runtime.directory.accounts[account] = ()
        record_act(runtime, request, "account.added", account)
    registered = _document(runtime, account)
    await runtime.persistence.account(account)
    return registered


@Route(
    "DELETE",
    "/api/accounts/{account}",
    scope=ADMIN,
    summary="Delete an account and close its sessions.",
    statuses=(404, 503),
)
async def delete_account(runtime: Runtime, request: web.Request) -> web.Response:
    """Delete it, wherever it is known."""
    account = named(request, "account", fold=True)
    await _delete(runtime, request, account)
    return done()


async def _delete(runtime: Runtime, request: web.Request, account: str) -> None:
    if not _known(runtime, account):
        fail(404, "no_such_account", "no account has this name")
    runtime.directory.accounts.pop(account, None)
    for name, group in runtime.directory.groups.items():
        if account in group.accounts:
            left = tuple(each for each in group.accounts if each != account)
            runtime.directory.groups[name] = Group(left, group.permanent)
            runtime.persistence.group(name)
    record_act(runtime, request, "account.deleted", account)
    durable = runtime.persistence.account(account)
    await runtime.decided(runtime.lease_administration.delete_account(account, runtime.now()))
    await durable


@Route(
    "POST",
    "/api/accounts/{account}/token",
    scope=ADMIN,
    summary="Give an account one more token.",
    answer=NewAccountTokenDocument,
    body=NOTHING,
    statuses=(404, 503),
)
async def add_account_token(runtime: Runtime, request: web.Request) -> web.Response:
    """Make a token, and show its secret this once."""
    account = named(request, "account", fold=True)
    only(await body(request))
    secret = secrets.token_urlsafe(32)
    token = await _add_token(runtime, request, account, secret)
    made = NewAccountTokenDocument(account=account, token=secret, fingerprint=token.fingerprint)
    return web.json_response(made)


async def _add_token(runtime: Runtime, request: web.Request, account: str, secret: str) -> Token:
    _check_registered(runtime, account)
    token = runtime.directory.add_account_token(account, secret, runtime.clock.wall())
    record_act(runtime, request, "token.added", account, {"fingerprint": token.fingerprint})
    await runtime.persistence.account(account)
    return token


@Route(
    "DELETE",
    "/api/accounts/{account}/token/{fingerprint}",
    scope=ADMIN,
    summary="Revoke a token.",
    statuses=(404, 503),
)
async def revoke_account_token(runtime: Runtime, request: web.Request) -> web.Response:
    """Let a token prove nothing any more."""
    account, fingerprint = named(request, "account", fold=True), request.match_info["fingerprint"]
    await _revoke_token(runtime, request, account, fingerprint)
    return done()


async def _revoke_token(runtime: Runtime, request: web.Request, account: str, fingerprint: str) -> None:
    _check_registered(runtime, account)
    if not runtime.directory.remove_account_token(account, fingerprint):
        fail(404, "no_such_token", "the account has no token of this fingerprint")
    record_act(runtime, request, "token.revoked", account, {"fingerprint": fingerprint})
    await runtime.persistence.account(account)


def _check_registered(runtime: Runtime, account: str) -> None:
    if account not in runtime.directory.accounts:
        fail(404, "no_such_account", "no account of this name is registered")


def _document(runtime: Runtime, account: str) -> AccountDocument:
    return {
        "account": account,
        "tokens": [
            {"fingerprint": token.fingerprint, "created": utc_text(token.created)}
            for token in runtime.directory.accounts[account]
        ],
        "connections": len(runtime.admission.sessions.of_account(account)),
        "groups": _groups_of(runtime.directory, account),
    }


# -- what is read of the state -----------------------------------------------------------------------------------------


def _known(runtime: Runtime, account: str) -> bool:
    """Whether an account is registered, connected, in a group, or holds a license."""
    return (
        account in runtime.directory.accounts
        or bool(runtime.admission.sessions.of_account(account))
        or bool(_groups_of(runtime.directory, account))
        or holds_license(runtime, account)
    )


def _groups_of(directory: Directory, account: str) -> list[str]:
    """The groups that an account is in, in their order."""
    return [name for name, group in directory.groups.items() if account in group.accounts]
