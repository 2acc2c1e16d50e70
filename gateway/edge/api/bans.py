"""The API about bans."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gateway.core.admission.commands import LiftBan, PutBan
from gateway.core.admission.directory import Ban
from gateway.core.formats import is_id, utc
from gateway.edge.api.acts import act, refuse
from gateway.edge.api.responses import body, fail, field, listed, only, seconds
from gateway.edge.server.runtime import Runtime


def ban_routes(runtime: Runtime) -> list[web.RouteDef]:
    """The routes of this file."""
    bans = _Bans(runtime)
    return [
        web.get("/api/bans", bans.bans),
        web.get("/api/bans/{subject}", bans.get_ban),
        web.put("/api/bans/{subject}", bans.put_ban),
        web.delete("/api/bans/{subject}", bans.lift_ban),
    ]


class _Bans:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def bans(self, request: web.Request) -> web.Response:
        return listed(request, self._runtime.state.directory.bans, lambda _, ban: _ban(ban))

    async def get_ban(self, request: web.Request) -> web.Response:
        return web.json_response(_ban(self._banned(request)))

    async def put_ban(self, request: web.Request) -> web.Response:
        subject = _subject(request)
        told = await body(request)
        only(told, "for")
        span = seconds("for", field(told, "for", str, ""))
        await act(self._runtime, request, PutBan(subject, span))
        return web.json_response(_ban(self._banned(request)))

    async def lift_ban(self, request: web.Request) -> web.Response:
        await act(self._runtime, request, LiftBan(_subject(request)))
        return web.Response(status=204)

    def _banned(self, request: web.Request) -> Ban:
        ban = self._runtime.state.directory.bans.get(_subject(request))
        if ban is None:
            refuse("no_such_ban", self._runtime)
        return ban


def _subject(request: web.Request) -> str:
    """Who is banned: an account, with `/` and its home where that is another server, or an address."""
    text = request.match_info["subject"].lower()
    if not all(is_id(part) for part in text.split("/", 1)):
        fail(422, "bad_field", "subject: expected an account or an address")
    try:
        return str(ip_address(text))
    except ValueError:
        return text


def _ban(ban: Ban) -> dict[str, Any]:
    return {"subject": ban.subject, "until": utc(ban.until)}
