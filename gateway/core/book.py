"""The book of one pool: which keys are in it, and why.

A key is in a pool as long as somebody claims it: a session, a lease, a reservation, or the memory of an abrupt loss.
Claims are kept by identity, so claiming twice changes nothing, and use is the number of keys with a claim: it is read,
never counted up and down. Totals that only ever grow (grants, releases, seat-seconds) are kept beside it, so that
grants - releases = use, and the integral of use over time is exact.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from gateway.core.facts import Key, Session
from gateway.core.license import Pool


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


class Linger(NamedTuple):
    """A seat kept after an abrupt loss, until a monotonic instant."""

    until: float
    cause: str


Claim = Session | Lease | Reservation | Linger


class Book:
    """The books of one pool: its claims, and the totals that only grow."""

    __slots__ = (
        "_maxima",
        "_since",
        "_window",
        "claims",
        "denials",
        "full_seconds",
        "grants",
        "leases",
        "lingering",
        "releases",
        "reservations",
        "seat_seconds",
        "terms",
    )

    def __init__(self, terms: Pool, window: float, now: float) -> None:
        self.terms = terms
        self.claims: dict[Key, tuple[Claim, ...]] = {}
        self.leases: dict[Key, Lease] = {}
        self.reservations: dict[Key, Reservation] = {}
        self.lingering: dict[Key, Linger] = {}
        self.grants = 0
        self.releases: dict[str, int] = dict.fromkeys(terms.causes, 0)
        self.denials: dict[str, int] = dict.fromkeys(terms.reasons, 0)
        self.seat_seconds = 0.0
        self.full_seconds = 0.0
        self._since = now
        self._window = window
        self._maxima: deque[tuple[int, int]] = deque()

    @property
    def used(self) -> int:
        """Distinct keys."""
        return len(self.claims)

    def clock(self, now: float) -> None:
        """Account for the time since the last change; called before use changes and before it is read."""
        span = now - self._since
        used = len(self.claims)
        if span > 0:
            self._since = now
            self.seat_seconds += used * span
            if self.terms.limit is not None and used >= self.terms.limit:
                self.full_seconds += span
        self._peak(now, used)

    def _peak(self, now: float, used: int) -> None:
        second = int(now)
        maxima = self._maxima
        if maxima and maxima[-1][0] == second:
            if used > maxima[-1][1]:
                maxima[-1] = (second, used)
        else:
            maxima.append((second, used))
            while maxima[0][0] < second - self._window:
                maxima.popleft()

    def high_water(self, now: float) -> int:
        """Highest use in the rolling window."""
        self.clock(now)
        return max(used for _, used in self._maxima)

    def add(self, key: Key, claim: Claim, now: float) -> None:
        """Let `claim` hold `key`."""
        claims = self.claims.get(key)
        if claims is None:
            self.clock(now)
            self.claims[key] = (claim,)
            self.grants += 1
            self._peak(now, len(self.claims))
        elif not any(held is claim for held in claims):
            self.claims[key] = (*claims, claim)

    def remove(self, key: Key, claim: Claim, cause: str, now: float) -> None:
        """Let `claim` hold `key` no longer."""
        claims = self.claims.get(key, ())
        left = tuple(held for held in claims if held is not claim)
        if left:
            self.claims[key] = left
        elif claims:
            self.clock(now)
            del self.claims[key]
            self.releases[cause] = self.releases.get(cause, 0) + 1

    def in_use(self, key: Key) -> bool:
        """Whether a session claims `key`."""
        return any(isinstance(claim, Session) for claim in self.claims.get(key, ()))
