"""What time, new terms and the registration bring: expiries, redistribution, the ends of lost sessions."""

from __future__ import annotations

from gateway.core.admission.commands import EndResumables, SetGranting, SetTerms, Tick
from gateway.core.admission.decision import AuditNote, Decision
from gateway.core.admission.idleness import end_idling
from gateway.core.admission.lease_administration import redistribute
from gateway.core.admission.replies import finish
from gateway.core.admission.seat_changes import end_session, finish_removals
from gateway.core.admission.state import State
from gateway.core.admission.terms import Terms
from gateway.core.admission.waiting import time_out
from gateway.core.counting import kept_seats
from gateway.core.counting.calendar_days import Calendar
from gateway.core.counting.session import Instant
from gateway.core.formats import utc
from gateway.core.registration.license_status import GRANTING, SHUT
from gateway.core.registration.shared_license import log_reading


def tick(state: State, _: Tick, now: Instant) -> Decision:
    """End what has run out, and redistribute when it is time."""
    decision = Decision()
    if state.license.needed:
        follow_license(state, decision, now)
    for ledger in state.ledgers:
        ledger.leases.expire(now)
        ledger.end_lingering(now)
        kept_seats.end_due(ledger.pools.values(), now.mono)
    if now.mono >= state.redistribute_at and state.granting:
        redistribute(state, decision, now)
    finish_removals(state, decision)
    state.history.advance(now)
    state.use.advance(now)
    state.use.turn_some()
    state.directory.bans.forget_ended(now.wall)
    if state.sessions.idle:
        end_idling(state, decision, now)
    if state.lines:
        time_out(state, decision, now)
    for number, lost in list(state.resumable.items()):
        if lost.until > now.mono:
            break
        end_session(state, state.sessions.by_number[number], lost.cause, now)
    return finish(state, decision)


def end_resumables(state: State, _: EndResumables, now: Instant) -> Decision:
    """End the sessions that wait to be resumed."""
    _end_resumables(state, now)
    return finish(state, Decision())


def _end_resumables(state: State, now: Instant) -> None:
    for number, lost in list(state.resumable.items()):
        end_session(state, state.sessions.by_number[number], lost.cause, now)


def set_terms(state: State, command: SetTerms, now: Instant) -> Decision:
    """Take other terms: limits of the same models, which of them is enforced, the gateway's own rules.

    Raises `KeyError` where the terms are not of the models that count, `ValueError` where they are for another license;
    nothing is changed then.
    """
    if command.terms.serial != state.license.serial:
        raise ValueError("the license of a cluster stays the same as long as it lives")
    take_terms(state, state.terms_with(state.license.status.grant, command.terms), now)
    state.configured = command.terms
    return finish(state, Decision())


def take_terms(state: State, terms: Terms, now: Instant) -> None:
    """Decide under these terms.

    Raises `KeyError`, and changes nothing, where they are not of the models that count.
    """
    primary = state.ledger_of(terms.model)
    models = [terms.license_model(ledger.model.name, state.catalog) for ledger in state.ledgers]
    ruled = (terms.rules, primary) != (state.terms.rules, state.primary)
    state.terms = terms
    for ledger in state.ledgers:
        ledger.is_primary = ledger is primary
        ledger.enforced = terms.enforce and ledger.is_primary
        if primary is not state.primary:
            ledger.status_changed.clear()
    state.primary = primary
    for ledger, model in zip(state.ledgers, models, strict=True):
        ledger.apply_terms(model, terms.overdraft, terms.high_water_window, terms.shadow_leases, now)
        pools = ledger.pools.values()
        kept_seats.bound(pools, now.mono + (terms.returning if ledger.enforced else 0.0))
        kept_seats.end_due(pools, now.mono)
    if not terms.preempt:
        state.sessions.idle_seats = None
    if ruled:
        state.bind_rules()
        state.lines.sort_anew(primary)
    state.history.apply_window(terms.true_denial_window)
    state.use.calendar, state.use.most = Calendar(terms.offsets), terms.max_shares
    state.use.advance(now)
    state.note_models()
    state.license.status.grace = terms.grace


def set_granting(state: State, command: SetGranting, _: Instant) -> Decision:
    """Let things be granted, or nothing any more."""
    state.granting = command.granting
    return Decision()


def follow_license(state: State, decision: Decision, now: Instant) -> None:
    """See where the license stands at this instant; where it is over nobody may resume a session any more."""
    license = state.license
    at = log_reading(now.wall)
    shown = license.status.state(at)
    state.granting = shown in GRANTING
    if shown is license.shown:
        return
    license.shown = shown
    detail = {"reason": license.status.reason(at), "shutdown_at": utc(license.status.shutdown_at(at))}
    decision.audit.append(AuditNote(f"registration.{shown}", license.serial, detail))
    if shown in SHUT:
        _end_resumables(state, now)
