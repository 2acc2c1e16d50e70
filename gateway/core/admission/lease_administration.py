"""What operators and time decide about leases: revocation, redistribution, deletion, names of hosts, expiry.

Sessions that lose what they use are told by `removed`, their account's other devices by `status`.
"""

from __future__ import annotations

from gateway.core.admission.commands import DeleteAccount, NameHost, ReleaseHost, RevokeLease
from gateway.core.admission.decision import AuditNote, Decision, DirectoryChange
from gateway.core.admission.line_ends import end_waiting_hellos
from gateway.core.admission.replies import finish
from gateway.core.admission.returning import end_seats_of
from gateway.core.admission.seat_changes import end_session, finish_removals, remove_member
from gateway.core.admission.state import State
from gateway.core.counting.ledger import Ledger
from gateway.core.counting.license_model import REVOKED, Refusal
from gateway.core.counting.pool_rule import Holder
from gateway.core.counting.rule_refusals import refusal_of_pool
from gateway.core.counting.session import Identity, Instant


def revoke_lease(state: State, command: RevokeLease, now: Instant) -> Decision:
    """End a temporary lease at once; members of live group conferences are removed (COUNTING.md, PRO leases 6)."""
    account, ledger = command.account, state.account_ledger()
    pool = ledger.pools[ledger.model.account_pool] if ledger is not None else None
    if ledger is None or pool is None or account not in pool.claims:
        return Decision(refused=Refusal("no_such_license"))
    if account in pool.reservations:
        return Decision(refused=Refusal("permanent"))
    if pool.leases[account].deleted:
        return Decision(refused=Refusal("account_deleted"))
    decision = Decision()
    decision.audit.append(AuditNote.of("license.revoked", account, model=ledger.model.name))
    if ledger.enforced:
        _take_out(state, account, ledger, decision, now)
    ledger.leases.end(ledger.model.account_pool, account, REVOKED, now)
    return finish_removals(state, decision)


def redistribute(state: State, decision: Decision, now: Instant) -> None:
    """Put the groups' permanent accounts into effect, in every model that has them (COUNTING.md, PRO leases 5).

    Where a license has none any more, the earlier ones become temporary. `decision.beyond_pool` names those for whom
    the enforced pool is too small.
    """
    state.redistribute_at = now.mono + state.terms.redistribute_every
    state.permanent = state.directory.permanent_accounts()
    for ledger in state.ledgers:
        model = ledger.model
        if not model.account_pool:
            continue
        permanent = state.permanent if model.allows_reservations else ()
        plan = ledger.leases.plan_redistribution(model.account_pool, permanent, now, enforced=ledger.enforced)
        if ledger.enforced:
            decision.beyond_pool = tuple(str(key) for key in plan.beyond)
            for key in plan.lost:
                _take_out(state, str(key), ledger, decision, now)
        ledger.leases.redistribute(plan, now)


def _take_out(state: State, account: Identity, ledger: Ledger, decision: Decision, now: Instant) -> None:
    """Take an account out of the conferences in which it uses what it is about to lose."""
    seat = (ledger.model.account_pool, account)
    for session in state.sessions.of_account(account):
        if seat in session.seats[ledger.index]:
            lost = [conference for conference in session.conferences if conference.live and conference.group]
            remove_member(state, session, lost, "license_withdrawn", decision, now)


def delete_account(state: State, command: DeleteAccount, now: Instant) -> Decision:
    """Delete an account: its sessions end, and what it holds is bound to its end (COUNTING.md, PRO leases 7)."""
    account, directory = command.account, state.directory
    if not state.is_known(account):
        return Decision(refused=Refusal("no_such_account"))
    decision = Decision()
    decision.audit.append(AuditNote("account.deleted", account))
    directory.accounts.pop(account, None)
    decision.changes.append(DirectoryChange("account", account, None))
    for name, group in list(directory.groups.items()):
        if account in group.accounts:
            left = tuple(each for each in group.accounts if each != account)
            state.set_group(name, group._replace(accounts=left))
            decision.changes.append(DirectoryChange("group", name, directory.groups[name]))
    for ledger in state.ledgers:  # before its sessions let go of it: no other lease is forgotten for it
        if ledger.model.account_pool:
            ledger.leases.bind_deleted_account(ledger.model.account_pool, account, now)
    for session in state.sessions.of_account(account):
        end_session(state, session, "account_deleted", now)
        decision.closings.append((session.number, "account_deleted"))
    end_seats_of(state, account, "account_deleted", now)
    if state.lines:
        end_waiting_hellos(state, decision, account, "account_deleted", now)
    return finish(state, decision)


def name_host(state: State, command: NameHost, now: Instant) -> Decision:
    """Give an account a host's name, or find that it has it (COUNTING.md, Nefsis named)."""
    account, ledger = command.account, state.host_ledger()
    if ledger is None:
        return Decision(refused=Refusal("no_named_hosts"))
    if not state.granting:
        return Decision(refused=Refusal("unregistered"))
    pool = ledger.model.start_pool
    decision = Decision()
    if not ledger.is_leased(pool, account):
        refusal = _refusal_of_account(ledger, pool, account)
        if refusal is not None:
            return Decision(refused=refusal)
        ledger.leases.grant(pool, account, now)
        decision.audit.append(AuditNote.of("host.named", account))
    return finish(state, decision)


def _refusal_of_account(ledger: Ledger, name: str, account: Identity) -> Refusal | None:
    """Return the refusal of a pool without room for an account, where no session asks for it."""
    pool = ledger.pools[name]
    if pool.rules is None or not ledger.enforced:
        return ledger.leases.refusal_if_full(name, account)
    return refusal_of_pool(pool, Holder(account), (account,))


def release_host(state: State, command: ReleaseHost, now: Instant) -> Decision:
    """Free the name of a host; it hosts no longer, its conferences go on."""
    account, ledger = command.account, state.host_ledger()
    if ledger is None:
        return Decision(refused=Refusal("no_named_hosts"))
    pool = ledger.model.start_pool
    if not ledger.is_leased(pool, account):
        return Decision(refused=Refusal("no_such_host"))
    decision = Decision()
    decision.audit.append(AuditNote.of("host.released", account))
    for session in state.sessions.of_account(account):
        for conference in session.conferences:
            if conference.live:
                conference.released_hosts[session] = None
        required = ledger.required_seats(session)
        ledger.set_seats(session, required, REVOKED, now)
        session.hold(ledger.index, required)
    if ledger.is_leased(pool, account):  # no session held it
        ledger.leases.end(pool, account, REVOKED, now)
    return finish(state, decision)
