"""The API about those who wait in line for a seat."""

from __future__ import annotations

from typing import Annotated, TypedDict

from aiohttp import web

from gateway.core.admission.lines import QueuePlace
from gateway.core.admission.replies import session_id
from gateway.core.admission.waiting import queued
from gateway.core.counting.session import KINDS
from gateway.edge.api.connections import SESSION
from gateway.edge.api.pages import LIMIT, OFFSET, Page, cursor, offset, page
from gateway.edge.api.responses import fail, utc_text
from gateway.edge.api.routes import READ, Route
from gateway.edge.api.schemas import Count, Keyword, Time
from gateway.edge.server.runtime import Runtime


class QueueDocument(TypedDict):
    """A request that waits in line; `session` is null for a `hello`, `conference` where the request names none."""

    place: Annotated[str, Keyword("pattern", "^[1-9][0-9]{0,15}$")]
    pool: str
    rule: Annotated[str | None, "The rule for seats that has no room; null where it is the pool itself."]
    position: Annotated[Count, "1 is served next."]
    request: Annotated[str, Keyword("enum", ("hello", "join", "wake", "request_pro"))]
    conference: str | None
    session: Annotated[str | None, Keyword("pattern", f"^{SESSION}$")]
    account: str | None
    device: str | None
    kind: Annotated[str, Keyword("enum", tuple(sorted(KINDS)))]
    address: str
    since: Time
    wait_seconds: Annotated[Count, "How long it waits at most from now on."]


@Route(
    "GET",
    "/api/queue",
    scope=READ,
    summary="Who waits in line for a seat.",
    answer=Page[QueueDocument],
    query=(LIMIT, OFFSET, cursor("^[0-9]{1,16}$")),
)
async def list_queue(runtime: Runtime, request: web.Request) -> web.Response:
    """Show a page of those who wait, in order of arrival."""
    mark = request.query.get("cursor", "0")
    if not (mark.isascii() and mark.isdigit() and len(mark) <= 16):
        fail(422, "bad_field", "cursor: expected the `next` of another page")
    after = int(mark)
    found = [place for place in runtime.state.lines.values() if place.number > after]
    return page(
        request, found[offset(request) :], lambda place: str(place.number), lambda place: _document(runtime, place)
    )


def _document(runtime: Runtime, place: QueuePlace) -> QueueDocument:
    state = runtime.state
    told = queued(state, place, runtime.now())
    session = state.sessions.by_number[place.session] if place.session is not None else None
    who = place.request if session is None else session
    return {
        "place": str(place.number),
        "pool": told["pool"],
        "rule": told.get("rule"),
        "position": told["position"],
        "request": told["request"],
        "conference": told.get("conference"),
        "session": session_id(state, session.number) if session is not None else None,
        "account": who.account,
        "device": who.device,
        "kind": who.kind,
        "address": who.address if session is None else session.peer_address,
        "since": utc_text(place.since.wall),
        "wait_seconds": told["wait_seconds"],
    }
