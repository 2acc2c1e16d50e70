"""Latencies in buckets: percentiles near the truth, sums of histograms, JSON and back."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.load.histogram import LatencyHistogram, bucket, upper

LATENCIES = st.floats(0.0, 3600.0)


def of(latencies: list[float]) -> LatencyHistogram:
    histogram = LatencyHistogram()
    for latency in latencies:
        histogram.record(latency)
    return histogram


def test_an_empty_histogram_has_no_percentiles() -> None:
    assert of([]).percentile(0.5) is None


@given(LATENCIES)
def test_a_bucket_holds_its_value_within_four_percent(latency: float) -> None:
    edge = upper(bucket(latency))
    assert latency <= edge
    assert edge <= latency * 1.04 + 2e-6


@given(LATENCIES, LATENCIES)
def test_buckets_keep_the_order_of_latencies(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert bucket(low) <= bucket(high)


@given(st.lists(LATENCIES, min_size=1, max_size=200), st.sampled_from([0.01, 0.5, 0.95, 0.99, 1.0]))
def test_a_percentile_is_that_of_the_sorted_latencies(latencies: list[float], share: float) -> None:
    rank = -int(-share * len(latencies) // 1)
    true = sorted(latencies)[max(rank, 1) - 1]
    found = of(latencies).percentile(share)
    assert found is not None
    assert true - 1e-9 <= found <= true * 1.04 + 2e-6


@given(st.lists(LATENCIES), st.lists(LATENCIES))
def test_histograms_add_up(one: list[float], other: list[float]) -> None:
    both = of(one)
    both.add(of(other))
    assert both.dump() == of(one + other).dump()


@given(st.lists(LATENCIES))
def test_a_histogram_survives_json(latencies: list[float]) -> None:
    dumped = of(latencies).dump()
    loaded = LatencyHistogram.load(json.loads(json.dumps(dumped)))
    assert loaded.dump() == dumped
    assert loaded.count == len(latencies)


def test_half_a_dump_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        LatencyHistogram.load([0.5, 12])


def test_a_million_latencies_take_a_few_hundred_numbers() -> None:
    histogram = LatencyHistogram()
    for micros in range(1, 1_000_000, 7):
        histogram.record(micros / 1e6)
    assert len(histogram.dump()) < 1200
