"""How a wait in line ends: the place is left, and its outcome is counted (COUNTING.md, Waiting)."""

from __future__ import annotations

from gateway.core.admission.decision import Decision
from gateway.core.admission.lines import QueuePlace
from gateway.core.admission.state import State
from gateway.core.counting.pool import Pool
from gateway.core.counting.seat_events import SeatEvent
from gateway.core.counting.session import Identity, Instant, Session
from gateway.core.counting.waits import GAVE_UP, GRANTED


def leave_line(state: State, place: QueuePlace, outcome: str, now: Instant) -> None:
    """Take a place out of its line."""
    state.lines.remove(place)
    pool = state.primary.pools.get(place.line.pool)
    if pool is None:
        return
    pool.record_wait(outcome, place.refusal.reason, place.asker, place.person, place.since.mono, now.mono)
    if pool.events is not None:
        name = "queue.granted" if outcome == GRANTED else "queue.ended"
        ended = {} if outcome == GRANTED else {"outcome": outcome}
        waited = round(now.mono - place.since.mono, 3)
        pool.events.note(line_event(name, place, pool, now, **ended, waited_seconds=waited))


def line_event(name: str, place: QueuePlace, pool: Pool, now: Instant, **detail: object) -> SeatEvent:
    """Return the event of a place in the line of a pool."""
    asked = {"request": place.verb} | ({"conference": place.conference} if place.conference else {})
    told = tuple((asked | detail).items())
    return SeatEvent(name, pool.terms.name, place.person, place.session, now.mono, pool.used, pool.terms.limit, told)


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
