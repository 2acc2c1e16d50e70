"""The API about accounts and the tokens that prove them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Collection
from typing import TypedDict

from aiohttp import web

from gateway.core.admission.commands import AddAccountToken, DeleteAccount, PutAccount, RevokeAccountToken
from gateway.core.admission.directory import Directory, Token, digest
from gateway.edge.api.acts import act
from gateway.edge.api.pages import PAGED, Page, keys_of_page
from gateway.edge.api.responses import body, done, fail, named_account, only, utc_text
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
    accounts = runtime.state.directory.accounts
    keys, more = await keys_of_page(request, accounts)
    groups = await groups_of(runtime.state.directory, keys)
    items = [_document(runtime, account, groups[account]) for account in keys if account in accounts]
    return web.json_response(Page[AccountDocument](items=items, next=more))


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
    account = named_account(request)
    groups = await groups_of(runtime.state.directory, [account])
    _check_registered(runtime, account)
    return web.json_response(_document(runtime, account, groups[account]))


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
    account = named_account(request)
    only(await body(request))
    await act(runtime, request, PutAccount(account))
    groups = await groups_of(runtime.state.directory, [account])
    return web.json_response(_document(runtime, account, groups[account]))


@Route(
    "DELETE",
    "/api/accounts/{account}",
    scope=ADMIN,
    summary="Delete an account and close its sessions.",
    statuses=(404, 503),
)
async def delete_account(runtime: Runtime, request: web.Request) -> web.Response:
    """Delete it, wherever it is known."""
    account = named_account(request)
    await act(runtime, request, DeleteAccount(account))
    return done()


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
    account = named_account(request)
    only(await body(request))
    secret = secrets.token_urlsafe(32)
    _check_registered(runtime, account)
    token = Token(digest(secret), runtime.clock.wall())
    await act(runtime, request, AddAccountToken(account, token.digest.hex()))
    made = NewAccountTokenDocument(account=account, token=secret, fingerprint=token.fingerprint)
    return web.json_response(made)


@Route(
    "DELETE",
    "/api/accounts/{account}/token/{fingerprint}",
    scope=ADMIN,
    summary="Revoke a token, and close the sessions that it proved.",
    statuses=(404, 503),
)
async def revoke_account_token(runtime: Runtime, request: web.Request) -> web.Response:
    """Let a token prove nothing any more, and end the sessions that it proved."""
    account, fingerprint = named_account(request), request.match_info["fingerprint"]
    _check_registered(runtime, account)
    await act(runtime, request, RevokeAccountToken(account, fingerprint))
    return done()


def _check_registered(runtime: Runtime, account: str) -> None:
    if account not in runtime.state.directory.accounts:
        fail(404, "no_such_account", "no account of this name is registered")


def _document(runtime: Runtime, account: str, groups: list[str]) -> AccountDocument:
    return {
        "account": account,
        "tokens": [
            {"fingerprint": token.fingerprint, "created": utc_text(token.created)}
            for token in runtime.state.directory.accounts.get(account, ())
        ],
        "connections": len(runtime.state.sessions.of_account(account)),
        "groups": groups,
    }


# -- what is read of the state -----------------------------------------------------------------------------------------


async def groups_of(directory: Directory, accounts: Collection[str]) -> dict[str, list[str]]:
    """Return the groups of each of these accounts, in order; the event loop takes a turn after each group."""
    found: dict[str, list[str]] = {account: [] for account in accounts}
    sought = frozenset(accounts)
    for name, group in tuple(directory.groups.items()):
        for account in sought.intersection(group.accounts):
            found[account].append(name)
        await asyncio.sleep(0)
    return found
