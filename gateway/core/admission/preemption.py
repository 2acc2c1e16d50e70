"""Taking the seat of somebody idle for somebody of a higher priority (COUNTING.md, Preemption).

`seats_to_take` looks for them and changes nothing, so that a request that is refused for something else takes nothing;
`take` takes them when all else is settled.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from gateway.core.admission.directory import Priorities
from gateway.core.admission.idle_seats import IdleSeats, priority_of
from gateway.core.admission.lines import line_before
from gateway.core.admission.replies import entitlements
from gateway.core.admission.seat_changes import fall_asleep
from gateway.core.admission.state import State
from gateway.core.counting.ledger import Ledger
from gateway.core.counting.license_model import PREEMPTED, Refusal
from gateway.core.counting.rule_refusals import refusal_of_rules
from gateway.core.counting.session import Instant, Key, Seat, Session
from gateway.core.wire.json_lines import Message

Notices = list[tuple[int, Message]]


class Candidate(NamedTuple):
    """A seat of somebody idle; who has the lowest priority, and has been idle longest, loses it first."""

    priority: int
    since: float
    key: Key


def seats_to_take(
    state: State,
    refusal: Refusal,
    session: Session,
    required: Collection[Seat],
    leaving: Session | None = None,
    kept: Collection[Session] = (),
) -> list[Seat] | None:
    """Return the seats of others, but not of those in `kept`, that must be taken so that a session gets those it
    requires, which a full pool refuses it; None where that cannot be. Seats that only `leaving` holds, and would give
    back, count as free.
    """
    terms, primary = state.terms, state.primary
    if not (terms.preempt and primary.enforced) or refusal.reason != "pool_full" or refusal.rule:
        return None
    priority = priority_of(session, state.directory.priorities())
    if not priority:
        return None
    if primary.ruled and _rule_refuses(primary, session, required, leaving):
        return None
    found: list[Seat] = []
    new = primary.new_seats(session, required, leaving)
    for name in dict.fromkeys([name for name, _ in new]):
        seats, pool = [seat for seat in new if seat[0] == name], primary.pools[name]
        for_others = pool.rules.kept_from(session) if pool.rules is not None else 0
        freed = len(primary.given_back(name, leaving, required)) if leaving is not None else 0
        if pool.used - freed + len(seats) <= pool.granted_below - for_others and not _is_behind(state, session, seats):
            continue
        best = None
        if len(seats) == 1 and pool.used <= pool.granted_below - for_others:
            best = _best(state, name, session, priority, frozenset({session, leaving, *kept}))
        if best is None:
            return None
        found.append((name, best.key))
    return found


def take(state: State, seats: Collection[Seat], now: Instant) -> Notices:
    """Take seats of those who are idle, and return what they are told."""
    primary, notices = state.primary, Notices()
    for name, key in seats:
        if name == primary.model.account_pool:
            primary.leases.end(name, key, PREEMPTED, now)
            for session in state.sessions.of_account(str(key)):
                status: Message = {"type": "status", "reason": PREEMPTED, **entitlements(state, session)}
                notices.append((session.number, status))
            primary.status_changed = [each for each in primary.status_changed if each != key]  # they are told
            continue
        for claim in list(primary.pools[name].claims.values_of(key)):
            if isinstance(claim, Session):
                notices += fall_asleep(state, claim, PREEMPTED, now)
    return notices


def _is_behind(state: State, session: Session, seats: Collection[Seat]) -> bool:
    """Return whether somebody waits for one of these seats who came before."""
    rank = state.trial.rank if state.trial is not None else None
    return any(line_before(state.lines, rank, state.primary, session, seat) is not None for seat in seats)


def _rule_refuses(primary: Ledger, session: Session, required: Collection[Seat], leaving: Session | None) -> bool:
    """Return whether a rule for seats has no room for a session: no seat that is taken makes it any."""
    added = primary.added_seats(session, required)
    for name, pool in primary.pools.items():
        keys = [key for each, key in added if each == name]
        freed = primary.given_back(name, leaving, required) if leaving is not None else ()
        if keys and refusal_of_rules(pool, session, keys, freed) is not None:
            return True
    return False


def _best(state: State, name: str, who: Session, below: int, but: frozenset[Session | None]) -> Candidate | None:
    """Return the seat of a pool that is taken first for somebody, of those whose holders have a lower priority than
    `below`, and that are not kept for others than `who`.
    """
    best: Candidate | None = None
    rules, priorities = state.primary.pools[name].rules, state.directory.priorities()
    for earliest, key in _idle_keys(state, name, below, priorities):
        if best is not None and best[:2] <= earliest:
            break
        candidate = _candidate(state, name, key, but, priorities)
        if candidate is None or candidate.priority >= below or (best is not None and candidate[:2] >= best[:2]):
            continue
        if rules is None or not rules.keeps_from(who, key):
            best = candidate
    return best


def _idle_keys(state: State, name: str, below: int, priorities: Priorities) -> Iterator[tuple[tuple[int, float], Key]]:
    """Yield the keys of a pool that somebody idle of a lower priority than `below` has, with the least priority and
    time that its seat, and those after it, may have.
    """
    primary, sessions = state.primary, state.sessions
    unused = primary.pools[name].unused_leases if name == primary.model.account_pool else None
    order = sessions.idle_seats
    if order is None or order.ledger is not primary or order.priorities is not priorities:
        order = sessions.idle_seats = IdleSeats(primary, priorities, sessions.all_idle())
    for priority, since, number in order.of_pool(name):
        if priority >= below:
            return
        session = sessions.by_number[number]
        if unused is not None:
            if session.account is not None and session.account in unused:
                yield (priority, since), session.account
            continue
        for pool, key in session.seats[primary.index]:
            if pool == name:
                yield (priority, since), key


def _candidate(
    state: State, name: str, key: Key, but: frozenset[Session | None], priorities: Priorities
) -> Candidate | None:
    """Return the seat of a key, if everybody who has it is idle; None where it cannot be taken."""
    primary = state.primary
    pool = primary.pools[name]
    holders: Collection[Session]
    if name == primary.model.account_pool:
        holders = state.sessions.of_account(str(key))
    else:
        claims = pool.claims.values_of(key)
        holders = [each for each in claims if isinstance(each, Session)]
        if len(holders) < len(claims):
            return None
    priority, since = 0, 0.0
    for holder in holders:
        idle_since = state.sessions.idle_since(holder)
        if idle_since is None or holder in but:
            return None
        priority = max(priority, priority_of(holder, priorities))
        since = max(since, idle_since)
    return Candidate(priority, since, key) if holders else None
