"""One pool: which keys are in it, and why.

A key is in a pool as long as somebody claims it: a session, a lease, a reservation, or a seat that is kept after an
abrupt loss or for who comes back. Claims are kept by identity, so claiming twice changes nothing, and use is the number
of keys with a claim: it is read, never counted up and down. Totals that only ever grow (grants, releases, seat-seconds)
are kept beside it, so that grants - releases = use, and the integral of use over time is exact. The levels of use and
the peak of the present interval are kept with them; intervals that are over gather in `ended_intervals`.

Only what changes the pool moves its account of time on. Reading it, at any instant, changes nothing.
"""

from __future__ import annotations

import math
from collections import deque

from gateway.core.counting.calendar_days import Calendar
from gateway.core.counting.claims import PERSONAL, Claim, Lease, Linger, Reservation
from gateway.core.counting.denials import Asker, DenialTracker, asker_of
from gateway.core.counting.license_model import PoolTerms, Refusal
from gateway.core.counting.multimap import Multimap
from gateway.core.counting.numbers import NumberSequence
from gateway.core.counting.personal_use import PersonalUse, PoolShares
from gateway.core.counting.pool_rule import Claimant
from gateway.core.counting.pool_rules import PoolRules
from gateway.core.counting.returning import KeptSeat, ReturningSeats
from gateway.core.counting.seat_events import SeatEvent, SeatEvents
from gateway.core.counting.session import Instant, Key, Person, Session, account_and_home
from gateway.core.counting.usage import HOUR, PoolTotals, UsageInterval, UsageSummary
from gateway.core.counting.waits import GAVE_UP, GRANTED, TIMED_OUT, WaitTotals

MAX_FINISHED_HOLDS = 100_000
"""Finished holds of a pool that are kept for the store while it is away; the oldest beyond that are forgotten."""
MOST_ALONE = 1000
"""Shares of a day in a pool that belongs to no state."""
Hold = tuple[Key, float, float, str]
"""A seat that was held: its key, from and to which monotonic instant, and why it ended."""


