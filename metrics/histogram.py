"""A histogram: how many values fell under each bound; its counts only grow."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence


class Histogram:
    """Counts values in buckets.

    `bounds` are inclusive upper bounds, ascending, in the unit of the metric; one more bucket takes larger values.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, float]]:
        """Return the upper bound of each bucket, as Prometheus writes it, and the number of values up to it."""
        buckets: list[tuple[str, float]] = []
        count = 0
        for bound, each in zip((*map(str, map(float, self.bounds)), "+Inf"), self.counts, strict=True):
            count += each
            buckets.append((bound, float(count)))
        return buckets
