"""Running numbers that are part of the state, so that the same commands give the same numbers in every process."""

from __future__ import annotations


class NumberSequence:
    """Whole numbers in rising order; `last` is the one that was taken last."""

    __slots__ = ("last",)

    def __init__(self, last: int = 0) -> None:
        self.last = last

    def take(self) -> int:
        """Return the next number."""
        self.last += 1
        return self.last


class Numbers:
    """The numbers counted in the state: sessions, conferences, leases, intervals of use, episodes of denials,
    parts of days, places in line.
    """

    __slots__ = ("conferences", "days", "episodes", "intervals", "leases", "places", "sessions")

    def __init__(self) -> None:
        self.sessions = NumberSequence()
        self.conferences = NumberSequence()
        self.leases = NumberSequence()
        self.intervals = NumberSequence()
        self.episodes = NumberSequence()
        self.days = NumberSequence()
        self.places = NumberSequence()
