"""The API about what happened lately: use second by second, and sessions that ended.

What a page asks for is put together once for all that ask in the same second.
"""

from __future__ import annotations

import asyncio
import json
import math
from itertools import islice
from typing import Annotated, Any, TypedDict

from aiohttp import web

from gateway.core.formats import utc
from gateway.core.reporting.recent import NO_LIMIT, PoolCourse, RecentUse, highest, summed
from gateway.edge.api.pages import LIMIT, PIECE, Page, limit
from gateway.edge.api.responses import HOME, SINCE, account, fail, home, since, utc_text
from gateway.edge.api.routes import READ, Route
from gateway.edge.api.schemas import ID, Count, HomeOrNull, Keyword, Time, query, text, whole
from gateway.edge.server.recent_activity import EndedSession
from gateway.edge.server.runtime import Runtime

POINTS = 720
MOST_POINTS = 3600
"""Steps of one answer, at most; a longer time has longer steps."""

Counts = list[int]


class FullnessDocument(TypedDict):
    """Whether a pool is full."""

    full_since: Annotated[Time | None, "null where it is not full now."]
    denied_since: Annotated[Count, "Refusals since then."]
    last_denied: Annotated[Time | None, "When somebody was refused last; null where that is not known any more."]


class PoolCourseDocument(FullnessDocument):
    """The course of one pool, a number for each step."""

    model: str
    pool: str
    used: Annotated[list[int], "The highest use."]
    limit: Annotated[list[int | None], "The limit at the end of the step."]
    denied: Annotated[list[int], "Refusals."]
    granted: Annotated[list[int], "Grants."]


class RecentDocument(TypedDict):
    """What happened lately, in steps of whole seconds; the last step may be shorter."""

    begin: Time
    end: Time
    second: Annotated[int, "The number of the second after the last one, as the stream of events counts them."]
    step: Annotated[int, "Seconds of a step.", Keyword("minimum", 1)]
    kept: Annotated[int, "Seconds that are kept.", Keyword("minimum", 1)]
    pools: list[PoolCourseDocument]
    opened: Annotated[list[int], "Connections that were accepted."]
    ended: Annotated[list[int], "Connections that ended."]
    lost: Annotated[list[int], "Those of them that were lost, without a `bye`."]
    lag_ms: Annotated[list[int], "How late the event loop was at most, in milliseconds."]


class EndedSessionDocument(TypedDict):
    """A session whose connection has ended."""

    id: str
    account: str | None
    home: HomeOrNull
    device: str | None
    kind: str
    address: str
    since: Time
    ended: Time
    cause: str


@Route(
    "GET",
    "/api/recent",
    scope=READ,
    summary="The time of `history.recent` (60m by default), second by second.",
    answer=RecentDocument,
    query=(
        query("model", text(), "Only pools of this model; without it of the enforced one."),
        query("points", whole(minimum=1, maximum=MOST_POINTS, default=POINTS), "Steps, at most."),
        SINCE,
    ),
    statuses=(404,),
)
async def get_recent(runtime: Runtime, request: web.Request) -> web.Response:
    """Show the course of the pools of a model, and of the connections."""
    use = runtime.recent.use
    model = request.query.get("model", runtime.state.primary.model.name)
    if model not in {ledger.model.name for ledger in runtime.state.ledgers}:
        fail(404, "no_such_model", "no model of this name counts")
    points = _points(request)
    wall = runtime.clock.wall()
    asked = wall - since(request, wall)
    cached = request.app[COURSES]
    place = (model, points, min(math.ceil(asked), use.length))
    body = cached.get(use.end, place)
    if body is None:
        body = json.dumps(_course(use, model, place[2], points, wall)).encode()
        cached.put(use.end, place, body)
    return web.Response(body=body, content_type="application/json")


class Courses:
    """Answers of the present second, by what was asked."""

    MOST = 16

    def __init__(self) -> None:
        self._second = -1
        self._answers: dict[object, bytes] = {}

    def get(self, second: int, place: object) -> bytes | None:
        """Return an answer that was made in this second; None where there is none."""
        return self._answers.get(place) if second == self._second else None

    def put(self, second: int, place: object, answer: bytes) -> None:
        """Keep an answer of this second; of more than `MOST` the others are made anew."""
        if second != self._second:
            self._second, self._answers = second, {}
        if len(self._answers) < self.MOST:
            self._answers[place] = answer


