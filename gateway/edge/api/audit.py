"""The API about the audit log."""

from __future__ import annotations

from aiohttp import web

from gateway.core.reporting import audit_chain
from gateway.core.reporting.audit_chain import AuditEntry
from gateway.edge.api.responses import fail, limit, since
from gateway.edge.server.runtime import Runtime

SORT_ORDERS = {
    "oldest": ("SELECT * FROM audit WHERE seq > ? AND time >= ? ORDER BY seq LIMIT ?", "0"),
    "newest": ("SELECT * FROM audit WHERE seq < ? AND time >= ? ORDER BY seq DESC LIMIT ?", "9" * 15),
}
"""Which entries of the audit log come first: how they are read, and the cursor before the first of them."""


def audit_routes(runtime: Runtime) -> list[web.RouteDef]:
    """The routes of this file."""
    return [web.get("/api/audit", _Audit(runtime).audit)]


class _Audit:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

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
