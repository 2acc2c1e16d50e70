"""The API about what is live: the license, connections, conferences."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from aiohttp import web

from gateway.core.admission.conferences import Declaration
from gateway.core.admission.directory import ban_subject
from gateway.core.admission.snapshot import Snapshot, snapshot
from gateway.core.counting.session import Conference, Session
from gateway.core.formats import ID_FORM, is_id, utc
from gateway.edge.api.authorization import caller
from gateway.edge.api.responses import SESSION, ban, body, fail, field, limit, listed, named, offset, only, page
from gateway.edge.server.connection import Connection
from gateway.edge.server.runtime import Runtime
from gateway.edge.server.ticker import TICK
from gateway.licensing import MODELS

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
    live = _Live(runtime)
    return [
        web.get("/api/license", live.license),
        web.get("/api/connections", live.connections),
        web.get("/api/connections/count", live.count),
        web.delete("/api/connections/{session:(?!count$)[^{}/]+}", live.kick),
        web.delete("/api/accounts/{account}/connections", live.kick_account),
        web.get("/api/conferences", live.conferences),
        web.put("/api/conferences/{conference}", live.declare),
        web.delete("/api/conferences/{conference}", live.dissolve),
    ]


def license_document(runtime: Runtime, seen: Snapshot) -> dict[str, Any]:
    """The license as the API and the page show it."""
    models: dict[str, Any] = {}
    for pool in seen.pools:
        models.setdefault(pool.model, {"pools": {}})["pools"][pool.pool] = {
            "used": pool.used,
            "limit": pool.limit,
            "available": pool.available,
            "reserved": pool.reserved,
            "overdraft_used": pool.overdraft_used,
            "high_water": pool.high_water,
            "denied": pool.denied,
        }
    return {
        "model": seen.model,
        "edition": seen.edition,
        "enforce": seen.enforce,
        "models": models,
        "extensions": [each._asdict() for each in seen.extensions],
        "titles": {name: info.titles() for name, info in MODELS.items()},
        "registration": runtime.registration.to_json(),
    }


class _Live:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def license(self, _: web.Request) -> web.Response:
        return web.json_response(
            license_document(self._runtime, snapshot(self._runtime.admission, self._runtime.clock.mono()))
        )

    async def connections(self, request: web.Request) -> web.Response:
        cursor = request.query.get("cursor")
        if cursor is not None and not re.fullmatch(SESSION, cursor):
            fail(422, "bad_field", "cursor: expected the `next` of another page")
        after = int(cursor.rpartition("-")[2], 16) if cursor is not None else 0
        skip = offset(request)
        found = await self._found(request, after, skip + limit(request) + 1)
        return page(request, found[skip:], self._runtime.sign_in.name, self._render)

    async def count(self, request: web.Request) -> web.Response:
        filtered = any(name in request.query for name in FILTERS)
        sessions = self._runtime.admission.sessions
        count = len(await self._found(request)) if filtered else len(sessions)
        return web.json_response({"count": count})

    async def kick(self, request: web.Request) -> web.Response:
        session = self._runtime.sign_in.find(request.match_info["session"])
        if session is None:
            fail(404, "no_such_session", "no session has this id")
        detail = {"account": session.identity, "address": session.peer_address}
        durable = self._keep_out(request, ban_subject(session))
        self._runtime.persistence.audit(caller(request), "session.kicked", self._runtime.sign_in.name(session), detail)
        self._runtime.kick(session)
        if durable is not None:
            await durable
        return web.Response(status=204)

    async def kick_account(self, request: web.Request) -> web.Response:
        account = named(request, "account", fold=True)
        durable = self._keep_out(request, account)
        kicked = self._runtime.admission.sessions.of_account(account)
        self._runtime.persistence.audit(caller(request), "account.kicked", account, {"sessions": len(kicked)})
        for session in kicked:
            self._runtime.kick(session)
        if durable is not None:
            await durable
        return web.json_response({"kicked": len(kicked)})

    def _keep_out(self, request: web.Request, whom: str) -> asyncio.Future[None] | None:
        """Ban whom the request says for as long as it says, if it does; what is returned is done when it is durable."""
        span = ban(request)
        if span is None:
            return None
        runtime = self._runtime
        kept_out = runtime.directory.ban(whom, runtime.clock.wall() + span)
        runtime.persistence.audit(caller(request), "ban.added", whom, {"until": utc(kept_out.until)})
        return runtime.persistence.ban(whom)

    async def _found(self, request: web.Request, after: int = 0, most: int = sys.maxsize) -> list[Session]:
        """The first `most` sessions beyond number `after` that match the filters, by number.

        A conference, or an account that can only be ours, is looked up; anything else is searched for, in pieces.
        """
        wanted = [(FILTERS[name], request.query[name]) for name in FILTERS if name in request.query]
        sessions = self._runtime.admission.sessions
        candidates: Iterable[Session] = sessions.by_number.values()
        if "conference" in request.query:
            conference = self._runtime.admission.conferences.by_id.get(request.query["conference"])
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
        connection = session.connection
        now = self._runtime.clock.wall()
        heard = None
        if isinstance(connection, Connection):
            heard = utc(now - (self._runtime.timer_wheel.tick - connection.last_heard_tick) * TICK)
        return {
            "id": self._runtime.sign_in.name(session),
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
            "seats": self._runtime.admission.entitlements(session)["seats"],
        }

    async def conferences(self, request: web.Request) -> web.Response:
        conferences = self._runtime.admission.conferences
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
            "declared": conference.id in self._runtime.admission.conferences.declared,
            "hosts": [self._runtime.sign_in.name(member) for member, host in conference.members.items() if host],
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
        conferences = self._runtime.admission.conferences
        if id in conferences.by_id:
            fail(409, "conference_under_way", "the conference has members")
        declaration = Declaration(access, mode, field(told, "scheduled", bool, False), "" if own else server)
        self._runtime.admission.declare(id, declaration)
        self._runtime.persistence.audit(caller(request), "conference.declared", id, declaration._asdict())
        return web.json_response(self._conference(conferences.create(id, Declaration())))

    async def dissolve(self, request: web.Request) -> web.Response:
        id = named(request, "conference")
        outcome = self._runtime.admission.dissolve(id, self._runtime.now())
        if outcome is None:
            fail(404, "no_such_conference", "no conference has this id")
        self._runtime.persistence.audit(caller(request), "conference.ended", id)
        await self._runtime.decided(outcome)
        return web.Response(status=204)


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
