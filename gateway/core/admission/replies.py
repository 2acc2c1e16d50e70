"""The wording of answers and notices: from a decision to the fields of a message (PROTOCOL.md, Messages)."""

from __future__ import annotations

from gateway.core.admission.decision import Decision, TakenOver
from gateway.core.admission.state import State
from gateway.core.counting.denials import asker_of
from gateway.core.counting.license_model import Refusal
from gateway.core.counting.pool_rule import holder_of
from gateway.core.counting.session import Conference, Instant, Session
from gateway.core.formats import whole_seconds
from gateway.core.wire.json_lines import Message


def entitlements(state: State, session: Session) -> Message:
    """Return what a session is told about what it holds."""
    return state.primary.model.entitlements(session, state.primary)


def session_id(state: State, number: int) -> str:
    """Return the id under which clients and operators know the session of a number; it is unique over restarts."""
    return f"s-{state.run}-{number:x}"


def seats(state: State, session: Session) -> Message:
    """Return what a session is told of the pools in which it holds a seat, and no more."""
    return {"seats": entitlements(state, session)["seats"]}


def joined(state: State, session: Session, conference: Conference) -> Message:
    """Return the answer to a `join` that was granted."""
    return {
        "type": "joined" if conference.live else "waiting",
        "conference": conference.id,
        "access": conference.access,
        "mode": conference.mode,
        "state": conference.state,
        **entitlements(state, session),
    }


def denied(request: str, refusal: Refusal, conference: str | None, retry_after: float) -> Message:
    """Return the answer to a request that is refused; `retry_after` (seconds) is named where no pool knows better."""
    answer: Message = {"type": "denied", "request": request, "reason": refusal.reason}
    if conference is not None:
        answer["conference"] = conference
    if refusal.reason == "pool_full":
        answer["pool"] = refusal.pool
    if refusal.rule:
        answer["rule"] = refusal.rule
    if refusal.limit is not None:
        answer["used"], answer["limit"] = refusal.used, refusal.limit
    if refusal.retry_after is not None:
        answer["retry_after_seconds"] = whole_seconds(refusal.retry_after)
    elif request == "hello" and refusal.reason == "pool_full":
        answer["retry_after_seconds"] = whole_seconds(retry_after)
    return answer


def refuse(
    state: State,
    request: str,
    refusal: Refusal,
    conference: str | None = None,
    *,
    asker: Session | None = None,
    now: Instant | None = None,
) -> Decision:
    """Record a refusal and return the decision that denies; of a license's refusal, `asker` and `now` say whose.

    Where the request would rather wait for a full pool, nothing is recorded.
    """
    trial = state.trial
    if trial is not None and asker is not None and _is_full(state, refusal):
        trial.refusal, trial.asker, trial.person = refusal, asker_of(asker), asker.person
        trial.who = holder_of(asker)
        return Decision(refused=refusal)
    if refusal.pool and asker is not None and now is not None:
        state.primary.record_denial(refusal, asker, now)
    return Decision(denied(request, refusal, conference, state.terms.retry_after), refused=refusal)


def _is_full(state: State, refusal: Refusal) -> bool:
    """Return whether a refusal is that of a full pool, the limit of each conference apart among them."""
    if not refusal.pool or refusal.reason not in {"pool_full", "conference_full"}:
        return False
    if refusal.rule and not refusal.limit:  # no seat can become free that it would let anybody have
        return False
    return refusal.reason == "pool_full" or not state.primary.pools[refusal.pool].terms.binding


def finish(state: State, decision: Decision, *told: Session) -> Decision:
    """Add what follows from a decision: what a store must keep, and a `status` for the other sessions of accounts that
    came by a license or lost it. Sessions in `told` hear of it already.
    """
    if state.lease_changes:
        decision.changes += state.lease_changes
        state.lease_changes.clear()
    primary = state.primary
    if primary.taken_over:
        if decision.withdraw is not None:
            taken = [
                TakenOver(pool, key, each.account, each.home, each.device, each.address, each.until)
                for pool, key, each in primary.taken_over
            ]
            decision.withdraw = decision.withdraw._replace(taken_over=tuple(taken))
        primary.taken_over.clear()
    if primary.status_changed:
        accounts = dict.fromkeys(primary.status_changed)
        primary.status_changed.clear()
        for account in accounts:
            for session in state.sessions.of_account(str(account)):
                if session not in told:
                    decision.notices.append((session.number, {"type": "status", **entitlements(state, session)}))
    return decision


def refreshed(state: State, session: Session, message: Message) -> Message:
    """Return a message that was not delivered in time, with what the session holds now."""
    current: Message = {"conferences": [each.id for each in session.conferences], **entitlements(state, session)}
    return {name: current.get(name, value) for name, value in message.items()}
