"""The API about accounts and their tokens."""

from __future__ import annotations

import secrets
from typing import Any

from aiohttp import web

from gateway.core.admission.commands import AddAccountToken, DeleteAccount, PutAccount, RevokeAccountToken
from gateway.core.admission.directory import Token, digest
from gateway.core.formats import utc
from gateway.edge.api.acts import act
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

    async def accounts(self, request: web.Request) -> web.Response:
        return listed(request, self._runtime.state.directory.accounts, lambda account, _: self._account(account))

    async def put_account(self, request: web.Request) -> web.Response:
        account = named(request, "account", fold=True)
        only(await body(request))
        await act(self._runtime, request, PutAccount(account))
        return web.json_response(self._account(account))

    async def get_account(self, request: web.Request) -> web.Response:
        return web.json_response(self._account(self._registered(request)))

    async def delete_account(self, request: web.Request) -> web.Response:
        await act(self._runtime, request, DeleteAccount(named(request, "account", fold=True)))
        return web.Response(status=204)

    async def new_token(self, request: web.Request) -> web.Response:
        account = self._registered(request)
        only(await body(request))
        secret = secrets.token_urlsafe(32)
        token = Token(digest(secret), 0.0)
        await act(self._runtime, request, AddAccountToken(account, token.digest.hex()))
        return web.json_response({"account": account, "token": secret, "fingerprint": token.fingerprint})

    async def revoke_token(self, request: web.Request) -> web.Response:
        account = self._registered(request)
        await act(self._runtime, request, RevokeAccountToken(account, request.match_info["fingerprint"]))
        return web.Response(status=204)

    def _registered(self, request: web.Request) -> str:
        account = named(request, "account", fold=True)
        if account not in self._runtime.state.directory.accounts:
            fail(404, "no_such_account", "no account of this name is registered")
        return account

    def _account(self, account: str) -> dict[str, Any]:
        directory = self._runtime.state.directory
        return {
            "account": account,
            "tokens": [
                {"fingerprint": token.fingerprint, "created": utc(token.created)}
                for token in directory.accounts.get(account, ())
            ],
            "connections": len(self._runtime.state.sessions.of_account(account)),
            "groups": [name for name, group in directory.groups.items() if account in group.accounts],
        }
