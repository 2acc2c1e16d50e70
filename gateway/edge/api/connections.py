"""The API about connections."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from aiohttp import web

from gateway.core.admission.commands import KickAccount, KickSession
from gateway.core.admission.replies import seats, session_id
from gateway.core.counting.session import Session
from gateway.core.formats import utc
from gateway.edge.api.acts import act
from gateway.edge.api.responses import SESSION, ban, fail, limit, named, offset, page
from gateway.edge.server.runtime import Runtime
from gateway.edge.server.ticker import TICK

FILTERS: dict[str, Callable[[Session, str], bool]] = {
    "account": lambda session, text: session.account == text.lower(),
    "device": lambda session, text: session.device == text,
    "address": lambda session, text: session.peer_address == text,
    "kind": lambda session, text: session.kind == text,
    "conference": lambda session, text: any(each.id == text for each in session.conferences),
    "q": lambda session, text: _mentions(session, text.lower()),
}
PIECE = 1000
"""Sessions that are searched between two turns of the loop."""


def connection_routes(runtime: Runtime) -> list[web.RouteDef]:
    """The routes of this file."""
    connections = _Connections(runtime)
    return [
        web.get("/api/connections", connections.connections),
        web.get("/api/connections/count", connections.count),
        web.delete("/api/connections/{session:(?!count$)[^{}/]+}", connections.kick),
        web.delete("/api/accounts/{account}/connections", connections.kick_account),
    ]


class _Connections:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def connections(self, request: web.Request) -> web.Response:
        cursor = request.query.get("cursor")
        if cursor is not None and not re.fullmatch(SESSION, cursor):
            fail(422, "bad_field", "cursor: expected the `next` of another page")
        after = int(cursor.rpartition("-")[2], 16) if cursor is not None else 0
        skip = offset(request)
        found = await self._found(request, after, skip + limit(request) + 1)
        return page(request, found[skip:], lambda session: session_id(self._runtime.state, session), self._render)

    async def count(self, request: web.Request) -> web.Response:
        filtered = any(name in request.query for name in FILTERS)
        sessions = self._runtime.state.sessions
        count = len(await self._found(request)) if filtered else len(sessions)
        return web.json_response({"count": count})

    async def kick(self, request: web.Request) -> web.Response:
        number = self._runtime.sign_in.number(request.match_info["session"])
        await act(self._runtime, request, KickSession(number or 0, ban(request)))
        return web.Response(status=204)

    async def kick_account(self, request: web.Request) -> web.Response:
        account = named(request, "account", fold=True)
        decision = await act(self._runtime, request, KickAccount(account, ban(request)))
        return web.json_response({"kicked": len(decision.closings)})

    async def _found(self, request: web.Request, after: int = 0, most: int = sys.maxsize) -> list[Session]:
        """The first `most` sessions beyond number `after` that match the filters, by number.

        A conference, or an account that can only be ours, is looked up; anything else is searched for, in pieces.
        """
        wanted = [(FILTERS[name], request.query[name]) for name in FILTERS if name in request.query]
        sessions = self._runtime.state.sessions
        candidates: Iterable[Session] = sessions.by_number.values()
        if "conference" in request.query:
            conference = self._runtime.state.conferences.by_id.get(request.query["conference"])
            candidates = sorted(conference.members, key=_number) if conference is not None else ()
        elif "account" in request.query and not self._runtime.settings.federation.homes:
            candidates = sorted(sessions.of_account(request.query["account"].lower()), key=_number)
        beyond = (session for session in tuple(candidates) if session.number > after)
        found: list[Session] = []
        while piece := tuple(islice(beyond, PIECE)):
            found += [session for session in piece if all(matches(session, text) for matches, text in wanted)]
            if len(found) >= most:
                break
            await asyncio.sleep(0)
            found = [session for session in found if session.number in sessions.by_number]
        return found[:most]

    def _render(self, session: Session) -> dict[str, Any]:
        connection = self._runtime.sign_in.connected.get(session.number)
        now = self._runtime.clock.wall()
        heard = None
        if connection is not None:
            heard = utc(now - (self._runtime.timer_wheel.tick - connection.last_heard_tick) * TICK)
        return {
            "id": session_id(self._runtime.state, session),
            "transport": session.transport,
            "address": session.peer_address,
            "kind": session.kind,
            "account": session.account,
            "home": session.home or None,
            "device": session.device,
            "client": session.client,
            "presence": "awake" if session.awake else "asleep",
            "connected": heard is not None,
            "since": utc(session.since),
            "last_heard": heard,
            "conferences": [each.id for each in session.conferences],
            "seats": seats(self._runtime.state, session)["seats"],
        }


def _mentions(session: Session, text: str) -> bool:
    """Whether an account, a device, an address or a kind has `text`, in lower case, somewhere in it."""
    account, device = session.account, session.device
    return (
        (account is not None and text in account)
        or text in session.peer_address
        or text in session.kind
        or (device is not None and text in device.lower())
    )


def _number(session: Session) -> int:
    return session.number
