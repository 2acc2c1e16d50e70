"""The API about operators' tokens."""

from __future__ import annotations

import secrets
from typing import Any

from aiohttp import web

from gateway.core.admission.commands import AddOperatorToken, RevokeOperatorTokens
from gateway.core.admission.directory import SCOPES, Token, digest
from gateway.core.formats import utc
from gateway.edge.api.acts import act
from gateway.edge.api.authorization import RESERVED, Authorization
from gateway.edge.api.responses import body, fail, field, listed, named, only
from gateway.edge.server.runtime import Runtime


def token_routes(runtime: Runtime, guard: Authorization) -> list[web.RouteDef]:
    """The routes of this file."""
    tokens = _Tokens(runtime, guard)
    return [
        web.get("/api/tokens", tokens.tokens),
        web.post("/api/tokens/{name}", tokens.new_token),
        web.delete("/api/tokens/{name}", tokens.revoke),
        web.delete("/api/tokens/{name}/{fingerprint}", tokens.revoke),
    ]


class _Tokens:
    def __init__(self, runtime: Runtime, guard: Authorization) -> None:
        self._runtime = runtime
        self._guard = guard

    async def tokens(self, request: web.Request) -> web.Response:
        return listed(request, self._runtime.state.directory.operators, _operator)

    async def new_token(self, request: web.Request) -> web.Response:
        name = named(request, "name")
        told = await body(request)
        only(told, "scope")
        scope = field(told, "scope", str, "")
        if scope not in SCOPES:
            fail(422, "bad_field", f"scope: expected one of {', '.join(SCOPES)}")
        if name in RESERVED:
            fail(409, "reserved", "the audit log has another use for this name")
        secret = secrets.token_urlsafe(32)
        token = Token(digest(secret), self._runtime.clock.wall(), scope)
        await act(self._runtime, request, AddOperatorToken(name, scope, token.digest.hex()))
        return web.json_response({"name": name, "token": secret, **_token(token)})

    async def revoke(self, request: web.Request) -> web.Response:
        name, fingerprint = named(request, "name"), request.match_info.get("fingerprint")
        if not self._guard.spared(name, fingerprint):
            fail(409, "last_token", "nobody could administer this port any more; make another token first")
        await act(self._runtime, request, RevokeOperatorTokens(name, fingerprint))
        return web.Response(status=204)


def _operator(name: str, tokens: tuple[Token, ...]) -> dict[str, Any]:
    return {"name": name, "tokens": [_token(token) for token in tokens]}


def _token(token: Token) -> dict[str, Any]:
    return {"fingerprint": token.fingerprint, "scope": token.scope, "created": utc(token.created)}
