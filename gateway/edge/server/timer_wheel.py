"""A timer wheel: deadlines in a ring of buckets, one for each tick.

What must be looked at in tick `t` lies in bucket `t mod size`. A peer that is heard moves nothing: its connection notes
the tick and stays in its bucket. When the bucket's tick comes, the connection is looked at, and either goes into the
bucket of its new deadline or is due. So a heartbeat costs one assignment, and a tick touches only what could be due.

A tick passes when `advance` is called, whatever the clock says: after a stall of the process the wheel goes on where it
stopped, because nobody could be heard meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar


class Timed(Protocol):
    """Something with a deadline: `due` is the number of its bucket, which the wheel keeps; 0 to begin with."""

    due: int

    def __hash__(self) -> int: ...


T = TypeVar("T", bound=Timed)


class TimerWheel(Generic[T]):
    """Holds things until the tick in which they must be looked at.

    A deadline that is more than `size` ticks away is looked at once a round and put back, so that long waits need no
    more buckets.
    """

    __slots__ = ("_buckets", "_numbers", "_size", "tick")

    def __init__(self, size: int = 512) -> None:
        self._size = size
        self._buckets: list[set[T]] = [set() for _ in range(size)]
        self._numbers = list(range(size))  # one integer object for all things of a bucket
        self.tick = 0
        """The present tick."""

    def put(self, thing: T, tick: int) -> None:
        """Have `thing` looked at in `tick`, or in the next one if that has passed; this replaces its deadline."""
        buckets, now, size = self._buckets, self.tick, self._size
        if not now < tick < now + size:
            tick = now + 1 if tick <= now else now + size - 1
        buckets[thing.due].discard(thing)
        thing.due = due = self._numbers[tick % size]
        buckets[due].add(thing)

    def drop(self, thing: T) -> None:
        """Remove `thing`, if it is here."""
        self._buckets[thing.due].discard(thing)

    def advance(self) -> Iterator[T]:
        """Go one tick further, and yield what must be looked at now after removing it."""
        self.tick += 1
        bucket = self._buckets[self.tick % self._size]
        while bucket:
            yield bucket.pop()

    def __len__(self) -> int:
        return sum(map(len, self._buckets))
