"""The book of one pool: which keys are in it, and why.

A key is in a pool as long as somebody claims it: a session, a lease, a reservation, or the memory of an abrupt loss.
Claims are kept by identity, so claiming twice changes nothing, and use is the number of keys with a claim: it is read,
never counted up and down. Totals that only ever grow (grants, releases, seat-seconds) are kept beside it, so that
grants - releases = use, and the integral of use over time is exact. The present hour's levels of use and its peak are
kept with them; hours that are over gather in `past`.
"""

from __future__ import annotations

import math
from collections import deque

from gateway.core.counting.denials import Asker, DenialTracker
from gateway.core.counting.license_model import PoolTerms
from gateway.core.counting.multimap import Multimap
from gateway.core.counting.session import Key, Session
from gateway.core.counting.usage import HOUR, UsageInterval, totals_of

MAX_FINISHED_HOLDS = 100_000
"""Ended holds of a pool that are kept for the store while it is away; the oldest beyond that are forgotten."""


class Lease:
    """A seat that outlives its session. `since` and `expires` are seconds UTC; None: not while in use, or never."""

    __slots__ = ("deleted", "expires", "queued", "since")

    def __init__(self, since: float, expires: float | None = None) -> None:
        self.since = since
        self.expires = expires
        self.deleted = False
        self.queued = False


class Reservation:
    """A key that holds its seat whether its owner is connected or not; since when, in seconds UTC."""

    __slots__ = ("since",)

    def __init__(self, since: float) -> None:
        self.since = since


class Linger:
    """A seat kept after an abrupt loss, until a monotonic instant; `cause` is that of the loss."""

    __slots__ = ("cause", "until")

    def __init__(self, until: float, cause: str) -> None:
        self.until = until
        self.cause = cause


Claim = Session | Lease | Reservation | Linger
Hold = tuple[Key, float, float, str]
"""A seat that was held: its key, from and to which monotonic instant, and why it ended."""


class Pool:
    """The books of one pool: its claims, and the totals that only grow."""

    __slots__ = (
        "_maxima",
        "_second",
        "_since",
        "_window",
        "claims",
        "denial_counts",
        "denial_tracker",
        "ended_intervals",
        "finished_holds",
        "full_seconds",
        "grants",
        "held_since",
        "interval",
        "interval_end",
        "leases",
        "limit",
        "lingering",
        "releases",
        "reservations",
        "seat_seconds",
        "seats_outlive_sessions",
        "terms",
    )

    def __init__(self, terms: PoolTerms, window: float, now: float) -> None:
        self.apply_terms(terms)
        self.claims: Multimap[Key, Claim] = Multimap()
        self.leases: dict[Key, Lease] = {}
        self.reservations: dict[Key, Reservation] = {}
        self.lingering: dict[Key, Linger] = {}
        self.grants = 0
        self.releases: dict[str, int] = dict.fromkeys(terms.causes, 0)
        self.denial_counts: dict[str, int] = dict.fromkeys(terms.reasons, 0)
        self.seat_seconds = 0.0
        self.full_seconds = 0.0
        self._since = now
        self._second = -math.inf
        self._window = window
        self._maxima: deque[tuple[int, int]] = deque()
        """Highest use by monotonic second; a second in which nothing changed has none of its own."""
        self.interval = UsageInterval()
        self.interval_end = math.inf
        """The monotonic instant at which the hour ends."""
        self.ended_intervals: list[UsageInterval] = []
        self.denial_tracker = DenialTracker()
        self.held_since: dict[Key, float] | None = None
        """Since when each key holds its seat, where ended holds are recorded."""
        self.finished_holds: deque[Hold] = deque(maxlen=MAX_FINISHED_HOLDS)

    @property
    def used(self) -> int:
        """Distinct keys."""
        return len(self.claims)

    def apply_terms(self, terms: PoolTerms) -> None:
        """Take the terms of the license; what is asked at every change is kept at hand."""
        self.terms = terms
        self.limit = math.inf if terms.limit is None else terms.limit
        self.seats_outlive_sessions = terms.leased or terms.linger > 0

    def advance(self, now: float) -> None:
        """Account for the time since the last change; called before use changes and before it is read."""
        used = len(self.claims.keys)
        while now >= self.interval_end:
            self._charge(used, self.interval_end)
            self.start_interval(self.interval.start + HOUR, self.interval_end + HOUR)
        span = now - self._since
        if span > 0:  # as `_charge` does, without the price of a call
            self._since = now
            self.seat_seconds += used * span
            self.interval.levels[used] += span
            if used >= self.limit:
                self.full_seconds += span
        if now >= self._second + 1:
            self._second = int(now)
            self._maxima.append((self._second, used))
            while self._maxima[0][0] + 1 <= self._second - self._window:
                self._maxima.popleft()

    def _charge(self, used: int, now: float) -> None:
        span = now - self._since
        if span > 0:
            self._since = now
            self.seat_seconds += used * span
            self.interval.levels[used] += span
            if used >= self.limit:
                self.full_seconds += span

    def start_interval(self, start: float, turns: float) -> None:
        """Begin the hour that starts at `start` (seconds UTC) and ends at the monotonic instant `turns`."""
        self.interval.end(self)
        self.ended_intervals.append(self.interval)
        self.interval = UsageInterval(start, self.used, totals_of(self))
        self.interval_end = turns

    def high_water(self, now: float) -> int:
        """Highest use in the rolling window."""
        self.advance(now)
        return max(used for _, used in self._maxima)

    def add(self, key: Key, claim: Claim, now: float) -> bool:
        """Let `claim` hold `key`; whether the key is new."""
        if key not in self.claims:
            self.advance(now)
        fresh = self.claims.add(key, claim)
        if fresh:
            self.grants += 1
            used = len(self.claims.keys)
            second, highest = self._maxima[-1]
            if used > highest:
                self._maxima[-1] = (second, used)
            hour = self.interval
            if used > hour.peak:
                hour.peak = used
                hour.levels.append(0.0)
            if self.held_since is not None:
                self.held_since[key] = now
        if self.denial_tracker.open_episodes:
            self.denial_tracker.record_grant(claim, key, now)
        return fresh

    def remove(self, key: Key, claim: Claim, cause: str, now: float) -> None:
        """Let `claim` hold `key` no longer."""
        self.advance(now)
        if self.claims.discard(key, claim):
            self.releases[cause] = self.releases.get(cause, 0) + 1
            if self.held_since is not None:
                self.finished_holds.append((key, self.held_since.pop(key, now), now, cause))

    def record_denial(self, reason: str, asker: Asker | None, now: float) -> None:
        """A refusal; None says that the asker was let in all the same."""
        if now >= self.interval_end:
            self.advance(now)
        self.denial_counts[reason] = self.denial_counts.get(reason, 0) + 1
        if asker is None:
            self.denial_tracker.count_true_denial(reason, self.interval)
        else:
            self.denial_tracker.record_denial(asker, reason, now, self.interval)

    def in_use(self, key: Key) -> bool:
        """Whether a session claims `key`."""
        return any(isinstance(claim, Session) for claim in self.claims.values_of(key))
