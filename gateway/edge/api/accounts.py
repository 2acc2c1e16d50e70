"""The API about accounts and their tokens."""

from __future__ import annotations

import secrets
from typing import Any

from aiohttp import web

from gateway.core.admission.directory import Group
from gateway.core.formats import utc
from gateway.edge.api.authorization import caller
from gateway.edge.api.pro import pro_ledger
from gateway.edge.api.responses import body, fail, listed, named, only
from gateway.edge.server.runtime import Runtime


def account_routes(runtime: Runtime) -> list[web.RouteDef]:
    """The routes of this file."""
    accounts = _Accounts(runtime)
    return [
        web.get("/api/accounts", accounts.accounts),
        web.put("/api/accounts/{account}", accounts.put_account),
        web.get("/api/accounts/{account}", accounts.get_account),
        web.delete("/api/accounts/{account}", accounts.delete_account),
        web.post("/api/accounts/{account}/token", accounts.new_token),
        web.delete("/api/accounts/{account}/token/{fingerprint}", accounts.revoke_token),
    ]


class _Accounts:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def _note(self, request: web.Request, action: str, subject: str, detail: dict[str, Any] | None = None) -> None:
        self._runtime.persistence.audit(caller(request), action, subject, detail)

    async def accounts(self, request: web.Request) -> web.Response:
        return listed(request, self._runtime.directory.accounts, lambda account, _: self._account(account))

    async def put_account(self, request: web.Request) -> web.Response:
        account = named(request, "account", fold=True)
        only(await body(request))
        if account not in self._runtime.directory.accounts:
            self._runtime.directory.accounts[account] = ()
            self._note(request, "account.added", account)
        await self._runtime.persistence.account(account)
        return web.json_response(self._account(account))

    async def get_account(self, request: web.Request) -> web.Response:
        return web.json_response(self._account(self._registered(request)))

    async def delete_account(self, request: web.Request) -> web.Response:
        account = named(request, "account", fold=True)
        if not self._known(account):
            fail(404, "no_such_account", "no account has this name")
        directory = self._runtime.directory
        directory.accounts.pop(account, None)
        for name, group in directory.groups.items():
            if account in group.accounts:
                left = tuple(each for each in group.accounts if each != account)
                directory.groups[name] = Group(left, group.permanent)
                self._runtime.persistence.group(name)
        self._note(request, "account.deleted", account)
        self._runtime.persistence.account(account)
        await self._runtime.decided(self._runtime.lease_administration.delete_account(account, self._runtime.now()))
        return web.Response(status=204)

    async def new_token(self, request: web.Request) -> web.Response:
        account = self._registered(request)
        only(await body(request))
        secret = secrets.token_urlsafe(32)
        token = self._runtime.directory.add_account_token(account, secret, self._runtime.clock.wall())
        self._note(request, "token.added", account, {"fingerprint": token.fingerprint})
        await self._runtime.persistence.account(account)
        return web.json_response({"account": account, "token": secret, "fingerprint": token.fingerprint})

    async def revoke_token(self, request: web.Request) -> web.Response:
        account, fingerprint = self._registered(request), request.match_info["fingerprint"]
        if not self._runtime.directory.remove_account_token(account, fingerprint):
            fail(404, "no_such_token", "the account has no token of this fingerprint")
        self._note(request, "token.revoked", account, {"fingerprint": fingerprint})
        await self._runtime.persistence.account(account)
        return web.Response(status=204)

    def _registered(self, request: web.Request) -> str:
        account = named(request, "account", fold=True)
        if account not in self._runtime.directory.accounts:
            fail(404, "no_such_account", "no account of this name is registered")
        return account

    def _known(self, account: str) -> bool:
        """Whether an account is registered, connected, in a group, or holds a license."""
        directory = self._runtime.directory
        pro = pro_ledger(self._runtime)
        book = pro.pools[pro.model.account_pool] if pro is not None else None
        return (
            account in directory.accounts
            or bool(self._runtime.admission.sessions.of_account(account))
            or any(account in group.accounts for group in directory.groups.values())
            or (book is not None and account in book.claims)
        )

    def _account(self, account: str) -> dict[str, Any]:
        directory = self._runtime.directory
        return {
            "account": account,
            "tokens": [
                {"fingerprint": token.fingerprint, "created": utc(token.created)}
                for token in directory.accounts[account]
            ],
            "connections": len(self._runtime.admission.sessions.of_account(account)),
            "groups": [name for name, group in directory.groups.items() if account in group.accounts],
        }
