"""Leases and reservations of one model: seats that are held whether anybody is connected or not.

A lease is temporary: it runs out a stated time after the last session of its key let go (COUNTING.md, PRO leases), or
never, where the pool's leases are endless. A reservation is permanent: groups ask for it, a redistribution puts it into
effect. What must outlive the process is recorded in `changes`, for a store to take.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from gateway.core.counting.claims import Lease, Reservation
from gateway.core.counting.license_model import FORGOTTEN, REVOKED, PoolTerms, Refusal
from gateway.core.counting.numbers import NumberSequence
from gateway.core.counting.pool import Pool
from gateway.core.counting.session import Instant, Key

MIN_STALE = 1000
"""Entries of leases that ended which may stay in the queue however few leases there are."""


class LeaseChange(NamedTuple):
    """What a store must keep: the lease of a key as it is now, or why it ended. Times are in seconds UTC.

    `kind` is `temporary` or `permanent`; a permanent one is a reservation. `number` tells the order of the grants.
    """

    model: str
    pool: str
    key: Key
    since: float
    expires: float | None
    deleted: bool
    ended: str | None
    kind: str = "temporary"
    number: int = 0


class Redistribution(NamedTuple):
    """What a redistribution will do: who holds permanently, for whom the pool is too small, who gets a temporary lease
    instead of a permanent one, and who loses what it had.
    """

    pool: str
    permanent: list[Key]
    beyond: list[Key]
    granted: list[Key]
    lost: list[Key]


class Leases:
    """The leases and reservations in the pools of the model `model`.

    `numbers` numbers the leases. `on_status_change` is told the (pool, key) of each key that came or went or became
    permanent. `overdraft` is how many keys a pool may hold beyond its limit, `kept` how many seats it may keep
    that no session holds; None where the limit of the pool is the only bound. `undone` are the (pool, key) of leases
    whose beginning is being undone: they end with their last session, and no other is forgotten for them.
    """

    def __init__(
        self,
        model: str,
        pools: Mapping[str, Pool],
        changes: list[LeaseChange],
        numbers: NumberSequence,
        on_status_change: Callable[[str, Key], None],
    ) -> None:
        self.overdraft = 0
        self.kept: int | None = None
        self.undone: frozenset[tuple[str, Key]] = frozenset()
        self._model = model
        self._pools = pools
        self._changes = changes
        self._numbers = numbers
        self._on_status_change = on_status_change
        self._all_leases = [pool.leases for pool in pools.values()]
        self._expiries: list[tuple[float, int, str, Key]] = []
        """When leases run out, as a heap: instant, number of the lease, pool and key; entries may be out of date."""

    def refusal_if_full(self, name: str, key: Key) -> Refusal | None:
        """Return the refusal of a pool without room for `key`, where no session asks for it; None if there is room."""
        pool = self._pools[name]
        limit = pool.terms.limit
        if key in pool.claims or limit is None or pool.used < limit + self.overdraft:
            return None
        return Refusal("pool_full", name, pool.used, limit)

    # -- leases ------------------------------------------------------------------------------------------------------

    def begin(self, name: str, key: Key, now: Instant, *, in_use: bool) -> Lease:
        """Begin a lease of `key`, which a session holds if `in_use`, that does not run out yet."""
        pool = self._pools[name]
        pool.leases[key] = lease = Lease(now.wall, self._numbers.take())
        if not in_use:
            pool.unused_leases[key] = None
            pool.add(key, lease, now.mono)
        self._record_change(name, key, lease)
        return lease

    def claimed(self, name: str, key: Key, now: Instant) -> None:
        """A session holds `key`: begin its lease, or keep the one it has from running out."""
        pool = self._pools[name]
        lease = pool.leases.get(key)
        if lease is None:
            self.begin(name, key, now, in_use=True)
            return
        pool.unused_leases.pop(key, None)
        if lease.expires is not None:  # of a deleted account only in shadow, where its name is not refused
            lease.expires, lease.deleted = None, False
            self._record_change(name, key, lease)

    def released(self, name: str, key: Key, cause: str, now: Instant) -> None:
        """A session holds `key` no longer: if no other session does, its lease runs out from now on. Where as many are
        kept already, the one that has been idle longest is forgotten for it (COUNTING.md, Shadow models). One that is
        revoked or undone ends at once.
        """
        pool = self._pools[name]
        lease = pool.leases.get(key)
        if lease is None or lease.deleted or pool.in_use(key):
            return
        if cause == REVOKED or (name, key) in self.undone:
            self.end(name, key, REVOKED, now)
            return
        self._forget_idle(name, now, room=1)
        pool.unused_leases[key] = None
        if pool.terms.lease is not None:
            self._expire_at(name, key, lease, now.wall + pool.terms.lease)

    def grant(self, name: str, key: Key, now: Instant) -> Lease:
        """Grant, or renew, a lease without a session (COUNTING.md, PRO leases 2)."""
        pool = self._pools[name]
        lease = pool.leases.get(key)
        if not pool.in_use(key) and (lease is None or not lease.deleted):
            pool.unused_leases.pop(key, None)
            self._forget_idle(name, now, room=1)
            if lease is not None:
                pool.unused_leases[key] = None
        if lease is None:
            fresh = key not in pool.claims
            lease = self.begin(name, key, now, in_use=pool.in_use(key))
            if fresh:
                self._on_status_change(name, key)
        if pool.terms.lease is not None and not pool.in_use(key):
            self._expire_at(name, key, lease, now.wall + pool.terms.lease)
        return lease

    def end(self, name: str, key: Key, cause: str, now: Instant) -> None:
        """End the lease of `key`. Sessions that still hold the seat (in shadow nobody is taken out) begin a new one."""
        pool = self._pools[name]
        lease = pool.leases.pop(key)
        pool.unused_leases.pop(key, None)
        pool.remove(key, lease, cause, now.mono)
        self._record_change(name, key, lease, cause)
        if key not in pool.claims:
            self._on_status_change(name, key)
        elif pool.in_use(key):
            self.begin(name, key, now, in_use=True)

    def drop(self, name: str, key: Key, now: Instant) -> None:
        """End the lease and the reservation of a deleted account, which no session holds, at once."""
        pool = self._pools[name]
        if key in pool.terms.reserve:  # the configuration says so
            return
        reservation = pool.reservations.pop(key, None)
        if reservation is not None:
            pool.remove(key, reservation, "account_deleted", now.mono)
            self._record_change(name, key, reservation, "account_deleted")
        if key in pool.leases:
            self.end(name, key, "account_deleted", now)

    def _forget_idle(self, name: str, now: Instant, *, room: int = 0) -> None:
        """End the leases that have been idle longest, until no more are kept than may be, less `room`."""
        unused = self._pools[name].unused_leases
        while self.kept is not None and unused and len(unused) > self.kept - room:
            self.end(name, next(iter(unused)), FORGOTTEN, now)

    def restore_expiry(self, name: str, key: Key, expires: float | None) -> None:
        """Let the lease of `key` run out when it did before a decision that is undone, if no session holds it."""
        pool = self._pools[name]
        lease = pool.leases.get(key)
        if lease is not None and expires is not None and not lease.deleted and not pool.in_use(key):
            lease.queued = False  # what is queued may come up later than this
            self._expire_at(name, key, lease, expires)

    def bind_deleted_account(self, name: str, key: Key, now: Instant) -> None:
        """Let what a deleted account holds run out, one lease duration from now (COUNTING.md, PRO leases 7)."""
        pool = self._pools[name]
        reservation = pool.reservations.pop(key, None)
        lease = pool.leases.get(key)
        if pool.terms.lease is None or (lease is None and reservation is None):
            return
        if lease is None:
            lease = self.begin(name, key, now, in_use=pool.in_use(key))
        if reservation is not None:
            pool.remove(key, reservation, "account_deleted", now.mono)
            self._record_change(name, key, reservation, "account_deleted")
        lease.deleted = True
        pool.unused_leases.pop(key, None)
        self._expire_at(name, key, lease, now.wall + pool.terms.lease)

    def expire(self, now: Instant) -> None:
        """End the leases whose time has come."""
        while (first := self.next_expiry()) is not None and first <= now.wall:
            _, _, name, key = heapq.heappop(self._expiries)
            lease = self._pools[name].leases[key]
            self.end(name, key, "account_deleted" if lease.deleted else "expired", now)

    def next_expiry(self) -> float | None:
        """Return the earliest instant, in seconds UTC, at which a lease will end; None if none is running out."""
        while self._expiries:
            expires, number, name, key = self._expiries[0]
            lease = self._pools[name].leases.get(key)
            if lease is not None and lease.expires == expires and lease.number == number:
                return expires
            heapq.heappop(self._expiries)
            if lease is not None and lease.number == number:
                lease.queued = False
                self._queue_expiry(name, key, lease)
        return None

    def _expire_at(self, name: str, key: Key, lease: Lease, expires: float) -> None:
        lease.expires = expires
        self._record_change(name, key, lease)
        self._queue_expiry(name, key, lease)

    def _queue_expiry(self, name: str, key: Key, lease: Lease) -> None:
        """Queue when a lease runs out: one entry for each at most, put back when it comes up early. Entries of leases
        that ended are dropped when there are more of them than leases.
        """
        if not lease.queued and lease.expires is not None:
            lease.queued = True
            heapq.heappush(self._expiries, (lease.expires, lease.number, name, key))
            if len(self._expiries) > 2 * sum(map(len, self._all_leases)) + MIN_STALE:
                self.requeue_all()

    # -- reservations ------------------------------------------------------------------------------------------------

    def reserve_configured(self, terms: PoolTerms, now: Instant) -> None:
        """Reserve the keys that the terms of a pool list, as far as its limit goes."""
        pool, keys = self._pools[terms.name], list(dict.fromkeys(terms.reserve))
        for key in keys[: terms.limit]:
            if key not in pool.reservations and self.refusal_if_full(terms.name, key) is None:
                self._reserve(terms.name, key, now)
        for key in () if terms.limit is None else keys[terms.limit :]:
            reservation = pool.reservations.pop(key, None)
            if reservation is not None:
                pool.remove(key, reservation, "redistributed", now.mono)

    def _reserve(self, name: str, key: Key, now: Instant) -> None:
        pool = self._pools[name]
        pool.reservations[key] = reservation = Reservation(now.wall)
        fresh = key not in pool.claims
        pool.add(key, reservation, now.mono)
        lease = pool.leases.pop(key, None)
        pool.unused_leases.pop(key, None)
        if lease is not None:
            pool.remove(key, lease, "redistributed", now.mono)
            self._record_change(name, key, lease, "redistributed")
        if fresh or (lease is not None and lease.expires is not None):
            self._on_status_change(name, key)

    def _unreserve(self, name: str, key: Key, now: Instant) -> None:
        pool = self._pools[name]
        reservation = pool.reservations.pop(key)
        pool.remove(key, reservation, "redistributed", now.mono)
        self._record_change(name, key, reservation, "redistributed")
        if key not in pool.claims:
            self._on_status_change(name, key)

    # -- redistribution ----------------------------------------------------------------------------------------------

    def plan_redistribution(
        self, name: str, permanent: Iterable[Key], now: Instant, *, enforced: bool
    ) -> Redistribution:
        """Work out a redistribution of pool `name` for `permanent`, in order (COUNTING.md, PRO leases 5).

        Temporary leases end only for permanents that have no seat yet: a lowered limit alone drops nobody. Where the
        model is not enforced nobody loses anything.
        """
        pool = self._pools[name]
        limit = pool.terms.limit if enforced else None
        deleted = {key for key, lease in pool.leases.items() if lease.deleted}
        asked = [key for key in dict.fromkeys(permanent) if key not in deleted]
        room = len(asked) if limit is None else max(limit - len(deleted), 0)
        chosen, beyond = asked[:room], asked[room:]
        permanents = set(chosen)
        former = [key for key in pool.reservations if key not in permanents]
        temporary = [key for key in _shortest_first(pool, now) if key not in permanents]
        free = math.inf if limit is None else limit + self.overdraft - len(deleted) - len(chosen) - len(temporary)
        seatless = sum(key not in pool.claims for key in chosen)
        evicted = temporary[: min(int(-free), seatless)] if free < 0 else []
        granted = former if free == math.inf else former[: max(int(free), 0)]
        lost = [*evicted, *former[len(granted) :]]
        return Redistribution(name, chosen, beyond, granted, lost)

    def redistribute(self, plan: Redistribution, now: Instant) -> None:
        """Carry out a plan; sessions that lose their seat have been taken out of their conferences before."""
        pool = self._pools[plan.pool]
        for key in plan.lost:
            if key in pool.leases:
                self.end(plan.pool, key, "redistributed", now)
            else:
                self._unreserve(plan.pool, key, now)
        for key in plan.granted:
            lease = self.begin(plan.pool, key, now, in_use=pool.in_use(key))
            self._unreserve(plan.pool, key, now)
            if not pool.in_use(key) and pool.terms.lease is not None:
                self._expire_at(plan.pool, key, lease, now.wall + pool.terms.lease)
                self._on_status_change(plan.pool, key)
        for key in plan.permanent:
            pool.unused_leases.pop(key, None)
        self._forget_idle(plan.pool, now)
        for key in plan.permanent:
            if key not in pool.reservations:
                self._reserve(plan.pool, key, now)
                self._record_change(plan.pool, key, pool.reservations[key])

    # -- what a store keeps ------------------------------------------------------------------------------------------

    def change_of(self, name: str, key: Key, claim: Lease | Reservation, ended: str | None = None) -> LeaseChange:
        """Return what a store must keep of a lease or a reservation."""
        if isinstance(claim, Reservation):
            return LeaseChange(self._model, name, key, claim.since, None, False, ended, "permanent")
        return LeaseChange(
            self._model, name, key, claim.since, claim.expires, claim.deleted, ended, "temporary", claim.number
        )

    def _record_change(self, name: str, key: Key, claim: Lease | Reservation, ended: str | None = None) -> None:
        self._changes.append(self.change_of(name, key, claim, ended))

    def restore(self, change: LeaseChange, alive_until: float, now: Instant) -> None:
        """Take up a lease that the last run left. One in use was left at `alive_until` (seconds UTC), the last instant
        at which that run is known to have lived (COUNTING.md, PRO leases 9).
        """
        pool = self._pools[change.pool]
        if change.kind == "permanent":
            pool.reservations[change.key] = reservation = Reservation(change.since)
            pool.add(change.key, reservation, now.mono)
            _hold_since(pool, change, now)
            return
        lease = Lease(change.since, self._numbers.take(), change.expires, deleted=change.deleted)
        pool.leases[change.key] = lease
        if not lease.deleted:
            pool.unused_leases[change.key] = None
        pool.add(change.key, lease, now.mono)
        _hold_since(pool, change, now)
        if pool.terms.lease is None:
            return
        if change.expires is None:
            self._expire_at(change.pool, change.key, lease, alive_until + pool.terms.lease)
        else:
            self._queue_expiry(change.pool, change.key, lease)

    def claim_idle(self) -> None:
        """Let the leases of filled pools claim the keys that no session holds, and queue when each runs out."""
        for pool in self._pools.values():
            for key, lease in pool.leases.items():
                if not pool.in_use(key):
                    pool.claims.add(key, lease)
        self.requeue_all()

    def requeue_all(self) -> None:
        """Queue when each lease runs out, and nothing else."""
        self._expiries.clear()
        for name, pool in self._pools.items():
            for key, lease in pool.leases.items():
                lease.queued = False
                self._queue_expiry(name, key, lease)

    def order_restored(self) -> None:
        """Put the leases that a store had in the order of their becoming idle, as far as it is known: those that run
        out first were let go first. Where they do not run out it is the order of the grants.
        """
        for pool in self._pools.values():
            restored = [(pool.leases[key], key) for key in pool.unused_leases]
            restored.sort(key=lambda item: (item[0].expires or 0.0, item[0].number))
            pool.unused_leases = dict.fromkeys(key for _, key in restored)


def _shortest_first(pool: Pool, now: Instant) -> list[Key]:
    """Return keys of temporary leases, the least time left first, then the later grant; in a conference all is left."""
    full = now.wall + (pool.terms.lease or 0.0)
    temporary = [(key, lease) for key, lease in pool.leases.items() if not lease.deleted]
    temporary.sort(key=lambda item: (full if item[1].expires is None else item[1].expires, -item[1].number))
    return [key for key, _ in temporary]


def _hold_since(pool: Pool, change: LeaseChange, now: Instant) -> None:
    if pool.held_since is not None:
        pool.held_since[change.key] = now.mono - max(now.wall - change.since, 0.0)
