"""What decisions about several requests have in common: who refuses, whether that binds, and when to ask again."""

from __future__ import annotations

from gateway.core.admission.state import State
from gateway.core.counting.ledger import Ledger
from gateway.core.counting.license_model import Attempt, Refusal
from gateway.core.counting.session import Instant, Session


def unregistered(state: State) -> Refusal | None:
    """Return the refusal of a gateway whose registration lets nothing be granted."""
    return None if state.granting else Refusal("unregistered", retry_after=state.terms.retry_after)


def rule_refusal(ledger: Ledger, attempt: Attempt) -> Refusal | None:
    """Return what the license forbids."""
    rule = ledger.model.forbids
    return rule(attempt, ledger) if rule is not None else None


def conference_refusal(ledger: Ledger, attempt: Attempt) -> Refusal | None:
    """Return what the license says against it about the conference as a whole."""
    rule = ledger.model.conference_rule
    return rule(attempt, ledger) if rule is not None else None


def is_enforced(state: State, refusal: Refusal, session: Session, now: Instant) -> bool:
    """Return whether a refusal of the primary model refuses; where it is not enforced it is recorded only."""
    if state.primary.enforced:
        return True
    state.primary.record_denial(refusal, session, now)
    return False


def with_retry(state: State, refusal: Refusal, now: Instant) -> Refusal:
    """Return the refusal with when to ask again, where a lease of its pool is known to run out."""
    if refusal.reason != "pool_full" or state.primary.pools[refusal.pool].terms.lease is None:
        return refusal
    expiry = state.primary.leases.next_expiry()
    return refusal if expiry is None else refusal._replace(retry_after=max(expiry - now.wall, 1.0))
