"""The API about sizing: how many seats the recorded demand would have needed, under every model.

It looks at the latest holds of each pool, in small pieces with turns of the loop between them; one sizing is made at a
time.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from typing import Annotated, Any, NotRequired, TypedDict, cast

from aiohttp import web

from gateway.core.reporting.sizing import Demand, RoomDemand, comparison_text, erlang_seats
from gateway.edge.api.reports import Summary, summaries
from gateway.edge.api.responses import SINCE, since
from gateway.edge.api.routes import READ, Route
from gateway.edge.api.schemas import Count
from gateway.edge.server.runtime import Runtime
from gateway.edge.storage.history_store import paced
from gateway.licensing import MODELS
from gateway.licensing.model_info import PoolNeed

SHARE = 0.01
"""True denials that sizing allows, as a share of all demand."""
HOLDS = 500_000
"""Holds of a pool that a sizing looks at, the latest; memory for more would be taken from connections."""
PAGE = 1000
"""Holds that are taken in between two turns of the loop."""


class SizedPoolDocument(TypedDict):
    """What a pool would have needed."""

    pool: str
    limit: Count | None
    peak: Count
    seats: Annotated[Count | None, "Seats that would have kept true denials under the share."]
    seats_each: NotRequired[Annotated[Count, "The same for each conference, where the limit is for each."]]
    erlang_b: NotRequired[Annotated[Count | None, "The same by the Erlang-B formula."]]
    busiest_hour: NotRequired[float]
    demands: NotRequired[Count]
    turned_away: NotRequired[Count]
    together: NotRequired[float]
    complete: NotRequired[bool]
    note: str


class SizingDocument(TypedDict):
    """What a model would have needed."""

    model: str
    enforced: bool
    says: Annotated[str, "As one phrase."]
    pools: list[SizedPoolDocument]


class SizingsDocument(TypedDict):
    """What every model would have needed; true denials are allowed up to `share` of all demand."""

    items: list[SizingDocument]
    next: str | None
    share: float
    patience_seconds: float


SIZING: web.AppKey[asyncio.Lock] = web.AppKey("sizing", asyncio.Lock)
"""Held while a sizing is made."""


@Route(
    "GET",
    "/api/sizing",
    scope=READ,
    summary="How many seats this demand would have needed, under every model.",
    answer=SizingsDocument,
    query=(SINCE,),
    statuses=(503,),
)
async def get_sizing(runtime: Runtime, request: web.Request) -> web.Response:
    """Work it out."""
    begin = since(request, runtime.clock.wall())
    async with request.app[SIZING]:
        found = await summaries(runtime, begin)
        lost = await _lost(runtime, begin)
        items = await _sized(runtime, begin, found, lost)
    window = runtime.settings.history.true_denial_window
    return web.json_response(SizingsDocument(items=items, next=None, share=SHARE, patience_seconds=window))


async def _lost(runtime: Runtime, begin: float) -> dict[tuple[str, str], list[float]]:
    """When somebody asked for a seat of a pool and never got it, in seconds UTC."""
    found: dict[tuple[str, str], list[float]] = {}
    last, page = 0, await runtime.history_store.denials(begin, 0, 1000)
    while page:
        for each in page:
            if each.reason == "pool_full" and each.true_denials and not each.granted:
                found.setdefault((each.model, each.pool), []).append(each.began)
        last = page[-1].number
        page = await runtime.history_store.denials(begin, last, 1000)
    return found


async def _sized(
    runtime: Runtime,
    begin: float,
    summaries: dict[tuple[str, str], Summary],
    lost: dict[tuple[str, str], list[float]],
) -> list[SizingDocument]:
    sized: dict[tuple[str, str], dict[str, Any]] = {}
    items: list[SizingDocument] = []
    for ledger in runtime.state.ledgers:
        pools: dict[str, dict[str, Any]] = {}
        for name, pool in ledger.pools.items():
            place = (ledger.model.name, name)
            recorded = runtime.history_store.history.demand.get(place)
            summary = summaries[place]
            if recorded is None:
                note = "A name stays taken until the operator removes it: as many as were ever given."
                found: dict[str, Any] = {"seats": summary.use.peak, "note": note}
            elif not pool.terms.binding:
                found = await _rooms(runtime, recorded, begin)
            else:
                if recorded not in sized:
                    sized[recorded] = await _seats(
                        runtime, recorded, begin, summaries[recorded], lost.get(recorded, [])
                    )
                found = sized[recorded]
            pools[name] = {"pool": name, "limit": pool.terms.limit, "peak": summary.use.peak, **found}
        terms = runtime.settings.license.terms[ledger.model.name]
        needs = {name: PoolNeed(each["seats"], each.get("seats_each")) for name, each in pools.items()}
        items.append(
            {
                "model": ledger.model.name,
                "enforced": ledger is runtime.state.primary,
                "says": MODELS[ledger.model.name].sizing_phrase(terms, needs),
                "pools": [cast(SizedPoolDocument, each) for each in pools.values()],
            }
        )
    return items


async def _seats(
    runtime: Runtime, place: tuple[str, str], begin: float, summary: Summary, lost: list[float]
) -> dict[str, Any]:
    """Seats for the demand recorded at `place`; who was turned away would have stayed as long as others do."""
    use, now = summary.use, runtime.now()
    mean = use.seat_seconds / max(use.grants, 1)
    # All stay equally long, so the order of their beginnings is that of their ends.
    away = [(began, min(began + mean, now.wall)) for began in sorted(lost)]
    demand, complete = Demand(), not runtime.history_store.holds_quota.left_out[place]
    async for page in runtime.history_store.demand(*place, begin, now):
        holds = [(began, ended) for began, ended, _ in page]
        if holds and away and away[-1][1] >= holds[-1][1]:
            first = bisect_left(away, holds[-1][1], key=_end)
            holds = sorted(holds + away[first:], key=_end, reverse=True)
            del away[first:]
        for first in range(0, len(holds), PAGE):
            demand.add(holds[first : first + PAGE])
            await asyncio.sleep(0)
        if demand.holds >= HOLDS:
            complete = False
            break
    demand.add(reversed(away))
    await paced(demand.sort())
    seats = await paced(demand.seats(SHARE, runtime.settings.history.true_denial_window))
    erlang = erlang_seats(summary.busiest, SHARE)
    together = demand.together / max(demand.holds, 1)
    return {
        "seats": seats,
        "erlang_b": erlang,
        "busiest_hour": round(summary.busiest, 3),
        "demands": demand.holds,
        "turned_away": len(lost),
        "together": round(together, 4),
        "complete": complete,
        "note": comparison_text(seats, erlang, together),
    }


async def _rooms(runtime: Runtime, place: tuple[str, str], begin: float) -> dict[str, Any]:
    rooms = RoomDemand()
    async for page in runtime.history_store.demand(*place, begin, runtime.now()):
        rooms.add((began, ended, room) for began, ended, room in page if room is not None)
        await asyncio.sleep(0)
        if rooms.entries >= HOLDS:
            break
    largest = await paced(rooms.seats(SHARE))
    note = "The limit is for each conference apart; seats_each is what each of them would have needed."
    return {"seats": None, "seats_each": largest, "demands": rooms.entries, "note": note}


def _end(hold: tuple[float, float]) -> float:
    return hold[1]
