"""The histogram: each value under its bounds."""

from __future__ import annotations

from metrics.histogram import Histogram


def test_a_value_counts_under_every_bound_it_does_not_exceed() -> None:
    histogram = Histogram((1, 2.5, 10))
    for value in (0.5, 1, 1.25, 10, 11):
        histogram.observe(value)
    assert histogram.cumulative() == [("1.0", 2), ("2.5", 3), ("10.0", 4), ("+Inf", 5)]
    assert histogram.total == 23.75


def test_an_empty_one_has_all_its_buckets() -> None:
    assert Histogram((1,)).cumulative() == [("1.0", 0), ("+Inf", 0)]
