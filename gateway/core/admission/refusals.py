"""What decisions about several requests have in common: who refuses, whether that binds, and when to ask again."""

from __future__ import annotations

from collections.abc import Collection

from gateway.core.admission.lines import behind
from gateway.core.admission.state import State
from gateway.core.counting.ledger import Ledger
from gateway.core.counting.license_model import Attempt, Refusal
from gateway.core.counting.session import Instant, Seat, Session


def unregistered(state: State) -> Refusal:
    """Return the refusal of a gateway whose registration lets nothing be granted (`State.granting`)."""
    return Refusal("unregistered", retry_after=state.terms.retry_after)


def is_enforced(state: State, refusal: Refusal, session: Session, now: Instant) -> bool:
    """Return whether a refusal of the primary model refuses; where it is not enforced it is recorded only."""
    if state.primary.enforced:
        return True
    state.primary.record_denial(refusal, session, now)
    return False


def against(state: State, attempt: Attempt, *, forbids: bool = True) -> dict[Ledger, Refusal]:
    """Return what the rules of models that refuse nobody have against an attempt; if not `forbids`, only what they have
    against the conference as a whole.
    """
    found = {}
    for ledger in state.with_rules if attempt.conference is not None else state.forbidding:
        refusal = None if ledger.enforced else ledger.refusal(attempt, forbids=forbids)
        if refusal is not None:
            found[ledger] = refusal
    return found


def with_retry(state: State, refusal: Refusal, now: Instant) -> Refusal:
    """Return the refusal with when to ask again, where a lease of its pool is known to run out."""
    if refusal.reason != "pool_full" or refusal.rule or state.primary.pools[refusal.pool].terms.lease is None:
        return refusal
    expiry = state.primary.leases.next_expiry()
    return refusal if expiry is None else refusal._replace(retry_after=max(expiry - now.wall, 1.0))


def overtaking(
    state: State, session: Session, seats: Collection[Seat], leaving: Session | None = None
) -> Refusal | None:
    """Return the refusal of a request for `seats` that would overtake who waits for one (COUNTING.md, Waiting)."""
    rank = state.trial.rank if state.trial is not None else None
    return behind(state.lines, rank, state.primary, session, seats, leaving)
