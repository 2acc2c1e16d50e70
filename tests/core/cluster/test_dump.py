"""A replica that was written down at any entry goes on as if it had not been, whatever model decides; reads do nothing.

The random day has everything that seats depend on: lines, sleep, lingering and reserved seats, leases, hosts, groups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random

import pytest

from gateway.core.admission.snapshot import snapshot
from gateway.core.cluster import dump
from gateway.core.cluster.replica import Replica
from gateway.licensing import MODELS
from tests.core.admission.random_day import first_terms
from tests.core.cluster.log_harness import LogHarness, random_log

ENTRIES = 400


def whole(replica: Replica) -> list[bytes]:
    """All of a replica."""
    return list(dump.lines(replica))


def places(seed: int, number: int) -> Iterator[int]:
    """Draw so many entries of a log."""
    random = Random(seed)  # noqa: S311 - the same each time
    return (random.randrange(2, ENTRIES) for _ in range(number))


def read_all(replica: Replica) -> None:
    """Look at everything that people and scrapes look at, at an instant that no entry has."""
    state = replica.state
    snapshot(state, replica.life + 0.7)
    list(state.history.pieces(replica.life + 0.7))
    for demand in state.history.demand:
        state.history.holding(*demand)
    for ledger in state.ledgers:
        for pool in ledger.pools.values():
            pool.holders()


def followed(harness: LogHarness, between: Callable[[Replica, int], Replica]) -> Replica:
    """Apply a log, and let something happen to the replica before each entry."""
    replica = Replica(MODELS)
    for number, entry in enumerate(harness.entries):
        replica = between(replica, number)
        list(replica.apply(entry))
    return replica


@pytest.mark.parametrize("model", MODELS)
def test_a_dump_at_any_entry_goes_on_the_same_way(model: str) -> None:
    harness = random_log(7, ENTRIES, replace(first_terms(), model=model))
    at = set(places(7, 5))

    def restart(replica: Replica, number: int) -> Replica:
        return dump.read(whole(replica), MODELS) if number in at else replica

    assert whole(followed(harness, restart)) == whole(harness.replica)


@pytest.mark.parametrize("model", MODELS)
def test_whoever_looks_changes_nothing(model: str) -> None:
    harness = random_log(8, ENTRIES, replace(first_terms(), model=model))
    at = set(places(8, 100))

    def look(replica: Replica, number: int) -> Replica:
        if number in at:
            read_all(replica)
        return replica

    assert whole(followed(harness, look)) == whole(harness.replica)
