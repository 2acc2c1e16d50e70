"""The API about the tokens of operators."""

from __future__ import annotations

import secrets
from typing import Annotated, TypedDict

from aiohttp import web

from gateway.core.admission.commands import AddOperatorToken, RevokeOperatorTokens
from gateway.core.admission.directory import SCOPES, Token, digest
from gateway.edge.api.acts import act
from gateway.edge.api.authorization import AUTHORIZATION
from gateway.edge.api.pages import PAGED, Page, listed
from gateway.edge.api.responses import body, done, fail, field, named, only, utc_text
from gateway.edge.api.routes import ADMIN, Route
from gateway.edge.api.schemas import Id, Keyword, Secret, Time, record, text
from gateway.edge.server.runtime import Runtime
from gateway.edge.storage.audit_log import is_reserved

ScopeName = Annotated[str, Keyword("enum", SCOPES)]


class OperatorTokenDocument(TypedDict):
    """A token of an operator, without its secret."""

    fingerprint: str
    scope: ScopeName
    created: Time


class OperatorDocument(TypedDict):
    """An operator, who has at least one token."""

    name: Id
    tokens: list[OperatorTokenDocument]


class NewOperatorTokenDocument(TypedDict):
    """A token that was just made."""

    name: Id
    token: Secret
    fingerprint: str
    scope: ScopeName
    created: Time


@Route(
    "GET",
    "/api/tokens",
    scope=ADMIN,
    summary="The operators and their tokens; scope admin.",
    answer=Page[OperatorDocument],
    query=PAGED,
)
async def list_operators(runtime: Runtime, request: web.Request) -> web.Response:
    """Show a page of them."""
    return await listed(request, runtime.state.directory.operators, _document)


@Route(
    "POST",
    "/api/tokens/{name}",
    scope=ADMIN,
    summary="Give an operator one more token.",
    answer=NewOperatorTokenDocument,
    body=record(scope=text(enum=list(SCOPES))),
    statuses=(409, 503),
)
async def add_operator_token(runtime: Runtime, request: web.Request) -> web.Response:
    """Make a token, and show its secret this once."""
    name, told = named(request, "name"), await body(request)
    only(told, "scope")
    scope = field(told, "scope", str, "")
    if scope not in SCOPES:
        fail(422, "bad_field", f"scope: expected one of {', '.join(SCOPES)}")
    secret = secrets.token_urlsafe(32)
    if is_reserved(name):
        fail(409, "reserved", "the audit log has another use for this name")
    token = Token(digest(secret), runtime.clock.wall(), scope)
    await act(runtime, request, AddOperatorToken(name, scope, token.digest.hex()))
    return web.json_response(NewOperatorTokenDocument(name=name, token=secret, **_token(token)))


@Route(
    "DELETE",
    "/api/tokens/{name}",
    scope=ADMIN,
    summary="Revoke every token of an operator.",
    statuses=(404, 409, 503),
)
async def revoke_operator(runtime: Runtime, request: web.Request) -> web.Response:
    """Take an operator all tokens."""
    name = named(request, "name")
    await _revoke(runtime, request, name, None)
    return done()


@Route(
    "DELETE",
    "/api/tokens/{name}/{fingerprint}",
    scope=ADMIN,
    summary="Revoke one token of an operator.",
    statuses=(404, 409, 503),
)
async def revoke_operator_token(runtime: Runtime, request: web.Request) -> web.Response:
    """Take an operator one token."""
    name, fingerprint = named(request, "name"), request.match_info["fingerprint"]
    await _revoke(runtime, request, name, fingerprint)
    return done()


async def _revoke(runtime: Runtime, request: web.Request, name: str, fingerprint: str | None) -> None:
    """Revoke a token, or all where `fingerprint` is None."""
    if not request.app[AUTHORIZATION].can_spare(name, fingerprint):
        fail(409, "last_token", "nobody could administer this port any more; make another token first")
    await act(runtime, request, RevokeOperatorTokens(name, fingerprint))


def _document(name: str, tokens: tuple[Token, ...]) -> OperatorDocument:
    return {"name": name, "tokens": [_token(token) for token in tokens]}


def _token(token: Token) -> OperatorTokenDocument:
    return {"fingerprint": token.fingerprint, "scope": token.scope, "created": utc_text(token.created)}
