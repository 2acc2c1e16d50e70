"""The API about events: what happened lately, page by page or as it happens; without a parameter, the page's stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from itertools import islice
from typing import Annotated, Any, TypedDict, cast

from aiohttp import web

from gateway.core.event_kinds import KINDS, kind_of
from gateway.edge.api.event_stream import EVENTS
from gateway.edge.api.pages import LIMIT, PIECE, cursor, limit
from gateway.edge.api.responses import SINCE, fail, since
from gateway.edge.api.routes import READ, Route
from gateway.edge.api.schemas import BOOLEAN, Count, Time, query, text
from gateway.edge.server.recent_events import RecentEvent, RecentEvents
from gateway.edge.server.runtime import Runtime

ID = "^[0-9a-f]{8}-[0-9a-f]{1,16}$"
"""The form of the id of an event."""
AT_ONCE = 500
"""Events that a stream is told at once; who is slower than they happen is told how many were dropped."""


class EventDocument(TypedDict):
    """An event."""

    id: Annotated[str, "The identity of the event: no other has it."]
    time: Time
    event: Annotated[str, "Its name; up to the first dot it is the kind."]
    detail: dict[str, Any]


class EventsDocument(TypedDict):
    """A page of events."""

    items: list[EventDocument]
    next: Annotated[str | None, "The `cursor` of the next page."]
    dropped: Annotated[Count, "Events of this run that are not in memory any more."]


@Route(
    "GET",
    "/api/events",
    scope=READ,
    summary="What happened lately, the oldest first. Without a parameter: the state for the page, as it changes.",
    answer=EventsDocument,
    media=("text/event-stream",),
    query=(
        query("kind", text(pattern=f"^({'|'.join(KINDS)})(,({'|'.join(KINDS)}))*$"), "Only events of these kinds."),
        SINCE,
        query("follow", BOOLEAN, "Go on with what happens, as server-sent events; Last-Event-ID says after which."),
        LIMIT,
        cursor(ID),
    ),
    statuses=(422, 503),
    head=False,
)
async def get_events(runtime: Runtime, request: web.Request) -> web.StreamResponse:
    """Show a page of them, or open a stream."""
    if not request.query:
        return await request.app[EVENTS].show(request)
    events, kinds, follow = runtime.recent.events, _kinds(request), request.query.get("follow", "false")
    if follow not in {"true", "false"}:
        fail(422, "bad_field", "follow: expected true or false")
    begin, size = since(request, runtime.clock.wall()), limit(request)
    if follow == "true":
        return await request.app[EVENTS].answer(request, _news(events, kinds, begin, _followed(request, events)))
    found: list[RecentEvent] = []
    rest = iter(events.after(_after(request, events) or 0))
    while len(found) <= size and (piece := tuple(islice(rest, PIECE))):
        found += [each for each in piece if each.at >= begin and kind_of(each.name) in kinds]
        await asyncio.sleep(0)
    more = events.id_of(found[size - 1]) if len(found) > size else None
    items = [cast(EventDocument, events.to_json(each)) for each in found[:size]]
    return web.json_response(EventsDocument(items=items, next=more, dropped=events.dropped))


def _kinds(request: web.Request) -> frozenset[str]:
    """The kinds that are asked for, all where none is."""
    asked = [kind for several in request.query.getall("kind", []) for kind in several.split(",")]
    if any(kind not in KINDS for kind in asked):
        fail(422, "bad_field", f"kind: expected some of {', '.join(KINDS)}")
    return frozenset(asked or KINDS)


def _after(request: web.Request, events: RecentEvents) -> int | None:
    """The number of the event after which to begin; None where none is named."""
    return _number(request.query.get("cursor"), events, "cursor: expected the `next` of another page")


def _followed(request: web.Request, events: RecentEvents) -> int | None:
    after = _number(request.headers.get("Last-Event-ID"), events, "Last-Event-ID: expected the id of an event")
    return _after(request, events) if after is None else after


def _number(id: str | None, events: RecentEvents, wrong: str) -> int | None:
    if id is None:
        return None
    run, _, number = id.partition("-")
    if not (len(run) == 8 and 1 <= len(number) <= 16 and all(each in "0123456789abcdef" for each in run + number)):
        fail(422, "bad_field", wrong)
    return events.number_of(id)


def _news(events: RecentEvents, kinds: frozenset[str], begin: float, after: int | None) -> Callable[[], str]:
    """What has happened since a stream was told last: from `after` on, or else what there is since `begin` (seconds
    UTC), or else from now on.
    """
    told = after if after is not None else 0 if begin else events.last

    def news() -> str:
        nonlocal told
        happened = events.after(told, AT_ONCE)
        lost = events.first - told - 1
        lines = [f'event: dropped\ndata: {{"dropped": {lost}}}\n\n'] if told and lost > 0 else []
        for each in happened:
            if each.at >= begin and kind_of(each.name) in kinds:
                document = events.to_json(each)
                lines.append(f"id: {document['id']}\ndata: {json.dumps(document)}\n\n")
        told = happened[-1].number if happened else told
        return "".join(lines)

    return news
