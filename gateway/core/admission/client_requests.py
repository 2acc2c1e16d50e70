"""What clients ask about themselves: to be admitted, to go on, to rest, to have a license, to be gone.

A refusal changes nothing. What is granted under the enforced model is then seen by every model in shadow: it records
what it would have refused, and takes the seats that the facts give (COUNTING.md, Shadow models).
"""

from __future__ import annotations

from hmac import compare_digest

from gateway.core.admission.bans import Ban
from gateway.core.admission.commands import End, Hello, RequestPro, Resume, Sleep, Wake
from gateway.core.admission.decision import Decision
from gateway.core.admission.line_ends import give_up_request, leave_lines
from gateway.core.admission.preemption import seats_to_take, take
from gateway.core.admission.refusals import against, is_enforced, overtaking, unregistered, with_retry
from gateway.core.admission.replies import entitlements, finish, refuse, seats, session_id
from gateway.core.admission.seat_changes import admit, admit_new, end_session, required_seats, set_seats
from gateway.core.admission.state import Resumable, State
from gateway.core.admission.withdrawal import withdrawal
from gateway.core.counting.license_model import Attempt, Refusal
from gateway.core.counting.session import ABRUPT, Instant, Session
from gateway.core.formats import utc
from gateway.core.wire.json_lines import Message

# -- hello and the end -----------------------------------------------------------------------------------------------


def hello(state: State, command: Hello, now: Instant) -> Decision:
    """Admit a new session, or refuse it; it takes over from an older one of the same account and device."""
    terms, primary = state.terms, state.primary
    session = _session(state, command, now)
    refusal = _unwanted(state, session, command, now) if state.granting else unregistered(state)
    if refusal is not None:
        return refuse(state, "hello", refusal)
    named = session.account is not None and terms.on_duplicate != "allow"
    old = state.sessions.same_device_session(session) if named else None
    if old is not None:
        elsewhere = terms.accounts_mode == "open" and old.peer_address != session.address
        crashed = old.number in state.resumable and old.peer_address == session.address
        if elsewhere or (terms.on_duplicate == "reject" and not crashed):  # who crashed is no duplicate of itself
            return refuse(state, "hello", Refusal("duplicate"))
    session.seats = state.no_seats
    attempt = Attempt("hello", session, len(state.conferences.live_groups), ())
    required = primary.required_seats(session)
    refusal = primary.refusal(attempt) or primary.first_full_pool(session, required, old)
    if refusal is None and state.lines:
        refusal = overtaking(state, session, required, old)
    taken = None if refusal is None else seats_to_take(state, refusal, session, required, old)
    if refusal is not None and taken is None and is_enforced(state, refusal, session, now):
        return refuse(state, "hello", refusal, asker=session, now=now)
    state.numbers.sessions.take()
    decision = Decision(session=session.number)
    if taken:
        decision.notices += take(state, taken, now)
    if old is not None:
        state.conferences.leave_all(old.conferences, old)
        state.sessions.remove(old)
        state.use.connected.release(old.number, old.person, now.mono)
        state.resumable.pop(old.number, None)
        if state.lines:
            leave_lines(state, old, now)
        decision.closings.append((old.number, "replaced"))
    state.sessions.add(session)
    state.use.connected.grant(session.number, session.person, now.mono)
    if old is not None:
        _pass_on(state, old, session, attempt, now)
    elif state.at_sign_in:
        admit_new(state, session, now, against(state, attempt))
    decision.answer = {"type": "welcome", "session": session_id(state, session.number), **entitlements(state, session)}
    return finish(state, decision, session)


def _pass_on(state: State, old: Session, session: Session, attempt: Attempt, now: Instant) -> None:
    """Let a session take over what an older one of its device holds."""
    held, required = old.seats, required_seats(state, session)
    refused = against(state, attempt)
    for ledger, before, after in zip(state.ledgers, held, required, strict=True):
        if ledger is not state.primary:
            refusal = refused.get(ledger) or (ledger.first_full_pool(session, after, old) if after != before else None)
            if refusal is not None:
                ledger.record_denial(refusal, session, now)
        if before or after:
            ledger.transfer(old, session, after, "replaced", now)
    old.seats, session.seats = state.no_seats, required


def _session(state: State, command: Hello, now: Instant) -> Session:
    """Return the session that a client asks for, with the number that it would have."""
    session = Session(
        state.numbers.sessions.last + 1,
        kind=command.kind,
        account=command.account,
        device=command.device,
        home="" if command.home == state.terms.home else command.home,
        client=command.client,
        address=command.address,
        transport=command.transport,
        since=now.wall,
    )
    session.node = state.asking_node
    if session.account is not None and not session.home:  # groups are of accounts of this server
        session.groups = command.groups
    return session


def refusal_before_license(state: State, command: Hello, now: Instant) -> Refusal | None:
    """Return what speaks against a new session before any license is asked; None where nothing does."""
    return _unwanted(state, _session(state, command, now), command, now)


