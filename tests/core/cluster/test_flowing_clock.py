"""The time of the log follows wall clocks that are near it, and no other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.cluster.flowing_clock import ALONE_AFTER, FlowingClock

START = 1_800_000_000.0


def test_a_node_that_comes_in_waits_for_the_time_of_the_others() -> None:
    clock = FlowingClock(0.0)
    clock.applied(START, 1.0, told=False)
    assert clock.propose(1.0, START + 3600) == (None, False)
    clock.applied(START + 1, 2.0, told=True)
    assert clock.propose(2.5, START + 3600) == (START + 1.5, False)
    assert clock.offset == 3600 - 1.5


def test_the_first_of_a_cold_cluster_sets_the_time() -> None:
    clock = FlowingClock(0.0)
    clock.applied(START, 0.5, told=False)
    assert clock.propose(ALONE_AFTER, START + 90_000) == (START + 90_000, True)
    assert clock.propose(ALONE_AFTER + 1, START + 90_001) == (START + 90_001, False)


@given(
    offsets=st.lists(st.floats(-0.45, 0.45), min_size=1, max_size=4),
    wrong=st.lists(st.sampled_from([-3600.0, 3600.0, 86_000.0, -5.0, 1.0]), max_size=3),
    order=st.lists(st.integers(0, 6), min_size=200, max_size=400),
)
def test_wrong_clocks_move_the_time_of_the_log_by_half_a_second_each_at_most(
    offsets: list[float], wrong: list[float], order: list[int]
) -> None:
    walls = [*offsets, *wrong]
    clocks = [FlowingClock(0.0) for _ in walls]
    at, mono = START, 0.0
    for clock in clocks:
        clock.applied(at, mono, told=True)
    for turn in order:
        place = turn % len(walls)
        mono += 1.0 / len(walls)
        proposed, leads = clocks[place].propose(mono, START + mono + walls[place])
        assert proposed is not None
        assert not leads
        at = max(at, proposed)
        for clock in clocks:
            clock.applied(at, mono, told=True)
    assert abs(at - (START + mono)) <= 0.5 * len(walls) + 0.01
