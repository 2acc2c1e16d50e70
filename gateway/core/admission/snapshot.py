"""The operator's view, as a struct: metrics, API and page all render this one.

Taking a snapshot reads lengths of views and a few totals. Its cost depends on the number of models and pools, not on
the number of connections.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from gateway.core.admission.state import State
from gateway.core.counting.ledger import Ledger
from gateway.core.counting.license_model import Extension


class PoolView(NamedTuple):
    """One pool at one instant. `limit` and `available` are None where there is no limit; times are in seconds.

    `returning` is how many of the seats in use are kept for those who come back. `waiting` is how many wait in line for
    a seat of it, `left` how many have left the line, by outcome. Of those who were granted a seat, `waits` has how long
    that took, in the buckets of `WaitTotals`, `waited_seconds` the sum.
    """

    model: str
    pool: str
    used: int
    limit: int | None
    available: int | None
    reserved: int
    overdraft_used: int
    high_water: int
    seat_seconds: float
    full_seconds: float
    grants: int
    releases: Mapping[str, int]
    denials: Mapping[str, int]
    true_denials: Mapping[str, int]
    leases: Mapping[str, int]
    returning: int
    waiting: int
    left: Mapping[str, int]
    waits: tuple[int, ...]
    waited_seconds: float

    @property
    def denied(self) -> int:
        """Denials so far, for whatever reason."""
        return sum(self.denials.values())


class RuleView(NamedTuple):
    """A rule for seats at one instant: `used` keys of its pool count under it, of `limit`, None where any number may.

    Where it counts somebody apart (`each`), that is of whoever has most. Of `reserve` seats `kept` are not used.
    """

    model: str
    pool: str
    rule: str
    used: int
    limit: int | None
    each: str
    reserve: int
    kept: int


class Snapshot(NamedTuple):
    """All that is counted, at one instant; `idle` are the sessions awake that nobody uses."""

    model: str
    edition: str | None
    enforce: bool
    pools: tuple[PoolView, ...]
    rules: tuple[RuleView, ...]
    extensions: tuple[Extension, ...]
    sessions: Mapping[tuple[str, bool], int]
    idle: int
    accounts: int
    devices: int
    conferences: Mapping[str, int]
    members: Mapping[str, int]


def snapshot(state: State, mono: float) -> Snapshot:
    """Return what there is at the monotonic instant `mono`; nothing is changed by it."""
    primary, sessions, conferences = state.primary, state.sessions, state.conferences
    return Snapshot(
        model=primary.model.name,
        edition=primary.model.edition,
        enforce=primary.enforced,
        pools=tuple(view for ledger in state.ledgers for view in _pool_views(state, ledger, mono)),
        rules=tuple(_rule_views(primary)) if primary.ruled else (),
        extensions=primary.model.extensions,
        sessions={key: len(found) for key, found in sessions.by_presence.items()},
        idle=len(sessions.idle),
        accounts=len(sessions.by_account),
        devices=sessions.devices,
        conferences={
            "live": len(conferences.live),
            "scheduled": len(conferences.scheduled) + len(conferences.awaited),
        },
        members={"live": len(conferences.taking_part), "scheduled": len(conferences.waiting)},
    )


def _rule_views(ledger: Ledger) -> Iterator[RuleView]:
    model = ledger.model.name
    for name, pool in ledger.pools.items():
        for rule in pool.rules.rules.values() if pool.rules is not None else ():
            terms = rule.terms
            yield RuleView(model, name, terms.name, rule.used, terms.most, terms.each, terms.reserve, rule.kept)


def _pool_views(state: State, ledger: Ledger, mono: float) -> list[PoolView]:
    views = []
    for name, pool in ledger.pools.items():
        used, limit, totals = pool.used, pool.terms.limit, pool.totals(mono)
        kind = "permanent" if pool.terms.endless else "temporary"
        leases = {kind: len(pool.leases)} if pool.terms.leased else {}
        if name == ledger.model.account_pool:
            leases["permanent"] = len(pool.reservations)
        views.append(
            PoolView(
                model=ledger.model.name,
                pool=name,
                used=used,
                limit=limit,
                available=None if limit is None else max(limit - used, 0),
                reserved=len(pool.reservations),
                overdraft_used=0 if limit is None else max(used - limit, 0),
                high_water=pool.high_water(mono),
                seat_seconds=totals.seat_seconds,
                full_seconds=totals.full_seconds,
                grants=totals.grants,
                releases=totals.releases,
                denials=totals.denials,
                true_denials={**dict.fromkeys(totals.denials, 0), **pool.denial_tracker.true_denials},
                leases=leases,
                returning=len(pool.returning),
                waiting=state.lines.length(name) if ledger is state.primary else 0,
                left=dict(pool.waits.left),
                waits=tuple(pool.waits.counts),
                waited_seconds=pool.waits.seconds,
            )
        )
    return views
