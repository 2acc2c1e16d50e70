"""Which gateway of a cluster posts what all of them have, and from which event on another one goes on after it.

All have the same events, and one posts them. The others remember which of these it may not have had in its store when
it was heard last; who comes after it posts those. Some of them come twice then, with the same ids.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

OVERLAP = 5.0
"""Seconds before the end of what whoever posts is known to have applied: events of that time may not have been posted
yet, since it posts once a second, and what waits may not be in its store yet.
"""
MOST_MARKS = 1000
"""Instants that are remembered at most; of more the oldest are forgotten, and more is posted twice."""


class PostingDuty:
    """The duty of one gateway: `is_ours` says whether it posts, `now` tells the time of the log, and `applied_until`
    that of the last entry which whoever posts is known to have applied, both in seconds UTC.
    """

    def __init__(
        self, is_ours: Callable[[], bool], now: Callable[[], float], applied_until: Callable[[], float]
    ) -> None:
        self.is_ours = is_ours
        self.posted = 0
        """The number of the last event that is known to be posted, or in the store of whoever posts."""
        self._now = now
        self._applied_until = applied_until
        self._marks: deque[tuple[float, int]] = deque(maxlen=MOST_MARKS)
        """When which number was that of the last event."""

    def ours(self, last: int) -> None:
        """This gateway has events up to that number in its own queues."""
        self.posted = last
        self._marks.clear()

    def of_another(self, last: int) -> None:
        """Another gateway posts the events so far, up to that number."""
        if last > (self._marks[-1][1] if self._marks else self.posted):
            self._marks.append((self._now(), last))
        until = self._applied_until() - OVERLAP
        while self._marks and self._marks[0][0] < until:
            self.posted = self._marks.popleft()[1]


def of_one_alone() -> PostingDuty:
    """Return the duty of a gateway that is in no cluster: it posts everything."""
    return PostingDuty(lambda: True, lambda: 0.0, lambda: 0.0)
