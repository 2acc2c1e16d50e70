"""The API about who used the pools: by account, device, group, day, week or month, up to this instant.

What memory has is written first, so that a report needs nothing but the store; reading goes on in its thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Annotated, Any, NotRequired, TypedDict
from urllib.parse import quote, unquote

from aiohttp import web

from gateway.core.counting.calendar_days import Calendar, day_text
from gateway.edge.api.pages import LIMIT, PAGED, Page, cursor, keys_of_page, limit
from gateway.edge.api.responses import HOME, SINCE, asked_account, fail, since, utc_text
from gateway.edge.api.routes import READ, Route
from gateway.edge.api.schemas import ID, Count, Time, query, text
from gateway.edge.server.runtime import Runtime
from gateway.edge.storage.usage_queries import BUCKETS, KEYS, Period, Persons, PlaceUse, UsageQueries

BY = ("account", "device", "group", "day", "week", "month")


class WaitedDocument(TypedDict):
    """Seconds from a refusal to the grant that followed."""

    mean: float | None
    max: float | None


class PoolUseDocument(TypedDict):
    """Use of one pool. `peak` is the most seats that one account, or guest, held at once."""

    model: str
    pool: str
    days: Count
    seat_seconds: float
    peak: Count
    grants: Count
    denials: Count
    true_denials: Count
    seated: Count
    time_to_seat: WaitedDocument


class UsageDocument(TypedDict):
    """What somebody used, or what was used in a time; `days` are those on which somebody was connected."""

    account: NotRequired[Annotated[str | None, "None for guests."]]
    home: NotRequired[Annotated[str, "The server that an account of another one belongs to."]]
    device: NotRequired[Annotated[str | None, "null where none was named."]]
    address: NotRequired[Annotated[str | None, "Of guests without a device."]]
    group: NotRequired[Annotated[str | None, "null for accounts in no group, and guests."]]
    begins: NotRequired[Annotated[str, "The first day of a day, week or month, as YYYY-MM-DD."]]
    users: NotRequired[Annotated[Count, "Distinct accounts that were connected or refused."]]
    guests: NotRequired[Annotated[Count, "The same of guests, told apart by device, else by address."]]
    days: Count
    first: Annotated[Time, "When somebody was first seen."]
    last: Annotated[Time, "When somebody was last seen."]
    connected_seconds: float
    sessions: Count
    most_sessions: Annotated[Count, "The most sessions that one account, or guest, had at once."]
    pools: list[PoolUseDocument]


class UsagesDocument(TypedDict):
    """A page of it, from the first day to the last, as the time zone has them."""

    items: list[UsageDocument]
    next: str | None
    first_day: str
    last_day: str
    timezone: str


class AbsentDocument(TypedDict):
    """An account that is known and never came."""

    account: str


@Route(
    "GET",
    "/api/usage",
    scope=READ,
    summary="Who used the pools, exact.",
    answer=UsagesDocument,
    query=(
        query("by", text(enum=list(BY), default="account"), "What is put together."),
        query("model", text(), "Only pools of this model."),
        query("account", ID, "Only this account, of this server unless there is a home; by account."),
        HOME,
        SINCE,
        LIMIT,
        cursor(),
    ),
    statuses=(404, 503),
)
async def list_usage(runtime: Runtime, request: web.Request) -> web.Response:
    """Show use of whole days from `since` on; accounts and devices page by page, the others at once."""
    by = request.query.get("by", "account")
    if by not in BY:
        fail(422, "bad_field", f"by: expected one of {', '.join(BY)}")
    size, period, model = limit(request), _period(runtime, request), _model(runtime, request)
    after = _after(request.query.get("cursor"), len(KEYS.get(by, ())))
    await runtime.persistence.usage_store.flush(runtime.now)
    queries = UsageQueries(runtime.persistence.store)
    more: str | None = None
    persons: Mapping[Any, Persons] = {}
    only = _only(runtime, request, by)
    if by in KEYS:
        uses, last = await queries.page(by, period, after, size, model, only)
        more = None if last is None else "/".join(quote(name, safe="") for name in last)
    elif by in BUCKETS:
        uses, persons = await queries.buckets(by, period)
    else:
        known = runtime.persistence.pseudonyms.stand_for
        groups = {
            name: [each for account in group.accounts for each in known(account, "")]
            for name, group in runtime.state.directory.groups.items()
        }
        uses, persons = await queries.groups(period, groups)
    items = [
        _usage(by, key, list(found), persons.get(key[0]), model) for key, found in groupby(uses, lambda use: use.key)
    ]
    return web.json_response(
        UsagesDocument(
            items=items,
            next=more,
            first_day=day_text(period.first),
            last_day=day_text(period.last),
            timezone=runtime.settings.history.timezone,
        )
    )


@Route(
    "GET",
    "/api/usage/absent",
    scope=READ,
    summary="Accounts that are registered or in a group, and never came.",
    answer=Page[AbsentDocument],
    query=(SINCE, *PAGED),
    statuses=(409, 503),
)
async def list_absent(runtime: Runtime, request: web.Request) -> web.Response:
    """Show those of whom nothing was counted on any day from `since` on."""
    pseudonyms = runtime.persistence.pseudonyms
    if pseudonyms.kind == "none":
        fail(409, "no_names", "history.names is none: it is not kept who came")
    period = _period(runtime, request)
    await runtime.persistence.usage_store.flush(runtime.now)
    came = await UsageQueries(runtime.persistence.store).seen(period)
    directory = runtime.state.directory
    known = dict.fromkeys(directory.accounts)
    for group in directory.groups.values():
        known.update(dict.fromkeys(group.accounts))
    keys, more = await keys_of_page(request, known, lambda account: came.isdisjoint(pseudonyms.stand_for(account, "")))
    return web.json_response(Page[AbsentDocument](items=[{"account": account} for account in keys], next=more))


def _period(runtime: Runtime, request: web.Request) -> Period:
    """Return the days from `since` on; the last is today."""
    now = runtime.clock.wall()
    calendar: Calendar = runtime.state.use.calendar
    return Period(calendar.day_of(since(request, now)), max(runtime.state.use.today.day, calendar.day_of(now)))


def _only(runtime: Runtime, request: web.Request, by: str) -> tuple[list[str], str] | None:
    """Return by which names the account that is asked for stands in the past, and its home; None where none is."""
    asked = asked_account(request, runtime.settings.accounts.home)
    if asked is None:
        return None
    if by != "account":
        fail(422, "bad_field", "account: only where use is put together by account")
    return runtime.persistence.pseudonyms.stand_for(*asked), asked[1]


def _model(runtime: Runtime, request: web.Request) -> str | None:
    model = request.query.get("model")
    if model is not None and model not in {ledger.model.name for ledger in runtime.state.ledgers}:
        fail(404, "no_such_model", "no model of this name counts")
    return model


def _after(cursor: str | None, names: int) -> list[str] | None:
    """Return the account or device after which a page begins."""
    return None if cursor is None else [*map(unquote, cursor.split("/")), *("",) * names][:names]


def _usage(
    by: str, key: tuple[object, ...], uses: list[PlaceUse], persons: Persons | None, model: str | None
) -> UsageDocument:
    connected = next((use for use in uses if not use.model), None)
    seen = [connected] if connected is not None else uses
    pools = [_pool(use) for use in uses if use.model and model in {None, use.model}]
    shown: UsageDocument = {
        "days": connected.days if connected is not None else 0,
        "first": utc_text(min(use.first for use in seen)),
        "last": utc_text(max(use.last for use in seen)),
        "connected_seconds": round(connected.seat_seconds, 6) if connected is not None else 0.0,
        "sessions": connected.grants if connected is not None else 0,
        "most_sessions": connected.peak if connected is not None else 0,
        "pools": pools,
    }
    if by in BUCKETS:
        shown["begins"] = day_text(int(str(key[0])))
    elif by == "group":
        shown["group"] = str(key[0]) or None
    else:
        shown["account"] = str(key[0]) or None
        if key[1]:
            shown["home"] = str(key[1])
    if by == "device":
        shown["device"], shown["address"] = str(key[2]) or None, str(key[3]) or None
    if by in BUCKETS or by == "group":
        shown["users"], shown["guests"] = persons or Persons(0, 0)
    return shown


def _pool(use: PlaceUse) -> PoolUseDocument:
    return {
        "model": use.model,
        "pool": use.pool,
        "days": use.days,
        "seat_seconds": round(use.seat_seconds, 6),
        "peak": use.peak,
        "grants": use.grants,
        "denials": use.denials,
        "true_denials": use.true_denials,
        "seated": use.seated,
        "time_to_seat": {
            "mean": round(use.waited / use.seated, 3) if use.seated else None,
            "max": round(use.longest, 3) if use.seated else None,
        },
    }
