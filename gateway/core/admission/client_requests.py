"""What clients ask for: to be admitted, to take part, to rest, to be gone.

Every decision goes the same way: the gateway's own rules, what the enforced license forbids, what it says about the
conference, its pools - all seats of a step or none - and only then is anything changed (COUNTING.md, Order of checks).
After that every model in shadow sees the same step: it records what it would have refused, and takes the seats that
the facts give.
"""

from __future__ import annotations

from collections.abc import Collection
from hmac import compare_digest

from gateway.core.admission.commands import End, Hello, Join, Leave, RequestPro, Resume, Sleep, Start, Wake
from gateway.core.admission.conferences import Declaration
from gateway.core.admission.decision import Decision
from gateway.core.admission.directory import Ban
from gateway.core.admission.replies import entitlements, finish, joined, refuse, seats, session_id
from gateway.core.admission.seat_changes import end_session, set_seats
from gateway.core.admission.state import Resumable, State
from gateway.core.admission.withdrawal import withdrawal
from gateway.core.counting.ledger import Ledger
from gateway.core.counting.license_model import Attempt, Refusal
from gateway.core.counting.session import ABRUPT, Conference, Instant, Session
from gateway.core.formats import utc
from gateway.core.wire.json_lines import Message

# -- hello and the end -----------------------------------------------------------------------------------------------


def hello(state: State, command: Hello, now: Instant) -> Decision:
    """Admit a new session, or refuse it; it takes over from an older one of the same account and device."""
    terms, primary = state.terms, state.primary
    session = Session(
        state.numbers.sessions.last + 1,
        kind=command.kind,
        account=command.account,
        device=command.device,
        home="" if command.home == terms.home else command.home,
        client=command.client,
        address=command.address,
        transport=command.transport,
        since=now.wall,
    )
    refusal = _unregistered(state) or _unwanted(state, session, command.token, now)
    if refusal is not None:
        return refuse(state, "hello", refusal)
    named = session.account is not None and terms.on_duplicate != "allow"
    old = state.sessions.same_device_session(session) if named else None
    cause = "replaced"
    if old is not None:
        elsewhere = terms.accounts_mode == "open" and old.peer_address != session.address
        lost = state.resumable.get(old.number)
        if terms.on_duplicate == "reject" and lost is not None and old.peer_address == session.address:
            cause = lost.cause  # a client that crashed is no duplicate of itself
        elif terms.on_duplicate == "reject" or elsewhere:
            return refuse(state, "hello", Refusal("duplicate"))
    session.seats = [()] * len(state.ledgers)
    attempt = Attempt("hello", session, len(state.conferences.live_groups), ())
    required = primary.required_seats(session)
    refusal = _rule_refusal(primary, attempt) or primary.first_full_pool(session, required, old)
    if refusal is not None and _is_enforced(state, refusal, session, now):
        return refuse(state, "hello", refusal, asker=session, now=now)
    state.numbers.sessions.take()
    decision = Decision(session=session.number)
    if old is not None:
        for conference in old.conferences:
            state.conferences.leave(conference, old)
        state.sessions.remove(old)
        state.resumable.pop(old.number, None)
        decision.closings.append((old.number, cause))
    state.sessions.add(session)
    for ledger in state.ledgers if old is not None else state.at_sign_in:
        needed = required
        if ledger is not primary:
            needed = ledger.required_seats(session)
            would = _rule_refusal(ledger, attempt) or ledger.first_full_pool(session, needed, old)
            if would is not None:
                ledger.record_denial(would, session, now)
        if old is not None:
            ledger.transfer(old, session, needed, cause, now)
        elif needed:
            ledger.set_seats(session, needed, "closed", now)
    decision.answer = {"type": "welcome", "session": session_id(state, session), **entitlements(state, session)}
    return finish(state, decision, session)


