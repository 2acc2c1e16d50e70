"""The API about connections: the sessions, those that match a filter, and kicks."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Annotated, Literal, TypedDict

from aiohttp import web

from gateway.core.addresses import ip_address
from gateway.core.admission.commands import KickAccount, KickSession
from gateway.core.admission.replies import seats, session_id
from gateway.core.counting.session import KINDS, Session, identity
from gateway.core.formats import utc
from gateway.core.names import folded, normalized
from gateway.edge.api.acts import act
from gateway.edge.api.pages import LIMIT, OFFSET, PIECE, Page, cursor, limit, offset, page
from gateway.edge.api.responses import BAN, HOME, ban, done, fail, named_identity, utc_text
from gateway.edge.api.routes import ADMIN, READ, Route
from gateway.edge.api.schemas import Count, HomeOrNull, Keyword, Time, query, text
from gateway.edge.server.runtime import Runtime
from gateway.edge.server.ticker import TICK

SESSION = r"s-[0-9a-f]{1,16}-[0-9a-f]{1,15}"
"""The id of a session, of this run or another."""


def _mentions(session: Session, part: str) -> bool:
    """Whether an account, a device, an address or a kind has `part`, folded, somewhere in it."""
    account, device = session.account, session.device
    return (
        (account is not None and part in account)
        or part in session.peer_address
        or part in session.kind
        or (device is not None and part in folded(device))
    )


FILTERS: dict[str, Callable[[Session, str], bool]] = {
    "account": lambda session, text: session.account == text,
    "home": lambda session, text: session.home == text,
    "device": lambda session, text: session.device == text,
    "address": lambda session, text: session.peer_address == text,
    "kind": lambda session, text: session.kind == text,
    "conference": lambda session, text: any(each.id == text for each in session.conferences),
    "q": _mentions,
}
MENTIONED = "Only those with this somewhere in account, device, address or kind; case does not matter."
ABOUT = {
    "q": MENTIONED,
    "account": "Only this one, of this server unless there is a home.",
    "home": "Only of this one.",
}
FILTER_QUERY = tuple(query(name, text(), ABOUT.get(name, "Only these.")) for name in FILTERS)


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
    connected: bool
    since: Time
    last_heard: Time | None
    conferences: list[str]
    seats: list[str]


class CountDocument(TypedDict):
    """How many there are."""

    count: Count


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
    query=(*FILTER_QUERY, LIMIT, OFFSET, cursor(f"^{SESSION}$")),
)
async def list_connections(runtime: Runtime, request: web.Request) -> web.Response:
    """Show a page of those that match."""
    mark = request.query.get("cursor")
    if mark is not None and not re.fullmatch(SESSION, mark):
        fail(422, "bad_field", "cursor: expected the `next` of another page")
    after = int(mark.rpartition("-")[2], 16) if mark is not None else 0
    skip = offset(request)
    found = await _matching(runtime, request, after, skip + limit(request) + 1)
    return page(
        request,
        found[skip:],
        lambda session: session_id(runtime.state, session),
        lambda session: _document(runtime, session),
    )


@Route(
    "GET",
    "/api/connections/count",
    scope=READ,
    summary="How many sessions there are.",
    answer=CountDocument,
    query=FILTER_QUERY,
)
async def count_connections(runtime: Runtime, request: web.Request) -> web.Response:
    """Count those that match."""
    filtered = any(name in request.query for name in FILTERS)
    sessions = runtime.state.sessions
    count = len(await _matching(runtime, request)) if filtered else len(sessions)
    return web.json_response(CountDocument(count=count))


async def _matching(runtime: Runtime, request: web.Request, after: int = 0, most: int = sys.maxsize) -> list[Session]:
    """The first `most` sessions beyond number `after` that match the filters, by number.

    A conference or an account is looked up; anything else is searched for, in pieces.
    """
    own_home = runtime.settings.accounts.home
    asked = {name: _as_kept(name, request.query[name], own_home) for name in FILTERS if name in request.query}
    if "account" in asked:
        asked.setdefault("home", "")
    wanted = [(FILTERS[name], text) for name, text in asked.items()]
    sessions = runtime.state.sessions
    candidates: Iterable[Session] = sessions.by_number.values()
    if "conference" in asked:
        conference = runtime.state.conferences.by_id.get(asked["conference"])
        candidates = sorted(conference.members, key=_number) if conference is not None else ()
    elif "account" in asked:
        candidates = sorted(sessions.of_account(identity(asked["account"], asked["home"])), key=_number)
    beyond = (session for session in tuple(candidates) if session.number > after)
    found: list[Session] = []
    while piece := tuple(islice(beyond, PIECE)):
        found += [session for session in piece if all(matches(session, text) for matches, text in wanted)]
        if len(found) >= most:
            break
        await asyncio.sleep(0)
        found = [session for session in found if session.number in sessions.by_number]
    return found[:most]


def _as_kept(name: str, text: str, own_home: str) -> str:
    """Return what a filter asks for as sessions have it: an address has one text, however it is written; names are
    normalized, and `own_home` is the name of this server.
    """
    if name == "address":
        with contextlib.suppress(ValueError):
            return str(ip_address(text))
    if name == "home":
        return "" if folded(text) == own_home else folded(text)
    return folded(text) if name in {"account", "q"} else normalized(text)


def _document(runtime: Runtime, session: Session) -> ConnectionDocument:
    connection = runtime.connection_of(session.number)
    heard = None
    if connection is not None:
        heard = utc(runtime.clock.wall() - (runtime.timer_wheel.tick - connection.last_heard_tick) * TICK)
    return {
        "id": session_id(runtime.state, session),
        "transport": "tcp" if session.transport == "tcp" else "websocket",
        "address": session.peer_address,
        "kind": session.kind,
        "account": session.account,
        "home": session.home or None,
        "device": session.device,
        "client": session.client,
        "presence": "awake" if session.awake else "asleep",
        "connected": heard is not None,
        "since": utc_text(session.since),
        "last_heard": heard,
        "conferences": [each.id for each in session.conferences],
        "seats": seats(runtime.state, session)["seats"],
    }


def _number(session: Session) -> int:
    return session.number


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
