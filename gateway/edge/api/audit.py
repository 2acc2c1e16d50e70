"""The API about the audit log."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired, TypedDict, cast

from aiohttp import web

from gateway.core.reporting import audit_chain
from gateway.edge.api.pages import LIMIT, Page, cursor, limit
from gateway.edge.api.responses import HOME, SINCE, SORT_ORDERS, UNTIL, asked_account, fail, since, sort_order, until
from gateway.edge.api.routes import READ, Route
from gateway.edge.api.schemas import ID, Keyword, Time, query, text
from gateway.edge.server.runtime import Runtime

KINDS = ("all", "acts", "leases")
"""Entries of which kind are shown; a lease is granted and ends by itself, anything else is an act."""


class SealedDocument(TypedDict):
    """What the hash of an entry is over in place of its subject and detail: names of persons are sealed."""

    subject: str
    detail: dict[str, Any]


class NameDocument(TypedDict):
    """What a seal stands for: `~` and the first 32 hex digits of HMAC-SHA256 of the text with the key (hex digits)."""

    key: Annotated[str, Keyword("pattern", "^[0-9a-f]{32}$")]
    text: str


class PlainEntryDocument(TypedDict):
    """What an entry of the audit log says."""

    seq: Annotated[int, Keyword("minimum", 1)]
    time: Time
    actor: Annotated[str, "An operator, `loopback`, `command`, `gateway` or `unknown`."]
    action: str
    subject: str
    detail: dict[str, Any]


class EntryDocument(PlainEntryDocument):
    """An entry of the audit log."""

    previous: Annotated[str, "Hash of the entry before.", Keyword("pattern", "^[0-9a-f]{64}$")]
    hash: Annotated[
        str,
        "SHA-256 of the canonical JSON of the fields above; where there is `sealed`, with its subject and detail.",
        Keyword("pattern", "^[0-9a-f]{64}$"),
    ]
    sealed: NotRequired[SealedDocument]
    names: NotRequired[Annotated[dict[str, NameDocument], "By seal; names that were deleted are not among them."]]


@Route(
    "GET",
    "/api/audit",
    scope=READ,
    summary="The audit log.",
    answer=Page[EntryDocument],
    query=(
        query("order", text(enum=list(SORT_ORDERS), default=SORT_ORDERS[0]), "Which entries come first."),
        query("kind", text(enum=list(KINDS), default=KINDS[0]), "Leases, what is done by somebody, or both."),
        query("account", ID, "Only entries that name this account, of this server unless there is a home."),
        HOME,
        SINCE,
        UNTIL,
        LIMIT,
        cursor("^[0-9]{1,15}$"),
    ),
    statuses=(503,),
)
async def list_entries(runtime: Runtime, request: web.Request) -> web.Response:
    """Show a page of them."""
    size, order, kind = limit(request), sort_order(request), request.query.get("kind", KINDS[0])
    if kind not in KINDS:
        fail(422, "bad_field", f"kind: expected one of {', '.join(KINDS)}")
    now = runtime.clock.wall()
    after, begin, end = request.query.get("cursor"), since(request, now), until(request, now)
    if after is not None and not (after.isascii() and after.isdigit() and len(after) < 16):
        fail(422, "bad_field", "cursor: expected the `next` of another page")
    entries = await runtime.persistence.audit_log.read(
        size + 1,
        since=begin,
        until=end,
        after=None if after is None else int(after),
        newest_first=order == "newest",
        leases=None if kind == "all" else kind == "leases",
        who=asked_account(request, runtime.settings.accounts.home),
    )
    more = str(entries[size - 1].seq) if len(entries) > size else None
    shown = [cast(EntryDocument, audit_chain.entry_to_json(entry)) for entry in entries[:size]]
    return web.json_response(Page[EntryDocument](items=shown, next=more))
