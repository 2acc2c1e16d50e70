"""The last hour, second by second: use of the pools, connections that came and went, and how late the loop was.

It is kept in rings of numbers, so its memory is bounded by the seconds that are kept and by the number of pools. A
second has the highest use within it, which the pools know, and how much the totals have grown. What is read is put
together in steps of whole seconds. Pure: who looks says which second it is.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import NamedTuple

from gateway.core.counting.pool import Pool

NO_LIMIT = -1
"""What stands for no limit among the numbers of a ring."""
MOST = 2**31 - 1
"""The largest number that a ring holds; the growth of a total within a second is cut off there."""


class Ring:
    """Numbers of the last `length` seconds; older ones are overwritten."""

    __slots__ = ("_numbers",)

    def __init__(self, length: int) -> None:
        self._numbers = array("i", bytes(4 * length))

    def put(self, second: int, number: int) -> None:
        """Have `number` in this second."""
        self._numbers[second % len(self._numbers)] = min(number, MOST)

    def fill(self, begin: int, end: int, number: int) -> None:
        """Have `number` in each of the seconds from `begin` to before `end`, which are no more than are kept."""
        numbers, length = self._numbers, len(self._numbers)
        if begin >= end:
            return
        filled = array("i", [min(number, MOST)]) * (end - begin)
        start = begin % length
        upwards = min(len(filled), length - start)
        numbers[start : start + upwards] = filled[:upwards]
        numbers[: len(filled) - upwards] = filled[upwards:]

    def read(self, begin: int, end: int) -> array[int]:
        """Return the numbers of the seconds from `begin` to before `end`, which are kept."""
        length = len(self._numbers)
        if begin >= end:
            return array("i")
        start, stop = begin % length, (end - 1) % length + 1
        if start < stop:
            return self._numbers[start:stop]
        return self._numbers[start:] + self._numbers[:stop]


class PoolSecond(NamedTuple):
    """A pool in one second: its highest use, its limit (None for none), refusals and grants within it."""

    used: int
    limit: int | None
    denied: int
    granted: int


class Fullness(NamedTuple):
    """Since when a pool is full, in seconds UTC (None: it is not), refusals since then, and when the last one was."""

    since: float | None
    denied: int
    last_denied: float | None


class PoolCourse:
    """The course of one pool."""

    def __init__(self, pool: Pool, length: int) -> None:
        self.pool = pool
        self.used, self.limit, self.denied, self.granted = (Ring(length) for _ in range(4))
        self.latest = PoolSecond(pool.used, pool.terms.limit, 0, 0)
        self.fullness = Fullness(None, 0, None)
        self._denied = sum(pool.denial_counts.values())
        self._grants = pool.grants

    def look(self, since: int, wall: float) -> PoolSecond:
        """Return what happened from the monotonic second `since` until now, which is `wall` in seconds UTC."""
        pool = self.pool
        denied, grants = sum(pool.denial_counts.values()), pool.grants
        used, limit = _peak(pool, since), pool.terms.limit
        self.latest = seen = PoolSecond(used, limit, denied - self._denied, grants - self._grants)
        self._denied, self._grants = denied, grants
        before = self.fullness
        last = wall if seen.denied else before.last_denied
        if limit is None or used < limit:
            self.fullness = Fullness(None, 0, last)
        else:
            self.fullness = Fullness(before.since or wall, before.denied + seen.denied, last)
        return seen

    def put(self, begin: int, last: int, seen: PoolSecond) -> None:
        """Have what was seen in the second `last`, and the same use in those from `begin` on before it."""
        limit = NO_LIMIT if seen.limit is None else seen.limit
        for ring, number, before in (
            (self.used, seen.used, seen.used),
            (self.limit, limit, limit),
            (self.denied, seen.denied, 0),
            (self.granted, seen.granted, 0),
        ):
            ring.fill(begin, last, before)
            ring.put(last, number)


class RecentUse:
    """The last `length` seconds of `pools`, by model and name, of totals by name, and of the loop's lag in ms.

    Seconds are numbered by the monotonic clock; `start` is the present instant, `totals` are those of now.
    """

    def __init__(
        self, length: int, pools: Mapping[tuple[str, str], Pool], totals: Mapping[str, int], start: float
    ) -> None:
        self.length = length
        self.courses = {place: PoolCourse(pool, length) for place, pool in pools.items()}
        self.growth = {name: Ring(length) for name in totals}
        self.lag = Ring(length)
        self.latest_growth = dict.fromkeys(self.growth, 0)
        self.latest_lag = 0
        self.end = int(start)
        """The second after the last one that is known."""
        self._first = self.end
        self._totals = dict(totals)

    @property
    def begin(self) -> int:
        """The first second that is kept."""
        return max(self._first, self.end - self.length)

    def look(self, mono: float, wall: float, totals: Mapping[str, int], lag: float) -> bool:
        """Note the time since the last look, in whole seconds; `totals` only grow, `lag` is in seconds. Returns whether
        anything was noted: within a second that is known nothing is.

        While the process stood still nothing changed, so the seconds of that time are as this one, and nothing was
        granted or refused in them.
        """
        end = int(mono)
        if end <= self.end:
            return False
        growth = {name: total - self._totals[name] for name, total in totals.items()}
        self._totals = dict(totals)
        self.latest_growth, self.latest_lag = growth, round(lag * 1000)
        begin, last = max(self.end, end - self.length), end - 1
        for course in self.courses.values():
            course.put(begin, last, course.look(self.end, wall))
        for name, ring in self.growth.items():
            ring.fill(begin, last, 0)
            ring.put(last, growth[name])
        self.lag.fill(begin, end, self.latest_lag)
        self.end = end
        return True


def highest(numbers: array[int], step: int) -> list[int]:
    """Put numbers together in steps: the highest of each."""
    if step == 1:
        return numbers.tolist()
    return [max(numbers[place : place + step]) for place in range(0, len(numbers), step)]


def summed(numbers: array[int], step: int) -> list[int]:
    """Put numbers together in steps: the sum of each."""
    if step == 1:
        return numbers.tolist()
    return [sum(numbers[place : place + step]) for place in range(0, len(numbers), step)]


def _peak(pool: Pool, since: int) -> int:
    """Return the highest use of a pool from the monotonic second `since` on."""
    peak = pool.used
    for second, used in reversed(pool.maxima):
        if second < since:
            break
        peak = max(peak, used)
    return peak
