"""History: what happened in every pool of every model, hour by hour, from events and not from looking now and then.

The books note each level of use and how long it lasted, in monotonic time, so that a step of the wall clock changes no
sum. The wall clock says only which hour it is: `advance` tells the books once a second, and a book that passes the end
of its hour splits the span there. A step of the clock begins a new piece of the hour that the clock now shows.

For sizing, the seats that have ended are kept with their beginning and end, from the pools whose demand can be
replayed; pools with the same seats by the same function are the same demand and kept once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import NamedTuple

from gateway.core.counting.denials import DenialEpisode
from gateway.core.counting.ledger import Ledger
from gateway.core.counting.pool import Hold, Pool
from gateway.core.counting.session import Instant, Key
from gateway.core.counting.usage import HOUR, UsageInterval, UsageSummary

CLOCK_STEP = 1.0
"""Seconds of difference between the clocks, within a second, that make it a step of the wall clock."""
MAX_ENDED_HOURS = 24 * 31
"""Hours of a pool that are kept for the store while it is away; the oldest beyond that are forgotten."""


class PoolTimeline(NamedTuple):
    """A pool of a model, and the hours of it that are over and not known to be durable."""

    model: str
    pool: str
    pool_state: Pool
    ended: list[UsageInterval]


class UsagePiece(NamedTuple):
    """What one piece of an hour holds by now; `start` is the hour's beginning in seconds UTC."""

    start: float
    number: int
    model: str
    pool: str
    summary: UsageSummary


class History:
    """The course of all pools of `ledgers`; nothing is recorded before `begin`.

    `window` (seconds) is how long a refusal may wait for a grant and be no true denial.
    """

    def __init__(self, ledgers: Sequence[Ledger], window: float) -> None:
        self.timelines = [
            PoolTimeline(ledger.model.name, pool, book, []) for ledger in ledgers for pool, book in ledger.pools.items()
        ]
        self.demand = _demand(ledgers)
        self.offset = 0.0
        """Seconds from monotonic time to seconds UTC."""
        self._pieces: Iterator[int] = count(1)
        for course in self.timelines:
            course.pool_state.denial_tracker.window = window
        for place in set(self.demand.values()):
            self._pool(place).held_since = {}

    def _pool(self, place: tuple[str, str]) -> Pool:
        return next(course.pool_state for course in self.timelines if (course.model, course.pool) == place)

    def begin(self, now: Instant, *, piece: int = 1, episode: int = 1) -> None:
        """Begin to record; the first numbers of pieces and episodes are those after the last ones of the store."""
        self._pieces = count(piece)
        numbers = count(episode)
        self.offset = now.wall - now.mono
        for course in self.timelines:
            course.pool_state.denial_tracker.numbers = numbers
            course.pool_state.advance(now.mono)
            self._start_interval(course, now)
            course.pool_state.ended_intervals.clear()

    def _start_interval(self, course: PoolTimeline, now: Instant) -> None:
        start = now.wall // HOUR * HOUR
        course.pool_state.start_interval(start, now.mono + start + HOUR - now.wall)
        course.pool_state.interval.number = next(self._pieces)

    def advance(self, now: Instant) -> None:
        """Live up to `now`: end what hours have ended, follow the wall clock, decide what refusals have become."""
        offset = now.wall - now.mono
        stepped = abs(offset - self.offset) > CLOCK_STEP
        self.offset = offset
        for course in self.timelines:
            book = course.pool_state
            if stepped and now.wall // HOUR * HOUR != book.interval.start:
                self._start_interval(course, now)
            book.interval_end = now.mono + book.interval.start + HOUR - now.wall
            book.advance(now.mono)
            book.denial_tracker.settle_older_than_window(now.mono)
            if book.ended_intervals:
                course.ended.extend(hour for hour in book.ended_intervals if hour.start)
                book.ended_intervals.clear()
                del course.ended[:-MAX_ENDED_HOURS]
            for hour in (*course.ended, book.interval):
                hour.number = hour.number or next(self._pieces)

    def present(self) -> Iterator[UsagePiece]:
        """Every piece that memory has, up to the last `advance`, in order of time for each pool."""
        for course in self.timelines:
            for hour in (*course.ended, course.pool_state.interval):
                yield usage_piece(course, hour)

    def holding(self, model: str, pool: str) -> list[tuple[Key, float]]:
        """The keys that hold a seat of a pool now, and since which monotonic instant."""
        return list((self._pool((model, pool)).held_since or {}).items())

    def ended(self, model: str, pool: str) -> list[Hold]:
        """Ended holds of a pool that nobody has taken yet."""
        return list(self._pool((model, pool)).finished_holds)

    def episodes(self) -> Iterator[tuple[PoolTimeline, DenialEpisode]]:
        """The episodes of refusals that memory has, over or not; only an enforced model has any."""
        for course in self.timelines:
            refusals = course.pool_state.denial_tracker
            open_ = [episode for by_reason in refusals.open_episodes.values() for episode in by_reason.values()]
            for episode in (*refusals.finished, *open_):
                yield course, episode


def usage_piece(course: PoolTimeline, hour: UsageInterval) -> UsagePiece:
    """A piece as it is now."""
    return UsagePiece(hour.start, hour.number, course.model, course.pool, hour.summary(course.pool_state))


def _demand(ledgers: Iterable[Ledger]) -> dict[tuple[str, str], tuple[str, str]]:
    """For each (model, pool) whose demand can be replayed, where it is recorded.

    Seats without an end (named hosts) are not: their number is the demand.
    """
    first: dict[tuple[object, str], tuple[str, str]] = {}
    found: dict[tuple[str, str], tuple[str, str]] = {}
    for ledger in ledgers:
        for pool, book in ledger.pools.items():
            if not book.terms.endless:
                place = (ledger.model.name, pool)
                found[place] = first.setdefault((ledger.model.seats, pool), place)
    return found
