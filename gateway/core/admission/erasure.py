"""Forgetting a person: of an account nothing is left in the state, neither what it holds nor whose the past was.

What its use came to goes on as nobody's, so that sums stay exact; refusals that could still be followed by a grant
count as true ones (COUNTING.md, Who used it).
"""

from __future__ import annotations

from gateway.core.admission.bans import account_subject
from gateway.core.admission.commands import ErasePerson
from gateway.core.admission.decision import AuditNote, Decision, DirectoryChange
from gateway.core.admission.line_ends import end_waiting_hellos
from gateway.core.admission.replies import finish
from gateway.core.admission.seat_changes import end_session
from gateway.core.admission.state import State
from gateway.core.counting.license_model import Refusal
from gateway.core.counting.session import Identity, Instant

CAUSE = "account_deleted"


def erase_person(state: State, command: ErasePerson, now: Instant) -> Decision:
    """Forget an account. One that is connected, waits to be, or holds a license of the model that decides is refused,
    unless the command forces it: then all of that ends at once.
    """
    who = command.account
    if not command.force and is_present(state, who):
        return Decision(refused=Refusal("person_present"))
    decision = Decision()
    decision.audit.append(AuditNote("person.erased", "", {"forced": command.force}))
    _forget_directory(state, who, decision)
    for ledger in state.ledgers:  # leases end with the last session, and no other is forgotten for them
        ledger.leases.undone = frozenset((name, who) for name, pool in ledger.pools.items() if pool.terms.leased)
    for session in state.sessions.of_account(who):
        end_session(state, session, CAUSE, now)
        decision.closings.append((session.number, CAUSE))
    if state.lines:
        end_waiting_hellos(state, decision, who, CAUSE, now)
    for ledger in state.ledgers:
        ledger.leases.undone = frozenset()
        ledger.forget(who, now)
    state.use.forget(who, now)
    return finish(state, decision)


def is_present(state: State, who: Identity) -> bool:
    """Return whether an account has a session, waits to be welcomed, or holds a license of the model that decides."""
    return (
        bool(state.sessions.of_account(who))
        or any(place.session is None and place.asker == ("account", who) for place in state.lines.values())
        or any(who in pool.leases or who in pool.reservations for pool in state.primary.pools.values())
    )


def _forget_directory(state: State, who: Identity, decision: Decision) -> None:
    directory = state.directory
    if isinstance(who, str):
        if directory.accounts.pop(who, None) is not None:
            decision.changes.append(DirectoryChange("account", who, None))
        for name, group in list(directory.groups.items()):
            if who in group.accounts:
                left = tuple(each for each in group.accounts if each != who)
                state.set_group(name, group._replace(accounts=left))
                decision.changes.append(DirectoryChange("group", name, directory.groups[name]))
        if who in state.permanent:
            state.permanent.remove(who)
    subject = account_subject(who)
    if directory.bans.lift(subject):
        decision.changes.append(DirectoryChange("ban", subject, None))
