"""What several decisions have in common: the seats of a session follow its facts, in every model at once."""

from __future__ import annotations

from collections.abc import Collection

from gateway.core.admission.decision import Decision
from gateway.core.admission.replies import entitlements, finish
from gateway.core.admission.state import State
from gateway.core.counting.session import Conference, Instant, Session


def set_seats(state: State, session: Session, cause: str, now: Instant) -> None:
    """Let a session hold in every model what its facts give it; what it gives back is released for `cause`."""
    for ledger in state.ledgers:
        ledger.follow(session, cause, now)


def end_session(state: State, session: Session, cause: str, now: Instant) -> Decision:
    """End a session: everything it holds is released for `cause`. Whoever decides finishes the decision."""
    state.conferences.leave_all(session.conferences, session)
    state.sessions.remove(session)
    state.resumable.pop(session.number, None)
    for ledger, held in zip(state.ledgers, session.seats, strict=True):
        if held:
            ledger.release_all(session, cause, now)
    session.seats = state.no_seats
    return Decision()


def remove_member(
    state: State, session: Session, conferences: Collection[Conference], reason: str, decision: Decision, now: Instant
) -> None:
    """Take a session out of conferences; `finish_removals` tells it when all has been taken."""
    state.conferences.leave_all(conferences, session)
    for conference in conferences:
        notice = {"type": "removed", "conference": conference.id, "reason": reason}
        decision.notices.append((session.number, notice))
    set_seats(state, session, "removed", now)


def finish_removals(state: State, decision: Decision) -> Decision:
    """Tell those who were removed what they hold when nothing more is taken from them, and finish the decision."""
    told = []
    for number, message in decision.notices:
        session = state.sessions.by_number[number]
        message.update(entitlements(state, session))
        told.append(session)
    return finish(state, decision, *told)
