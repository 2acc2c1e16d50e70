"""The API about holders of seats who do nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import islice
from typing import Annotated, TypedDict

from aiohttp import web

from gateway.core.counting.claims import Lease, Linger
from gateway.core.counting.pool import Pool
from gateway.core.counting.session import Instant, Key, Session
from gateway.edge.api.pages import PIECE, Page
from gateway.edge.api.responses import seconds
from gateway.edge.api.routes import READ, Route
from gateway.edge.api.schemas import DURATION, Count, query
from gateway.edge.server.runtime import Runtime
from gateway.edge.server.ticker import TICK


class IdleDocument(TypedDict):
    """Holders of seats of one pool who do nothing."""

    pool: str
    holders: Annotated[Count, "Seats whose holders do nothing for so long."]
    longest_seconds: Annotated[float | None, "The longest time for which one of them has done nothing."]


@Route(
    "GET",
    "/api/idle",
    scope=READ,
    summary="How many holders of seats do nothing for how long, by pool of the enforced model.",
    answer=Page[IdleDocument],
    query=(query("for", DURATION, 'Those who do nothing for so long at least, such as "30m"; "1h" by default.'),),
)
async def list_idle(runtime: Runtime, request: web.Request) -> web.Response:
    """Count them: who asked for nothing and is in no live conference, and leases that nobody uses."""
    least = seconds("for", request.query.get("for", "1h"))
    items: list[IdleDocument] = []
    now = runtime.now()
    for name, pool in runtime.state.primary.pools.items():
        held = iter(tuple(pool.claims))
        found: list[float] = []
        while piece := tuple(islice(held, PIECE)):
            found += [idle for key in piece if (idle := idle_seconds(runtime, pool, key, now)) >= least]
            await asyncio.sleep(0)
        longest = round(max(found), 3) if found else None
        items.append({"pool": name, "holders": len(found), "longest_seconds": longest})
    return web.json_response(Page[IdleDocument](items=items, next=None))


def idle_seconds(runtime: Runtime, pool: Pool, key: Key, now: Instant) -> float:
    """For how many seconds the holder of a seat does nothing; 0 where somebody is in a conference by it, or owns it."""
    return min(_idle_claims(runtime, pool, key, now), default=0.0)


def _idle_claims(runtime: Runtime, pool: Pool, key: Key, now: Instant) -> Iterator[float]:
    sessions = False
    for claim in pool.claims.values_of(key):
        if isinstance(claim, Session):
            sessions = True
            yield session_idle(runtime, claim)
        elif not isinstance(claim, Lease | Linger):
            yield 0.0  # who owns a seat need not use it
    lease = pool.leases.get(key)
    if not sessions and lease is not None:
        yield max(now.wall - lease.expires + (pool.terms.lease or 0.0), 0.0) if lease.expires is not None else 0.0


def session_idle(runtime: Runtime, session: Session) -> float:
    """For how many seconds a session did nothing; 0 while it is in a live conference, or not connected here.

    A client that says whether somebody uses it is believed; of any other it is the time since it asked for something.
    """
    connection = None if session.takes_part else runtime.connection_of(session.number)
    if connection is None or session.active:
        return 0.0
    since = runtime.state.sessions.idle_since(session)
    if since is not None:
        return max(runtime.now().mono - since, 0.0)
    return (runtime.timer_wheel.tick - connection.last_asked_tick) * TICK
