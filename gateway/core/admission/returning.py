"""Seats that are kept for those who come back: how they begin after a restart, and end before their time
(COUNTING.md, Returning).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import NamedTuple

from gateway.core.admission.bans import BanSubject
from gateway.core.admission.decision import TakenOver
from gateway.core.admission.state import State
from gateway.core.counting import kept_seats
from gateway.core.counting.returning import Returning, number_of, place_of, with_number
from gateway.core.counting.session import Identity, Instant, Key, Session


class HeldSeat(NamedTuple):
    """A seat that was held at the last recorded instant of a run, and who held it.

    `left` is for how many seconds more it was kept for who comes back, None where a session held it.
    """

    model: str
    pool: str
    key: Key
    account: str
    home: str
    device: str
    address: str
    left: float | None = None


def keep_seats(state: State, held: Iterable[HeldSeat], now: Instant) -> None:
    """Keep the seats that were held when the last run ended, where the model is enforced and lets none outlive its
    sessions anyway. What was kept already is kept for as long as was left of its time. A state that goes on from the
    last run has the seats of sessions that were sent away: their time begins anew.
    """
    returning, ledger = state.terms.returning, state.primary
    known = {(name, key): claim for name, pool in ledger.pools.items() for key, claim in pool.returning.items()}
    numbers = itertools.count(1 + max([0, *(-number_of(key) for _, key in known)]))
    for seat in held if ledger.enforced else ():
        pool = ledger.pools.get(seat.pool)
        left = returning if seat.left is None else min(seat.left, returning)
        if seat.model != ledger.model.name or pool is None or pool.leased or left <= 0:
            continue
        if (seat.pool, seat.key) in known:
            known[seat.pool, seat.key].until = now.mono + left
            continue
        claim = Returning(seat.account, seat.home, seat.device, seat.address, now.mono + left)
        if state.directory.bans.of(claim, seat.address, now.wall) is None:
            key = _key_now(state, seat)
            if place_of(key) is not None:
                key = with_number(key, -next(numbers))  # those of sessions are positive
            kept_seats.keep_for(pool, key, claim, now.mono)


def _key_now(state: State, seat: HeldSeat) -> Key:
    """Return the key that a seat has under the present terms, which may count by another fact than the last run did."""
    facts = Session(0, account=seat.account or None, home=seat.home, device=seat.device or None, address=seat.address)
    return dict(state.primary.required_seats(facts)).get(seat.pool, seat.key)


def give_back(state: State, taken: Iterable[TakenOver], now: Instant) -> None:
    """Keep seats again whose taking over is undone."""
    for each in taken if state.primary.enforced and state.terms.returning else ():
        pool = state.primary.pools.get(each.pool)
        if pool is not None and (place_of(each.key) is None or each.key not in pool.claims):
            kept_seats.keep_for(pool, each.key, Returning(*each[2:]), now.mono)


def end_seats_of(state: State, account: Identity, cause: str, now: Instant) -> None:
    """Keep no seat for an account any more."""
    for pool in state.primary.pools.values():
        for key in [key for key, claim in pool.returning.items() if claim.identity == account]:
            kept_seats.end(pool, key, cause, now.mono)


def end_banned_seats(state: State, subject: BanSubject, now: Instant) -> None:
    """Keep no seat any more for those whom a ban of `subject` binds: they cannot come back."""
    for pool in state.primary.pools.values():
        if pool.returning:
            bound = dict.fromkeys(state.directory.bans.bound(subject, pool.returning.values()))
            for key in [key for key, claim in pool.returning.items() if claim in bound]:
                kept_seats.end(pool, key, "kicked", now.mono)
