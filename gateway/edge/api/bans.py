"""The API about bans: accounts and addresses that are not let in for a while."""

from __future__ import annotations

from typing import Annotated, TypedDict

from aiohttp import web

from gateway.core.addresses import ip_address
from gateway.core.admission.commands import LiftBan, PutBan
from gateway.core.admission.decision import DirectoryChange
from gateway.core.admission.directory import Ban
from gateway.core.formats import is_id
from gateway.edge.api.acts import act, refuse
from gateway.edge.api.pages import PAGED, Page, listed
from gateway.edge.api.responses import body, done, fail, field, only, seconds, utc_text
from gateway.edge.api.routes import ADMIN, READ, Route
from gateway.edge.api.schemas import DURATION, Time, record
from gateway.edge.server.runtime import Runtime


class BanDocument(TypedDict):
    """Who is kept out, and until when."""

    subject: Annotated[str, "An account, or an address of guests."]
    until: Time


@Route("GET", "/api/bans", scope=READ, summary="Who is banned.", answer=Page[BanDocument], query=PAGED)
async def list_bans(runtime: Runtime, request: web.Request) -> web.Response:
    """Show a page of them."""
    return await listed(request, runtime.state.directory.bans, lambda _, ban: _document(ban))


@Route(
    "GET",
    "/api/bans/{subject}",
    scope=READ,
    summary="A ban.",
    answer=BanDocument,
    statuses=(404, 422),
)
async def get_ban(runtime: Runtime, request: web.Request) -> web.Response:
    """Show one."""
    return web.json_response(_document(_found(runtime, _subject(request))))


@Route(
    "PUT",
    "/api/bans/{subject}",
    scope=ADMIN,
    summary="Keep an account or an address out.",
    answer=BanDocument,
    body=record(**{"for": {**DURATION, "description": 'How long, such as "5m".'}}),
    statuses=(503,),
)
async def put_ban(runtime: Runtime, request: web.Request) -> web.Response:
    """Ban somebody from now on, for as long as is asked for."""
    subject, told = _subject(request), await body(request)
    only(told, "for")
    span = seconds("for", field(told, "for", str, ""))
    decision = await act(runtime, request, PutBan(subject, span))
    values = [change.value for change in decision.changes if isinstance(change, DirectoryChange)]
    return web.json_response(_document(next(value for value in values if isinstance(value, Ban))))


@Route(
    "DELETE",
    "/api/bans/{subject}",
    scope=ADMIN,
    summary="Lift a ban.",
    statuses=(404, 422, 503),
)
async def lift_ban(runtime: Runtime, request: web.Request) -> web.Response:
    """Let somebody in again."""
    subject = _subject(request)
    await act(runtime, request, LiftBan(subject))
    return done()


def _found(runtime: Runtime, subject: str) -> Ban:
    ban = runtime.state.directory.bans.get(subject)
    if ban is None:
        refuse("no_such_ban", runtime)
    return ban


def _subject(request: web.Request) -> str:
    """Who is banned: an account, with `/` and its home where that is another server, or an address."""
    found = request.match_info["subject"].lower()
    if not all(is_id(part) for part in found.split("/", 1)):
        fail(422, "bad_field", "subject: expected an account or an address")
    try:
        return str(ip_address(found))
    except ValueError:
        return found


def _document(ban: Ban) -> BanDocument:
    return {"subject": ban.subject, "until": utc_text(ban.until)}
