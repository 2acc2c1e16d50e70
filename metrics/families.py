"""Families of metrics, made in one call each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from metrics.histogram import Histogram

PREFIX = "tallygate_"

Samples = Mapping[tuple[str, ...], float]


def gauge(name: str, text: str, labels: Sequence[str], samples: Samples) -> Metric:
    """Return a family of values that rise and fall, by the values of its labels."""
    family = GaugeMetricFamily(PREFIX + name, text, labels=labels)
    for values, value in samples.items():
        family.add_metric(values, value)
    return family


def counter(name: str, text: str, labels: Sequence[str], samples: Samples) -> Metric:
    """Return a family of totals that only grow, by the values of its labels."""
    family = CounterMetricFamily(PREFIX + name, text, labels=labels)
    for values, value in samples.items():
        family.add_metric(values, value)
    return family


def histogram(name: str, text: str, labels: Sequence[str], samples: Mapping[tuple[str, ...], Histogram]) -> Metric:
    """Return a family of how often which values occurred, by the values of its labels."""
    family = HistogramMetricFamily(PREFIX + name, text, labels=labels)
    for values, histogram in samples.items():
        family.add_metric(values, histogram.cumulative(), histogram.total)
    return family
