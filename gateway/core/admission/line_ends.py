"""How a wait in line ends: the place is left, and its outcome is counted (COUNTING.md, Waiting)."""

from __future__ import annotations

from gateway.core.admission.decision import Decision
from gateway.core.admission.lines import QueuePlace
from gateway.core.admission.state import State
from gateway.core.counting.session import Identity, Instant, Session
from gateway.core.counting.waits import GAVE_UP


def leave_line(state: State, place: QueuePlace, outcome: str, now: Instant) -> None:
    """Take a place out of its line."""
    state.lines.remove(place)
    pool = state.primary.pools.get(place.line.pool)
    if pool is not None:
        pool.record_wait(outcome, place.refusal.reason, place.asker, place.person, place.since.mono, now.mono)


def leave_lines(state: State, session: Session, now: Instant) -> None:
    """Take a session that is over out of all lines."""
    for place in list(state.lines.of_session.get(session.number, {}).values()):
        leave_line(state, place, GAVE_UP, now)


def give_up_request(state: State, verb: str, session: Session, conference: str, now: Instant) -> bool:
    """Take a request of a session out of its line, as it asked for; whether it stood in one."""
    place = state.lines.by_owner.get((verb, session.number, conference))
    if place is not None:
        leave_line(state, place, GAVE_UP, now)
    return place is not None


def end_waiting_hellos(state: State, decision: Decision, account: Identity, cause: str, now: Instant) -> None:
    """Send away those of an account who wait to be welcomed."""
    for place in [each for each in state.lines.values() if each.session is None and each.asker == ("account", account)]:
        leave_line(state, place, GAVE_UP, now)
        decision.news().closings.append((place.number, cause))
