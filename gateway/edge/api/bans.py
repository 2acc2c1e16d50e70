"""The API about bans."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gateway.core.admission.directory import Ban
from gateway.core.formats import ip_address, is_id, utc
from gateway.edge.api.authorization import caller
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

    def _note(self, request: web.Request, action: str, subject: str, detail: dict[str, Any] | None = None) -> None:
        self._runtime.persistence.audit(caller(request), action, subject, detail)

    async def bans(self, request: web.Request) -> web.Response:
        return listed(request, self._runtime.directory.bans, lambda _, ban: _ban(ban))

    async def get_ban(self, request: web.Request) -> web.Response:
        return web.json_response(_ban(self._banned(request)))

    async def put_ban(self, request: web.Request) -> web.Response:
        subject = _subject(request)
        told = await body(request)
        only(told, "for")
        span = seconds("for", field(told, "for", str, ""))
        ban = self._runtime.directory.ban(subject, self._runtime.clock.wall() + span)
        self._note(request, "ban.added", subject, {"until": utc(ban.until)})
        await self._runtime.persistence.ban(subject)
        return web.json_response(_ban(ban))

    async def lift_ban(self, request: web.Request) -> web.Response:
        subject = self._banned(request).subject
        del self._runtime.directory.bans[subject]
        self._note(request, "ban.lifted", subject)
        await self._runtime.persistence.ban(subject)
        return web.Response(status=204)

    def _banned(self, request: web.Request) -> Ban:
        ban = self._runtime.directory.bans.get(_subject(request))
        if ban is None:
            fail(404, "no_such_ban", "nobody of this name is banned")
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
