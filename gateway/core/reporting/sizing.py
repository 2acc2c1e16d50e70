"""Sizing: how many seats would have been enough for the demand there was.

The recorded demand is replayed against other limits. A seat is asked for at the instant it was granted (or first
refused), and given back at the instant it was: a meeting ends when it ends. Who finds the pool full comes back as soon
as a seat is free, for at most `patience` seconds, in order of arrival; who has no seat by then, or by the end of the
hold, was truly denied.

To replay cheaply, demand is laid out once: arrivals and departures in order of time, in blocks that know the highest
use within them. As long as nobody has been turned away, a pool below its limit behaves as if it had none, so a replay
walks only through the blocks in which the limit matters.

Long work comes as generators that yield now and then, so that whoever runs them can do something else in between.
"""

from __future__ import annotations

import heapq
import math
from array import array
from collections.abc import Generator, Iterable

BLOCK = 256
"""Events of a block."""
PAUSE_EVERY = 2048
"""Events between two yields."""
BATCH = 1.0
"""Arrivals at most so many seconds apart came together."""


class Demand:
    """Demand of one pool: holds from when to when, in seconds. `add` pages of holds, then `sort`, then ask."""

    def __init__(self) -> None:
        self.holds = 0
        self.highest = 0
        """The highest use there would have been without a limit."""
        self.together = 0
        """Arrivals that came together with the one before."""
        self._at = array("d")
        self._who = array("i")
        """The events in order of time: an arrival is a number, the departure that belongs to it is its negative."""
        self._blocks: list[tuple[int, int, int]] = []
        """Where each begins, the use before it, and the highest within."""
        self._seen: list[int] = [0]
        """How many arrivals found so many seats taken."""
        self._begun: list[tuple[float, int]] = []

    def add(self, page: Iterable[tuple[float, float]]) -> None:
        """Take (began, ended) pairs; over all pages the latest end comes first."""
        begun, number = self._begun, self.holds
        happens, whose = self._at.append, self._who.append
        for began, ended in page:
            while begun and -begun[0][0] >= ended:
                since, who = heapq.heappop(begun)
                happens(-since)
                whose(who)
            number += 1
            happens(ended)
            whose(-number)
            heapq.heappush(begun, (-began, number))
        self.holds = number

    def sort(self) -> Generator[None]:
        """No more pages come: put everything in order of time."""
        while self._begun:
            since, who = heapq.heappop(self._begun)
            self._at.append(-since)
            self._who.append(who)
        self._at.reverse()
        self._who.reverse()
        seen, used, before = self._seen, 0, float("-inf")
        for first in range(0, len(self._at), BLOCK):
            start, highest = used, used
            for at, who in self._block(first):
                if who < 0:
                    used -= 1
                    continue
                seen[used] += 1
                used += 1
                if used > highest:
                    highest = used
                    if used == len(seen):
                        seen.append(0)
                self.together += at - before <= BATCH
                before = at
            self._blocks.append((first, start, highest))
            self.highest = max(self.highest, highest)
            if not first % PAUSE_EVERY:
                yield

    def _block(self, first: int) -> Iterable[tuple[float, int]]:
        return zip(self._at[first : first + BLOCK], self._who[first : first + BLOCK], strict=True)

    def denied(  # noqa: PLR0912 - walked through a million times: a call for each part would double the time
        self, limit: int, patience: float, enough: float = math.inf
    ) -> Generator[None, None, int]:
        """Return how many would have been truly denied under a limit; more than `enough` are not counted to the end."""
        lost = walked = 0
        used = 0
        waiting: dict[int, float] = {}
        outside: set[int] = set()
        """Those who hold no seat and have not left yet."""
        for first, start, highest in self._blocks:
            if not outside:
                if highest <= limit:
                    continue
                used = start
            for at, who in self._block(first):
                if who > 0:
                    if used < limit:
                        used += 1
                    else:
                        outside.add(who)
                        waiting[who] = at
                        lost += 1
                elif -who in outside:
                    outside.discard(-who)
                    waiting.pop(-who, None)
                else:
                    used -= 1
                    while waiting and used < limit:
                        first_in_line = next(iter(waiting))
                        asked = waiting.pop(first_in_line)
                        if at - asked <= patience and patience > 0:
                            outside.discard(first_in_line)
                            used += 1
                            lost -= 1
            if lost - len(waiting) > enough:
                return lost - len(waiting)
            walked += BLOCK
            if not walked % PAUSE_EVERY:
                yield
        return lost

    def seats(self, share: float, patience: float) -> Generator[None, None, int]:
        """Return the least limit under which at most a `share` (0 to 1) of all demand would have been truly denied."""
        allowed = int(self.holds * share)
        high = self._ample(allowed)
        low = -1 if allowed >= self.holds else 0
        while high - low > 1:
            middle = (low + high) // 2
            lost = yield from self.denied(middle, patience, allowed)
            if lost <= allowed:
                high = middle
            else:
                low = middle
        return high

    def _ample(self, allowed: int) -> int:
        """Return a limit that is certainly enough: at most `allowed` arrivals found as many seats taken."""
        beyond = 0
        for used in range(len(self._seen) - 1, -1, -1):
            beyond += self._seen[used]
            if beyond > allowed:
                return used + 1
        return 0


