"""The API about conferences, live and declared."""

from __future__ import annotations

from typing import Annotated, Any, TypedDict

from aiohttp import web

from gateway.core.admission.commands import EndConference, PutConference
from gateway.core.admission.conferences import Conferences, Declaration
from gateway.core.admission.replies import session_id
from gateway.core.counting.session import Conference
from gateway.core.names import folded
from gateway.edge.api.acts import act
from gateway.edge.api.pages import PAGED, Page, keys_of_page
from gateway.edge.api.responses import account, body, done, fail, field, named, only
from gateway.edge.api.routes import ADMIN, READ, Route
from gateway.edge.api.schemas import BOOLEAN, ID, Count, Keyword, query, record, text
from gateway.edge.server.runtime import Runtime

ACCESSES = ("internal", "public")
MODES = ("group", "call")


class ConferenceDocument(TypedDict):
    """A conference that has members, or that was declared."""

    id: str
    state: Annotated[str, Keyword("enum", ("scheduled", "live"))]
    access: Annotated[str, Keyword("enum", ACCESSES)]
    mode: Annotated[str, Keyword("enum", MODES)]
    server: Annotated[str | None, "Another server that the conference is on."]
    declared: bool
    hosts: list[str]
    members: Count


@Route(
    "GET",
    "/api/conferences",
    scope=READ,
    summary="Conferences, live and declared.",
    answer=Page[ConferenceDocument],
    query=(query("q", text(), "Only those with this somewhere in the id; case does not matter."), *PAGED),
)
async def list_conferences(runtime: Runtime, request: web.Request) -> web.Response:
    """Show a page of them."""
    conferences, part = runtime.state.conferences, folded(request.query.get("q", ""))
    ids = (*conferences.by_id, *conferences.declared)
    keys, more = await keys_of_page(request, ids, lambda name: part in folded(name))
    found = [conference for id in keys if (conference := _found(conferences, id)) is not None]
    items = [_document(runtime, conference) for conference in found]
    return web.json_response(Page[ConferenceDocument](items=items, next=more))


@Route(
    "PUT",
    "/api/conferences/{conference}",
    scope=ADMIN,
    summary="Say what a conference is, before anybody joins it.",
    answer=ConferenceDocument,
    body=record(
        *("access", "mode", "scheduled", "server"),
        access=text(enum=list(ACCESSES)),
        mode=text(enum=list(MODES)),
        scheduled=BOOLEAN,
        server={"anyOf": [ID, text(maxLength=0)]},
    ),
    statuses=(409,),
)
async def declare_conference(runtime: Runtime, request: web.Request) -> web.Response:
    """Declare a conference, or change what was declared of it."""
    id, declaration = named(request, "conference"), _read(await body(request), runtime.settings.accounts.home)
    await act(runtime, request, PutConference(id, declaration))
    declared = _document(runtime, runtime.state.conferences.create(id, declaration))
    return web.json_response({**declared, "declared": True})


def _read(told: dict[str, Any], home: str) -> Declaration:
    """The declaration that a body holds; `home` is the name of this server."""
    only(told, "access", "mode", "scheduled", "server")
    access, mode = field(told, "access", str, "internal"), field(told, "mode", str, "group")
    if access not in ACCESSES:
        fail(422, "bad_field", 'access: expected "internal" or "public"')
    if mode not in MODES:
        fail(422, "bad_field", 'mode: expected "group" or "call"')
    server = field(told, "server", str, "")
    server = account("server", server) if server else ""
    return Declaration(access, mode, field(told, "scheduled", bool, False), "" if server == home else server)


@Route(
    "DELETE",
    "/api/conferences/{conference}",
    scope=ADMIN,
    summary="End a conference.",
    statuses=(404, 503),
)
async def end_conference(runtime: Runtime, request: web.Request) -> web.Response:
    """End a conference, and forget what was declared of it."""
    id = named(request, "conference")
    await act(runtime, request, EndConference(id))
    return done()


# -- what is read of the state -----------------------------------------------------------------------------------------


def _found(conferences: Conferences, id: str) -> Conference | None:
    """A conference; one that was declared and has no members is made up for the list."""
    if id in conferences.by_id or id not in conferences.declared:
        return conferences.by_id.get(id)
    return conferences.create(id, Declaration())


def _document(runtime: Runtime, conference: Conference) -> ConferenceDocument:
    return {
        "id": conference.id,
        "state": conference.state if conference.members else "scheduled",
        "access": conference.access,
        "mode": conference.mode,
        "server": conference.server or None,
        "declared": conference.id in runtime.state.conferences.declared,
        "hosts": [session_id(runtime.state, member.number) for member, host in conference.members.items() if host],
        "members": len(conference.members),
    }
