"""Undoing a grant that could not be made durable.

A decision takes effect at once; its answer waits for the commit. Where the commit does not come, the decision is
undone and nobody has heard of it. Before such a decision `withdrawal` notes what it is about to change; `withdraw`
undoes it. Between the two others may have come, gone or been told something: what they did stays.
"""

from __future__ import annotations

from gateway.core.admission.decision import Decision, LeaseBefore, Withdraw
from gateway.core.admission.replies import finish, refuse
from gateway.core.admission.returning import give_back
from gateway.core.admission.seat_changes import set_seats
from gateway.core.admission.state import State
from gateway.core.counting.license_model import REVOKED, Refusal
from gateway.core.counting.session import Conference, Identity, Instant, Session


def withdrawal(
    state: State, request: str, session: Session, conference: Conference | None, *, host: bool = False
) -> Withdraw | None:
    """Return the command that undoes what is about to be decided; None where the primary model leases nothing.

    `host` says whether a `join` is that of a host.
    """
    if not state.primary_leases:
        return None
    if conference is None:
        return Withdraw(request, session.number, leases=_leases_of(state, session.identity))
    if request == "start":
        waiting = tuple([(each.number, host) for each, host in conference.members.items()])
        asleep = tuple([each.number for each in conference.members if not each.awake])
        accounts = dict.fromkeys([each.identity for each in conference.members])
        leases = tuple([lease for account in accounts for lease in _leases_of(state, account)])
    else:
        waiting, asleep = (), () if session.awake else (session.number,)
        leases = _leases_of(state, session.identity)
    return Withdraw(
        request,
        session.number,
        conference.id,
        conference.number or state.numbers.conferences.last + 1,
        asleep,
        waiting,
        (),
        host,
        conference.hosted,
        conference.implied_host.number if conference.implied_host is not None else None,
        conference.had_implied_host,
        conference.access,
        conference.mode,
        conference.server,
        leases,
    )


def _leases_of(state: State, account: Identity | None) -> tuple[LeaseBefore, ...]:
    if account is None:
        return ()
    found = []
    for model, name, leases in state.leases:
        lease = leases.get(account)
        before = (False, None) if lease is None else (True, lease.expires)
        found.append(LeaseBefore(model, name, account, *before))
    return tuple(found)


def withdraw(state: State, command: Withdraw, now: Instant) -> Decision:
    """Put back memberships, presence and leases; the answer denies the request that was granted.

    Raises `KeyError`, and changes nothing, where it names a model or a pool that does not count.
    """
    sessions = state.sessions.by_number
    held = [state.ledger_of(each.model).pools[each.pool].leases for each in command.leases]
    asker = sessions.get(command.session)
    for ledger in state.ledgers:
        ledger.leases.undone = frozenset(
            (each.pool, each.key) for each in command.leases if each.model == ledger.model.name and not each.existed
        )
    touched = _put_back(state, command, now)
    if asker is not None:
        touched[asker] = None
    for session in touched:
        if session.number in command.asleep and not session.conferences:
            state.sessions.set_awake(session, awake=False)
        set_seats(state, session, "left", now)
    give_back(state, command.taken_over, now)
    for ledger in state.ledgers:
        ledger.leases.undone = frozenset()
    for before, leases in zip(command.leases, held, strict=True):
        if before.key not in leases:
            continue
        ledger = state.ledger_of(before.model)
        if before.existed:
            ledger.leases.restore_expiry(before.pool, before.key, before.expires)
        else:
            ledger.leases.end(before.pool, before.key, REVOKED, now)
    denial = refuse(state, command.request, Refusal("store_unavailable"), command.conference)
    return finish(state, denial, *touched)


def _put_back(state: State, command: Withdraw, now: Instant) -> dict[Session, None]:
    """Put back who was a member of the conference, and return whose seats follow from it.

    A conference that has ended meanwhile stays so, unless nobody was let in by the `start` that is undone: then those
    who waited wait again. Another conference of its name is left alone.
    """
    if command.conference is None:
        return {}
    sessions = state.sessions.by_number
    conference = state.conferences.by_id.get(command.conference)
    if conference is None and command.request == "start":
        conference = Conference(command.conference, access=command.access, mode=command.mode, server=command.server)
        conference.number = command.conference_number
    if conference is None or conference.number != command.conference_number:
        return {}
    touched: dict[Session, None] = {}
    asker = sessions.get(command.session)
    if command.request == "start":
        touched = _wait_again(state, command, conference, now)
    elif asker is not None and asker in conference.members:
        state.conferences.leave(conference, asker)
    if command.host or command.request == "start":  # else it changed nothing about it, and members may be many
        conference.hosted = command.hosted or any(conference.members.values())
    host = sessions.get(command.implied_host or 0)
    if conference.implied_host is None and host is not None and host in conference.members and not conference.hosted:
        conference.implied_host = host
        touched[host] = None
    conference.had_implied_host = command.had_implied_host or conference.implied_host is not None
    return touched


def _wait_again(state: State, command: Withdraw, conference: Conference, now: Instant) -> dict[Session, None]:
    """Let a conference be scheduled again: those who waited and have not left wait as before, then whoever came later.

    Returns the sessions whose memberships were put back.
    """
    sessions = state.sessions.by_number
    waited = {sessions[number]: host for number, host in command.waiting if number in sessions}
    present = dict(conference.members)
    back = {each: host for each, host in waited.items() if each in present or each.number in command.denied}
    later = {each: host for each, host in present.items() if each not in waited}
    for session in present:
        state.conferences.leave(conference, session)
    state.conferences.reschedule(conference)
    for session, host in {**back, **later}.items():
        state.conferences.enter(conference, session, host=host, now=now.mono)
    return dict.fromkeys([*back, *later])
