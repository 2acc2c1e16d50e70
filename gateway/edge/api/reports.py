"""The API about what was: use over time, and denials.

Figures are exact: they are added up from the levels of use that the pools have recorded. Whatever is long is done in
small pieces, with turns of the loop between them, so that a report delays no heartbeat.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from typing import Annotated, NamedTuple, NotRequired, TypedDict, cast

from aiohttp import web

from gateway.core.counting.usage import HOUR, UsageSummary
from gateway.edge.api.pages import LIMIT, Page, cursor, limit
from gateway.edge.api.responses import HOME, SINCE, SORT_ORDERS, asked_account, fail, since, sort_order, utc_text
from gateway.edge.api.routes import READ, Route
from gateway.edge.api.schemas import ID, Count, Keyword, Time, query, text
from gateway.edge.server.runtime import Runtime
from gateway.edge.storage.denial_rows import DenialRow

DAY = 24 * HOUR
STEPS = {"hour": HOUR, "day": DAY, "all": math.inf}
WEIGHT = 20_000
"""Levels of use on one page of history; a page that would have more ends early."""


class TimeToSeatDocument(TypedDict):
    """Seconds from the first refusal to the grant that followed."""

    mean: float | None
    max: float | None


class FiguresDocument(TypedDict):
    """Use of a pool in one step of time."""

    start: Time
    model: str
    pool: str
    limit: Count | None
    seconds: float
    seat_seconds: float
    mean: float
    max: Count
    p50: float | None
    p95: float | None
    p99: float | None
    full_seconds: float
    grants: Count
    releases: dict[str, Count]
    denials: dict[str, Count]
    denied: Count
    true_denials: Count
    seated: Count
    time_to_seat: TimeToSeatDocument
    levels: NotRequired[dict[str, float]]
    busiest_hour: NotRequired[float]
    week: NotRequired[list[list[float | None]]]


class DenialDocument(TypedDict):
    """Somebody asked for a seat of a pool, perhaps again and again."""

    began: Time
    last: Time
    model: str
    pool: str
    reason: str
    account: NotRequired[Annotated[str, "Who was refused: one of these three says it."]]
    home: NotRequired[Annotated[str, "The other server that the account belongs to."]]
    device: NotRequired[str]
    address: NotRequired[str]
    refusals: Annotated[int, Keyword("minimum", 1)]
    true_denials: Count
    seated: Count
    undecided: Count
    seconds_to_seat: float | None


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


# -- history -----------------------------------------------------------------------------------------------------------


@Route(
    "GET",
    "/api/history",
    scope=READ,
    summary="Use of the pools over time, exact.",
    answer=Page[FiguresDocument],
    query=(
        query("model", text(), "Only this model."),
        query("pool", text(), "Only pools of this name."),
        query("step", text(enum=list(STEPS), default="hour"), "What is put together."),
        SINCE,
        LIMIT,
        cursor("^[0-9]{1,11}/[^/]*/"),
    ),
    statuses=(404, 503),
)
async def list_history(runtime: Runtime, request: web.Request) -> web.Response:
    """Show use step by step, or over the whole time at once."""
    step = request.query.get("step", "hour")
    if step not in STEPS:
        fail(422, "bad_field", f"step: expected one of {', '.join(STEPS)}")
    size, begin = limit(request), since(request, runtime.clock.wall())
    wanted = _wanted(runtime, request)
    after = _place(request.query.get("cursor"))
    if step == "all":
        return web.json_response(Page[FiguresDocument](items=await _whole(runtime, begin, wanted), next=None))
    items: list[FiguresDocument] = []
    more, weight, last = None, 0, after
    async for place, use in _steps(runtime, STEPS[step], max(begin, after.start if after else 0.0), wanted):
        if after is not None and place <= after:
            continue
        if len(items) >= size or weight > WEIGHT:
            more = f"{int(last.start)}/{last.model}/{last.pool}" if last else None
            break
        items.append({**_figures(place, use), "levels": _levels(use)})
        weight += len(use.levels)
        last = place
    return web.json_response(Page[FiguresDocument](items=items, next=more))


def _wanted(runtime: Runtime, request: web.Request) -> set[tuple[str, str]]:
    """The pools that are asked for, the enforced model's first; those of models that count no more have no rows."""
    model, pool = request.query.get("model"), request.query.get("pool")
    pools = [(each.model, each.name) for each in runtime.history_store.history.timelines]
    found = {place for place in pools if model in {None, place[0]} and pool in {None, place[1]}}
    if not found:
        fail(404, "no_such_pool", "no pool of this model and name is counted")
    return found


