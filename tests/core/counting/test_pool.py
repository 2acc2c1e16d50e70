"""One pool: distinct keys, and totals that only grow."""

from __future__ import annotations

import pytest

from gateway.core.counting.claims import Lease
from gateway.core.counting.license_model import PoolTerms
from gateway.core.counting.pool import Pool
from gateway.core.counting.session import Session

ANN, BOB = Session(1), Session(2)


def book(limit: int | None = 2, window: float = 10.0) -> Pool:
    return Pool(PoolTerms("seats", limit), window, 100.0)


def test_use_is_the_number_of_distinct_keys() -> None:
    pool = book()
    pool.add("k", ANN, 100.0)
    pool.add("k", BOB, 100.0)
    pool.add("m", BOB, 100.0)
    assert pool.used == 2


def test_claiming_twice_changes_nothing() -> None:
    pool = book()
    pool.add("k", ANN, 100.0)
    pool.add("k", ANN, 100.0)
    pool.remove("k", ANN, "bye", 100.0)
    assert pool.used == 0
    assert (pool.grants, pool.releases["bye"]) == (1, 1)


def test_a_key_stays_as_long_as_anybody_claims_it() -> None:
    pool, lease = book(), Lease(0.0, 1)
    pool.add("k", ANN, 100.0)
    pool.add("k", lease, 100.0)
    pool.remove("k", ANN, "bye", 100.0)
    assert pool.used == 1
    assert not pool.in_use("k")
    pool.remove("k", lease, "expired", 100.0)
    assert pool.used == 0
    assert sum(pool.releases.values()) == pool.grants == 1


def test_removing_a_claim_that_is_not_there_changes_nothing() -> None:
    pool = book()
    pool.remove("k", ANN, "bye", 100.0)
    pool.add("k", ANN, 100.0)
    pool.remove("k", BOB, "bye", 100.0)
    assert pool.used == 1
    assert sum(pool.releases.values()) == 0


def test_seat_seconds_are_the_integral_of_use() -> None:
    pool = book()
    pool.add("k", ANN, 101.0)
    pool.add("m", BOB, 103.5)
    pool.remove("k", ANN, "bye", 104.0)
    pool.advance(110.0)
    assert pool.seat_seconds == 1 * 2.5 + 2 * 0.5 + 1 * 6.0
    assert pool.full_seconds == 0.5


def test_a_pool_without_a_limit_is_never_full() -> None:
    pool = book(None)
    pool.add("k", ANN, 100.0)
    pool.advance(200.0)
    assert pool.full_seconds == 0.0


@pytest.mark.parametrize("window", [10.0, 0.5, 2.7])
def test_a_peak_between_two_looks_is_seen_for_the_whole_window(window: float) -> None:
    pool = book(window=window)
    pool.add("k", ANN, 100.2)
    pool.remove("k", ANN, "bye", 100.9)
    assert pool.high_water(100.9 + window - 0.01) == 1
    assert pool.high_water(100.9 + window + 2.0) == 0


def test_a_plateau_counts_until_it_ends() -> None:
    pool = book()
    pool.add("k", ANN, 100.0)
    pool.remove("k", ANN, "bye", 500.0)
    assert pool.high_water(505.0) == 1
    assert pool.high_water(520.0) == 0


def test_the_memory_of_peaks_is_as_long_as_the_window() -> None:
    pool = book(window=10.0)
    for second in range(1000):
        pool.advance(100.0 + second)
    assert len(pool.maxima) <= 12


def test_reading_tells_what_will_have_been_and_changes_nothing() -> None:
    pool, twin = book(), book()
    for each in (pool, twin):
        each.add("k", ANN, 101.0)
        each.add("m", BOB, 103.5)
        each.remove("k", ANN, "bye", 104.0)
        each.start_interval(0.0, 3700.0)
    maxima = list(pool.maxima)
    for now in (110.0, 106.0, 105.0, 130.0):
        totals, summary = pool.totals(now), pool.summary(pool.interval, now)
        assert totals.seat_seconds == 1 * 2.5 + 2 * 0.5 + (now - 104.0)
        assert totals.full_seconds == 0.5
        assert summary.levels == {1: now - 104.0}
        assert pool.high_water(now) == (2 if now < 115.0 else 1)
    twin.advance(130.0)
    assert (twin.seat_seconds, twin.full_seconds) == (pool.totals(130.0).seat_seconds, 0.5)
    assert (pool.accounted_until, pool.seat_seconds) == (104.0, 2.5 + 1.0)
    assert list(pool.maxima) == maxima != list(twin.maxima)
    assert len(pool.ended_intervals) == len(twin.ended_intervals) == 1


def test_a_pool_ends_its_interval_where_the_hour_ends_and_goes_on() -> None:
    pool = book()
    pool.start_interval(0.0, 3700.0)
    pool.add("k", ANN, 3690.0)
    pool.remove("k", ANN, "bye", 7305.0)
    ended = [(interval.start, list(interval.levels)) for interval in pool.ended_intervals[1:]]
    assert ended == [(0.0, [3590.0, 10.0]), (3600.0, [0.0, 3600.0])]
    assert (pool.interval.start, list(pool.interval.levels)) == (7200.0, [0.0, 5.0])
    assert [interval.number for interval in (*pool.ended_intervals[1:], pool.interval)] == [1, 2, 3]
