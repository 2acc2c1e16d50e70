"""The ledger of one license model: who holds which of its pools.

`lacking` decides, `settle` acts: between the two nothing is awaited, so a decision is atomic. What must outlive the
process is noted in `changes`, which all ledgers share, for a store to take.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from gateway.core.counting.denials import asker_of
from gateway.core.counting.license_model import LicenseModel, PoolTerms, Refusal
from gateway.core.counting.pool import Lease, Linger, Pool, Reservation
from gateway.core.counting.session import ABRUPT, VISITORS, Instant, Key, Seat, Session

LINEAR_SEARCH_LIMIT = 8
"""Seats that are searched one by one."""


class LeaseChange(NamedTuple):
    """What a store must remember: the lease of a key as it is now, or why it ended. Times are in seconds UTC.

    `kind` is `temporary` or `permanent`; a permanent one is the reservation of an account by its groups.
    """

    model: str
    pool: str
    key: Key
    since: float
    expires: float | None
    deleted: bool
    ended: str | None
    kind: str = "temporary"


class Redistribution(NamedTuple):
    """What a redistribution will do: who holds permanently, for whom the pool is too small, who gets a temporary lease
    instead of a permanent one, and who loses what it had.
    """

    pool: str
    permanent: list[Key]
    beyond: list[Key]
    granted: list[Key]
    lost: list[Key]


class Ledger:
    """All pools of one model. `index` is its place among the ledgers (and in `Session.seats`)."""

    def __init__(
        self,
        model: LicenseModel,
        index: int,
        changes: list[LeaseChange],
        *,
        enforced: bool,
        now: Instant,
        overdraft: int = 0,
        window: float = 180.0,
    ) -> None:
        self.index = index
        self.enforced = enforced
        self.pools = {pool.name: Pool(pool, window, now.mono) for pool in model.pools}
        self.changes = changes
        self.is_primary = not index
        """Whether this is the model that decides, enforced or not."""
        self.status_changed: list[Key] = []
        """Keys of the leading model's personal pool that came or went since somebody last looked."""
        self._expiries: list[tuple[float, str, Key]] = []
        self.apply_terms(model, overdraft, now)

    def apply_terms(self, model: LicenseModel, overdraft: int, now: Instant) -> None:
        """Take the limits of the same model under other terms. A lowered limit drops nobody, but no key is reserved
        beyond it: a reservation is one of the seats, not one more.
        """
        self.model = model
        self.overdraft = overdraft if self.enforced else 0
        self._limited = [pool.name for pool in model.pools if pool.limit is not None and pool.binding]
        for pool in model.pools:
            book = self.pools[pool.name]
            book.advance(now.mono)
            book.apply_terms(pool)
            if pool.reserve:
                self._reserve_all(pool, now)

    def required_seats(self, session: Session) -> Collection[Seat]:
        """The seats that the facts of `session` give it in this model."""
        return self.model.seats(session, self.enforced) if session.kind not in VISITORS else ()

    def first_full_pool(
        self, session: Session, wanted: Collection[Seat], leaving: Session | None = None
    ) -> Refusal | None:
        """The first pool, in the model's order, without room for what `session` does not hold yet.

        Seats that `leaving` alone holds, and would give back, count as free.
        """
        if not wanted or not self._limited:
            return None
        held = _lookup(session.seats[self.index])
        new = [seat for seat in wanted if seat not in held and seat[1] not in self.pools[seat[0]].claims]
        for name in self._limited if new else ():
            book = self.pools[name]
            count = sum(pool == name for pool, _ in new)
            freed = self._freed(name, leaving, wanted) if leaving is not None else 0
            limit = book.terms.limit
            if count > freed and limit is not None and book.used - freed + count > limit + self.overdraft:
                return Refusal("pool_full", name, book.used, limit)
        return None

    def _freed(self, name: str, leaving: Session, wanted: Collection[Seat]) -> int:
        claims = self.pools[name].claims
        return sum(
            pool == name and (pool, key) not in wanted and claims.has_only(key, leaving)
            for pool, key in leaving.seats[self.index]
        )

    def set_seats(self, session: Session, wanted: Collection[Seat], cause: str, now: Instant) -> None:
        """Let `session` hold exactly `wanted`; what it gives back is released for `cause`."""
        held = session.seats[self.index]
        if not held and not wanted:
            return
        kept, had = _lookup(wanted), _lookup(held)
        for seat in held:
            if seat not in kept:
                self._release(*seat, session, cause, now)
        for seat in wanted:
            if seat not in had:
                self._claim(*seat, session, now)
        session.seats[self.index] = tuple(wanted)

    def release(self, session: Session, cause: str, now: Instant) -> None:
        """Let `session` hold nothing any more; it is over."""
        for name, key in session.seats[self.index]:
            book = self.pools[name]
            if book.seats_outlive_sessions:
                self._release(name, key, session, cause, now)
            else:
                book.remove(key, session, cause, now.mono)
        session.seats[self.index] = ()

    def transfer(self, old: Session, new: Session, wanted: Collection[Seat], cause: str, now: Instant) -> None:
        """Let `new` take over from `old`: what both hold passes on without a gap, nothing is held by both at once."""
        shared = [seat for seat in old.seats[self.index] if seat in wanted]
        for name, key in shared:
            book = self.pools[name]
            book.add(key, new, now.mono)
            book.remove(key, old, cause, now.mono)
        old.seats[self.index] = tuple(seat for seat in old.seats[self.index] if seat not in wanted)
        new.seats[self.index] = tuple(shared)
        self.set_seats(old, (), cause, now)
        self.set_seats(new, wanted, cause, now)

    def record_denial(self, refusal: Refusal, session: Session, now: Instant) -> None:
        """Record a denial of this model, and who was denied."""
        self.pools[refusal.pool].record_denial(refusal.reason, asker_of(session) if self.enforced else None, now.mono)

    def _claim(self, name: str, key: Key, session: Session, now: Instant) -> None:
        book = self.pools[name]
        fresh = book.add(key, session, now.mono)
        if key in book.lingering:
            linger = book.lingering.pop(key)
            book.remove(key, linger, linger.cause, now.mono)
        if book.terms.leased and key not in book.reservations:
            lease = book.leases.get(key)
            if lease is None:
                lease = self._begin_lease(name, key, Lease(now.wall), now)
            elif lease.expires is not None:  # of a deleted account only in shadow, where its name is not refused
                lease.expires, lease.deleted = None, False
                self._record_change(name, key, lease)
        if fresh:
            self._mark_changed(name, key)

    def _release(self, name: str, key: Key, session: Session, cause: str, now: Instant) -> None:
        book = self.pools[name]
        terms = book.terms
        if not book.seats_outlive_sessions:
            book.remove(key, session, cause, now.mono)
            return
        lease = book.leases.get(key)
        if terms.linger and cause in ABRUPT:
            before = book.lingering.pop(key, None)
            book.lingering[key] = linger = Linger(now.mono + terms.linger, cause)
            book.add(key, linger, now.mono)
            if before is not None:
                book.remove(key, before, cause, now.mono)
        book.remove(key, session, cause, now.mono)
        if lease is not None and terms.lease is not None and not lease.deleted and not book.in_use(key):
            self._expire_at(name, key, lease, now.wall + terms.lease)
        if key not in book.claims:
            self._mark_changed(name, key)

    def refusal_if_full(self, name: str, key: Key) -> Refusal | None:
        """Whether a pool has no room for `key`, where no session asks for it."""
        book = self.pools[name]
        limit = book.terms.limit
        if key in book.claims or limit is None or book.used < limit + self.overdraft:
            return None
        return Refusal("pool_full", name, book.used, limit)

    def grant_lease(self, name: str, key: Key, now: Instant) -> Lease:
        """Grant, or renew, a lease without a session (COUNTING.md, PRO leases 2; Nefsis named)."""
        book = self.pools[name]
        terms = book.terms
        lease = book.leases.get(key)
        if lease is None:
            fresh = key not in book.claims
            lease = self._begin_lease(name, key, Lease(now.wall), now)
            if fresh:
                self._mark_changed(name, key)
        if terms.lease is not None and not book.in_use(key):
            self._expire_at(name, key, lease, now.wall + terms.lease)
        return lease

    def end_lease(self, name: str, key: Key, cause: str, now: Instant) -> None:
        """End the lease of `key`. Sessions that still hold the seat (in shadow nobody is taken out) begin a new one."""
        book = self.pools[name]
        lease = book.leases.pop(key)
        book.remove(key, lease, cause, now.mono)
        self._record_change(name, key, lease, cause)
        if key not in book.claims:
            self._mark_changed(name, key)
        elif book.in_use(key):
            self._begin_lease(name, key, Lease(now.wall), now)

    def bind_deleted_account(self, name: str, key: Key, now: Instant) -> None:
        """Bind what a deleted account holds to its end, one lease duration from now (COUNTING.md, PRO leases 7)."""
        book = self.pools[name]
        terms = book.terms
        reservation = book.reservations.pop(key, None)
        lease = book.leases.get(key)
        if terms.lease is None or (lease is None and reservation is None):
            return
        if lease is None:
            lease = self._begin_lease(name, key, Lease(now.wall), now)
        if reservation is not None:
            book.remove(key, reservation, "account_deleted", now.mono)
            self._record_change(name, key, reservation, "account_deleted")
        lease.deleted = True
        self._expire_at(name, key, lease, now.wall + terms.lease)

    def _reserve(self, name: str, key: Key, now: Instant) -> None:
        book = self.pools[name]
        book.reservations[key] = reservation = Reservation(now.wall)
        fresh = key not in book.claims
        book.add(key, reservation, now.mono)
        lease = book.leases.pop(key, None)
        if lease is not None:
            book.remove(key, lease, "redistributed", now.mono)
            self._record_change(name, key, lease, "redistributed")
        if fresh or (lease is not None and lease.expires is not None):
            self._mark_changed(name, key)

    def _reserve_all(self, pool: PoolTerms, now: Instant) -> None:
        book, keys = self.pools[pool.name], list(dict.fromkeys(pool.reserve))
        for key in keys[: pool.limit]:
            if key not in book.reservations and self.refusal_if_full(pool.name, key) is None:
                self._reserve(pool.name, key, now)
        for key in () if pool.limit is None else keys[pool.limit :]:
            reservation = book.reservations.pop(key, None)
            if reservation is not None:
                book.remove(key, reservation, "redistributed", now.mono)

    def plan_redistribution(self, name: str, permanent: Iterable[Key], now: Instant) -> Redistribution:
        """Work out a redistribution of pool `name` for `permanent`, in order (COUNTING.md, PRO leases 5).

        Temporary leases end only for permanents that have no seat yet: a lowered limit alone drops nobody. In shadow
        nobody loses anything.
        """
        book = self.pools[name]
        limit = book.terms.limit if self.enforced else None
        deleted = {key for key, lease in book.leases.items() if lease.deleted}
        asked = [key for key in dict.fromkeys(permanent) if key not in deleted]
        room = len(asked) if limit is None else max(limit - len(deleted), 0)
        chosen, beyond = asked[:room], asked[room:]
        permanents = set(chosen)
        former = [key for key in book.reservations if key not in permanents]
        temporary = [key for key in self._shortest_first(book, now) if key not in permanents]
        free = math.inf if limit is None else limit + self.overdraft - len(deleted) - len(chosen) - len(temporary)
        seatless = sum(key not in book.claims for key in chosen)
        evicted = temporary[: min(int(-free), seatless)] if free < 0 else []
        granted = former if free == math.inf else former[: max(int(free), 0)]
        lost = [*evicted, *(key for key in former if key not in set(granted))]
        return Redistribution(name, chosen, beyond, granted, lost)

    def redistribute(self, plan: Redistribution, now: Instant) -> None:
        """Carry out a plan; sessions that lose their seat have been taken out of their conferences before."""
        book = self.pools[plan.pool]
        for key in plan.lost:
            if key in book.leases:
                self.end_lease(plan.pool, key, "redistributed", now)
            else:
                self._unreserve(plan.pool, key, now)
        for key in plan.granted:
            lease = self._begin_lease(plan.pool, key, Lease(now.wall), now)
            self._unreserve(plan.pool, key, now)
            if not book.in_use(key) and book.terms.lease is not None:
                self._expire_at(plan.pool, key, lease, now.wall + book.terms.lease)
                self._mark_changed(plan.pool, key)
        for key in plan.permanent:
            if key not in book.reservations:
                self._reserve(plan.pool, key, now)
                self._record_change(plan.pool, key, book.reservations[key])

    def _unreserve(self, name: str, key: Key, now: Instant) -> None:
        book = self.pools[name]
        reservation = book.reservations.pop(key)
        book.remove(key, reservation, "redistributed", now.mono)
        self._record_change(name, key, reservation, "redistributed")
        if key not in book.claims:
            self._mark_changed(name, key)

    def _shortest_first(self, book: Pool, now: Instant) -> list[Key]:
        """Temporary leases by remaining time; of equals the later grant first; holders in a conference have it all."""
        full = book.terms.lease or 0.0
        temporary = [(key, lease) for key, lease in reversed(book.leases.items()) if not lease.deleted]
        in_use = now.wall + full
        temporary.sort(key=lambda item: (in_use if item[1].expires is None else item[1].expires, -item[1].since))
        return [key for key, _ in temporary]

    def expire(self, now: Instant) -> list[tuple[str, Key]]:
        """End the leases and the lingering seats whose time has come; returns the (pool, key) of the leases."""
        ended: list[tuple[str, Key]] = []
        while (first := self.next_expiry()) is not None and first <= now.wall:
            _, name, key = heapq.heappop(self._expiries)
            lease = self.pools[name].leases[key]
            self.end_lease(name, key, "account_deleted" if lease.deleted else "expired", now)
            ended.append((name, key))
        for book in self.pools.values():
            while book.lingering:
                key, linger = next(iter(book.lingering.items()))
                if linger.until > now.mono:
                    break
                del book.lingering[key]
                book.remove(key, linger, linger.cause, now.mono)
        return ended

    def next_expiry(self) -> float | None:
        """The earliest instant, in seconds UTC, at which a lease will end; None if none is running out."""
        while self._expiries:
            expires, name, key = self._expiries[0]
            lease = self.pools[name].leases.get(key)
            if lease is not None and lease.expires == expires:
                return expires
            heapq.heappop(self._expiries)
            if lease is not None:
                lease.queued = False
                self._queue_expiry(name, key, lease)
        return None

    def _begin_lease(self, name: str, key: Key, lease: Lease, now: Instant) -> Lease:
        book = self.pools[name]
        book.leases[key] = lease
        book.add(key, lease, now.mono)
        self._record_change(name, key, lease)
        return lease

    def _expire_at(self, name: str, key: Key, lease: Lease, expires: float) -> None:
        lease.expires = expires
        self._record_change(name, key, lease)
        self._queue_expiry(name, key, lease)

    def _queue_expiry(self, name: str, key: Key, lease: Lease) -> None:
        """One entry per lease at most: one that comes up early is put back."""
        if not lease.queued and lease.expires is not None:
            lease.queued = True
            heapq.heappush(self._expiries, (lease.expires, name, key))

    def lease_change(self, name: str, key: Key, claim: Lease | Reservation, ended: str | None = None) -> LeaseChange:
        """What a store must remember of a lease or a reservation."""
        model = self.model.name
        if isinstance(claim, Reservation):
            return LeaseChange(model, name, key, claim.since, None, False, ended, "permanent")
        return LeaseChange(model, name, key, claim.since, claim.expires, claim.deleted, ended)

    def restore(self, change: LeaseChange, lived: float, now: Instant) -> None:
        """Take up what the last run left; a lease in use was left at `lived`, when that run was last known to live."""
        book = self.pools[change.pool]
        if change.kind == "permanent":
            book.reservations[change.key] = reservation = Reservation(change.since)
            book.add(change.key, reservation, now.mono)
            self._held_since(book, change, now)
            return
        book.leases[change.key] = lease = Lease(change.since, change.expires)
        lease.deleted = change.deleted
        book.add(change.key, lease, now.mono)
        self._held_since(book, change, now)
        if book.terms.lease is None:
            return
        if change.expires is None:
            self._expire_at(change.pool, change.key, lease, lived + book.terms.lease)
        else:
            self._queue_expiry(change.pool, change.key, lease)

    def lease_expiries(self, keys: Iterable[Key]) -> dict[tuple[str, Key], float | None]:
        """The (pool, key) of the leases that `keys` have, and when each ends."""
        leased = [(name, book.leases) for name, book in self.pools.items() if book.terms.leased]
        return {(name, key): leases[key].expires for name, leases in leased for key in keys if key in leases}

    def _held_since(self, book: Pool, change: LeaseChange, now: Instant) -> None:
        if book.held_since is not None:
            book.held_since[change.key] = now.mono - max(now.wall - change.since, 0.0)

    def restore_expiries(self, key: Key, leases: Mapping[tuple[str, Key], float | None], now: Instant) -> None:
        """Give `key` back the leases it had, each with its end, and no other."""
        for name, book in self.pools.items():
            lease = book.leases.get(key) if book.terms.leased else None
            if lease is None:
                continue
            if (name, key) not in leases:
                self.end_lease(name, key, "revoked", now)
                continue
            expires = leases[name, key]
            if expires is not None and not lease.deleted and not book.in_use(key):
                lease.queued = False  # what is queued may come up later than this
                self._expire_at(name, key, lease, expires)

    def _record_change(self, name: str, key: Key, claim: Lease | Reservation, ended: str | None = None) -> None:
        self.changes.append(self.lease_change(name, key, claim, ended))

    def _mark_changed(self, name: str, key: Key) -> None:
        if self.is_primary and name == self.model.account_pool:
            self.status_changed.append(key)


def _lookup(seats: Collection[Seat]) -> Collection[Seat]:
    """Seats to look others up in: a few are searched faster than they are hashed."""
    return seats if len(seats) <= LINEAR_SEARCH_LIMIT else frozenset(seats)
