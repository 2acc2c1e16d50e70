"""The API about what is kept: operators' tokens, the audit log, and a copy of the store."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path
from typing import Any

from aiohttp import web

from gateway.core.admission.directory import SCOPES, Token
from gateway.core.formats import utc
from gateway.core.reporting import audit_chain
from gateway.core.reporting.audit_chain import AuditEntry
from gateway.edge.api.authorization import RESERVED, Authorization, caller
from gateway.edge.api.responses import body, fail, field, limit, listed, named, only, since
from gateway.edge.server.runtime import Runtime
from gateway.edge.storage.store import MEMORY

CHUNK_BYTES = 1 << 16
"""Bytes of a backup that are sent at once."""
SORT_ORDERS = {
    "oldest": ("SELECT * FROM audit WHERE seq > ? AND time >= ? ORDER BY seq LIMIT ?", "0"),
    "newest": ("SELECT * FROM audit WHERE seq < ? AND time >= ? ORDER BY seq DESC LIMIT ?", "9" * 15),
}
"""Which entries of the audit log come first: how they are read, and the cursor before the first of them."""


def custody_routes(runtime: Runtime, guard: Authorization) -> list[web.RouteDef]:
    """The routes of this file."""
    custody = _Custody(runtime, guard)
    return [
        web.get("/api/tokens", custody.tokens),
        web.post("/api/tokens/{name}", custody.new_token),
        web.delete("/api/tokens/{name}", custody.revoke),
        web.delete("/api/tokens/{name}/{fingerprint}", custody.revoke),
        web.get("/api/audit", custody.audit),
        web.get("/api/backup", custody.backup, allow_head=False),
    ]


class _Custody:
    def __init__(self, runtime: Runtime, guard: Authorization) -> None:
        self._runtime = runtime
        self._guard = guard

    # -- operators' tokens -----------------------------------------------------------------------------------------

    async def tokens(self, request: web.Request) -> web.Response:
        return listed(request, self._runtime.directory.operators, _operator)

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
        token = self._runtime.directory.add_operator_token(name, scope, secret, self._runtime.clock.wall())
        detail = {"fingerprint": token.fingerprint, "scope": scope}
        self._runtime.persistence.audit(caller(request), "operator.added", name, detail)
        await self._runtime.persistence.operator(name)
        return web.json_response({"name": name, "token": secret, **_token(token)})

    async def revoke(self, request: web.Request) -> web.Response:
        name, fingerprint = named(request, "name"), request.match_info.get("fingerprint")
        held = self._runtime.directory.operators.get(name, ())
        if not any(fingerprint in {None, token.fingerprint} for token in held):
            fail(404, "no_such_token", "no operator has this token")
        if not self._guard.spared(name, fingerprint):
            fail(409, "last_token", "nobody could administer this port any more; make another token first")
        self._runtime.directory.remove_operator_tokens(name, fingerprint)
        self._runtime.persistence.audit(
            caller(request), "operator.revoked", name, {"fingerprint": fingerprint or "all"}
        )
        await self._runtime.persistence.operator(name)
        return web.Response(status=204)

    # -- the audit log ---------------------------------------------------------------------------------------------

    async def audit(self, request: web.Request) -> web.Response:
        size, order = limit(request), request.query.get("order", "oldest")
        if order not in SORT_ORDERS:
            fail(422, "bad_field", f"order: expected one of {', '.join(SORT_ORDERS)}")
        query, beginning = SORT_ORDERS[order]
        cursor = request.query.get("cursor", beginning)
        if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 16):
            fail(422, "bad_field", "cursor: expected the `next` of another page")
        rows = await self._runtime.persistence.store.read(
            query, (int(cursor), audit_chain.timestamp(since(request, self._runtime.clock.wall())), size + 1)
        )
        entries = [AuditEntry(*row) for row in rows]
        more = str(entries[size - 1].seq) if len(entries) > size else None
        return web.json_response(
            {"items": [audit_chain.entry_to_json(entry) for entry in entries[:size]], "next": more}
        )

    # -- the backup ------------------------------------------------------------------------------------------------

    async def backup(self, request: web.Request) -> web.StreamResponse:
        store = self._runtime.persistence.store
        number, name = _beside(store.path)
        with os.fdopen(number, "rb") as copy:
            try:
                await store.backup(name)
            finally:
                os.unlink(name)  # what is open can be read; nothing is left behind, however this ends
            self._runtime.persistence.audit(caller(request), "backup")
            response = web.StreamResponse()
            response.content_type = "application/vnd.sqlite3"
            response.content_length = os.fstat(number).st_size
            await response.prepare(request)
            while piece := copy.read(CHUNK_BYTES):
                await response.write(piece)
            await response.write_eof()
        return response


def _beside(path: str) -> tuple[int, str]:
    """A new file on the disk of the store, open, and its name."""
    folder = None if path == MEMORY else str(Path(path).absolute().parent)
    try:
        return tempfile.mkstemp(prefix="tallygate-", suffix=".backup", dir=folder)
    except OSError as fault:
        fail(503, "store_unavailable", f"no copy can be made: {fault.strerror}")


def _operator(name: str, tokens: tuple[Token, ...]) -> dict[str, Any]:
    return {"name": name, "tokens": [_token(token) for token in tokens]}


def _token(token: Token) -> dict[str, Any]:
    return {"fingerprint": token.fingerprint, "scope": token.scope, "created": utc(token.created)}
