"""The operator's view, as a struct: metrics, API and page all render this one.

Taking a snapshot reads lengths of views and a few totals. Its cost depends on the number of models and pools, not on
the number of connections.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from gateway.core.admission.decisions import Admission
from gateway.core.counting.ledger import Ledger
from gateway.core.counting.license_model import Extension


class PoolView(NamedTuple):
    """One pool at one instant. `limit` and `available` are None where there is no limit; times are in seconds."""

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

    @property
    def denied(self) -> int:
        """Denials so far, for whatever reason."""
        return sum(self.denials.values())


class Snapshot(NamedTuple):
    """All that is counted, at one instant."""

    model: str
    edition: str | None
    enforce: bool
    pools: tuple[PoolView, ...]
    extensions: tuple[Extension, ...]
    sessions: Mapping[tuple[str, bool], int]
    accounts: int
    devices: int
    conferences: Mapping[str, int]
    members: Mapping[str, int]
    refusals: Mapping[str, int]


def snapshot(admission: Admission, mono: float) -> Snapshot:
    """What there is at the monotonic instant `mono`."""
    primary = admission.primary
    sessions, conferences = admission.sessions, admission.conferences
    return Snapshot(
        model=primary.model.name,
        edition=primary.model.edition,
        enforce=primary.enforced,
        pools=tuple(view for ledger in admission.ledgers for view in _pool_views(ledger, mono)),
        extensions=primary.model.extensions,
        sessions={key: len(found) for key, found in sessions.by_presence.items()},
        accounts=len(sessions.by_account),
        devices=sessions.devices,
        conferences={
            "live": len(conferences.live),
            "scheduled": len(conferences.scheduled) + sum(id not in conferences.by_id for id in conferences.declared),
        },
        members={"live": len(conferences.taking_part), "scheduled": len(conferences.waiting)},
        refusals=dict(admission.refusals),
    )


def _pool_views(ledger: Ledger, mono: float) -> list[PoolView]:
    views = []
    for name, book in ledger.pools.items():
        book.advance(mono)
        used, limit = book.used, book.terms.limit
        kind = "permanent" if book.terms.endless else "temporary"
        leases = {kind: len(book.leases)} if book.terms.leased else {}
        if name == ledger.model.account_pool:
            leases["permanent"] = len(book.reservations)
        views.append(
            PoolView(
                model=ledger.model.name,
                pool=name,
                used=used,
                limit=limit,
                available=None if limit is None else max(limit - used, 0),
                reserved=len(book.reservations),
                overdraft_used=0 if limit is None else max(used - limit, 0),
                high_water=book.high_water(mono),
                seat_seconds=book.seat_seconds,
                full_seconds=book.full_seconds,
                grants=book.grants,
                releases=dict(book.releases),
                denials=dict(book.denial_counts),
                true_denials={**dict.fromkeys(book.denial_counts, 0), **book.denial_tracker.true_denials},
                leases=leases,
            )
        )
    return views