def erlang_b(load: float, seats: int) -> float:
    """Return the share of arrivals that find all seats taken, if they come independently (A. K. Erlang, 1917).

    `load` is offered, in erlangs: arrivals per second times seconds of a hold. By the recursion over seats, which stays
    between 0 and 1 at every step.
    """
    blocked = 1.0
    for number in range(1, seats + 1):
        blocked = load * blocked / (number + load * blocked)
    return blocked


def erlang_seats(load: float, share: float) -> int:
    """Return the least number of seats for which `erlang_b` is at most `share` (above 0)."""
    if load <= 0:
        return 0
    blocked, number = 1.0, 0
    while blocked > share:
        number += 1
        blocked = load * blocked / (number + load * blocked)
    return number


class RoomDemand:
    """Demand where each room has a limit of its own. `add` pages of holds, then ask."""

    def __init__(self) -> None:
        self.entries = 0
        self._holds: dict[int, list[tuple[float, float]]] = {}

    def add(self, page: Iterable[tuple[float, float, int]]) -> None:
        """Take (began, ended, room), in any order."""
        for began, ended, room in page:
            self._holds.setdefault(room, []).append((began, ended))
            self.entries += 1

    def seats(self, share: float) -> Generator[None, None, int]:
        """Return the least limit for each room that at most a `share` of all entries would have found reached.

        Nobody is taken to come back.
        """
        seen: dict[int, int] = {}
        for number, holds in enumerate(self._holds.values()):
            present: list[float] = []
            for began, ended in sorted(holds):
                while present and present[0] <= began:
                    heapq.heappop(present)
                seen[len(present)] = seen.get(len(present), 0) + 1
                heapq.heappush(present, ended)
            if not number % 16:
                yield
        allowed, beyond = int(self.entries * share), 0
        for used in sorted(seen, reverse=True):
            beyond += seen[used]
            if beyond > allowed:
                return used + 1
        return 0


def comparison_text(seats: int, erlang: int, together: float) -> str:
    """Return why the replay and Erlang's formula agree or differ; `together` is the share of arrivals in batches."""
    if abs(seats - erlang) <= max(1, erlang // 10):
        return "Both agree: within the busiest hour people come and go independently of each other."
    if seats > erlang:
        return (
            f"More than by Erlang-B, which takes arrivals to be independent: {together:.0%} of them came within a"
            " second of another (conferences filling up), or many hours are as busy as the busiest."
        )
    return (
        "Fewer than by Erlang-B, which takes the busiest hour to last: here 1 % of the whole period's demand may be"
        " denied, and most of the day is quieter than that hour; who waits a little is seated as others leave."
    )
