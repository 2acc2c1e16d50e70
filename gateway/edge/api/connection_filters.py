"""Which sessions a list of connections shows, and in which order: filters, and the sort.

A conference or an account is looked up; anything else is searched for in pieces, with turns of the loop between them.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterable
from heapq import merge
from itertools import islice
from typing import Any

from aiohttp import web

from gateway.core.addresses import ip_address
from gateway.core.counting.session import Session, identity
from gateway.core.names import folded, normalized
from gateway.edge.api.idle import session_idle
from gateway.edge.api.pages import PIECE
from gateway.edge.api.responses import fail, seconds
from gateway.edge.api.schemas import DURATION, query, text
from gateway.edge.server.runtime import Runtime

PRESENCES = ("awake", "asleep")
EXACT: dict[str, Callable[[Session], object]] = {
    "account": lambda session: session.account,
    "home": lambda session: session.home,
    "device": lambda session: session.device,
    "address": lambda session: session.peer_address,
    "kind": lambda session: session.kind,
    "presence": lambda session: "awake" if session.awake else "asleep",
}
"""Filters by one fact that must be what is asked for."""
NAMES = (*EXACT, "conference", "pool", "idle", "q")
"""Every filter."""
SORTS: dict[str, Callable[[Runtime, Session], Any]] = {
    "since": lambda _, session: session.number,
    "account": lambda _, session: (session.account or "", session.home),
    "device": lambda _, session: session.device or "",
    "kind": lambda _, session: session.kind,
    "address": lambda _, session: session.peer_address,
    "idle": session_idle,
}
"""What a list can be sorted by."""
ORDERS = (*SORTS, *(f"-{name}" for name in SORTS))
ABOUT = {
    "q": "Only those with this somewhere in account, device, address or kind; case does not matter.",
    "account": "Only this one, of this server unless there is a home.",
    "home": "Only of this one.",
    "pool": "Only those who hold a seat of this pool of the enforced model.",
    "idle": 'Only those who are in no live conference and asked for nothing for so long, such as "1h".',
}
KINDS_OF = {"presence": text(enum=list(PRESENCES)), "idle": DURATION}
QUERY = tuple(query(name, KINDS_OF.get(name, text()), ABOUT.get(name, "Only these.")) for name in NAMES)
SORT = query("sort", text(enum=list(ORDERS), default="since"), "What comes first; with a - the other way round.")


def sort_of(request: web.Request) -> str:
    """Return the order that is asked for."""
    order = request.query.get("sort", "since")
    if order not in ORDERS:
        fail(422, "bad_field", f"sort: expected one of {', '.join(ORDERS)}")
    if order != "since" and "cursor" in request.query:
        fail(422, "bad_field", 'cursor: only where the list is sorted by "since"; use offset')
    return order


async def matching(runtime: Runtime, request: web.Request, after: int = 0, most: int = sys.maxsize) -> list[Session]:
    """Return the first `most` sessions beyond number `after` that match the filters, by number."""
    asked = {name: request.query[name] for name in NAMES if name in request.query}
    asked = {name: _as_kept(name, text, runtime.settings.accounts.home) for name, text in asked.items()}
    if "account" in asked:
        asked.setdefault("home", "")
    if (presence := asked.get("presence")) is not None and presence not in PRESENCES:
        fail(422, "bad_field", f"presence: expected one of {', '.join(PRESENCES)}")
    wanted = [_filter(runtime, name, text) for name, text in asked.items()]
    sessions = runtime.state.sessions
    candidates: Iterable[Session] = sessions.by_number.values()
    if "conference" in asked:
        conference = runtime.state.conferences.by_id.get(asked["conference"])
        candidates = sorted(conference.members, key=_number) if conference is not None else ()
    elif "account" in asked:
        candidates = sorted(sessions.of_account(identity(asked["account"], asked["home"])), key=_number)
    beyond = (session for session in tuple(candidates) if session.number > after)
    found: list[Session] = []
    while piece := tuple(islice(beyond, PIECE)):
        found += [session for session in piece if all(matches(session) for matches in wanted)]
        if len(found) >= most:
            break
        await asyncio.sleep(0)
        found = [session for session in found if session.number in sessions.by_number]
    return found[:most]


async def in_order(runtime: Runtime, sessions: list[Session], order: str, most: int) -> list[Session]:
    """Return the first `most` of `sessions` in this order; those that are equal by number."""
    key, turned = SORTS[order.removeprefix("-")], order.startswith("-")
    runs: list[list[tuple[Any, int, Session]]] = []
    rest = iter(sessions)
    while piece := tuple(islice(rest, PIECE)):
        runs.append(sorted(((key(runtime, each), each.number, each) for each in piece), reverse=turned))
        await asyncio.sleep(0)
    merged = merge(*runs, reverse=turned)
    found: list[Session] = []
    while len(found) < most and (taken := tuple(islice(merged, min(PIECE, most - len(found))))):
        found += [each[2] for each in taken]
        await asyncio.sleep(0)
    return found


def _filter(runtime: Runtime, name: str, text: str) -> Callable[[Session], bool]:
    """Return what says whether a session matches one filter."""
    if name in EXACT:
        fact = EXACT[name]
        return lambda session: fact(session) == text
    if name == "conference":
        return lambda session: any(each.id == text for each in session.conferences)
    if name == "pool":
        index = runtime.state.primary.index
        return lambda session: any(pool == text for pool, _ in session.seats[index])
    if name == "idle":
        least = seconds("idle", text)
        return lambda session: session_idle(runtime, session) >= least
    return lambda session: _mentions(session, text)


def _mentions(session: Session, part: str) -> bool:
    """Whether an account, a device, an address or a kind has `part`, folded, somewhere in it."""
    account, device = session.account, session.device
    return (
        (account is not None and part in account)
        or part in session.peer_address
        or part in session.kind
        or (device is not None and part in folded(device))
    )


def _as_kept(name: str, text: str, own_home: str) -> str:
    """Return what a filter asks for as sessions have it: an address has one text, however it is written; names are
    normalized, and `own_home` is the name of this server.
    """
    if name == "address":
        with contextlib.suppress(ValueError):
            return str(ip_address(text))
    if name == "home":
        return "" if folded(text) == own_home else folded(text)
    return folded(text) if name in {"account", "q"} else normalized(text)


def _number(session: Session) -> int:
    return session.number
