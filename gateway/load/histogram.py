"""Latencies in logarithmic buckets: millions of them in a few hundred integers.

Each power of two of microseconds is cut into 32 equal buckets, so that a value is known to
about 3 %, whatever its size. Only buckets in use are stored; two histograms add up to the histogram of both.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

from gateway.core.wire.messages import is_integer

_BITS = 5
_SPLIT = 1 << _BITS
_NUMBERS = 64 * _SPLIT
"""More buckets than any latency needs."""


def bucket(seconds: float) -> int:
    """Return the number of the bucket that holds a latency."""
    micros = max(0, int(seconds * 1e6))
    if micros < _SPLIT:
        return micros
    exponent = micros.bit_length() - 1 - _BITS
    return (exponent << _BITS) + (micros >> exponent)


def upper(number: int) -> float:
    """Return the upper edge of a bucket, in seconds."""
    if number < 2 * _SPLIT:
        return (number + 1) / 1e6
    exponent = (number >> _BITS) - 1
    return ((number - (exponent << _BITS) + 1) << exponent) / 1e6


class LatencyHistogram:
    """Counts of latencies; percentiles are upper edges of buckets, the maximum is exact."""

    __slots__ = ("_counts", "count", "max")

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self.count = 0
        self.max = 0.0

    def record(self, seconds: float) -> None:
        """Count one latency."""
        self._counts[bucket(seconds)] += 1
        self.count += 1
        self.max = max(self.max, seconds)

    def add(self, other: LatencyHistogram) -> None:
        """Count everything `other` has counted."""
        self._counts.update(other._counts)
        self.count += other.count
        self.max = max(self.max, other.max)

    def since(self, earlier: LatencyHistogram) -> LatencyHistogram:
        """Return what was counted since `earlier` was taken; its maximum is the upper edge of a bucket."""
        later = LatencyHistogram()
        later._counts = self._counts - earlier._counts
        later.count = later._counts.total()
        later.max = min(self.max, upper(max(later._counts))) if later.count else 0.0
        return later

    def percentile(self, share: float) -> float | None:
        """Return the latency in seconds that `share` (0 to 1) of all do not exceed; None when nothing was counted."""
        rank = max(1, -int(-share * self.count // 1))
        seen = 0
        for number in sorted(self._counts):
            seen += self._counts[number]
            if seen >= rank:
                return min(upper(number), self.max)
        return None

    def dump(self) -> list[float]:
        """Return the histogram as JSON takes it: maximum, then bucket and count in turn."""
        return [self.max, *(number for item in sorted(self._counts.items()) for number in item)]

    @classmethod
    def load(cls, dumped: Iterable[float]) -> LatencyHistogram:
        """Return the histogram that `dump` gave.

        Raises `ValueError` or `TypeError` where it is not one.
        """
        numbers = iter(dumped)
        histogram = cls()
        histogram.max = float(next(numbers, 0.0))
        if not math.isfinite(histogram.max):
            raise ValueError("no latencies")
        for number, count in zip(numbers, numbers, strict=True):
            if not (is_integer(number) and is_integer(count) and 0 <= number < _NUMBERS):
                raise ValueError("no latencies")
            histogram._counts[int(number)] = int(count)
            histogram.count += int(count)
        return histogram
