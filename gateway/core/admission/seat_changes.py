"""What several decisions have in common: the seats of a session follow its facts, in every model at once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from gateway.core.admission.decision import Decision
from gateway.core.admission.line_ends import leave_lines
from gateway.core.admission.replies import entitlements, finish
from gateway.core.admission.state import State
from gateway.core.counting.ledger import Ledger
from gateway.core.counting.license_model import Refusal
from gateway.core.counting.returning import KEPT_AFTER
from gateway.core.counting.session import VISITORS, Conference, Instant, Seat, Session
from gateway.core.wire.json_lines import Message


def required_seats(state: State, session: Session) -> tuple[tuple[Seat, ...], ...]:
    """Return the seats that the facts of a session give it, in each model; models that agree share them."""
    if session.kind in VISITORS:
        return state.no_seats
    return state.by_ledger([rule(session) for rule in state.seat_rules])


def set_seats(state: State, session: Session, cause: str, now: Instant) -> None:
    """Let a session hold in every model what its facts give it; what it gives back is released for `cause`."""
    held, required = session.seats, required_seats(state, session)
    for ledger, before, seats in zip(state.ledgers, held, required, strict=True):
        if seats != before:
            ledger.set_seats(session, seats, cause, now)
    session.seats = required
    if session.active is not None:
        _follow_idleness(state, session, now)


def admit(
    state: State,
    session: Session,
    cause: str,
    now: Instant,
    refused: Mapping[Ledger, Refusal] | None = None,
    recorded: Collection[Ledger] = (),
) -> None:
    """Let a session hold what its facts give it after a step that was granted.

    A model that refuses nobody records what it would have refused; `refused` has what its rules said before the step.
    Those in `recorded` have recorded all that they have against it.
    """
    required = required_seats(state, session)
    _admit(session, state.ledgers, required, cause, now, refused or {}, recorded)
    session.seats = required
    if session.active is not None:
        _follow_idleness(state, session, now)


def admit_new(state: State, session: Session, now: Instant, refused: Mapping[Ledger, Refusal]) -> None:
    """Let a session that begins hold what its facts give it, as `admit` does; the primary model has recorded all that
    it has against it.
    """
    required = list(state.no_seats)
    if session.kind not in VISITORS:
        for ledger in state.at_sign_in:
            required[ledger.index] = ledger.seat_rule(session)
    _admit(session, state.at_sign_in, required, "closed", now, refused, (state.primary,))
    session.seats = tuple(required)


def _admit(
    session: Session,
    ledgers: Iterable[Ledger],
    required: Sequence[tuple[Seat, ...]],
    cause: str,
    now: Instant,
    refused: Mapping[Ledger, Refusal],
    recorded: Collection[Ledger],
) -> None:
    held = session.seats
    for ledger in ledgers:
        before, seats = held[ledger.index], required[ledger.index]
        refusal = refused.get(ledger) if refused else None
        if refusal is None and ledger.ruled and not ledger.enforced:
            refusal = ledger.first_full_pool(session, seats)
        if refusal is not None and ledger not in recorded:
            ledger.record_denial(refusal, session, now)
        if seats != before:
            overfull = ledger.set_seats(session, seats, cause, now)
            if overfull and not (refusal or ledger.enforced or ledger in recorded):
                ledger.record_denial(Refusal("pool_full", overfull), session, now)


def _follow_idleness(state: State, session: Session, now: Instant) -> None:
    takes_part = session in state.conferences.taking_part
    state.sessions.follow_idleness(session, now.mono, takes_part=takes_part)


def fall_asleep(state: State, session: Session, reason: str, now: Instant) -> list[tuple[int, Message]]:
    """Put a session to sleep that takes part in nothing, for `reason`, and return what it is told: where it waited, it
    does no more.
    """
    left = session.conferences
    if left:
        state.conferences.leave_all(left, session)
    session.rest = reason
    state.sessions.set_awake(session, awake=False)
    set_seats(state, session, reason, now)
    held = entitlements(state, session)
    told: list[Message] = [{"type": "removed", "conference": each.id, "reason": reason, **held} for each in left]
    told.append({"type": "asleep", "reason": reason, "seats": held["seats"]})
    return [(session.number, message) for message in told]


def end_session(state: State, session: Session, cause: str, now: Instant) -> Decision:
    """End a session: everything it holds is released for `cause`, or kept by the enforced model for who comes back.
    Whoever decides finishes the decision.
    """
    state.conferences.leave_all(session.conferences, session)
    state.sessions.remove(session)
    state.use.connected.release(session.number, session.person, now.mono)
    state.resumable.pop(session.number, None)
    if state.lines:
        leave_lines(state, session, now)
    keeping = state.terms.returning and cause in KEPT_AFTER
    for ledger, held in zip(state.ledgers, session.seats, strict=True):
        if held and keeping and ledger.enforced:
            ledger.keep(session, held, cause, now.mono + state.terms.returning, now)
        elif held:
            ledger.release(session, held, cause, now)
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
