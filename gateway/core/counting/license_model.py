"""What a license model is.

A license model maps what a session is to a set of (pool, key) seats; use of a pool is the number of distinct keys in
it. Everything else about a model is data of its pools, plus at most two rules: what the license forbids, and what it
says about a conference as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

from gateway.core.counting.returning import NOT_RETURNED
from gateway.core.counting.session import Conference, Key, Seat, Session

CONNECTION_ENDS = (
    "bye",
    "closed",
    "reset",
    "heartbeat_timeout",
    "replaced",
    "protocol_error",
    "too_fast",
    "slow_consumer",
    "kicked",
    "account_deleted",
    "drained",
    "unregistered",
    "store_unavailable",
    "node_lost",
    NOT_RETURNED,
)
"""Why a seat that lasts as long as its session is released."""
CONFERENCE_ENDS = (*CONNECTION_ENDS, "left", "removed", "asleep")
"""Why a seat that lasts as long as a membership is released."""
IDLE, PREEMPTED = "idle", "preempted"
"""Why the gateway puts a session to sleep: nobody uses it for long, or another of a higher priority needs a seat."""
SLEEP_ENDS = ("asleep", IDLE, PREEMPTED)
"""Why a seat is released that only a session awake holds, beside the end of the session."""
FORGOTTEN = "forgotten"
"""Why a seat is released that no session has held for longest, where a model keeps no more such seats."""
REVOKED = "revoked"
"""Why a leased seat is released that the operator takes away."""
LEASE_ENDS = ("expired", REVOKED, "redistributed", "account_deleted", FORGOTTEN)
"""Why a leased seat is released (COUNTING.md, PRO leases 8); one that is leased to accounts also for `PREEMPTED`."""


@dataclass(frozen=True, slots=True)
class PoolTerms:
    """A pool as the license sells it.

    `limit` is the number of distinct keys it may hold, None for no limit. `binding` is False where the rule is another
    (per conference) and the limit is only reported. `linger` (seconds) keeps a seat after an abrupt loss. `lease`
    (seconds) keeps it after the last session let go; `endless` keeps it until the operator ends it. `reserve` lists
    keys that always hold a seat, as far as the limit goes; `keys` says what such are: `account`, `device` or
    `address`. `reasons` and `causes` are the denials and releases that can occur.
    """

    name: str
    limit: int | None
    causes: tuple[str, ...] = CONNECTION_ENDS
    reasons: tuple[str, ...] = ("pool_full",)
    binding: bool = True
    linger: float = 0.0
    lease: float | None = None
    endless: bool = False
    reserve: tuple[Key, ...] = ()
    keys: str = "account"

    @property
    def leased(self) -> bool:
        """Whether its seats are leased: they outlive sessions that ended in order."""
        return self.endless or self.lease is not None


class Refusal(NamedTuple):
    """Why something is not granted; a value, not a fault.

    `pool` is the pool that it is counted under; empty where a rule of the gateway itself refuses, not one of the model.
    `retry_after` is in seconds. `rule` names the rule for seats of the pool that has no room (`pool_rule`).
    """

    reason: str
    pool: str = ""
    used: int | None = None
    limit: int | None = None
    retry_after: float | None = None
    rule: str = ""


class Holdings(Protocol):
    """What the rules of a model may ask of its ledger."""

    enforced: bool
    """Whether its refusals refuse."""

    def holds(self, pool: str, key: Key) -> bool:
        """Return whether somebody holds `key` in a pool."""

    def is_leased(self, pool: str, key: Key) -> bool:
        """Return whether `key` has a lease in a pool."""

    def lease_expires(self, pool: str, key: Key) -> float | None:
        """Return when the lease of `key` runs out, in seconds UTC; None if it has none or does not run out yet."""

    def comes_back(self, pool: str, key: Key, session: Session) -> bool:
        """Return whether a seat is kept that a session takes over when it comes to hold `key` in a pool."""

    def awaited(self, pool: str, conference: str) -> int:
        """Return how many seats of a conference are kept in a pool for those who come back."""

    def pools_held(self, session: Session) -> list[str]:
        """Return the names of the pools in which a session holds a seat, in the model's order."""


class Attempt(NamedTuple):
    """What a session is about to do, for the rules of a model.

    `request` is `hello`, `join` or `start`. `creates` and `opens` say that it would create the conference, or make it
    live; a session that joins is not among the members yet. `same_account_sessions` are the sessions of its account,
    `live_groups` is the number of live group conferences.
    """

    request: str
    session: Session
    live_groups: int
    same_account_sessions: Collection[Session]
    conference: Conference | None = None
    host: bool = False
    creates: bool = False
    opens: bool = False


SeatRule = Callable[[Session], tuple[Seat, ...]]
"""The seats that the facts of a session give it."""
Rule = Callable[[Attempt, Holdings], Refusal | None]
"""What a model has against an attempt; its holdings tell who is named and whether the model is enforced."""


def pools_held(session: Session, holdings: Holdings) -> dict[str, Any]:
    """Return what a session is told of what it holds: the pools in which it has a seat."""
    return {"seats": holdings.pools_held(session)}


class Extension(NamedTuple):
    """What may be licensed beside the pools: its name, title, terms of provision, and whether this license has it."""

    name: str
    title: str
    terms: str
    licensed: bool


@dataclass(frozen=True, slots=True)
class LicenseModel:
    """A license model: `seats` is the function, the rest is data.

    `seats` returns no seat twice; `shadow_seats` takes its place where the model is not enforced and counts otherwise
    then. Models that have the same function agree on every seat. `forbids` is asked first, `conference_rule` after it
    where there is a conference, the pools last. `entitlements` is what sessions are told with every answer.
    `account_pool` names the pool that is leased to accounts: groups may reserve it, the operator may revoke it and its
    holders are told by `status`.
    `start_pool` names the pool of which the starter of a scheduled conference needs a seat before anybody is admitted.
    `allows_requests` says whether a session may ask for a lease of the account pool without joining. `members_only`
    says that only members of a conference can hold seats. `extensions` are all there are.
    """

    name: str
    pools: tuple[PoolTerms, ...]
    seats: SeatRule
    shadow_seats: SeatRule | None = None
    forbids: Rule | None = None
    conference_rule: Rule | None = None
    entitlements: Callable[[Session, Holdings], dict[str, Any]] = pools_held
    account_pool: str = ""
    allows_reservations: bool = False
    start_pool: str = ""
    allows_requests: Callable[[Session], bool] = lambda _: False
    members_only: bool = False
    edition: str | None = None
    extensions: tuple[Extension, ...] = ()

    def with_extensions(self, names: Collection[str]) -> LicenseModel:
        """Return the model with the extensions of those names licensed too."""
        extensions = (each._replace(licensed=each.licensed or each.name in names) for each in self.extensions)
        return replace(self, extensions=tuple(extensions))
