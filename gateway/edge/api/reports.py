"""The API about what was: history, denials, and sizing.

Figures are exact: they are added up from the levels of use that the books have noted. Whatever is long is done in small
pieces, with turns of the loop between them, so that a report delays no heartbeat; one sizing is made at a time.
"""

from __future__ import annotations

import asyncio
import math
from bisect import bisect_left
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from aiohttp import web

from gateway.core.counting.usage import HOUR, UsageSummary
from gateway.core.formats import utc
from gateway.core.reporting.sizing import Demand, RoomDemand, comparison_text, erlang_seats
from gateway.edge.api.responses import fail, limit, since
from gateway.edge.server.runtime import Runtime
from gateway.edge.storage.history_store import DenialRow, paced
from gateway.licensing import MODELS
from gateway.licensing.model_info import PoolNeed

DAY = 24 * HOUR
STEPS = {"hour": HOUR, "day": DAY, "all": math.inf}
SHARE = 0.01
"""True denials that sizing allows, as a share of all demand."""
HOLDS = 500_000
"""Holds of a pool that a sizing looks at, the latest; memory for more would be taken from connections."""
PAGE = 1000
"""Holds that are taken in between two turns of the loop."""
WEIGHT = 20_000
"""Levels of use on one page of history; a page that would have more ends early."""


class Place(NamedTuple):
    """A pool in the course of time: the beginning of a step (seconds UTC), the model and the pool."""

    start: float
    model: str
    pool: str


