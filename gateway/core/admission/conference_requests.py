"""What clients ask about conferences: to join one, to start one, to leave one.

Every decision goes the same way: the gateway's own rules, what the enforced license forbids, what it says about the
conference, its pools - all seats of a step or none - and only then is anything changed (COUNTING.md, Order of checks).
After that every model in shadow sees the same step: it records what it would have refused, and takes the seats that
the facts give.
"""

from __future__ import annotations

from collections.abc import Collection

from gateway.core.admission.commands import Join, Leave, Start
from gateway.core.admission.conferences import Declaration
from gateway.core.admission.decision import Decision
from gateway.core.admission.line_ends import give_up_request
from gateway.core.admission.preemption import seats_to_take, take
from gateway.core.admission.refusals import against, overtaking, unregistered, with_retry
from gateway.core.admission.replies import entitlements, finish, joined, refuse
from gateway.core.admission.seat_changes import admit, set_seats
from gateway.core.admission.state import State
from gateway.core.admission.withdrawal import withdrawal
from gateway.core.counting.ledger import Ledger
from gateway.core.counting.license_model import Attempt, Refusal
from gateway.core.counting.session import Conference, Instant, Seat, Session


def join(state: State, command: Join, now: Instant) -> Decision:
    """Let a session become a member: it takes part, or waits where the conference is scheduled."""
    session, id = state.sessions.by_number[command.session], command.conference
    conference = state.conferences.by_id.get(id) or _made_up(state, command)
    unwanted = _unwanted(state, session, conference)
    if unwanted is not None:
        return refuse(state, "join", unwanted, id)
    withdraw = withdrawal(state, "join", session, conference, host=command.host)
    decision = Decision(withdraw=withdraw, session=session.number)
    refusal = _enter(state, conference, session, host=command.host, decision=decision, now=now)
    if refusal is not None:
        return refuse(state, "join", with_retry(state, refusal, now), id, asker=session, now=now)
    decision.answer = joined(state, session, conference)
    return finish(state, decision, session)


def refusal_before_license(state: State, command: Join) -> Refusal | None:
    """Return what speaks against a `join` before any license is asked; None where nothing does."""
    conference = state.conferences.by_id.get(command.conference) or _made_up(state, command)
    return _unwanted(state, state.sessions.by_number[command.session], conference)


def _made_up(state: State, command: Join) -> Conference:
    """Return the conference that a `join` would create."""
    server = "" if command.server == state.terms.home else command.server
    declaration = Declaration(command.access, command.mode, command.scheduled, server)
    return state.conferences.create(command.conference, declaration)


def _unwanted(state: State, session: Session, conference: Conference) -> Refusal | None:
    """Return what speaks against a new member before any license is asked."""
    if not state.granting:
        return unregistered(state)
    if session.role == "visitor":
        return Refusal("not_allowed")
    if not conference.members:
        if state.terms.declared_only and conference.id not in state.conferences.declared:
            return Refusal("no_such_conference")
        if conference.server and conference.server not in state.terms.homes:
            return Refusal("not_allowed")
    elif session in conference.members:
        return Refusal("already_member")
    memberships, most = len(session.conferences), state.terms.max_memberships
    return Refusal("conference_limit", "", memberships, most) if memberships >= most else None


def start(state: State, command: Start, now: Instant) -> Decision:
    """Make a scheduled conference live; everybody who waits is admitted in order of arrival, or denied."""
    session, id = state.sessions.by_number[command.session], command.conference
    if not state.granting:
        return refuse(state, "start", unregistered(state), id)
    conference = state.conferences.by_id.get(id)
    if conference is None or session not in conference.members:
        return refuse(state, "start", Refusal("not_member"), id)
    if not conference.members[session]:
        return refuse(state, "start", Refusal("not_allowed"), id)
    if conference.live:
        return Decision({"type": "started", "conference": id, **entitlements(state, session)})
    withdraw = withdrawal(state, "start", session, conference)
    recorded = _open(state, conference, session, now)
    if isinstance(recorded, Refusal):
        return refuse(state, "start", with_retry(state, recorded, now), id, asker=session, now=now)
    decision = Decision(session=session.number)
    told, denied = [], []
    waited = dict(state.conferences.start(conference))
    for member, host in waited.items():
        known = recorded if member is session else ()
        refused = _enter(
            state, conference, member, host=host, decision=decision, now=now, waited=waited, recorded=known
        )
        if refused is not None:
            set_seats(state, member, "left", now)
            denial = refuse(state, "join", with_retry(state, refused, now), id, asker=member, now=now)
            denied.append(member.number)
            message = denial.answer
        else:
            message = joined(state, member, conference)
        if message is not None:
            decision.notices.append((member.number, message))
            told.append(member)
    if not conference.members:
        state.conferences.end(conference)
    if withdraw is not None:
        decision.withdraw = withdraw._replace(denied=tuple(denied))
    decision.answer = {"type": "started", "conference": id, **entitlements(state, session)}
    return finish(state, decision, session, *told)


def leave(state: State, command: Leave, now: Instant) -> Decision:
    """End a membership, or the wait for one."""
    session, id = state.sessions.by_number[command.session], command.conference
    conference = state.conferences.by_id.get(id)
    gave_up = bool(state.lines) and give_up_request(state, "join", session, id, now)
    if conference is not None and session in conference.members:
        state.conferences.leave(conference, session)
        set_seats(state, session, "left", now)
    elif not gave_up:
        return refuse(state, "leave", Refusal("not_member"), id)
    return finish(state, Decision({"type": "left", "conference": id, **entitlements(state, session)}), session)