def _unregistered(state: State) -> Refusal | None:
    """Return the refusal of a gateway whose registration lets nothing be granted."""
    return None if state.granting else Refusal("unregistered", retry_after=state.terms.retry_after)


def _unwanted(state: State, session: Session, token: str | None, now: Instant) -> Refusal | None:
    """Return what speaks against a new session before any license is asked."""
    account, directory = session.account, state.directory
    ban = directory.banned(session, session.peer_address, now.wall)
    if ban is not None:
        return _banned(ban, now)
    if account is None or session.home:
        return None if not session.home or session.home in state.terms.homes else Refusal("not_allowed")
    if state.is_deleted(account):
        return Refusal("account_unknown")
    if state.terms.accounts_mode == "token":
        if account not in directory.accounts:
            return Refusal("account_unknown")
        if not any(compare_digest(each.digest.hex(), token or "") for each in directory.accounts[account]):
            return Refusal("bad_credential")
    return None


def _banned(ban: Ban, now: Instant) -> Refusal:
    return Refusal("banned", retry_after=ban.until - now.wall)


def resume(state: State, command: Resume, now: Instant) -> Decision:
    """Let a session go on with another connection: same facts, memberships and seats (PROTOCOL.md, Resume)."""
    session = state.sessions.by_number[command.session]
    ban = state.directory.banned(session, command.address, now.wall)
    if ban is not None:
        return refuse(state, "hello", _banned(ban, now))
    lost = state.resumable.pop(session.number, None)
    session.generation += 1
    session.peer_address, session.transport = command.address, command.transport
    conferences = [conference.id for conference in session.conferences]
    answer: Message = {"type": "welcome", "session": session_id(state, session), **entitlements(state, session)}
    answer["conferences"] = conferences
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
    state.resumable[session.number] = Resumable(now.mono + terms.resume_window, command.cause)
    if len(state.resumable) > terms.max_resumable:
        number, earliest = next(iter(state.resumable.items()))
        decision = end_session(state, state.sessions.by_number[number], earliest.cause, now)
    return finish(state, decision)


# -- conferences -----------------------------------------------------------------------------------------------------


def join(state: State, command: Join, now: Instant) -> Decision:
    """Let a session become a member: it takes part, or waits where the conference is scheduled."""
    session, id = state.sessions.by_number[command.session], command.conference
    refusal = _unregistered(state)
    if refusal is not None:
        return refuse(state, "join", refusal, id)
    if session.visitor:
        return refuse(state, "join", Refusal("not_allowed"), id)
    conference = state.conferences.by_id.get(id)
    if conference is None:
        if state.terms.declared_only and id not in state.conferences.declared:
            return refuse(state, "join", Refusal("no_such_conference"), id)
        server = "" if command.server == state.terms.home else command.server
        declaration = Declaration(command.access, command.mode, command.scheduled, server)
        conference = state.conferences.create(id, declaration)
    elif session in conference.members:
        return refuse(state, "join", Refusal("already_member"), id)
    withdraw = withdrawal(state, "join", session, conference)
    refusal = _enter(state, conference, session, host=command.host, now=now)
    if refusal is not None:
        return refuse(state, "join", _with_retry(state, refusal, now), id, asker=session, now=now)
    if withdraw is not None:
        withdraw = withdraw._replace(conference_number=conference.number)
    decision = Decision(joined(state, session, conference), withdraw=withdraw, session=session.number)
    return finish(state, decision, session)