class Week:
    """Use by weekday and hour of the day, UTC; Monday is the first."""

    def __init__(self) -> None:
        self._seconds = [[0.0] * 24 for _ in range(7)]
        self._seat_seconds = [[0.0] * 24 for _ in range(7)]

    def add(self, start: float, use: UsageSummary) -> None:
        """Add a piece of the hour that starts at `start`, in seconds UTC."""
        day, hour = int(start // DAY + 3) % 7, int(start % DAY // HOUR)
        self._seconds[day][hour] += use.seconds
        self._seat_seconds[day][hour] += use.seat_seconds

    def means(self) -> list[list[float | None]]:
        """Mean use; None for an hour in which nobody watched."""
        return [
            [round(seats / seconds, 3) if seconds else None for seats, seconds in zip(*row, strict=True)]
            for row in zip(self._seat_seconds, self._seconds, strict=True)
        ]


class Summary:
    """A pool over the whole period."""

    def __init__(self) -> None:
        self.use = UsageSummary()
        self.week = Week()
        self.busiest = 0.0
        """The highest mean use of an hour."""
        self._hour = (0.0, UsageSummary())

    def add(self, start: float, use: UsageSummary) -> None:
        """Add a piece; the pieces of an hour follow each other."""
        self.use.add(use)
        self.week.add(start, use)
        if self._hour[0] != start:
            self._hour = (start, UsageSummary())
        hour = self._hour[1]
        hour.add(use)
        # A mean over a few seconds is no load of an hour.
        self.busiest = max(self.busiest, hour.seat_seconds / HOUR)


def report_routes(runtime: Runtime) -> list[web.RouteDef]:
    """The routes of this file."""
    reports = _Reports(runtime)
    return [
        web.get("/api/history", reports.history),
        web.get("/api/denials", reports.denials),
        web.get("/api/sizing", reports.sizing),
    ]


class _Reports:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._one = asyncio.Lock()

    # -- history -----------------------------------------------------------------------------------------------------

    async def history(self, request: web.Request) -> web.Response:
        step = request.query.get("step", "hour")
        if step not in STEPS:
            fail(422, "bad_field", f"step: expected one of {', '.join(STEPS)}")
        size, begin = limit(request), since(request, self._runtime.clock.wall())
        wanted = self._wanted(request)
        after = _place(request.query.get("cursor"))
        if step == "all":
            return await self._whole(begin, wanted)
        items: list[dict[str, Any]] = []
        more, weight, last = None, 0, after
        async for place, use in self._steps(STEPS[step], max(begin, after.start if after else 0.0), wanted):
            if after is not None and place <= after:
                continue
            if len(items) >= size or weight > WEIGHT:
                more = f"{int(last.start)}/{last.model}/{last.pool}" if last else None
                break
            items.append({"start": utc(place.start), **_figures(place, use), "levels": _levels(use)})
            weight += len(use.levels)
            last = place
        return web.json_response({"items": items, "next": more})

    def _wanted(self, request: web.Request) -> set[tuple[str, str]]:
        """The pools that are asked for, the enforced model's first; those of models that count no more have no rows."""
        model, pool = request.query.get("model"), request.query.get("pool")
        pools = [(each.model, each.name) for each in self._runtime.history_store.history.timelines]
        found = {place for place in pools if model in {None, place[0]} and pool in {None, place[1]}}
        if not found:
            fail(404, "no_such_pool", "no pool of this model and name is counted")
        return found

    async def _steps(
        self, step: float, begin: float, wanted: set[tuple[str, str]]
    ) -> AsyncIterator[tuple[Place, UsageSummary]]:
        """Use in each step, in order of time, model and pool."""
        now = self._runtime.now()
        start = max(begin, await self._runtime.history_store.first()) // step * step
        while start <= now.wall + HOUR:
            found: dict[Place, UsageSummary] = {}
            async for piece in self._runtime.history_store.pieces(start, start + step, now):
                if (piece.model, piece.pool) in wanted:
                    found.setdefault(Place(start, piece.model, piece.pool), UsageSummary()).add(piece.summary)
            for place in sorted(found):
                yield place, found[place]
            start += step

    async def _summaries(self, begin: float) -> dict[tuple[str, str], Summary]:
        """Every pool over the whole period, in the order of the models."""
        now = self._runtime.now()
        timelines = self._runtime.history_store.history.timelines
        found = {(each.model, each.name): Summary() for each in timelines}
        async for piece in self._runtime.history_store.pieces(begin // HOUR * HOUR, math.inf, now):
            summary = found.get((piece.model, piece.pool))
            if summary is not None:
                summary.add(piece.start, piece.summary)
        return found

    async def _whole(self, begin: float, wanted: set[tuple[str, str]]) -> web.Response:
        start = max(begin // HOUR * HOUR, await self._runtime.history_store.first())
        found = await self._summaries(begin)
        items = [
            {
                "start": utc(start),
                **_figures(Place(start, *place), summary.use),
                "busiest_hour": round(summary.busiest, 3),
                "week": summary.week.means(),
            }
            for place, summary in found.items()
            if place in wanted
        ]
        return web.json_response({"items": items, "next": None})

    # -- denials -----------------------------------------------------------------------------------------------------

    async def denials(self, request: web.Request) -> web.Response:
        size, begin = limit(request), since(request, self._runtime.clock.wall())
        cursor = request.query.get("cursor", "0")
        if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
            fail(422, "bad_field", "cursor: expected the `next` of another page")
        found = await self._runtime.history_store.denials(begin, int(cursor), size + 1)
        more = str(found[size - 1].number) if len(found) > size else None
        return web.json_response({"items": [_denial(each) for each in found[:size]], "next": more})

    # -- sizing ------------------------------------------------------------------------------------------------------

    async def sizing(self, request: web.Request) -> web.Response:
        begin = since(request, self._runtime.clock.wall())
        async with self._one:
            summaries = await self._summaries(begin)
            lost = await self._lost(begin)
            items = await self._sized(begin, summaries, lost)
        window = self._runtime.settings.history.true_denial_window
        return web.json_response({"items": items, "next": None, "share": SHARE, "patience_seconds": window})

    async def _lost(self, begin: float) -> dict[tuple[str, str], list[float]]:
        """When somebody asked for a seat of a pool and never got it, in seconds UTC."""
        found: dict[tuple[str, str], list[float]] = {}
        last, page = 0, await self._runtime.history_store.denials(begin, 0, 1000)
        while page:
            for each in page:
                if each.reason == "pool_full" and each.true_denials and not each.granted:
                    found.setdefault((each.model, each.pool), []).append(each.began)
            last = page[-1].number
            page = await self._runtime.history_store.denials(begin, last, 1000)
        return found

    async def _sized(
        self,
        begin: float,
        summaries: dict[tuple[str, str], Summary],
        lost: dict[tuple[str, str], list[float]],
    ) -> list[dict[str, Any]]:
        sized: dict[tuple[str, str], dict[str, Any]] = {}
        items: list[dict[str, Any]] = []
        for ledger in self._runtime.state.ledgers:
            pools: dict[str, dict[str, Any]] = {}
            for name, pool in ledger.pools.items():
                place = (ledger.model.name, name)
                recorded = self._runtime.history_store.history.demand.get(place)
                summary = summaries[place]
                if recorded is None:
                    note = "A name stays taken until the operator removes it: as many as were ever given."
                    found: dict[str, Any] = {"seats": summary.use.peak, "note": note}
                elif not pool.terms.binding:
                    found = await self._rooms(recorded, begin)
                else:
                    if recorded not in sized:
                        sized[recorded] = await self._seats(
                            recorded, begin, summaries[recorded], lost.get(recorded, [])
                        )
                    found = sized[recorded]
                pools[name] = {"pool": name, "limit": pool.terms.limit, "peak": summary.use.peak, **found}
            terms = self._runtime.settings.license.terms[ledger.model.name]
            needs = {name: PoolNeed(each["seats"], each.get("seats_each")) for name, each in pools.items()}
            items.append(
                {
                    "model": ledger.model.name,
                    "enforced": ledger is self._runtime.state.primary,
                    "says": MODELS[ledger.model.name].sizing_phrase(terms, needs),
                    "pools": list(pools.values()),
                }
            )
        return items

    async def _seats(self, place: tuple[str, str], begin: float, summary: Summary, lost: list[float]) -> dict[str, Any]:
        """Seats for the demand recorded at `place`; who was turned away would have stayed as long as others do."""
        use, now = summary.use, self._runtime.now()
        mean = use.seat_seconds / max(use.grants, 1)
        # All stay equally long, so the order of their beginnings is that of their ends.
        away = [(began, min(began + mean, now.wall)) for began in sorted(lost)]
        demand, complete = Demand(), True
        async for page in self._runtime.history_store.demand(*place, begin, now):
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
        seats = await paced(demand.seats(SHARE, self._runtime.settings.history.true_denial_window))
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

    async def _rooms(self, place: tuple[str, str], begin: float) -> dict[str, Any]:
        rooms = RoomDemand()
        async for page in self._runtime.history_store.demand(*place, begin, self._runtime.now()):
            rooms.add((began, ended, room) for began, ended, room in page if room is not None)
            await asyncio.sleep(0)
            if rooms.entries >= HOLDS:
                break
        largest = await paced(rooms.seats(SHARE))
        note = "The limit is for each conference apart; seats_each is what each of them would have needed."
        return {"seats": None, "seats_each": largest, "demands": rooms.entries, "note": note}


def _end(hold: tuple[float, float]) -> float:
    return hold[1]


def _figures(place: Place, use: UsageSummary) -> dict[str, Any]:
    p50, p95, p99 = use.percentiles(0.5, 0.95, 0.99)
    return {
        "model": place.model,
        "pool": place.pool,
        "limit": use.limit,
        "seconds": round(use.seconds, 6),
        "seat_seconds": round(use.seat_seconds, 6),
        "mean": round(use.mean, 6),
        "max": use.peak,
        "p50": p50,
        "p95": p95,
        "p99": p99,
        "full_seconds": round(use.full_seconds, 6),
        "grants": use.grants,
        "releases": use.releases,
        "denials": use.denials,
        "denied": use.denied,
        "true_denials": use.true_denials,
        "seated": use.granted_after_denial,
        "time_to_seat": {
            "mean": round(use.wait_seconds / use.granted_after_denial, 3) if use.granted_after_denial else None,
            "max": round(use.longest_wait_seconds, 3) if use.granted_after_denial else None,
        },
    }


def _levels(use: UsageSummary) -> dict[int, float]:
    return {level: round(use.levels[level], 6) for level in sorted(use.levels)}


def _denial(denial: DenialRow) -> dict[str, Any]:
    return {
        "began": utc(denial.began),
        "last": utc(denial.last),
        "model": denial.model,
        "pool": denial.pool,
        "reason": denial.reason,
        denial.kind: denial.name,
        "refusals": denial.denials,
        "true_denials": denial.true_denials,
        "seated": denial.granted,
        "undecided": denial.undecided,
        "seconds_to_seat": None if denial.wait_seconds is None else round(denial.wait_seconds, 3),
    }


def _place(cursor: str | None) -> Place | None:
    """The place after which a page begins."""
    if cursor is None:
        return None
    start, _, rest = cursor.partition("/")
    model, slash, pool = rest.partition("/")
    if not (start.isascii() and start.isdigit() and len(start) < 12 and slash):
        fail(422, "bad_field", "cursor: expected the `next` of another page")
    return Place(float(start), model, pool)
