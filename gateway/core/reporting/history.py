"""History: the use of every pool of every model, hour by hour, recorded from events and not sampled.

The pools note each level of use and how long it lasted, in monotonic time, so that a step of the wall clock changes no
sum. The wall clock says only which hour it is: `advance` tells the pools once a second, and a pool that passes the end
of its hour splits the span there. A step of the clock begins a new interval of the hour that the clock then shows.

For sizing, the seats that have ended are kept with their beginning and end, from the pools whose demand can be
replayed; pools with the same seats by the same function are the same demand and kept once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from gateway.core.counting.denials import DenialEpisode
from gateway.core.counting.ledger import Ledger
from gateway.core.counting.numbers import NumberSequence
from gateway.core.counting.pool import Hold, Pool
from gateway.core.counting.session import Instant, Key
from gateway.core.counting.usage import HOUR, UsageInterval, UsageSummary

CLOCK_STEP = 1.0
"""Seconds of difference between the clocks, within a second, that make it a step of the wall clock."""
MAX_ENDED_INTERVALS = 24 * 31
"""Ended intervals of a pool that are kept for the store while it is away; the oldest beyond that are forgotten."""


class PoolTimeline(NamedTuple):
    """A pool of a model, and the intervals of it that are over and not known to be durable."""

    model: str
    name: str
    pool: Pool
    ended: list[UsageInterval]


class UsagePiece(NamedTuple):
    """What one interval holds by an instant; `start` is the beginning of its hour in seconds UTC."""

    start: float
    number: int
    model: str
    pool: str
    summary: UsageSummary


class History:
    """The timelines of all pools of `ledgers`; nothing is recorded before `begin`.

    `numbers` numbers the intervals; `window` (seconds) is how long a denial may be followed by a grant and be no true
    denial.
    """

    def __init__(self, ledgers: Sequence[Ledger], numbers: NumberSequence, window: float) -> None:
        self.timelines = [
            PoolTimeline(ledger.model.name, name, pool, []) for ledger in ledgers for name, pool in ledger.pools.items()
        ]
        self.demand = _demand(ledgers)
        """For each (model, pool) whose demand can be replayed, where it is recorded."""
        self.offset = 0.0
        """Seconds from monotonic time to seconds UTC."""
        self._numbers = numbers
        self.apply_window(window)
        for place in dict.fromkeys(self.demand.values()):
            self._pool(place).held_since = {}

    def apply_window(self, window: float) -> None:
        """Take another window of true denials, in seconds."""
        for timeline in self.timelines:
            timeline.pool.denial_tracker.window = window

    def _pool(self, place: tuple[str, str]) -> Pool:
        return next(each.pool for each in self.timelines if (each.model, each.name) == place)

    def begin(self, now: Instant) -> None:
        """Begin to record; what was before is forgotten."""
        self.offset = now.wall - now.mono
        for timeline in self.timelines:
            timeline.pool.advance(now.mono)
            self._start_interval(timeline, now)
            timeline.pool.ended_intervals.clear()

    def _start_interval(self, timeline: PoolTimeline, now: Instant) -> None:
        start = now.wall // HOUR * HOUR
        timeline.pool.start_interval(start, now.mono + start + HOUR - now.wall)

    def advance(self, now: Instant) -> None:
        """Go on to `now`: end the intervals that are over, follow the wall clock, settle what became of denials."""
        offset = now.wall - now.mono
        stepped = abs(offset - self.offset) > CLOCK_STEP
        self.offset = offset
        for timeline in self.timelines:
            pool = timeline.pool
            if stepped and now.wall // HOUR * HOUR != pool.interval.start:
                self._start_interval(timeline, now)
            pool.interval_end = now.mono + pool.interval.start + HOUR - now.wall
            pool.advance(now.mono)
            pool.denial_tracker.settle_older_than_window(now.mono)
            if pool.ended_intervals:
                timeline.ended.extend(pool.ended_intervals)
                pool.ended_intervals.clear()
                del timeline.ended[:-MAX_ENDED_INTERVALS]

    def pieces(self, now: float) -> Iterator[UsagePiece]:
        """Yield every interval that memory has, as it is at the monotonic instant `now`, by time for each pool."""
        for timeline in self.timelines:
            for interval in (*timeline.ended, *timeline.pool.ended_intervals, timeline.pool.interval):
                yield usage_piece(timeline, interval, now)

    def holding(self, model: str, pool: str) -> list[tuple[Key, float]]:
        """Return the keys that hold a seat of a pool, and since which monotonic instant."""
        return list((self._pool((model, pool)).held_since or {}).items())

    def finished_holds(self, model: str, pool: str) -> list[Hold]:
        """Return the finished holds of a pool that nobody has taken yet."""
        return list(self._pool((model, pool)).finished_holds)

    def episodes(self) -> Iterator[tuple[PoolTimeline, DenialEpisode]]:
        """Yield the episodes of denials that memory has, over or not; only an enforced model has any."""
        for timeline in self.timelines:
            tracker = timeline.pool.denial_tracker
            open_episodes = [episode for by_reason in tracker.open_episodes.values() for episode in by_reason.values()]
            for episode in (*tracker.finished, *open_episodes):
                yield timeline, episode


def usage_piece(timeline: PoolTimeline, interval: UsageInterval, now: float) -> UsagePiece:
    """Return an interval as it is at the monotonic instant `now`."""
    summary = timeline.pool.summary(interval, now)
    return UsagePiece(interval.start, interval.number, timeline.model, timeline.name, summary)


def _demand(ledgers: Iterable[Ledger]) -> dict[tuple[str, str], tuple[str, str]]:
    """Return, for each (model, pool) whose demand can be replayed, the (model, pool) under which it is recorded.

    Named hosts are left out: their seats have no end, so their number is the demand.
    """
    first: dict[tuple[object, str], tuple[str, str]] = {}
    found: dict[tuple[str, str], tuple[str, str]] = {}
    for ledger in ledgers:
        for name, pool in ledger.pools.items():
            if not pool.terms.endless:
                place = (ledger.model.name, name)
                found[place] = first.setdefault((ledger.model.seats, name), place)
    return found
