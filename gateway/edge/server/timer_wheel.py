"""Deadlines as a ring of buckets.

Time is counted in ticks. Whatever must be looked at in tick `t` lies in bucket `t mod size`. A peer that is heard moves
nothing: it only notes the tick. When its bucket comes round it is looked at, and either goes into the bucket of its new
deadline or is due. So a heartbeat costs one assignment, and a sweep touches only what could be due.

Ticks count the time the gateway has lived through, not the time that has passed: after a stall the ring goes on where
it stopped, because silence during our own absence is not silence of theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar


class Timed(Protocol):
    """Something with a deadline: `due` is the number of the bucket it lies in, kept by the ring; 0 to begin with."""

    due: int

    def __hash__(self) -> int: ...


T = TypeVar("T", bound=Timed)


class TimerWheel(Generic[T]):
    """Buckets of things by the tick in which they must be looked at.

    A deadline further away than the ring is long is looked at once a round and put back: longer waits need no more
    buckets.
    """

    __slots__ = ("_buckets", "_numbers", "_size", "tick")

    def __init__(self, size: int = 512) -> None:
        self._size = size
        self._buckets: list[set[T]] = [set() for _ in range(size)]
        self._numbers = list(range(size))  # one integer object for all things of a bucket
        self.tick = 0
        """The present tick."""

    def put(self, thing: T, tick: int) -> None:
        """Look at `thing` in `tick` (at the earliest in the next one)."""
        self.drop(thing)
        thing.due = self._numbers[min(max(tick, self.tick + 1), self.tick + self._size - 1) % self._size]
        self._buckets[thing.due].add(thing)

    def drop(self, thing: T) -> None:
        """Forget `thing`, if it is here."""
        self._buckets[thing.due].discard(thing)

    def advance(self) -> Iterator[T]:
        """Go one tick further and hand out what must be looked at now; it is no longer in the ring."""
        self.tick += 1
        bucket = self._buckets[self.tick % self._size]
        while bucket:
            yield bucket.pop()

    def __len__(self) -> int:
        return sum(map(len, self._buckets))