def _enter(
    state: State,
    conference: Conference,
    session: Session,
    *,
    host: bool,
    decision: Decision,
    now: Instant,
    waited: Collection[Session] = (),
    recorded: Collection[Ledger] = (),
) -> Refusal | None:
    """Let a session in under the enforced model, then under the others; a refusal changes nothing. Whose seat is
    taken for it is told so by `decision`.

    `waited` are those who waited for a conference that is started, itself among them: no seat is taken from them. What
    forbids it to them was recorded when they joined; models in `recorded` have recorded all that they have against it.
    """
    conferences, primary = state.conferences, state.primary
    known = conference.id in conferences.by_id
    attempt = Attempt(
        "join",
        session,
        len(conferences.live_groups),
        state.sessions.same_account_sessions(session),
        conference,
        host,
        not known and conference.id not in conferences.declared,
        not known and conference.live and not conference.members,
    )
    refusal = primary.refusal(attempt)
    if (refusal is None or not primary.enforced) and not conference.group and len(conference.members) >= 2:
        return Refusal("conference_full", "", 2, 2)
    taken: list[Seat] | None = None
    if primary.enforced:
        if refusal is None:
            refusal, taken = _pool_refusal(state, conference, session, host=host, kept=waited)
        if refusal is not None and taken is None:
            return refusal
    if taken:
        decision.notices += take(state, taken, now)
    refused = against(state, attempt, forbids=not waited)
    displaced = conferences.enter(conference, session, host=host, now=now.mono)
    if not session.awake:
        state.sessions.set_awake(session, awake=True)
    named = displaced is not None and _is_named(state, session)
    if displaced is not None and not named:
        set_seats(state, displaced, "left", now)
    admit(state, session, "left", now, refused, recorded)
    if displaced is not None and named:  # now that its name is used, it is not forgotten for one that becomes idle
        set_seats(state, displaced, "left", now)
    return None


def _is_named(state: State, session: Session) -> bool:
    """Return whether a session has the name of a host already."""
    ledger = state.host_ledger()
    return (
        ledger is not None
        and session.identity is not None
        and ledger.is_leased(ledger.model.start_pool, session.identity)
    )


def _pool_refusal(
    state: State, conference: Conference, session: Session, *, host: bool, kept: Collection[Session]
) -> tuple[Refusal | None, list[Seat] | None]:
    """Return the refusal of the first pool without room for what the session would need as a member, or in whose line
    it would overtake somebody; with the seats that it may take from others, but not of those in `kept`, instead, None
    where there are none.
    """
    primary = state.primary
    before = session.awake, session.conferences
    session.awake, session.conferences = True, (*session.conferences, conference)
    conference.members[session] = host
    try:
        required = primary.required_seats(session)
        refusal = primary.first_full_pool(session, required)
        if refusal is None and state.lines:
            refusal = overtaking(state, session, required)
        return refusal, None if refusal is None else seats_to_take(state, refusal, session, required, kept=kept)
    finally:
        session.awake, session.conferences = before
        del conference.members[session]


def _account_refusal(state: State, ledger: Ledger, conference: Conference, session: Session) -> Refusal | None:
    """Return the refusal of the pool leased to accounts, where the starter would be a member no more once the
    conference is live: it is not told that it has started anything.
    """
    conference.live = True
    try:
        needed = [seat for seat in ledger.required_seats(session) if seat[0] == ledger.model.account_pool]
    finally:
        conference.live = False
    required = tuple(dict.fromkeys([*session.seats[ledger.index], *needed]))
    refusal = ledger.first_full_pool(session, required)
    taken = None if refusal is None else seats_to_take(state, refusal, session, required, kept=conference.members)
    return refusal if taken is None else None


def _open(state: State, conference: Conference, session: Session, now: Instant) -> Refusal | list[Ledger]:
    """Decide whether a scheduled conference may go live, and give the starter the seat that opening it needs.

    Returns the refusal, or the models in shadow that would have refused and have recorded it.
    """
    recorded: list[Ledger] = []
    same_account = state.sessions.same_account_sessions(session)
    groups = len(state.conferences.live_groups)
    attempt = Attempt("start", session, groups, same_account, conference, host=True, opens=True)
    for ledger in sorted(state.ledgers, key=lambda each: not each.is_primary):  # shadows see what was admitted
        refusal = ledger.refusal(attempt, forbids=ledger.enforced)
        if refusal is None and ledger.enforced and ledger.model.account_pool:
            refusal = _account_refusal(state, ledger, conference, session)
        if refusal is None and ledger.model.start_pool and session.identity is not None:
            needed = [*session.seats[ledger.index], (ledger.model.start_pool, session.identity)]
            required = tuple(dict.fromkeys(needed))
            refusal = ledger.first_full_pool(session, required)
            if refusal is None and ledger.enforced and state.lines:
                refusal = overtaking(state, session, required)
            if refusal is None or not ledger.enforced:
                ledger.set_seats(session, required, "left", now)
                session.hold(ledger.index, required)
        if refusal is None:
            continue
        if ledger.enforced:
            return refusal
        ledger.record_denial(refusal, session, now)
        recorded.append(ledger)
    return recorded