async def _steps(
    runtime: Runtime, step: float, begin: float, wanted: set[tuple[str, str]]
) -> AsyncIterator[tuple[Place, UsageSummary]]:
    """Use in each step, in order of time, model and pool."""
    now = runtime.now()
    following = await runtime.history_store.first(begin // step * step)
    while following is not None and following <= now.wall + HOUR:
        start = following // step * step
        found: dict[Place, UsageSummary] = {}
        async for piece in runtime.history_store.pieces(start, start + step, now):
            if (piece.model, piece.pool) in wanted:
                found.setdefault(Place(start, piece.model, piece.pool), UsageSummary()).add(piece.summary)
        for place in sorted(found):
            yield place, found[place]
        following = await runtime.history_store.first(start + step)  # a clock that was wrong leaves gaps of years


async def summaries(runtime: Runtime, begin: float) -> dict[tuple[str, str], Summary]:
    """Return every pool over the whole period, in the order of the models."""
    now = runtime.now()
    courses = runtime.history_store.history.timelines
    found = {(each.model, each.name): Summary() for each in courses}
    async for piece in runtime.history_store.pieces(begin // HOUR * HOUR, math.inf, now):
        summary = found.get((piece.model, piece.pool))
        if summary is not None:
            summary.add(piece.start, piece.summary)
    return found


async def _whole(runtime: Runtime, begin: float, wanted: set[tuple[str, str]]) -> list[FiguresDocument]:
    """Use over the whole time, of each pool that is wanted."""
    start = await runtime.history_store.first(begin // HOUR * HOUR) or begin // HOUR * HOUR
    found = await summaries(runtime, begin)
    return [
        {
            **_figures(Place(start, *place), summary.use),
            "busiest_hour": round(summary.busiest, 3),
            "week": summary.week.means(),
        }
        for place, summary in found.items()
        if place in wanted
    ]


def _figures(place: Place, use: UsageSummary) -> FiguresDocument:
    p50, p95, p99 = use.percentiles(0.5, 0.95, 0.99)
    return {
        "start": utc_text(place.start),
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


def _levels(use: UsageSummary) -> dict[str, float]:
    return {str(level): round(use.levels[level], 6) for level in sorted(use.levels)}


def _place(cursor: str | None) -> Place | None:
    """The place after which a page begins."""
    if cursor is None:
        return None
    start, _, rest = cursor.partition("/")
    model, slash, pool = rest.partition("/")
    if not (start.isascii() and start.isdigit() and len(start) < 12 and slash):
        fail(422, "bad_field", "cursor: expected the `next` of another page")
    return Place(float(start), model, pool)


# -- denials -----------------------------------------------------------------------------------------------------------


@Route(
    "GET",
    "/api/denials",
    scope=READ,
    summary="Refusals.",
    answer=Page[DenialDocument],
    query=(
        query("order", text(enum=list(SORT_ORDERS), default=SORT_ORDERS[0]), "Which refusals come first."),
        query("pool", text(), "Only of pools of this name."),
        query("account", ID, "Only of this account, of this server unless there is a home."),
        HOME,
        SINCE,
        LIMIT,
        cursor("^[0-9]{1,18}$"),
    ),
    statuses=(503,),
)
async def list_denials(runtime: Runtime, request: web.Request) -> web.Response:
    """Show a page of them."""
    size, begin = limit(request), since(request, runtime.clock.wall())
    after, order = request.query.get("cursor"), sort_order(request)
    if after is not None and not (after.isascii() and after.isdigit() and len(after) < 19):
        fail(422, "bad_field", "cursor: expected the `next` of another page")
    asked = asked_account(request, runtime.settings.accounts.home)
    found = await runtime.history_store.denials(
        begin,
        None if after is None else int(after),
        size + 1,
        newest_first=order == "newest",
        pool=request.query.get("pool"),
        who=None if asked is None else (runtime.persistence.pseudonyms.stand_for(*asked), asked[1]),
    )
    more = str(found[size - 1].number) if len(found) > size else None
    return web.json_response(Page[DenialDocument](items=[_denial(each) for each in found[:size]], next=more))


def _denial(denial: DenialRow) -> DenialDocument:
    shown: DenialDocument = {
        "began": utc_text(denial.began),
        "last": utc_text(denial.last),
        "model": denial.model,
        "pool": denial.pool,
        "reason": denial.reason,
        "refusals": denial.denials,
        "true_denials": denial.true_denials,
        "seated": denial.granted,
        "undecided": denial.undecided,
        "seconds_to_seat": None if denial.wait_seconds is None else round(denial.wait_seconds, 3),
    }
    who = {denial.kind: denial.name} | ({"home": denial.home} if denial.home else {})
    return {**shown, **cast(DenialDocument, who)}
