"""What became of those who waited in the line of one pool, as totals that only grow."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, Self

GRANTED, TIMED_OUT, GAVE_UP, REFUSED = "granted", "timed_out", "gave_up", "refused"
OUTCOMES = (GRANTED, TIMED_OUT, GAVE_UP, REFUSED)
"""How a wait ends: with the seat, with its time, by who waited, by a rule."""
BOUNDS = (0.1, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)
"""Bounds of the histogram of waits that were granted, in seconds."""


class WaitTotals:
    """Waits that ended, by outcome; of those that were granted, how long they took.

    `counts` has how many took at most the bound of its place, and longer than the one before; the last is beyond all
    bounds. `seconds` is their sum.
    """

    __slots__ = ("counts", "left", "seconds")

    def __init__(self) -> None:
        self.left: dict[str, int] = dict.fromkeys(OUTCOMES, 0)
        self.counts = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0

    def record(self, outcome: str, seconds: float) -> None:
        """Record the end of a wait after so many seconds."""
        self.left[outcome] += 1
        if outcome == GRANTED:
            self.counts[bisect_left(BOUNDS, seconds)] += 1
            self.seconds += seconds

    def to_json(self) -> list[Any]:
        """Return the totals as plain data."""
        return [list(self.left.values()), self.counts, self.seconds]

    @classmethod
    def from_json(cls, plain: list[Any]) -> Self:
        """Return the totals that `to_json` wrote."""
        left, counts, seconds = plain
        totals = cls()
        totals.left = dict(zip(OUTCOMES, left, strict=True))
        totals.counts = list(counts)
        totals.seconds = seconds
        return totals
