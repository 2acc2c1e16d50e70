"""The ledger of one license model: which session holds which seats of its pools.

`refusal` and `first_full_pool` decide, `set_seats` and `transfer` act: between the two nothing is awaited, so a
decision is atomic. Seats that outlive their sessions are the business of `leases`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from gateway.core.counting import kept_seats
from gateway.core.counting.claims import Linger
from gateway.core.counting.denials import asker_of
from gateway.core.counting.leases import LeaseChange, Leases
from gateway.core.counting.license_model import FORGOTTEN, Attempt, LicenseModel, Refusal
from gateway.core.counting.numbers import Numbers
from gateway.core.counting.personal_use import PersonalUse
from gateway.core.counting.pool import Pool
from gateway.core.counting.pool_rule import Members, RuleTerms
from gateway.core.counting.pool_rules import PoolRules
from gateway.core.counting.returning import NOT_RETURNED, Returning, held_by
from gateway.core.counting.rule_refusals import refusal_by_rules
from gateway.core.counting.seat_events import denial_event
from gateway.core.counting.session import ABRUPT, VISITORS, Identity, Instant, Key, Seat, Session

LINEAR_SEARCH_LIMIT = 8
"""Seats that are searched one by one; more are hashed first."""


class Ledger:
    """All pools of one model. `index` is its place among the ledgers (and in `Session.seats`).

    `is_primary` says whether this is the model that decides, enforced or not; `changes` takes what a store must keep,
    `use` who used what.
    `overdraft` counts where the model is enforced, `kept` (seats that no session holds) where it is not; `window`
    (seconds) is that of the high-water mark.
    """

    def __init__(
        self,
        model: LicenseModel,
        index: int,
        changes: list[LeaseChange],
        numbers: Numbers,
        use: PersonalUse,
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
            terms.name: Pool(
                terms,
                window,
                now.mono,
                intervals=numbers.intervals,
                episodes=numbers.episodes,
                shares=use.place(model.name, terms.name),
            )
            for terms in model.pools
        }
        self.leases = Leases(model.name, self.pools, changes, numbers.leases, self._mark_changed)
        self.ruled = False
        """Whether rules keep seats of its pools for somebody, or deny them to somebody."""
        self.status_changed: list[Key] = []
        """Keys of the primary model's account pool that came or went since somebody last looked."""
        self.taken_over: list[tuple[str, Key, Returning]] = []
        """The kept seats that the present command let somebody take over, by the key they have now; its decision takes
        them.
        """
        self.apply_terms(model, overdraft, window, kept, now)

    def apply_terms(self, model: LicenseModel, overdraft: int, window: float, kept: int | None, now: Instant) -> None:
        """Take the limits of the same model under other terms. A lowered limit drops nobody, but no key is reserved
        beyond it: a reservation is one of the seats, not one more.
        """
        self.model = model
        self.leases.overdraft = self.overdraft = overdraft if self.enforced else 0
        self.leases.kept = None if self.enforced else kept
        self.seat_rule = model.seats if self.enforced or model.shadow_seats is None else model.shadow_seats
        self._limited = [terms.name for terms in model.pools if terms.limit is not None and terms.binding]
        for terms in model.pools:
            pool = self.pools[terms.name]
            pool.advance(now.mono)
            pool.apply_terms(terms, window, self.overdraft)
            if terms.reserve:
                self.leases.reserve_configured(terms, now)

    def bind_rules(self, rules: Sequence[RuleTerms], members: Members) -> None:
        """Take the rules for seats of its pools, in their order, in place of those there were."""
        for name, pool in self.pools.items():
            known = {} if pool.rules is None else pool.rules.kept
            of_pool = [(place, rule) for place, rule in enumerate(rules) if rule.pool == name]
            pool.rules = PoolRules(pool.terms, pool.claims, of_pool, members, known) if of_pool else None
        self.ruled = any(pool.rules is not None for pool in self.pools.values())

    def change_group(self, group: str, accounts: Collection[str]) -> None:
        """A group has other members."""
        for pool in self.pools.values():
            if pool.rules is not None:
                pool.rules.change_group(group, accounts)

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

    def comes_back(self, pool: str, key: Key, session: Session) -> bool:
        """Return whether a seat is kept that a session takes over when it comes to hold `key` in a pool."""
        returning = self.pools[pool].returning
        return bool(returning) and returning.find(key, session) is not None

    def awaited(self, pool: str, conference: str) -> int:
        """Return how many seats of a conference are kept in a pool for those who come back."""
        return self.pools[pool].returning.count(conference)

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
        if refused is None and model.conference_rule is not None and attempt.conference is not None:
            refused = model.conference_rule(attempt, self)
        return refused

    def pool_refusal(self, session: Session) -> Refusal | None:
        """Return the refusal of the first full pool, where the facts of `session` ask for more than it holds."""
        return self.first_full_pool(session, self.required_seats(session))

    def required_seats(self, session: Session) -> tuple[Seat, ...]:
        """Return the seats that the facts of `session` give it in this model."""
        return self.seat_rule(session) if session.kind not in VISITORS else ()

    def first_full_pool(
        self, session: Session, seats: tuple[Seat, ...], leaving: Session | None = None
    ) -> Refusal | None:
        """Return the refusal of the first pool, in the model's order, that cannot hold the keys `seats` adds to those
        that `session` holds; None if all fit. Keys that only `leaving` holds, and would give back, count as free. A
        seat that is kept for `session` is held already.
        """
        held = session.seats[self.index]
        if not seats or seats == held:
            return None
        if self.ruled:
            freed = {} if leaving is None else {name: self.given_back(name, leaving, seats) for name in self.pools}
            return refusal_by_rules(self.pools, session, self.added_seats(session, seats), freed)
        if not self._limited:
            return None
        pools, added = self.pools, _without(seats, held)
        if len(added) == 1 and leaving is None:  # nearly always
            name, key = added[0]
            pool = pools[name]
            if key in pool.claims or (pool.returning and pool.returning.find(key, session) is not None):
                return None
            return pool.refusal()
        new = [name for name, key in self.added_seats(session, seats) if key not in pools[name].claims]
        for name in self._limited if new else ():
            pool, count = pools[name], new.count(name)
            given_back = len(self.given_back(name, leaving, seats)) if leaving is not None else 0
            if count > given_back and pool.used - given_back + count > pool.granted_below:
                return Refusal("pool_full", name, pool.used, pool.terms.limit)
        return None

    def new_seats(self, session: Session, seats: Collection[Seat], leaving: Session | None) -> list[Seat]:
        """Return those of `seats` for which a pool would have to hold one key more, without pools where `leaving` gives
        as many back.
        """
        new = [seat for seat in self.added_seats(session, seats) if seat[1] not in self.pools[seat[0]].claims]
        if leaving is None:
            return new
        names = [name for name, _ in new]
        short = {name for name in self.pools if names.count(name) > len(self.given_back(name, leaving, seats))}
        return [seat for seat in new if seat[0] in short]

    def added_seats(self, session: Session, seats: Collection[Seat]) -> tuple[Seat, ...]:
        """Return those of `seats` that a session does not hold yet, and that are not kept for it either."""
        added = _without(tuple(seats), session.seats[self.index])
        return tuple([seat for seat in added if not self.comes_back(*seat, session)])

    def given_back(self, name: str, leaving: Session, seats: Collection[Seat]) -> list[Key]:
        """Return the keys of a pool that `leaving` would give back and that are not among `seats`."""
        claims = self.pools[name].claims
        held = [key for pool, key in leaving.seats[self.index] if pool == name and (pool, key) not in seats]
        return [key for key in held if claims.has_only(key, leaving)]

    def record_denial(self, refusal: Refusal, session: Session, now: Instant) -> None:
        """Record a denial of this model, and who was denied."""
        asker = asker_of(session) if self.enforced else None
        pool = self.pools[refusal.pool]
        pool.record_denial(refusal.reason, asker, session.person, now.mono)
        if pool.events is not None:
            pool.events.note(denial_event(refusal, session, pool.used, now.mono, refused=self.enforced))

    # -- seats -------------------------------------------------------------------------------------------------------

    def set_seats(self, session: Session, seats: tuple[Seat, ...], cause: str, now: Instant) -> str | None:
        """Let `session` hold exactly `seats`, what it gives back is released for `cause`; whoever calls it notes that
        in `Session.seats`. Returns what `claim` does.
        """
        held = session.seats[self.index]
        if not held:
            return self.claim(session, seats, now)
        given_back = _without(held, seats)
        self.release(session, given_back, cause, now)
        kept = len(held) - len(given_back)
        return self.claim(session, _without(seats, held), now) if kept < len(seats) else None

    def claim(self, session: Session, seats: Iterable[Seat], now: Instant) -> str | None:
        """Claim seats that `session` does not hold; whoever calls it notes that it holds them.

        Returns the first pool that holds more than it may grant by a key that came to it; None where there is none.
        """
        overfull: str | None = None
        for name, key in seats:
            pool = self.pools[name]
            if pool.seats_outlive_sessions or pool.lingering or pool.returning:
                fresh = self._claim(name, key, session, now)
            else:
                fresh = pool.add(key, session, now.mono)
            if fresh and len(pool.claims) > pool.granted_below and overfull is None:
                overfull = name
        return overfull

    def release(self, session: Session, seats: Iterable[Seat], cause: str, now: Instant) -> None:
        """Release seats that `session` holds; whoever calls it notes that the session holds them no longer."""
        for name, key in seats:
            pool = self.pools[name]
            if pool.seats_outlive_sessions:
                self._release(name, key, session, cause, now)
            else:
                pool.remove(key, session, cause, now.mono)

    def transfer(self, old: Session, new: Session, seats: tuple[Seat, ...], cause: str, now: Instant) -> None:
        """Let `new`, which is to hold `seats`, take over from `old`, which is over: what both hold passes on without a
        gap, the rest is released for `cause`. Whoever calls it notes that in `Session.seats`.
        """
        held = old.seats[self.index]
        shared = [seat for seat in seats if seat in held]
        for name, key in shared:
            pool = self.pools[name]
            pool.pass_on(key, old, new, now.mono)
            if key in pool.returning:
                self._take_over(name, key, key, new, now)
        if len(shared) < len(held):
            self.release(old, [seat for seat in held if seat not in shared], cause, now)
        if len(shared) < len(seats):
            self.claim(new, [seat for seat in seats if seat not in shared], now)

    def forget(self, who: Identity, now: Instant) -> None:
        """End all that is held for an account that no session holds, and forget who was refused."""
        for name, pool in self.pools.items():
            self.leases.drop(name, who, now)
            for key in [key for key, linger in pool.lingering.items() if linger.identity == who]:
                linger = pool.lingering.pop(key)
                pool.remove(key, linger, linger.cause, now.mono)
            for kept in [key for key, claim in pool.returning.items() if claim.identity == who]:
                kept_seats.end(pool, kept, NOT_RETURNED, now.mono)
            pool.denial_tracker.forget(("account", who), now.mono)
            if pool.rules is not None:
                pool.rules.forget(who)

    def end_lingering(self, now: Instant) -> None:
        """Release the seats that were kept after an abrupt loss, where nobody came back in time."""
        for pool in self.pools.values():
            while pool.lingering:
                key, linger = next(iter(pool.lingering.items()))
                if linger.until > now.mono:
                    break
                del pool.lingering[key]
                pool.remove(key, linger, linger.cause, now.mono)

    def keep(self, session: Session, seats: Iterable[Seat], cause: str, until: float, now: Instant) -> None:
        """Keep seats that `session` holds, which ends for `cause`, until a monotonic instant; where seats are leased
        they are released, as the lease keeps them. Whoever calls it notes that the session holds them no longer.
        """
        for name, key in seats:
            if self.pools[name].leased:
                self._release(name, key, session, cause, now)
            else:
                kept_seats.keep(self.pools[name], key, session, until)

    def _take_over(self, name: str, kept: Key, key: Key, session: Session, now: Instant) -> None:
        claim = kept_seats.take_over(self.pools[name], kept, key, session, now.mono)
        self.taken_over.append((name, key, claim))

    def _claim(self, name: str, key: Key, session: Session, now: Instant) -> bool:
        pool = self.pools[name]
        kept = pool.returning.find(key, session) if pool.returning else None
        if kept is not None:
            self._take_over(name, kept, key, session, now)
        fresh = kept is None and pool.add(key, session, now.mono)
        if pool.lingering and key in pool.lingering:
            linger = pool.lingering.pop(key)
            pool.remove(key, linger, linger.cause, now.mono)
        if pool.leased:
            lease = pool.leases.get(key)
            if lease is not None:
                pool.claims.discard(key, lease)
            if key not in pool.reservations:
                self.leases.claimed(name, key, now)
            if fresh:
                self._mark_changed(name, key)
        return fresh

    def _release(self, name: str, key: Key, session: Session, cause: str, now: Instant) -> None:
        pool = self.pools[name]
        lease = pool.leases.get(key)
        if lease is not None and pool.claims.has_only(key, session):
            pool.replace(key, session, lease)
        lingers = pool.terms.linger and cause in ABRUPT
        if lingers:
            before = pool.lingering.pop(key, None)
            pool.lingering[key] = linger = Linger(*held_by(session), now.mono + pool.terms.linger, cause)
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


def _without(seats: tuple[Seat, ...], others: tuple[Seat, ...]) -> tuple[Seat, ...]:
    """Return the seats that are not among others; nearly always either begin with the other."""
    if not seats or not others:
        return seats
    common = min(len(seats), len(others))
    if seats[:common] == others[:common]:
        return seats[common:]
    known = others if len(others) <= LINEAR_SEARCH_LIMIT else frozenset(others)
    return tuple([seat for seat in seats if seat not in known])