def start(state: State, command: Start, now: Instant) -> Decision:
    """Make a scheduled conference live; everybody who waits is admitted in order of arrival, or denied."""
    session, id = state.sessions.by_number[command.session], command.conference
    refusal = _unregistered(state)
    if refusal is not None:
        return refuse(state, "start", refusal, id)
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
        return refuse(state, "start", recorded, id, asker=session, now=now)
    decision = Decision(session=session.number)
    told, denied = [], []
    for member, host in state.conferences.start(conference):
        known = recorded if member is session else ()
        refused = _enter(state, conference, member, host=host, now=now, waited=True, recorded=known)
        if refused is not None:
            set_seats(state, member, "left", now)
            denial = refuse(state, "join", _with_retry(state, refused, now), id, asker=member, now=now)
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
    """End a membership."""
    session, id = state.sessions.by_number[command.session], command.conference
    conference = state.conferences.by_id.get(id)
    if conference is None or session not in conference.members:
        return refuse(state, "leave", Refusal("not_member"), id)
    state.conferences.leave(conference, session)
    set_seats(state, session, "left", now)
    return finish(state, Decision({"type": "left", "conference": id, **entitlements(state, session)}), session)


def _enter(
    state: State,
    conference: Conference,
    session: Session,
    *,
    host: bool,
    now: Instant,
    waited: bool = False,
    recorded: Collection[Ledger] = (),
) -> Refusal | None:
    """Let a session in under the enforced model, then under the others; a refusal changes nothing.

    What forbids it to a session that `waited` was recorded when it joined; models in `recorded` have recorded all that
    they have against it.
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
        creates=not known and conference.id not in conferences.declared,
        opens=conference.live and not conference.members and not known,
    )
    refusal = _rule_refusal(primary, attempt) or _conference_refusal(primary, attempt)
    if (refusal is None or not primary.enforced) and not conference.group and len(conference.members) >= 2:
        return Refusal("conference_full", "", 2, 2)
    if primary.enforced:
        refusal = refusal or _pool_refusal(primary, conference, session, host=host)
        if refusal is not None:
            return refusal
    would = [
        None
        if ledger.enforced
        else (not waited and _rule_refusal(ledger, attempt)) or _conference_refusal(ledger, attempt)
        for ledger in state.ledgers
    ]
    displaced = conferences.enter(conference, session, host=host, now=now.mono)
    state.sessions.set_awake(session, awake=True)
    for ledger, refused in zip(state.ledgers, would, strict=True):
        required = ledger.required_seats(session)
        if not ledger.enforced:
            denial = refused or ledger.first_full_pool(session, required)
            if denial is not None and ledger not in recorded:
                ledger.record_denial(denial, session, now)
        ledger.set_seats(session, required, "left", now)
    if displaced is not None:
        set_seats(state, displaced, "left", now)
    return None


def _pool_refusal(ledger: Ledger, conference: Conference, session: Session, *, host: bool) -> Refusal | None:
    """Return the refusal of the first pool without room for what the session would need as a member."""
    before = session.awake, session.conferences
    session.awake, session.conferences = True, (*session.conferences, conference)
    conference.members[session] = host
    try:
        return ledger.first_full_pool(session, ledger.required_seats(session))
    finally:
        session.awake, session.conferences = before
        del conference.members[session]


def _open(state: State, conference: Conference, session: Session, now: Instant) -> Refusal | list[Ledger]:
    """Decide whether a scheduled conference may go live, and give the starter the seat that opening it needs.

    Returns the refusal, or the models in shadow that would have refused and have recorded it.
    """
    recorded: list[Ledger] = []
    same_account = state.sessions.same_account_sessions(session)
    groups = len(state.conferences.live_groups)
    attempt = Attempt("start", session, groups, same_account, conference, host=True, opens=True)
    for ledger in state.ledgers:
        refusal = (ledger.enforced and _rule_refusal(ledger, attempt)) or _conference_refusal(ledger, attempt)
        if refusal is None and ledger.model.start_pool and session.identity is not None:
            needed = [*session.seats[ledger.index], (ledger.model.start_pool, session.identity)]
            required = tuple(dict.fromkeys(needed))
            refusal = ledger.first_full_pool(session, required)
            if refusal is None or not ledger.enforced:
                ledger.set_seats(session, required, "left", now)
        if refusal is None:
            continue
        if ledger.enforced:
            return refusal
        ledger.record_denial(refusal, session, now)
        recorded.append(ledger)
    return recorded


# -- presence and leases ---------------------------------------------------------------------------------------------


def sleep(state: State, command: Sleep, now: Instant) -> Decision:
    """Let a session be connected and not online (COUNTING.md, TrueConf)."""
    session = state.sessions.by_number[command.session]
    if session.conferences:
        return refuse(state, "sleep", Refusal("not_allowed"))
    state.sessions.set_awake(session, awake=False)
    set_seats(state, session, "asleep", now)
    return finish(state, Decision({"type": "asleep", **seats(state, session)}), session)


def wake(state: State, command: Wake, now: Instant) -> Decision:
    """Let a session be online again, if there is room."""
    session, primary = state.sessions.by_number[command.session], state.primary
    refusal = _unregistered(state)
    if refusal is not None:
        return refuse(state, "wake", refusal)
    if not session.awake:
        session.awake = True
        try:
            refusal = primary.first_full_pool(session, primary.required_seats(session))
        finally:
            session.awake = False
        if refusal is not None and _is_enforced(state, refusal, session, now):
            return refuse(state, "wake", refusal, asker=session, now=now)
        state.sessions.set_awake(session, awake=True)
        for ledger in state.ledgers:
            required = ledger.required_seats(session)
            would = ledger.first_full_pool(session, required) if ledger is not primary else None
            if would is not None:
                ledger.record_denial(would, session, now)
            ledger.set_seats(session, required, "asleep", now)
    return finish(state, Decision({"type": "awake", **seats(state, session)}), session)


def request_pro(state: State, command: RequestPro, now: Instant) -> Decision:
    """Give a user a lease without a conference (COUNTING.md, PRO leases 2)."""
    session, primary = state.sessions.by_number[command.session], state.primary
    refusal = _unregistered(state)
    if refusal is not None:
        return refuse(state, "request_pro", refusal)
    account = session.account
    if not primary.model.allows_requests(session) or account is None:
        return refuse(state, "request_pro", Refusal("not_allowed"))
    pool = primary.model.account_pool
    expires = None
    withdraw = withdrawal(state, "request_pro", session, None)
    if account not in primary.pools[pool].reservations:
        refusal = primary.leases.refusal_if_full(pool, account)
        if refusal is not None and _is_enforced(state, refusal, session, now):
            return refuse(state, "request_pro", _with_retry(state, refusal, now), asker=session, now=now)
        expires = primary.leases.grant(pool, account, now).expires
    answer: Message = {"type": "granted", "pool": pool, "expires": utc(expires)}
    return finish(state, Decision(answer, withdraw=withdraw, session=session.number), session)


# -- the pieces ------------------------------------------------------------------------------------------------------


def _rule_refusal(ledger: Ledger, attempt: Attempt) -> Refusal | None:
    """Return what the license forbids."""
    rule = ledger.model.forbids
    return rule(attempt, ledger) if rule is not None else None


def _conference_refusal(ledger: Ledger, attempt: Attempt) -> Refusal | None:
    """Return what the license says against it about the conference as a whole."""
    rule = ledger.model.conference_rule
    return rule(attempt, ledger) if rule is not None else None


def _is_enforced(state: State, refusal: Refusal, session: Session, now: Instant) -> bool:
    """Return whether a refusal of the primary model refuses; where it is not enforced it is recorded only."""
    if state.primary.enforced:
        return True
    state.primary.record_denial(refusal, session, now)
    return False


def _with_retry(state: State, refusal: Refusal, now: Instant) -> Refusal:
    """Return the refusal with when to ask again, where a lease of its pool is known to run out."""
    if refusal.reason != "pool_full" or state.primary.pools[refusal.pool].terms.lease is None:
        return refusal
    expiry = state.primary.leases.next_expiry()
    return refusal if expiry is None else refusal._replace(retry_after=max(expiry - now.wall, 1.0))
