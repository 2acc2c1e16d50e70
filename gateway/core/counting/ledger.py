"""The ledger of one license model: which session holds which seats of its pools.

`refusal` and `first_full_pool` decide, `follow` and `admit` act: between the two nothing is awaited, so a decision is
atomic. Seats that outlive their sessions are the business of `leases`.
"""

from __future__ import annotations

from collections.abc import Collection

from gateway.core.counting.denials import asker_of
from gateway.core.counting.leases import LeaseChange, Leases
from gateway.core.counting.license_model import FORGOTTEN, Attempt, LicenseModel, Refusal
from gateway.core.counting.numbers import Numbers
from gateway.core.counting.pool import Linger, Pool
from gateway.core.counting.session import ABRUPT, VISITORS, Instant, Key, Seat, Session

LINEAR_SEARCH_LIMIT = 8
"""Seats that are searched one by one; more are hashed first."""


class Ledger:
    """All pools of one model. `index` is its place among the ledgers (and in `Session.seats`).

    `is_primary` says whether this is the model that decides, enforced or not; `changes` takes what a store must keep.
    `overdraft` counts where the model is enforced, `kept` (seats that no session holds) where it is not; `window`
    (seconds) is that of the high-water mark.
    """

    def __init__(
        self,
        model: LicenseModel,
        index: int,
        changes: list[LeaseChange],
        numbers: Numbers,
        *,
        enforced: bool,
        now: Instant,
        overdraft: int = 0,
        window: float = 180.0,
        kept: int | None = None,
    ) -> None:
        self.index = index
        self.enforced = enforced
        self.is_primary = not index
        self.pools = {
            terms.name: Pool(terms, window, now.mono, intervals=numbers.intervals, episodes=numbers.episodes)
            for terms in model.pools
        }
        self.leases = Leases(model.name, self.pools, changes, numbers.leases, self._mark_changed)
        self.status_changed: list[Key] = []
        """Keys of the primary model's account pool that came or went since somebody last looked."""
        self.apply_terms(model, overdraft, window, kept, now)

    def apply_terms(self, model: LicenseModel, overdraft: int, window: float, kept: int | None, now: Instant) -> None:
        """Take the limits of the same model under other terms. A lowered limit drops nobody, but no key is reserved
        beyond it: a reservation is one of the seats, not one more.
        """
        self.model = model
        self.leases.overdraft = self.overdraft = overdraft if self.enforced else 0
        self.leases.kept = None if self.enforced else kept
        self._limited = [terms.name for terms in model.pools if terms.limit is not None and terms.binding]
        for terms in model.pools:
            pool = self.pools[terms.name]
            pool.advance(now.mono)
            pool.apply_terms(terms, window)
            if terms.reserve:
                self.leases.reserve_configured(terms, now)

    # -- what the rules of the model may ask -------------------------------------------------------------------------

    def holds(self, pool: str, key: Key) -> bool:
        """Return whether somebody holds `key` in a pool."""
        return key in self.pools[pool].claims

    def is_leased(self, pool: str, key: Key) -> bool:
        """Return whether `key` has a lease in a pool."""
        return key in self.pools[pool].leases

    def lease_expires(self, pool: str, key: Key) -> float | None:
        """Return when the lease of `key` runs out, in seconds UTC; None if it has none or does not run out yet."""
        lease = self.pools[pool].leases.get(key)
        return None if lease is None else lease.expires

    def pools_held(self, session: Session) -> list[str]:
        """Return the names of the pools in which a session holds a seat, in the model's order."""
        seats = session.seats[self.index]
        if len(seats) < 2:
            return [pool for pool, _ in seats]
        held = {pool for pool, _ in seats}
        return [name for name in self.pools if name in held]

    # -- what speaks against a step ----------------------------------------------------------------------------------

    def refusal(self, attempt: Attempt, *, forbids: bool = True) -> Refusal | None:
        """Return what the license forbids, if `forbids`, or else what it has against the conference as a whole."""
        model = self.model
        refused = model.forbids(attempt, self) if forbids and model.forbids is not None else None
        if refused is None and model.conference_rule is not None:
            refused = model.conference_rule(attempt, self)
        return refused

    def pool_refusal(self, session: Session, leaving: Session | None = None) -> Refusal | None:
        """Return the refusal of the first full pool, where the facts of `session` ask for more than it holds."""
        return self.first_full_pool(session, self.required_seats(session), leaving)

    def required_seats(self, session: Session) -> Collection[Seat]:
        """Return the seats that the facts of `session` give it in this model."""
        return self.model.seats(session, self.enforced) if session.kind not in VISITORS else ()

    def first_full_pool(
        self, session: Session, seats: Collection[Seat], leaving: Session | None = None
    ) -> Refusal | None:
        """Return the refusal of the first pool, in the model's order, that cannot hold the keys `seats` adds to those
        that `session` holds; None if all fit. Keys that only `leaving` holds, and would give back, count as free.
        """
        held = session.seats[self.index]
        if not seats or seats == held or not self._limited:
            return None
        if len(seats) == 1 and leaving is None:  # nearly always
            ((name, key),) = seats
            pool = self.pools[name]
            limit = pool.terms.limit if pool.terms.binding else None
            if limit is None or key in pool.claims or pool.used < limit + self.overdraft:
                return None
            return Refusal("pool_full", name, pool.used, limit)
        had = _searchable(held)
        new = [seat for seat in seats if seat not in had and seat[1] not in self.pools[seat[0]].claims]
        for name in self._limited if new else ():
            pool = self.pools[name]
            count = sum(each == name for each, _ in new)
            freed = self._freed(name, leaving, seats) if leaving is not None else 0
            limit = pool.terms.limit
            if count > freed and limit is not None and pool.used - freed + count > limit + self.overdraft:
                return Refusal("pool_full", name, pool.used, limit)
        return None

    def _freed(self, name: str, leaving: Session, seats: Collection[Seat]) -> int:
        claims = self.pools[name].claims
        return sum(
            pool == name and (pool, key) not in seats and claims.has_only(key, leaving)
            for pool, key in leaving.seats[self.index]
        )

    def record_denial(self, refusal: Refusal, session: Session, now: Instant) -> None:
        """Record a denial of this model, and who was denied."""
        asker = asker_of(session) if self.enforced else None
        self.pools[refusal.pool].record_denial(refusal.reason, asker, now.mono)

    # -- seats -------------------------------------------------------------------------------------------------------

    def follow(self, session: Session, cause: str, now: Instant) -> None:
        """Let `session` hold the seats that its facts give it; what it gives back is released for `cause`."""
        self.set_seats(session, self.required_seats(session), cause, now)

    def admit(
        self, session: Session, cause: str, now: Instant, refused: Refusal | None = None, *, record: bool = True
    ) -> None:
        """Let `session` hold the seats that its facts give it after a step that was granted. A model that refuses
        nobody records what it would have refused, if `record`; `refused` is what its rules said before the step.
        """
        required = self.required_seats(session)
        if record and not self.enforced:
            refused = refused or self.first_full_pool(session, required)
            if refused is not None:
                self.record_denial(refused, session, now)
        self.set_seats(session, required, cause, now)

    def set_seats(self, session: Session, seats: Collection[Seat], cause: str, now: Instant) -> None:
        """Let `session` hold exactly `seats`; what it gives back is released for `cause`."""
        held = session.seats[self.index]
        if held == seats:
            return
        if not held:
            for name, key in seats:
                self._claim(name, key, session, now)
        else:
            kept, had = _searchable(seats), _searchable(held)
            for name, key in held:
                if (name, key) not in kept:
                    self._release(name, key, session, cause, now)
            for name, key in seats:
                if (name, key) not in had:
                    self._claim(name, key, session, now)
        session.hold(self.index, tuple(seats))

    def release_all(self, session: Session, cause: str, now: Instant) -> None:
        """Release whatever `session`, which is over, holds; its `seats` are taken from it for all models at once."""
        for name, key in session.seats[self.index]:
            pool = self.pools[name]
            if pool.seats_outlive_sessions:
                self._release(name, key, session, cause, now)
            else:
                pool.remove(key, session, cause, now.mono)

    def transfer(self, old: Session, new: Session, seats: Collection[Seat], cause: str, now: Instant) -> None:
        """Let `new` take over from `old`: what both hold passes on without a gap, nothing is held by both at once."""
        shared = [seat for seat in old.seats[self.index] if seat in seats]
        for name, key in shared:
            pool = self.pools[name]
            pool.add(key, new, now.mono)
            pool.remove(key, old, cause, now.mono)
        old.hold(self.index, tuple(seat for seat in old.seats[self.index] if seat not in seats))
        new.hold(self.index, tuple(shared))
        self.set_seats(old, (), cause, now)
        self.set_seats(new, seats, cause, now)

    def end_lingering(self, now: Instant) -> None:
        """Release the seats that were kept after an abrupt loss, where nobody came back in time."""
        for pool in self.pools.values():
            while pool.lingering:
                key, linger = next(iter(pool.lingering.items()))
                if linger.until > now.mono:
                    break
                del pool.lingering[key]
                pool.remove(key, linger, linger.cause, now.mono)

    def _claim(self, name: str, key: Key, session: Session, now: Instant) -> None:
        pool = self.pools[name]
        fresh = pool.add(key, session, now.mono)
        if pool.lingering and key in pool.lingering:
            linger = pool.lingering.pop(key)
            pool.remove(key, linger, linger.cause, now.mono)
        if pool.leased and key not in pool.reservations:
            self.leases.claimed(name, key, now)
        if fresh:
            self._mark_changed(name, key)

    def _release(self, name: str, key: Key, session: Session, cause: str, now: Instant) -> None:
        pool = self.pools[name]
        if not pool.seats_outlive_sessions:
            pool.remove(key, session, cause, now.mono)
            return
        lingers = pool.terms.linger and cause in ABRUPT
        if lingers:
            before = pool.lingering.pop(key, None)
            pool.lingering[key] = linger = Linger(now.mono + pool.terms.linger, cause)
            pool.add(key, linger, now.mono)
            if before is not None:
                pool.remove(key, before, cause, now.mono)
        pool.remove(key, session, cause, now.mono)
        if lingers:
            self._forget_lingering(pool, now)
        if pool.leased:
            self.leases.released(name, key, cause, now)
        if key not in pool.claims:
            self._mark_changed(name, key)

    def _forget_lingering(self, pool: Pool, now: Instant) -> None:
        """Release the seats that have lingered longest, where more linger than are kept."""
        kept = self.leases.kept
        while kept is not None and len(pool.lingering) > kept:
            key = next(iter(pool.lingering))
            pool.remove(key, pool.lingering.pop(key), FORGOTTEN, now.mono)

    def _mark_changed(self, name: str, key: Key) -> None:
        if self.is_primary and name == self.model.account_pool:
            self.status_changed.append(key)


def _searchable(seats: Collection[Seat]) -> Collection[Seat]:
    """Return seats to look others up in: a few are searched faster than they are hashed."""
    return seats if len(seats) <= LINEAR_SEARCH_LIMIT else frozenset(seats)
