"""An exact restart: a gateway that was stopped in order has its state written down, and the next run goes on from it.

No session is in it, since its clients were sent away. Everything else goes on as if the machine had slept: leases,
bans and permanent licenses by the wall clock, seats that linger, denials and use by the time lived through. A file in
which anything was noted after the state was written down begins without it, as after a crash.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from typing import Any, NamedTuple

from config.settings import Settings
from gateway.core.admission import state_lines
from gateway.core.admission.commands import End, EndResumables
from gateway.core.admission.state import State
from gateway.core.admission.state_json import NotAState
from gateway.core.admission.terms import Terms
from gateway.edge.machine import Clock
from gateway.edge.server.runtime import Runtime
from gateway.edge.storage.node_file import NodeFile, pack, put_dump, read
from gateway.edge.storage.rows import ALIVE, put_meta
from gateway.edge.storage.store import MEMORY, Statement
from gateway.edge.terms import counting_models, terms_of
from gateway.licensing import MODELS

NAME = "alone"
"""What the head of the lines is called: a gateway that is no node of a cluster."""

log = logging.getLogger("tallygate.restart")


class KeptState(NamedTuple):
    """A state from which a gateway goes on, the clock by which it does, and the last note of the run that left it."""

    state: State
    clock: Clock
    noted: float


# -- the end -----------------------------------------------------------------------------------------------------------


def end_sessions(runtime: Runtime) -> None:
    """End what sessions there still are, after everybody was sent away: nobody may come back to one. Where their seats
    are kept, those of sessions that could be resumed are too.
    """
    state = runtime.state
    keeps = state.terms.returning > 0
    for number in [each for each in state.sessions.by_number if keeps or each not in state.resumable]:
        runtime.commit_and_deliver(End(number, "drained"))
    if state.resumable:
        runtime.commit_and_deliver(EndResumables())


async def written_down(runtime: Runtime, settings: Settings) -> list[Statement]:
    """Return what writes the state of a gateway with these settings down, for the last transaction of its run; nothing
    may be decided any more.
    """
    now = runtime.now()
    head = {"at": list(now), "configured": _configured(settings).to_json()}
    packed = await pack(state_lines.lines(NAME, head, runtime.state))
    return [put_dump("", 0, 0, packed), put_meta(ALIVE, repr(now.wall))]


# -- the start ---------------------------------------------------------------------------------------------------------


async def kept_state(settings: Settings, clock: Clock) -> KeptState | None:
    """Return the state that the last run wrote down; None where this run cannot continue from it."""
    if settings.store.path == MEMORY or settings.cluster.etcd:
        return None
    try:
        file = await asyncio.to_thread(read, settings.store.path)
    except ValueError:
        return None  # whoever opens the store says what is the matter with it
    if not file.state:
        return None
    try:
        head, state = await asyncio.to_thread(state_lines.read, NAME, file.state, MODELS)
        mono, wall = head["at"]
        why = _why_not(file, wall, head["configured"], _configured(settings))
    except (NotAState, LookupError, TypeError, ValueError) as fault:
        why = str(fault)
    if why:
        log.warning("%s: starts without the state of the last stop: %s", settings.store.path, why)
        return None
    state.run = f"{int(clock.wall()):x}"
    state.redistribute_at = -math.inf  # a start is when permanent licenses take effect
    return KeptState(state, clock._replace(mono=_going_on(clock.mono, mono)), wall)


def _going_on(mono: Callable[[], float], at: float) -> Callable[[], float]:
    """Return a monotonic clock that goes on at `at`: time in which no gateway lived does not pass."""
    ahead = at - mono()
    return lambda: mono() + ahead


def _why_not(file: NodeFile, wall: float, before: Mapping[str, Any], now: Terms) -> str:
    """Return why a run cannot go on from the state of a file; an empty text where it can."""
    if file.noted != repr(wall):
        return "the store was written after it"
    if list(before["licenses"]) != list(now.licenses):
        return "other license models count"
    for name, terms in now.licenses.items():
        told, said = before["licenses"][name], asdict(terms)
        for field in fields(terms):
            if not field.metadata.get("live") and told.get(field.name) != _plain(said[field.name]):
                return f"license.{name}.{field.name} is another"
    return ""


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _configured(settings: Settings) -> Terms:
    """Return the terms that the operator has set, before what a registrar grants."""
    return terms_of(settings, None, counting_models(settings), None)