class Pool:
    """One pool: its claims, and the totals that only grow. `window` (seconds) is that of the high-water mark."""

    __slots__ = (
        "_limit",
        "_window",
        "accounted_until",
        "changed_keys",
        "claims",
        "denial_counts",
        "denial_tracker",
        "ended_intervals",
        "events",
        "finished_holds",
        "full_seconds",
        "granted_below",
        "grants",
        "held_since",
        "interval",
        "interval_end",
        "intervals",
        "leased",
        "leases",
        "lingering",
        "maxima",
        "maxima_second",
        "releases",
        "reservations",
        "returning",
        "rules",
        "same_second_until",
        "seat_seconds",
        "seats_outlive_sessions",
        "shares",
        "terms",
        "unused_leases",
        "waits",
    )

    def __init__(
        self,
        terms: PoolTerms,
        window: float,
        now: float,
        *,
        intervals: NumberSequence | None = None,
        episodes: NumberSequence | None = None,
        shares: PoolShares | None = None,
    ) -> None:
        self.apply_terms(terms, window)
        self.claims: Multimap[Key, Claim] = Multimap()
        self.rules: PoolRules | None = None
        """For whom seats are kept, and to whom they are denied; None where no rule is of this pool."""
        self.leases: dict[Key, Lease] = {}
        self.unused_leases: dict[Key, None] = {}
        """The leased keys that no session holds, the one that has been idle longest first, without those of deleted
        accounts.
        """
        self.reservations: dict[Key, Reservation] = {}
        self.lingering: dict[Key, Linger] = {}
        """The seats kept after an abrupt loss, the earliest loss first."""
        self.returning = ReturningSeats()
        """The seats kept for those who come back."""
        self.changed_keys: dict[Key, str] | None = None
        """The keys whose claims have changed since somebody looked, and why the last one went, where that is followed.
        """
        self.events: SeatEvents | None = None
        """Where it notes what happens to its seats; None where nobody looks."""
        self.grants = 0
        self.releases: dict[str, int] = dict.fromkeys(terms.causes, 0)
        self.denial_counts: dict[str, int] = dict.fromkeys(terms.reasons, 0)
        self.seat_seconds = 0.0
        self.full_seconds = 0.0
        self.accounted_until = now
        self.maxima_second = int(now)
        self.same_second_until = -math.inf
        """The monotonic instant until which neither a second nor the interval ends, as far as `advance` has seen."""
        self.maxima = deque([(self.maxima_second, 0)])
        """Highest use by monotonic second; a second in which nothing changed has none of its own."""
        self.intervals = intervals or NumberSequence()
        self.interval = UsageInterval()
        self.interval_end = math.inf
        """The monotonic instant at which the present interval ends."""
        self.ended_intervals: list[UsageInterval] = []
        self.shares = shares or _shares_alone(now)
        """Who used it."""
        self.denial_tracker = DenialTracker(episodes or NumberSequence(), self.shares)
        self.waits = WaitTotals()
        """What became of those who waited in line."""
        self.held_since: dict[Key, float] | None = None
        """Since when each key holds its seat, where finished holds are recorded."""
        self.finished_holds: deque[Hold] = deque(maxlen=MAX_FINISHED_HOLDS)

    @property
    def used(self) -> int:
        """Distinct keys."""
        return len(self.claims)

    def apply_terms(self, terms: PoolTerms, window: float, overdraft: int = 0) -> None:
        """Take the terms of the license, the seconds over which the high-water mark goes, and how many keys may be
        granted beyond the limit.
        """
        self.terms = terms
        self._window = window
        self._limit = math.inf if terms.limit is None else terms.limit
        self.granted_below = self._limit + overdraft if terms.binding else math.inf
        """How many keys may be held before no new one is granted."""
        self.leased = terms.leased
        self.seats_outlive_sessions = terms.leased or terms.linger > 0

    # -- time --------------------------------------------------------------------------------------------------------

    def advance(self, now: float) -> None:
        """Account for the time since the last change; called before use changes."""
        used = len(self.claims)
        while now >= self.interval_end:
            self._charge(used, self.interval_end)
            self.start_interval(self.interval.start + HOUR, self.interval_end + HOUR)
        span = now - self.accounted_until
        if span > 0:  # as `_charge` does, without the price of a call
            self.accounted_until = now
            self.seat_seconds += used * span
            self.interval.levels[used] += span
            if used >= self._limit:
                self.full_seconds += span
        if now >= self.maxima_second + 1:
            self.maxima_second = int(now)
            self.maxima.append((self.maxima_second, used))
            while self.maxima[0][0] + 1 <= self.maxima_second - self._window:
                self.maxima.popleft()
        self.same_second_until = min(self.maxima_second + 1, self.interval_end)

    def _charge(self, used: int, now: float) -> None:
        span = now - self.accounted_until
        if span > 0:
            self.accounted_until = now
            self.seat_seconds += used * span
            self.interval.levels[used] += span
            if used >= self._limit:
                self.full_seconds += span

    def start_interval(self, start: float, end: float) -> None:
        """Begin the interval of the hour that starts at `start` (seconds UTC), until the monotonic instant `end`."""
        totals = self.totals(self.accounted_until)
        self.interval.end(totals, self.terms.limit)
        self.ended_intervals.append(self.interval)
        self.interval = UsageInterval(start, self.intervals.take(), self.used, totals)
        self.interval_end = end
        self.same_second_until = -math.inf

    # -- what is read ------------------------------------------------------------------------------------------------

    def totals(self, now: float) -> PoolTotals:
        """Return what has grown by the monotonic instant `now`."""
        used, span = self.used, max(now - self.accounted_until, 0.0)
        full = span if used >= self._limit else 0.0
        return PoolTotals(
            self.seat_seconds + used * span,
            self.full_seconds + full,
            self.grants,
            dict(self.releases),
            dict(self.denial_counts),
        )

    def summary(self, interval: UsageInterval, now: float) -> UsageSummary:
        """Return what an interval of this pool holds by the monotonic instant `now`."""
        summary = interval.summary(self.totals(now), self.terms.limit)
        if interval is self.interval and (span := now - self.accounted_until) > 0:
            summary.levels[self.used] = summary.levels.get(self.used, 0.0) + span
        return summary

    def high_water(self, now: float) -> int:
        """Return the highest use in the rolling window that ends at the monotonic instant `now`."""
        second = int(now) if now >= self.maxima_second + 1 else self.maxima_second
        recent = (used for at, used in self.maxima if at + 1 > second - self._window)
        return max((self.used, *recent))

    def in_use(self, key: Key) -> bool:
        """Return whether a session claims `key`."""
        for claim in self.claims.values_of(key):  # noqa: SIM110 - asked at every change, and a generator costs more
            if isinstance(claim, Session):
                return True
        return False

    def refusal(self) -> Refusal | None:
        """Return the refusal of a pool that is full; None if one more key may be granted."""
        return None if len(self.claims) < self.granted_below else self.full()

    def full(self, who: Claimant | None = None) -> Refusal:
        """Return the refusal of a pool that is full for somebody: smaller by what is kept for others."""
        limit = self.terms.limit
        if limit is not None and who is not None and self.rules is not None:
            limit = max(limit - self.rules.kept_from(who), 0)
        return Refusal("pool_full", self.terms.name, len(self.claims), limit)

    def holders(self) -> dict[Key, Lease | Reservation]:
        """Return the keys that hold a seat whether somebody is connected or not, leased ones first."""
        return {**self.leases, **self.reservations}

    # -- what changes ------------------------------------------------------------------------------------------------

    def add(self, key: Key, claim: Claim, now: float) -> bool:
        """Let `claim` hold `key` from the monotonic instant `now` on. Returns whether nobody held the key before."""
        claims = self.claims
        fresh = key not in claims
        if not fresh:
            self._keep_charged(key, claim)
            claims.add(key, claim)
        else:
            used, interval, span = len(claims), self.interval, now - self.accounted_until
            if now >= self.same_second_until:
                self.advance(now)
                interval = self.interval
            elif span > 0:  # as `_charge` does, without the price of a call
                self.accounted_until = now
                self.seat_seconds += used * span
                interval.levels[used] += span
                if used >= self._limit:
                    self.full_seconds += span
            claims[key] = claim
            self.grants += 1
            used += 1
            second, highest = self.maxima[-1]
            if used > highest:
                self.maxima[-1] = (second, used)
            if used > interval.peak:
                interval.peak = used
                interval.levels.append(0.0)
            if self.held_since is not None:
                self.held_since[key] = now
            person = self._person(key, claim)
            self.shares.grant(key, person, now)
            if self.events is not None:
                self._note(self.events, "granted", person, claim, now)
        if self.changed_keys is not None:
            self.changed_keys[key] = ""
        if self.rules is not None:
            self.rules.added(key, claim)
        if self.denial_tracker.open_episodes:
            self._seated(claim, key, now)
        return fresh

    def pass_on(self, key: Key, old: Claim, new: Claim, now: float) -> None:
        """Let `new` hold `key` in place of `old`, without a gap."""
        if now != self.accounted_until:
            self.advance(now)
        self.replace(key, old, new)
        if self.denial_tracker.open_episodes:
            self._seated(new, key, now)

    def replace(self, key: Key, old: Claim, new: Claim) -> None:
        """Let `new` claim `key` in place of `old`, of which nothing is accounted: the seat is the same."""
        self._keep_charged(key, new)
        if self.claims.has_only(key, old):
            self.claims[key] = new
        else:
            self.claims.add(key, new)
            self.claims.discard(key, old)
        if self.rules is not None:
            self.rules.removed(key, old)
            self.rules.added(key, new)

    def remove(self, key: Key, claim: Claim, cause: str, now: float) -> None:
        """Let `claim` hold `key` no longer; the key is released for `cause` if nobody else holds it."""
        if self.changed_keys is not None:
            self.changed_keys[key] = cause
        claims, span = self.claims, now - self.accounted_until
        if now >= self.same_second_until:
            self.advance(now)
        elif span > 0:  # as `_charge` does, without the price of a call
            used = len(claims)
            self.accounted_until = now
            self.seat_seconds += used * span
            self.interval.levels[used] += span
            if used >= self._limit:
                self.full_seconds += span
        if claims.get(key) is not claim:
            claims.discard(key, claim)
            if self.rules is not None:
                self.rules.removed(key, claim)
            return
        del claims[key]
        if self.rules is not None:
            self.rules.removed(key, claim)
        self.releases[cause] = self.releases.get(cause, 0) + 1
        if self.held_since is not None:
            self.finished_holds.append((key, self.held_since.pop(key, now), now, cause))
        person = self._person(key, claim)
        self.shares.release(key, person, now)
        if self.events is not None:
            self._note(self.events, "released", person, claim, now, ("cause", cause))

    def record_denial(self, reason: str, asker: Asker | None, person: Person, now: float) -> None:
        """Count a denial of a person; `asker` None says that who asked was let in all the same."""
        if now >= self.interval_end:
            self.advance(now)
        self.denial_counts[reason] = self.denial_counts.get(reason, 0) + 1
        self.shares.deny(person, now, true=asker is None)
        if asker is None:
            self.denial_tracker.count_true_denial(reason, self.interval)
        else:
            self.denial_tracker.record_denial(asker, person, reason, now, self.interval)

    def _seated(self, claim: Claim, key: Key, now: float) -> None:
        asker = _asker(claim, key)
        if asker is not None:
            self.denial_tracker.record_grant(asker, now)

    def _note(
        self, events: SeatEvents, name: str, person: Person, claim: Claim, now: float, *detail: tuple[str, str]
    ) -> None:
        session, terms = claim.number if isinstance(claim, Session) else None, self.terms
        told = (name, terms.name, person, session, now, len(self.claims), terms.limit, detail)
        events.note(tuple.__new__(SeatEvent, told))  # as `SeatEvent(...)` does, and cheaper

    def _keep_charged(self, key: Key, claim: Claim) -> None:
        """Keep the seat of `key` charged to whom it is, where another person is about to claim it."""
        charged = self.shares.charged
        if key not in charged:
            person = self._person(key, next(iter(self.claims.values_of(key))))
            if person != self._person(key, claim):
                charged[key] = person

    def _person(self, key: Key, claim: Claim) -> Person:
        return claim.person if isinstance(claim, PERSONAL) else self.owner(key)

    def owner(self, key: Key) -> Person:
        """Return the person that holds a key without a session."""
        if self.terms.keys == "address":
            return "", "", "", str(key)
        who, device = key if self.terms.keys == "device" and isinstance(key, tuple) else (key, "")
        return (*account_and_home(who), str(device), "")

    def record_wait(self, outcome: str, reason: str, asker: Asker, person: Person, began: float, now: float) -> None:
        """Record the end of a wait that `began` at that monotonic instant, for what a denial would have been."""
        if now >= self.interval_end:
            self.advance(now)
        self.waits.record(outcome, now - began)
        if outcome in {TIMED_OUT, GAVE_UP}:
            self.denial_counts[reason] = self.denial_counts.get(reason, 0) + 1
        if outcome in {TIMED_OUT, GAVE_UP, GRANTED}:
            granted = outcome == GRANTED
            self.denial_tracker.record_wait(asker, person, reason, began, now, self.interval, granted=granted)


def _asker(claim: Claim, key: Key) -> Asker | None:
    """Return who is granted `key`: a session, or the account that holds it without one; None where it is no account,
    or the seat is kept for who is not there.
    """
    if isinstance(claim, Session):
        return asker_of(claim)
    if isinstance(key, str) and not isinstance(claim, KeptSeat):
        return ("account", key)
    return ("account", account_and_home(key)) if isinstance(claim, Lease) else None  # else it may be a device


def _shares_alone(now: float) -> PoolShares:
    """Return the shares of a pool that belongs to no state."""
    return PersonalUse(NumberSequence(), Calendar(), MOST_ALONE, Instant(now, now)).place("", "")
