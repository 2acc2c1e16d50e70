"""Calendar days in a time zone, worked out from what is given as data: from which instant on which offset holds.

A day is a number, days since 1970-01-01, as the clocks of the zone show it. It begins when they first show its
midnight, or first show something later where midnight is skipped; days follow each other without a gap, so that a day
may have 23 or 25 hours, or, where a zone leaves a day out, none.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import date

DAY = 86400.0
"""Seconds of a day without a change of the clocks."""
EPOCH = date(1970, 1, 1).toordinal()
FARTHEST = 26 * 3600.0
"""Seconds; no offset of any zone is further from UTC."""


class Calendar:
    """The days of a zone whose clocks are ahead of UTC by an offset; `offsets` has (from which instant on in seconds
    UTC, seconds ahead), in order. Before the first the first holds; without any it is UTC.
    """

    __slots__ = ("_from", "_offsets")

    def __init__(self, offsets: Sequence[Sequence[float]] = ()) -> None:
        self._from = [begin for begin, _ in offsets] or [0.0]
        self._offsets = [ahead for _, ahead in offsets] or [0.0]

    def day_of(self, wall: float) -> int:
        """Return the day in which an instant lies, in seconds UTC."""
        place = max(bisect_right(self._from, wall) - 1, 0)
        day = int((wall + self._offsets[place]) // DAY)
        while self.start_of(day) > wall:
            day -= 1
        while self.start_of(day + 1) <= wall:
            day += 1
        return day

    def start_of(self, day: int) -> float:
        """Return when a day begins, in seconds UTC."""
        midnight = day * DAY
        place = max(bisect_right(self._from, midnight - FARTHEST) - 1, 0)
        while True:
            start = midnight - self._offsets[place]
            if place:
                start = max(start, self._from[place])
            if place + 1 == len(self._from) or start < self._from[place + 1]:
                return start
            place += 1


def day_text(day: int) -> str:
    """Return a day as YYYY-MM-DD."""
    return date.fromordinal(day + EPOCH).isoformat()


def read_day(text: str) -> int:
    """Return the day that a text YYYY-MM-DD names.

    Raises `ValueError`.
    """
    return date.fromisoformat(text).toordinal() - EPOCH
