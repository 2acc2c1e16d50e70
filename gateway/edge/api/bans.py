"""The API about bans: accounts, addresses and networks that are not let in for a while."""

from __future__ import annotations

from typing import Annotated, TypedDict

from aiohttp import web

from gateway.core.admission.bans import KINDS, Ban, BanSubject, OtherKind, subject_of
from gateway.core.admission.commands import LiftBan, PutBan
from gateway.core.admission.decision import DirectoryChange
from gateway.core.names import join_names
from gateway.edge.api.acts import act, refuse
from gateway.edge.api.pages import PAGED, Page, listed
from gateway.edge.api.responses import HOME, body, done, fail, field, home, only, seconds, step, utc_text
from gateway.edge.api.routes import ADMIN, READ, Route
from gateway.edge.api.schemas import DURATION, Count, HomeOrNull, Keyword, Time, query, record, text
from gateway.edge.server.runtime import Runtime

KIND = query("kind", text(enum=list(KINDS)), "What the subject is, where its text could be several.")


class BanDocument(TypedDict):
    """Who is kept out, and until when."""

    subject: Annotated[str, "An account, an address or a network."]
    home: HomeOrNull
    kind: Annotated[str, Keyword("enum", KINDS), "`guests` are those without an account who come from an address."]
    until: Time


class NewBanDocument(BanDocument):
    """A ban that was just made, and how many sessions it has closed."""

    kicked: Count


@Route("GET", "/api/bans", scope=READ, summary="Who is banned.", answer=Page[BanDocument], query=PAGED)
async def list_bans(runtime: Runtime, request: web.Request) -> web.Response:
    """Show a page of them."""
    bans = {
        join_names(ban.subject.name, ban.subject.home, ban.subject.kind): ban for ban in runtime.state.directory.bans
    }
    return await listed(request, bans, lambda _, ban: _document(ban))


@Route(
    "GET",
    "/api/bans/{subject}",
    scope=READ,
    summary="A ban.",
    answer=BanDocument,
    query=(HOME, KIND),
    statuses=(404, 409, 422),
)
async def get_ban(runtime: Runtime, request: web.Request) -> web.Response:
    """Show one."""
    found = [runtime.state.directory.bans.by_subject.get(each) for each in _subjects(runtime, request)]
    ban = next((each for each in found if each is not None), None)
    if ban is None:
        refuse("no_such_ban", runtime)
    return web.json_response(_document(ban))


@Route(
    "PUT",
    "/api/bans/{subject}",
    scope=ADMIN,
    summary="Keep an account, an address or a network out, and close its sessions.",
    answer=NewBanDocument,
    query=(HOME, KIND),
    body=record(**{"for": {**DURATION, "description": 'How long, such as "5m".'}}),
    statuses=(409, 503),
)
async def put_ban(runtime: Runtime, request: web.Request) -> web.Response:
    """Ban somebody from now on, for as long as is asked for."""
    subject, told = _subjects(runtime, request)[0], await body(request)
    only(told, "for")
    span = seconds("for", field(told, "for", str, ""))
    decision = await act(runtime, request, PutBan(subject, span))
    values = [change.value for change in decision.changes if isinstance(change, DirectoryChange)]
    ban = next(value for value in values if isinstance(value, Ban))
    return web.json_response(NewBanDocument(**_document(ban), kicked=len(decision.closings)))


@Route(
    "DELETE",
    "/api/bans/{subject}",
    scope=ADMIN,
    summary="Lift a ban.",
    query=(HOME, KIND),
    statuses=(404, 409, 422, 503),
)
async def lift_ban(runtime: Runtime, request: web.Request) -> web.Response:
    """Let somebody in again."""
    subjects = _subjects(runtime, request)
    for subject in [each for each in subjects if each in runtime.state.directory.bans.by_subject] or subjects[:1]:
        await act(runtime, request, LiftBan(subject))
    return done()


def _subjects(runtime: Runtime, request: web.Request) -> tuple[BanSubject, ...]:
    """Who is meant; an address without a kind also means the guests who come from it."""
    kind = request.query.get("kind", "")
    if kind not in {"", *KINDS}:
        fail(422, "bad_field", f"kind: expected one of {', '.join(KINDS)}")
    try:
        found = subject_of(step(request, "subject"), home(request, runtime.settings.accounts.home) or "", kind)
    except OtherKind as fault:
        fail(409, "other_kind", f"subject: {fault}")
    except ValueError as fault:
        fail(422, "bad_field", f"subject: {fault}")
    guests = (found._replace(kind="guests"),) if found.kind == "address" and not kind else ()
    return (found, *guests)


def _document(ban: Ban) -> BanDocument:
    kind, name, home = ban.subject
    return {"subject": name, "home": home or None, "kind": kind, "until": utc_text(ban.until)}
