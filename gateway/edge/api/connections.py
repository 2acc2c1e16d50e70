"""The API about connections: the sessions, those that match a filter, and kicks."""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypedDict

from aiohttp import web

from gateway.core.admission.commands import KickAccount, KickSession
from gateway.core.admission.replies import seats, session_id
from gateway.core.counting.session import KINDS, Session
from gateway.core.formats import utc
from gateway.edge.api.acts import act
from gateway.edge.api.connection_filters import NAMES, QUERY, SORT, in_order, matching, sort_of
from gateway.edge.api.idle import session_idle
from gateway.edge.api.pages import LIMIT, OFFSET, Page, cursor, limit, offset, page
from gateway.edge.api.responses import BAN, HOME, ban, done, fail, named_identity, utc_text
from gateway.edge.api.routes import ADMIN, READ, Route
from gateway.edge.api.schemas import Count, HomeOrNull, Keyword, Time
from gateway.edge.server.runtime import Runtime
from gateway.edge.server.ticker import TICK

SESSION = r"s-[0-9a-f]{1,16}-[0-9a-f]{1,15}"
"""The id of a session, of this run or another."""


class ConnectionDocument(TypedDict):
    """A session, connected or waiting to be resumed."""

    id: Annotated[str, Keyword("pattern", f"^{SESSION}$")]
    transport: Literal["tcp", "websocket"]
    address: str
    kind: Annotated[str, Keyword("enum", tuple(sorted(KINDS)))]
    account: str | None
    home: HomeOrNull
    device: str | None
    client: str | None
    presence: Literal["awake", "asleep"]
    active: Annotated[bool | None, "What its client said last of whether somebody uses it."]
    unused_seconds: Annotated[int | None, "How long it has been idle, as its client says; null where it is not."]
    connected: bool
    since: Time
    last_heard: Time | None
    idle_seconds: Annotated[float, "Since it asked for anything; 0 in a live conference, or where it is not connected."]
    conferences: list[str]
    seats: list[str]


class CountDocument(TypedDict):
    """How many there are; `idle` are those awake that nobody uses."""

    count: Count
    asleep: Count
    idle: Count


class KickedDocument(TypedDict):
    """How many sessions were closed."""

    kicked: Count


# -- looking -----------------------------------------------------------------------------------------------------------


@Route(
    "GET",
    "/api/connections",
    scope=READ,
    summary="The sessions.",
    answer=Page[ConnectionDocument],
    query=(*QUERY, SORT, LIMIT, OFFSET, cursor(f"^{SESSION}$")),
)
async def list_connections(runtime: Runtime, request: web.Request) -> web.Response:
    """Show a page of those that match."""
    mark = request.query.get("cursor")
    if mark is not None and not re.fullmatch(SESSION, mark):
        fail(422, "bad_field", "cursor: expected the `next` of another page")
    after = int(mark.rpartition("-")[2], 16) if mark is not None else 0
    skip, order = offset(request), sort_of(request)
    most = skip + limit(request) + 1
    if order == "since":
        found = await matching(runtime, request, after, most)
    else:
        found = await in_order(runtime, await matching(runtime, request), order, most)
    return page(
        request,
        found[skip:],
        lambda session: session_id(runtime.state, session.number),
        lambda session: connection_document(runtime, session),
    )


@Route(
    "GET",
    "/api/connections/count",
    scope=READ,
    summary="How many sessions there are.",
    answer=CountDocument,
    query=QUERY,
)
async def count_connections(runtime: Runtime, request: web.Request) -> web.Response:
    """Count those that match."""
    filtered = any(name in request.query for name in NAMES)
    sessions = runtime.state.sessions
    if filtered:
        found = await matching(runtime, request)
        asleep = sum(not each.awake for each in found)
        idle = sum(each in sessions.idle for each in found)
        return web.json_response(CountDocument(count=len(found), asleep=asleep, idle=idle))
    asleep = sum(len(each) for (_, awake), each in sessions.by_presence.items() if not awake)
    return web.json_response(CountDocument(count=len(sessions), asleep=asleep, idle=len(sessions.idle)))


def connection_document(runtime: Runtime, session: Session) -> ConnectionDocument:
    """Return what is shown of a session."""
    connection = runtime.connection_of(session.number)
    heard = None
    if connection is not None:
        heard = utc(runtime.clock.wall() - (runtime.timer_wheel.tick - connection.last_heard_tick) * TICK)
    idle_since = runtime.state.sessions.idle_since(session)
    return {
        "id": session_id(runtime.state, session.number),
        "transport": "tcp" if session.transport == "tcp" else "websocket",
        "address": session.peer_address,
        "kind": session.kind,
        "account": session.account,
        "home": session.home or None,
        "device": session.device,
        "client": session.client,
        "presence": "awake" if session.awake else "asleep",
        "active": session.active,
        "unused_seconds": None if idle_since is None else max(int(runtime.now().mono - idle_since), 0),
        "connected": heard is not None,
        "since": utc_text(session.since),
        "last_heard": heard,
        "idle_seconds": session_idle(runtime, session),
        "conferences": [each.id for each in session.conferences],
        "seats": seats(runtime.state, session)["seats"],
    }


# -- kicking -----------------------------------------------------------------------------------------------------------


@Route(
    "DELETE",
    "/api/connections/{session}",
    scope=ADMIN,
    summary="Close a session.",
    query=(BAN,),
    statuses=(404, 503),
    patterns={"session": "(?!count$)[^{}/]+"},
)
async def kick(runtime: Runtime, request: web.Request) -> web.Response:
    """End a session, and keep whom it was out for a while if asked to."""
    name, span = request.match_info["session"], ban(request)
    await act(runtime, request, KickSession(runtime.sign_in.number(name) or 0, span))
    return done()


@Route(
    "DELETE",
    "/api/accounts/{account}/connections",
    scope=ADMIN,
    summary="Close every session of an account.",
    answer=KickedDocument,
    query=(HOME, BAN),
    statuses=(503,),
)
async def kick_account(runtime: Runtime, request: web.Request) -> web.Response:
    """End the sessions of an account, and keep it out for a while if asked to."""
    who, span = named_identity(request, runtime.settings.accounts.home), ban(request)
    decision = await act(runtime, request, KickAccount(who, span))
    return web.json_response(KickedDocument(kicked=len(decision.closings)))
