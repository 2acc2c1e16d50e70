"""The API about one person: all that is known, and its erasure."""

from __future__ import annotations

from typing import Annotated, NotRequired, TypedDict

from aiohttp import web

from gateway.core.admission.commands import ErasePerson
from gateway.core.counting.session import account_and_home
from gateway.edge.api.accounts import AccountTokenDocument
from gateway.edge.api.acts import act
from gateway.edge.api.audit import PlainEntryDocument
from gateway.edge.api.authorization import record_act
from gateway.edge.api.connections import ConnectionDocument, connection_document
from gateway.edge.api.responses import HOME, fail, named_identity
from gateway.edge.api.routes import ADMIN, Route
from gateway.edge.api.schemas import BOOLEAN, Count, HomeOrNull, Id, Time, query
from gateway.edge.server.runtime import Runtime
from gateway.edge.storage.person_records import ERASURES, PersonRecords, is_known, kept_of


class PersonLeaseDocument(TypedDict):
    """A seat that a person holds without a session."""

    model: str
    pool: str
    kind: str
    since: Time
    expires: Time | None


class PersonUseDocument(TypedDict):
    """What a person used of a pool on a day (of connections, where model and pool are empty)."""

    day: str
    model: str
    pool: str
    device: str
    address: str
    seat_seconds: float
    peak: Count
    grants: Count
    denials: Count
    true_denials: Count
    seated: Count
    waited: float
    first: Time
    last: Time


class PersonDenialDocument(TypedDict):
    """Refusals of a person that belong together."""

    model: str
    pool: str
    began: Time
    last: Time
    reason: str
    refusals: Count
    true_denials: Count
    seated: Count
    waited: float | None


class PersonDocument(TypedDict):
    """All that this gateway knows of a person."""

    account: Id
    home: HomeOrNull
    registered: bool
    tokens: list[AccountTokenDocument]
    groups: list[str]
    banned_until: Time | None
    leases: list[PersonLeaseDocument]
    connections: NotRequired[list[ConnectionDocument]]
    usage: list[PersonUseDocument]
    denials: list[PersonDenialDocument]
    audit: list[PlainEntryDocument]


class ErasedDocument(TypedDict):
    """What was erased: rows of use and of refusals, and names in the audit log."""

    usage: Count
    denials: Count
    audit: Count
    rewritten: Annotated[bool, "Whether nothing is left in free space of the file; if not, the next start rewrites it."]


@Route(
    "GET",
    "/api/persons/{account}",
    scope=ADMIN,
    summary="All that is known of a person; scope admin.",
    answer=PersonDocument,
    query=(HOME,),
    statuses=(503,),
    head=False,
)
async def export_person(runtime: Runtime, request: web.Request) -> web.StreamResponse:
    """Send it piece by piece, as one JSON document."""
    account, home = account_and_home(named_identity(request, runtime.settings.accounts.home))
    persistence = runtime.persistence
    sessions = runtime.state.sessions.of_account(named_identity(request, runtime.settings.accounts.home))
    kept = kept_of(account, home, runtime.state.directory, persistence.leases())
    kept["connections"] = [connection_document(runtime, each) for each in sessions]
    await persistence.usage_store.flush(runtime.now)
    records = PersonRecords(persistence.store, persistence.pseudonyms, account, home)
    known = is_known(kept) or any((await records.counts()).values())  # of nobody no name is left by asking
    record_act(
        runtime, request, "person.exported", account if known else "", {"home": home} if known and home else None
    )
    response = web.StreamResponse()
    response.content_type = "application/json"
    await response.prepare(request)
    async for piece in records.document(kept):
        await response.write(piece.encode())
    await response.write_eof()
    return response


@Route(
    "DELETE",
    "/api/persons/{account}",
    scope=ADMIN,
    summary="Erase a person: no trace is left in the store, nor in copies made later.",
    answer=ErasedDocument,
    query=(HOME, query("force", BOOLEAN, "End its sessions and its licenses first; else it must have none.")),
    statuses=(409, 503),
)
async def erase_person(runtime: Runtime, request: web.Request) -> web.Response:
    """Forget it in memory, then in the file; what was interrupted is done by asking again."""
    who = named_identity(request, runtime.settings.accounts.home)
    force = request.query.get("force", "false")
    if force not in {"true", "false"}:
        fail(422, "bad_field", "force: expected true or false")
    await act(runtime, request, ErasePerson(who, force == "true"))
    account, home = account_and_home(who)
    persistence = runtime.persistence
    before = runtime.state.use.today.part
    await persistence.usage_store.flush(runtime.now)
    runtime.recent.forget(who)
    runtime.history_store.forget_person(account, home)
    persistence.audit_log.forget_person(account, home)
    persistence.outgoing.forget_person(persistence.pseudonyms.stand_for(account, home), home)
    records = PersonRecords(persistence.store, persistence.pseudonyms, account, home)
    counts = await records.counts()
    await persistence.audit_log.write(await records.erasure(persistence.count_up(ERASURES), before))
    rewritten = await persistence.store.rewrite()
    return web.json_response(
        ErasedDocument(usage=counts["usage"], denials=counts["denials"], audit=counts["audit"], rewritten=rewritten)
    )