def _unwanted(state: State, session: Session, command: Hello, now: Instant) -> Refusal | None:
    """Return what speaks against a new session before any license is asked; note by what it is proven."""
    account, directory = session.account, state.directory
    bans = directory.bans
    ban = bans.of(session, session.peer_address, now.wall) if bans.by_subject else None
    if ban is not None:
        return _banned(ban, now)
    if account is None and command.proven is False:  # its token would have said who it is
        return Refusal("bad_credential")
    if account is None or session.home:
        return None if not session.home or session.home in state.terms.homes else Refusal("not_allowed")
    if state.is_deleted(account):
        return Refusal("account_unknown")
    if state.terms.accounts_mode == "token":
        if account not in directory.accounts:
            return Refusal("account_unknown")
        tokens = directory.accounts[account]
        proof = next((each for each in tokens if compare_digest(each.digest.hex(), command.token or "")), None)
        if proof is None:
            return Refusal("bad_credential")
        session.proven_by = proof.fingerprint
    if state.terms.accounts_mode == "jwt" and not command.proven:
        return Refusal("bad_credential")
    return None


def _banned(ban: Ban, now: Instant) -> Refusal:
    return Refusal("banned", retry_after=ban.until - now.wall)


def resume(state: State, command: Resume, now: Instant) -> Decision:
    """Let a session go on with another connection: same facts, memberships and seats (PROTOCOL.md, Resume)."""
    session = state.sessions.by_number[command.session]
    ban = state.directory.bans.of(session, command.address, now.wall)
    if ban is not None:
        return refuse(state, "hello", _banned(ban, now))
    lost = state.resumable.pop(session.number, None)
    session.generation += 1
    session.node = state.asking_node
    session.peer_address, session.transport = command.address, command.transport
    conferences = [conference.id for conference in session.conferences]
    answer: Message = {"type": "welcome", "session": session_id(state, session.number), **entitlements(state, session)}
    answer |= {"conferences": conferences, "presence": "awake" if session.awake else "asleep"}
    if session.rest and not session.awake:
        answer["reason"] = session.rest
    decision = Decision(answer, session=session.number)
    if lost is None:
        decision.closings.append((session.number, "replaced"))
    return decision


def end(state: State, command: End, now: Instant) -> Decision:
    """End a session, or let a lost one wait for somebody to resume it."""
    session = state.sessions.by_number[command.session]
    terms = state.terms
    if not terms.resume_window or command.cause not in ABRUPT or session.number in state.resumable:
        return finish(state, end_session(state, session, command.cause, now))
    decision = Decision()
    session.node = ""
    state.resumable[session.number] = Resumable(now.mono + terms.resume_window, command.cause)
    if len(state.resumable) > terms.max_resumable:
        number, earliest = next(iter(state.resumable.items()))
        decision = end_session(state, state.sessions.by_number[number], earliest.cause, now)
    return finish(state, decision)


# -- presence and leases ---------------------------------------------------------------------------------------------


def sleep(state: State, command: Sleep, now: Instant) -> Decision:
    """Let a session be connected and not online, and a member of nothing (COUNTING.md, Facts)."""
    session = state.sessions.by_number[command.session]
    if session.conferences:
        state.conferences.leave_all(session.conferences, session)
    if state.lines:
        give_up_request(state, "wake", session, "", now)
    if session.awake:
        session.rest = ""
        state.sessions.set_awake(session, awake=False)
    set_seats(state, session, "asleep", now)
    return finish(state, Decision({"type": "asleep", **seats(state, session)}), session)


def wake(state: State, command: Wake, now: Instant) -> Decision:
    """Let a session be online again, if there is room."""
    session, primary = state.sessions.by_number[command.session], state.primary
    decision = Decision()
    if not state.granting:
        return refuse(state, "wake", unregistered(state))
    if not session.awake:
        session.awake = True
        try:
            required = primary.required_seats(session)
            refusal = primary.first_full_pool(session, required)
            if refusal is None and state.lines:
                refusal = overtaking(state, session, required)
        finally:
            session.awake = False
        taken = None if refusal is None else seats_to_take(state, refusal, session, required)
        if refusal is not None and taken is None and is_enforced(state, refusal, session, now):
            return refuse(state, "wake", refusal, asker=session, now=now)
        if taken:
            decision.notices += take(state, taken, now)
        state.sessions.set_awake(session, awake=True)
        admit(state, session, "asleep", now, recorded=(primary,))
    decision.answer = {"type": "awake", **seats(state, session)}
    return finish(state, decision, session)


def request_pro(state: State, command: RequestPro, now: Instant) -> Decision:
    """Give a user a lease without a conference (COUNTING.md, PRO leases 2)."""
    session, primary = state.sessions.by_number[command.session], state.primary
    if not state.granting:
        return refuse(state, "request_pro", unregistered(state))
    account = session.account
    if not primary.model.allows_requests(session) or account is None:
        return refuse(state, "request_pro", Refusal("not_allowed"))
    pool = primary.model.account_pool
    expires = None
    decision = Decision(withdraw=withdrawal(state, "request_pro", session, None), session=session.number)
    if account not in primary.pools[pool].reservations:
        required = (*session.seats[primary.index], (pool, account))
        refusal = primary.first_full_pool(session, required)
        if refusal is None and state.lines:
            refusal = overtaking(state, session, required)
        taken = None if refusal is None else seats_to_take(state, refusal, session, required)
        if refusal is not None and taken is None and is_enforced(state, refusal, session, now):
            return refuse(state, "request_pro", with_retry(state, refusal, now), asker=session, now=now)
        if taken:
            decision.notices += take(state, taken, now)
        expires = primary.leases.grant(pool, account, now).expires
        rules = primary.pools[pool].rules
        if rules is not None:
            rules.attribute(account, session)
    decision.answer = {"type": "granted", "pool": pool, "expires": utc(expires)}
    return finish(state, decision, session)
