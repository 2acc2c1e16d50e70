"""The last hour second by second: what each second holds, and that it is bounded."""

from __future__ import annotations

import pytest

from gateway.core.counting.denials import asker_of
from gateway.core.counting.license_model import PoolTerms
from gateway.core.counting.pool import Pool
from gateway.core.counting.session import Session
from gateway.core.reporting.recent import Fullness, RecentUse, Ring, highest, summed

PLACE = ("epop", "concurrent")
WALL = 1_800_000_000.0


class Bench:
    """A pool of two seats that is looked at second by second; the clock begins at 100."""

    def __init__(self, length: int = 10, limit: int | None = 2) -> None:
        self.pool = Pool(PoolTerms("concurrent", limit=limit), 60.0, 100.0)
        self.recent = RecentUse(length, {PLACE: self.pool}, {"opened": 0}, 100.0)
        self.opened = 0

    def look(self, mono: float, lag: float = 0.0) -> None:
        self.recent.look(mono, WALL + mono, {"opened": self.opened}, lag)

    def seat(self, number: int, at: float) -> Session:
        session = Session(number)
        self.pool.add(number, session, at)
        return session

    def deny(self, at: float) -> None:
        session = Session(99, account="eve")
        self.pool.record_denial("pool_full", asker_of(session), session.person, at)

    def read(self, name: str) -> list[int]:
        ring: Ring = getattr(self.recent.courses[PLACE], name)
        return ring.read(self.recent.begin, self.recent.end).tolist()


def test_a_second_has_the_highest_use_within_it() -> None:
    bench = Bench()
    session = bench.seat(1, 100.2)
    bench.pool.remove(1, session, "ended", 100.6)
    bench.look(101.1)
    bench.look(102.1)
    bench.look(103.1)
    assert (bench.read("used"), bench.read("granted"), bench.read("limit")) == ([1, 0, 0], [1, 0, 0], [2, 2, 2])


def test_a_look_within_the_second_that_is_known_changes_nothing() -> None:
    bench = Bench()
    bench.look(101.0)
    bench.seat(1, 101.1)
    bench.look(101.9)
    assert bench.read("used") == [0]


def test_seconds_in_which_the_process_stood_still_are_as_the_one_after_and_have_no_events() -> None:
    bench = Bench()
    bench.seat(1, 100.5)
    bench.deny(100.6)
    bench.opened = 3
    bench.look(104.0, lag=3.2)
    assert bench.read("used") == [1, 1, 1, 1]
    assert bench.read("denied") == [0, 0, 0, 1]
    assert bench.recent.growth["opened"].read(100, 104).tolist() == [0, 0, 0, 3]
    assert bench.recent.lag.read(100, 104).tolist() == [3200] * 4


def test_no_more_seconds_are_kept_than_asked_for() -> None:
    bench = Bench(length=5)
    for second in range(101, 120):
        if second == 117:
            bench.seat(1, 116.5)
        bench.look(float(second))
    assert (bench.recent.begin, bench.recent.end) == (114, 119)
    assert bench.read("used") == [0, 0, 1, 1, 1]
    bench.look(500.0)
    assert (bench.recent.begin, bench.recent.end) == (495, 500)
    assert bench.read("used") == [1] * 5


def test_a_pool_is_full_from_its_first_full_second_on_and_counts_refusals() -> None:
    bench = Bench()
    course = bench.recent.courses[PLACE]
    sessions = [bench.seat(number, 100.5) for number in (1, 2)]
    bench.deny(100.6)
    bench.look(101.0)
    assert course.fullness == Fullness(WALL + 101, 1, WALL + 101)
    bench.pool.remove(1, sessions[0], "ended", 101.2)
    bench.seat(3, 101.3)
    bench.deny(101.4)
    bench.look(102.0)
    assert course.fullness == Fullness(WALL + 101, 2, WALL + 102)
    bench.pool.remove(2, sessions[1], "ended", 102.5)
    bench.look(103.0)
    bench.look(104.0)
    assert course.fullness == Fullness(None, 0, WALL + 102)


def test_a_pool_without_a_limit_is_never_full() -> None:
    bench = Bench(limit=None)
    bench.seat(1, 100.5)
    bench.look(101.0)
    assert bench.recent.courses[PLACE].fullness.since is None
    assert bench.read("limit") == [-1]


def test_numbers_are_put_together_in_steps() -> None:
    ring = Ring(10)
    for second, number in enumerate((1, 5, 2, 0, 7)):
        ring.put(second + 8, number)
    numbers = ring.read(8, 13)
    assert numbers.tolist() == [1, 5, 2, 0, 7]
    assert (highest(numbers, 1), highest(numbers, 2)) == ([1, 5, 2, 0, 7], [5, 2, 7])
    assert (summed(numbers, 1), summed(numbers, 2)) == ([1, 5, 2, 0, 7], [6, 2, 7])
    assert ring.read(5, 5).tolist() == []
    ring.put(0, 2**40)
    assert ring.read(0, 1).tolist() == [2**31 - 1]


@pytest.mark.parametrize(("begin", "end"), [(3, 3), (3, 4), (3, 9), (8, 13), (13, 23), (9, 10), (10, 20)])
def test_filling_seconds_is_having_the_number_in_each_of_them(begin: int, end: int) -> None:
    filled, each = Ring(10), Ring(10)
    for second in range(begin, begin + 10):
        filled.put(second, second)
        each.put(second, second)
    filled.fill(begin, end, 2**40)
    for second in range(begin, end):
        each.put(second, 2**40)
    assert filled.read(begin, begin + 10) == each.read(begin, begin + 10)


def test_a_jump_of_days_costs_no_more_than_the_seconds_that_are_kept() -> None:
    bench = Bench(length=3600)
    bench.seat(1, 100.5)
    bench.look(100.0 + 30 * 86400, lag=2.0)
    assert bench.read("used") == [1] * 3600
    assert bench.read("granted") == [0] * 3599 + [1]
    assert bench.recent.lag.read(bench.recent.begin, bench.recent.end).tolist() == [2000] * 3600
