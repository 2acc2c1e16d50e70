"""The API about conferences."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gateway.core.admission.commands import EndConference, PutConference
from gateway.core.admission.conferences import Declaration
from gateway.core.admission.replies import session_id
from gateway.core.counting.session import Conference
from gateway.core.formats import is_id
from gateway.edge.api.acts import act
from gateway.edge.api.responses import body, fail, field, listed, named, only
from gateway.edge.server.runtime import Runtime


def conference_routes(runtime: Runtime) -> list[web.RouteDef]:
    """The routes of this file."""
    conferences = _Conferences(runtime)
    return [
        web.get("/api/conferences", conferences.conferences),
        web.put("/api/conferences/{conference}", conferences.declare),
        web.delete("/api/conferences/{conference}", conferences.dissolve),
    ]


class _Conferences:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def conferences(self, request: web.Request) -> web.Response:
        conferences = self._runtime.state.conferences
        declared = {
            id: conferences.create(id, Declaration()) for id in conferences.declared.keys() - conferences.by_id.keys()
        }
        everything = {**conferences.by_id, **declared}
        text = request.query.get("q", "").lower()
        sought = {id: each for id, each in everything.items() if text in id.lower()} if text else everything
        return listed(request, sought, lambda _, each: self._conference(each))

    def _conference(self, conference: Conference) -> dict[str, Any]:
        return {
            "id": conference.id,
            "state": conference.state if conference.members else "scheduled",
            "access": conference.access,
            "mode": conference.mode,
            "server": conference.server or None,
            "declared": conference.id in self._runtime.state.conferences.declared,
            "hosts": [session_id(self._runtime.state, member) for member, host in conference.members.items() if host],
            "members": len(conference.members),
        }

    async def declare(self, request: web.Request) -> web.Response:
        id = named(request, "conference")
        told = await body(request)
        only(told, "access", "mode", "scheduled", "server")
        access, mode = field(told, "access", str, "internal"), field(told, "mode", str, "group")
        if access not in {"internal", "public"}:
            fail(422, "bad_field", 'access: expected "internal" or "public"')
        if mode not in {"group", "call"}:
            fail(422, "bad_field", 'mode: expected "group" or "call"')
        server = field(told, "server", str, "").lower()
        if server and not is_id(server):
            fail(422, "bad_field", f"server: expected {ID_FORM}")
        own = server == self._runtime.settings.accounts.home
        declaration = Declaration(access, mode, field(told, "scheduled", bool, False), "" if own else server)
        await act(self._runtime, request, PutConference(id, declaration))
        return web.json_response(self._conference(self._runtime.state.conferences.create(id, Declaration())))

    async def dissolve(self, request: web.Request) -> web.Response:
        await act(self._runtime, request, EndConference(named(request, "conference")))
        return web.Response(status=204)
