"""Writes who holds the seats of the enforced model into the store, behind what happens: at the next start they are kept
for those who come back (COUNTING.md, Returning).

What has changed is written once a second, and when the gateway ends; nobody waits for it. While clients are sent away
the row of a seat stays: whoever ends a session of its own accord gives it back, whoever is sent away does not. Where
nothing is kept, nothing is written and no change is followed.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

from gateway.core.admission.returning import HeldSeat, keep_seats
from gateway.core.admission.state import State
from gateway.core.counting.claims import Linger
from gateway.core.counting.ledger import Ledger
from gateway.core.counting.pool import Pool
from gateway.core.counting.returning import NOT_RETURNED, Returning
from gateway.core.counting.session import Instant, Key, Session
from gateway.core.formats import duration_text
from gateway.edge.storage import rows
from gateway.edge.storage.store import Statement, Store

RECORDED = "seats"
"""Under which name `meta` has the monotonic instant at which the rows were true."""

log = logging.getLogger("tallygate.store")


class SeatStore:
    """Writes the seats that `state` holds into `store`; where that follows a log, which has them, it does nothing."""

    def __init__(self, state: State, store: Store, *, follows_log: bool = False) -> None:
        self.found: list[HeldSeat] = []
        """What the last run left."""
        self._follows_log = follows_log
        self._state = state
        self._store = store
        self._ledger: Ledger | None = None
        """The ledger whose changes are followed."""
        self._mono = 0.0
        self._kept_before: dict[Returning, None] | None = None
        """What was kept when everybody began to be sent away; None where nobody is."""

    def begin_drain(self) -> None:
        """Everybody is about to be sent away: what is kept from now on has its whole time at the next start."""
        if self._kept_before is None:
            pools = self._state.primary.pools.values()
            self._kept_before = dict.fromkeys([claim for pool in pools for claim in pool.returning.values()])

    def restore(self, now: Instant) -> None:
        """Keep the seats that the last run left, and write what is held from now on."""
        found, self.found = self.found, []
        if self._follows_log:
            return
        keep_seats(self._state, found, now)
        kept = sum(len(pool.returning) for pool in self._state.primary.pools.values())
        if kept:
            seats = "1 seat is" if kept == 1 else f"{kept} seats are"
            log.info("%s kept for those who come back, %s", seats, duration_text(self._state.terms.returning))
        self.poll(now)
        if found and self._ledger is None:
            self._store.write([Statement(rows.FORGET_SEATS)])

    def poll(self, now: Instant) -> None:
        """Write what has changed; called once a second, and at the end."""
        self._mono = now.mono
        primary = self._state.primary
        keeps = primary.enforced and self._state.terms.returning and not self._follows_log
        ledger = primary if keeps else None
        if ledger is not self._ledger:
            self._follow(ledger)
        elif ledger is not None:
            self._write_changes(ledger)

    def everything(self) -> Iterator[Statement]:
        """Yield what writes all that is held now, where it is followed."""
        ledger = self._ledger
        if ledger is not None:
            held = (self._row(ledger, name, key) for name, pool in _pools(ledger) for key in pool.claims)
            yield rows.put_seats([row for row in held if row is not None])
            yield rows.put_meta(RECORDED, repr(self._mono))

    def _follow(self, ledger: Ledger | None) -> None:
        """Follow the changes of another ledger, or of none any more."""
        before, self._ledger = self._ledger, ledger
        for _, pool in _pools(before):
            pool.changed_keys = None
        for _, pool in _pools(ledger):
            pool.changed_keys = {}
        if self._store.available:
            self._store.write([Statement(rows.FORGET_SEATS), *self.everything()])

    def _write_changes(self, ledger: Ledger) -> None:
        held, gone = [], []
        for name, pool in _pools(ledger):
            changed, pool.changed_keys = pool.changed_keys or {}, {}
            for key, cause in changed.items():
                row = self._row(ledger, name, key)
                if row is not None:
                    held.append(row)
                elif self._kept_before is None or cause != NOT_RETURNED:  # else nobody could come back
                    gone.append((ledger.model.name, name, json.dumps(key)))
        statements = [rows.end_seats(gone)] if gone else []
        statements += [rows.put_seats(held)] if held else []
        if statements or any(pool.returning for _, pool in _pools(ledger)):
            statements.append(rows.put_meta(RECORDED, repr(self._mono)))
            if self._store.available:  # else everything is written when it is back
                self._store.write(statements)

    def _row(self, ledger: Ledger, name: str, key: Key) -> tuple[Any, ...] | None:
        """Return the row of a seat; None where nobody holds it, or nobody who could come back to it."""
        pool = ledger.pools[name]
        claims = pool.claims.values_of(key)
        place = (ledger.model.name, name, json.dumps(key))
        for claim in claims:
            if isinstance(claim, Session):
                return (*place, claim.account or "", claim.home, claim.device or "", claim.address, None)
        for claim in claims:
            if isinstance(claim, Returning):
                return (*place, claim.account, claim.home, claim.device, claim.address, self._until(claim))
            if isinstance(claim, Linger):
                return (*place, claim.account, claim.home, claim.device, claim.address, None)
        return None

    def _until(self, claim: Returning) -> float | None:
        before = self._kept_before
        return claim.until if before is None or claim in before else None


def _pools(ledger: Ledger | None) -> list[tuple[str, Pool]]:
    """Return the pools whose seats are kept: a leased seat outlives a restart by its lease."""
    return [] if ledger is None else [(name, pool) for name, pool in ledger.pools.items() if not pool.leased]
