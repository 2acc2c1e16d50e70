"""Sizing: replayed demand against a simulation by hand, and Erlang's formula against known values."""

from __future__ import annotations

import math
import random
from collections.abc import Generator
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.reporting.sizing import BLOCK, Demand, RoomDemand, comparison_text, erlang_b, erlang_seats

R = TypeVar("R")
Hold = tuple[float, float]


def done(work: Generator[None, None, R]) -> R:
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: R = end.value
            return result


def demand(holds: list[Hold], page: int = 7) -> Demand:
    found = Demand()
    backwards = sorted(holds, key=lambda hold: -hold[1])
    for first in range(0, len(backwards), page):
        found.add(backwards[first : first + page])
    done(found.sort())
    return found


def simulated(holds: list[Hold], limit: int, patience: float) -> int:
    """True denials, by going through all arrivals and all ends one by one."""
    order = sorted(
        [(ended, 0, number) for number, (_, ended) in enumerate(holds)]
        + [(began, 1, number) for number, (began, _) in enumerate(holds)]
    )
    present: set[int] = set()
    served: set[int] = set()
    line: list[int] = []
    for at, arrives, number in order:
        if arrives:
            line.append(number)
        else:
            present.discard(number)
            line = [each for each in line if each != number]
        line = [each for each in line if at - holds[each][0] <= patience]
        while line and len(present) < limit:
            first = line.pop(0)
            present.add(first)
            served.add(first)
        if patience == 0:
            line.clear()
    return len(holds) - len(served)


# Instants are all different, so that nothing depends on the order of events of one instant.
@st.composite
def some_holds(draw: st.DrawFn) -> list[Hold]:
    number = draw(st.integers(1, 30))
    instants = draw(st.lists(st.integers(0, 300), min_size=2 * number, max_size=2 * number, unique=True))
    pairs = zip(instants[::2], instants[1::2], strict=True)
    return [(float(min(pair)), float(max(pair))) for pair in pairs]


@given(some_holds(), st.integers(0, 12), st.sampled_from([0.0, 5.0, 60.0]))
def test_a_replay_equals_a_simulation(holds: list[Hold], limit: int, patience: float) -> None:
    assert done(demand(holds).denied(limit, patience)) == simulated(holds, limit, patience)


@given(some_holds())
def test_the_highest_use_is_enough_for_all(holds: list[Hold]) -> None:
    found = demand(holds)
    assert found.highest == max(sum(began <= at < ended for began, ended in holds) for at, _ in holds)
    assert done(found.denied(found.highest, 0.0)) == 0
    assert done(found.seats(0.0, 0.0)) == found.highest


def crowd(load: float, hold: float, arrivals: int) -> list[Hold]:
    """Independent arrivals, exponential holds: the traffic that Erlang's formula is about."""
    lots, at, found = random.Random(7), 0.0, []  # noqa: S311 - reproducible, not secret
    for _ in range(arrivals):
        at += lots.expovariate(load / hold)
        found.append((at, at + lots.expovariate(1 / hold)))
    return found


def test_for_independent_arrivals_the_replay_is_erlangs() -> None:
    found = demand(crowd(20.0, 300.0, 30_000), page=1000)
    for limit in (15, 20, 25, 30):
        assert done(found.denied(limit, 0.0)) / found.holds == pytest.approx(erlang_b(20.0, limit), abs=0.01)
    assert abs(done(found.seats(0.01, 0.0)) - erlang_seats(20.0, 0.01)) <= 1


def test_the_least_limit_is_the_least() -> None:
    found = demand(crowd(9.0, 60.0, 3000), page=500)
    seats = done(found.seats(0.01, 30.0))
    allowed = found.holds // 100
    assert done(found.denied(seats, 30.0)) <= allowed < done(found.denied(seats - 1, 30.0))


def test_blocks_below_the_limit_are_not_walked_through() -> None:
    """A crowd, long quiet, a crowd: quiet blocks change nothing."""
    quiet = [(1000.0 + at, 1000.5 + at) for at in range(4 * BLOCK)]
    crowds = [(at + number / 100, at + 50.0) for at in (0.0, 9000.0) for number in range(30)]
    assert done(demand(quiet + crowds, page=100).denied(10, 0.0)) == 40


def test_whoever_waits_is_seated_in_order_of_arrival() -> None:
    holds = [(0.0, 10.0), (1.0, 100.0), (2.0, 100.0)]
    assert done(demand(holds).denied(1, 60.0)) == 1
    assert done(demand(holds).denied(1, 5.0)) == 2


def test_no_demand_needs_no_seats() -> None:
    assert done(demand([]).seats(0.01, 60.0)) == 0
    assert done(RoomDemand().seats(0.01)) == 0


def test_those_who_come_together_are_told() -> None:
    assert demand([(0.0, 90.0), (0.5, 90.0), (1.2, 90.0), (60.0, 90.0)]).together == 2


@pytest.mark.parametrize(
    ("load", "seats", "blocked"),
    [
        *((0.0, 1, 0.0), (1.0, 1, 0.5), (1.0, 2, 0.2), (2.0, 2, 0.4)),
        *((4.461, 10, 0.01), (12.03, 20, 0.01), (20.34, 30, 0.01), (37.90, 50, 0.01), (84.06, 100, 0.01)),
    ],
)
def test_erlang_b_has_the_values_of_the_tables(load: float, seats: int, blocked: float) -> None:
    assert erlang_b(load, seats) == pytest.approx(blocked, abs=2e-5)


@given(st.floats(0.01, 80.0), st.integers(0, 40))
def test_erlang_b_equals_its_definition(load: float, seats: int) -> None:
    direct = (load**seats / math.factorial(seats)) / sum(load**k / math.factorial(k) for k in range(seats + 1))
    assert erlang_b(load, seats) == pytest.approx(direct)


def test_erlang_b_stays_a_share_where_the_definition_overflows() -> None:
    assert 0.0 < erlang_b(20_000.0, 19_000) < 1.0
    assert erlang_b(20_000.0, 21_000) < 1e-6


def test_erlang_seats_are_the_least_that_are_enough() -> None:
    assert [erlang_seats(load, 0.01) for load in (0.0, 1.0, 10.0, 50.0, 100.0)] == [0, 5, 18, 64, 117]


def test_rooms_need_what_the_fullest_ones_have() -> None:
    rooms = RoomDemand()
    rooms.add((float(number), 100.0, 1) for number in range(30))
    rooms.add((float(number), 100.0, room) for room in range(2, 40) for number in range(5))
    assert rooms.entries == 220
    assert done(rooms.seats(0.0)) == 30
    assert done(rooms.seats(0.01)) == 28


def test_seats_given_back_in_a_room_are_free_again() -> None:
    rooms = RoomDemand()
    rooms.add([(0.0, 10.0, 1), (10.0, 20.0, 1), (5.0, 15.0, 1)])
    assert done(rooms.seats(0.0)) == 2


@pytest.mark.parametrize(
    ("seats", "erlang", "word"), [(18, 18, "agree"), (30, 18, "independent"), (10, 18, "busiest hour to last")]
)
def test_why_replay_and_formula_differ_is_said(seats: int, erlang: int, word: str) -> None:
    assert word in comparison_text(seats, erlang, 0.4)
