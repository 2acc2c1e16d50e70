"""Full jitter: delays grow, stay below the cap, and are spread evenly."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.wire.backoff import Backoff


def seeded(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - the same delays in every run


def test_the_ceiling_doubles_with_each_failure_up_to_the_cap() -> None:
    backoff = Backoff(base=1.0, cap=30.0)
    assert [backoff.ceiling(failures) for failures in range(7)] == [1, 2, 4, 8, 16, 30, 30]


def test_any_number_of_failures_has_a_ceiling() -> None:
    assert Backoff(base=1.0, cap=30.0).ceiling(100_000) == 30


@given(failures=st.integers(0, 200), seed=st.integers())
def test_a_delay_lies_between_nothing_and_the_ceiling(failures: int, seed: int) -> None:
    backoff = Backoff(base=0.5, cap=20.0)
    assert 0 <= backoff.delay(failures, seeded(seed).uniform) <= backoff.ceiling(failures)


def test_delays_are_spread_over_the_whole_interval() -> None:
    random = seeded(1)
    delays = [Backoff(base=1.0, cap=8.0).delay(3, random.uniform) for _ in range(8000)]
    for eighth in range(8):
        assert 850 < sum(eighth <= delay < eighth + 1 for delay in delays) < 1150