COURSES: web.AppKey[Courses] = web.AppKey("courses", Courses)


def _points(request: web.Request) -> int:
    found = request.query.get("points", str(POINTS))
    points = int(found) if found.isascii() and found.isdigit() and len(found) <= len(str(MOST_POINTS)) else 0
    if not 1 <= points <= MOST_POINTS:
        fail(422, "bad_field", f"points: expected an integer from 1 to {MOST_POINTS}")
    return points


def _course(use: RecentUse, model: str, length: int, points: int, wall: float) -> RecentDocument:
    """Put the last `length` seconds together, in at most so many steps; `wall` is now, in seconds UTC."""
    begin = max(use.begin, use.end - length)
    step = max(math.ceil((use.end - begin) / points), 1)
    # Steps lie on whole multiples, so that they are the same in every answer.
    begin = min(-(-begin // step) * step, use.end) if begin > use.begin else begin
    return {
        "begin": utc_text(wall - (use.end - begin)),
        "end": utc_text(wall),
        "second": use.end,
        "step": step,
        "kept": use.length,
        "pools": [
            _pool_course(course, place, begin, use.end, step)
            for place, course in use.courses.items()
            if place[0] == model
        ],
        "opened": summed(use.growth["opened"].read(begin, use.end), step),
        "ended": summed(use.growth["ended"].read(begin, use.end), step),
        "lost": summed(use.growth["lost"].read(begin, use.end), step),
        "lag_ms": highest(use.lag.read(begin, use.end), step),
    }


def _pool_course(course: PoolCourse, place: tuple[str, str], begin: int, end: int, step: int) -> PoolCourseDocument:
    limits = course.limit.read(begin, end)
    return {
        "model": place[0],
        "pool": place[1],
        "used": highest(course.used.read(begin, end), step),
        "limit": [None if each == NO_LIMIT else each for each in limits[step - 1 :: step].tolist()]
        + ([course.latest.limit] if len(limits) % step else []),
        "denied": summed(course.denied.read(begin, end), step),
        "granted": summed(course.granted.read(begin, end), step),
        **fullness(course),
    }


def fullness(course: PoolCourse) -> FullnessDocument:
    """Return whether a pool is full, since when, and refusals since then."""
    full = course.fullness
    return {"full_since": utc(full.since), "denied_since": full.denied, "last_denied": utc(full.last_denied)}


def latest(runtime: Runtime) -> dict[str, Any]:
    """Return the last second, for the stream of events: its number, and what happened in it."""
    use, model = runtime.recent.use, runtime.state.primary.model.name
    courses = {place[1]: course for place, course in use.courses.items() if place[0] == model}
    return {
        "second": use.end,
        "lag_ms": use.latest_lag,
        **use.latest_growth,
        "pools": {name: {**course.latest._asdict(), **fullness(course)} for name, course in courses.items()},
    }


# -- sessions that ended -----------------------------------------------------------------------------------------------


@Route(
    "GET",
    "/api/sessions/ended",
    scope=READ,
    summary="The sessions that ended last, the latest first; gone with the process.",
    answer=Page[EndedSessionDocument],
    query=(
        query("account", ID, "Only those of this one, of this server unless there is a home."),
        HOME,
        LIMIT,
    ),
)
async def list_ended(runtime: Runtime, request: web.Request) -> web.Response:
    """Show one page of them; there is no next."""
    asked, size = request.query.get("account"), limit(request)
    who = None if asked is None else account("account", asked)
    where = home(request, runtime.settings.accounts.home)
    if where is None and who is not None:
        where = ""
    found: list[EndedSession] = []
    rest = reversed(tuple(runtime.recent.sessions))
    while len(found) < size and (piece := tuple(islice(rest, PIECE))):
        found += [each for each in piece if who in {None, each.account} and where in {None, each.home}]
        await asyncio.sleep(0)
    items = [_ended(each) for each in found[:size]]
    return web.json_response(Page[EndedSessionDocument](items=items, next=None))


def _ended(session: EndedSession) -> EndedSessionDocument:
    return {
        "id": session.id,
        "account": session.account,
        "home": session.home or None,
        "device": session.device,
        "kind": session.kind,
        "address": session.address,
        "since": utc_text(session.since),
        "ended": utc_text(session.ended),
        "cause": session.cause,
    }
