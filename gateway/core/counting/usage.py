"""Use of one pool over a time: how long it was used how much, and what was granted, released and refused meanwhile.

Levels of use are kept with the seconds spent at each, so mean and percentiles of use are exact, for an hour and, added
up, for any number of hours. What only grows in a pool (grants, releases, denials, time at the limit) is not counted
again: an interval has what grew between its beginning and its end.

An hour of the clock may have several intervals: a restart or a step of the clock begins a new one. Whoever reads them
adds them up.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from typing import NamedTuple

HOUR = 3600.0
"""Seconds; the longest interval."""


class PoolTotals(NamedTuple):
    """What has grown in a pool by an instant; times are in seconds."""

    seat_seconds: float
    full_seconds: float
    grants: int
    releases: Mapping[str, int]
    denials: Mapping[str, int]

    def since(self, before: PoolTotals) -> PoolTotals:
        """Return what has grown since `before`."""
        return PoolTotals(
            self.seat_seconds - before.seat_seconds,
            self.full_seconds - before.full_seconds,
            self.grants - before.grants,
            _difference(self.releases, before.releases),
            _difference(self.denials, before.denials),
        )


NOTHING_YET = PoolTotals(0.0, 0.0, 0, {}, {})
"""The totals of a pool that has just been made."""


class UsageInterval:
    """An interval within an hour. `start` is the beginning of the hour in seconds UTC, `number` tells intervals apart.

    `levels` has the seconds at each use, from 0 to `peak`. `true_denials`, `granted_after_denial` and `open_denials`
    are what became of this interval's denials; `wait_seconds` is the sum and `longest_wait_seconds` the maximum of the
    time that those took who got their seat. `changed` says that there is something to write.
    """

    __slots__ = (
        "changed",
        "final_totals",
        "granted_after_denial",
        "levels",
        "limit",
        "longest_wait_seconds",
        "number",
        "open_denials",
        "peak",
        "start",
        "totals_before",
        "true_denials",
        "wait_seconds",
    )

    def __init__(self, start: float = 0.0, number: int = 0, used: int = 0, before: PoolTotals = NOTHING_YET) -> None:
        self.start = start
        self.number = number
        self.peak = used
        self.levels = array("d", bytes(8 * (used + 1)))
        self.limit: int | None = None
        self.true_denials = self.granted_after_denial = self.open_denials = 0
        self.wait_seconds = self.longest_wait_seconds = 0.0
        self.changed = True
        self.totals_before = before
        self.final_totals: PoolTotals | None = None
        """What grew in it, once it is over."""

    def record_grant(self, seconds: float) -> None:
        """Count a denial of this interval that was followed by a grant so many seconds later."""
        self.open_denials -= 1
        self.record_wait(seconds)

    def record_wait(self, seconds: float) -> None:
        """Count a wait in line that was followed by a grant so many seconds later."""
        self.granted_after_denial += 1
        self.wait_seconds += seconds
        self.longest_wait_seconds = max(self.longest_wait_seconds, seconds)
        self.changed = True

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.final_totals is not None

    def end(self, totals: PoolTotals, limit: int | None) -> None:
        """End it: nothing grows in it any more, but what becomes of its denials may still be open."""
        self.final_totals = totals.since(self.totals_before)
        self.limit = limit
        self.changed = True

    def summary(self, totals: PoolTotals, limit: int | None) -> UsageSummary:
        """Return what it holds by now, of a pool that has `totals` and `limit` now."""
        grown = self.final_totals or totals.since(self.totals_before)
        return UsageSummary(
            levels={level: seconds for level, seconds in enumerate(self.levels) if seconds},
            peak=self.peak,
            limit=self.limit if self.over else limit,
            full_seconds=grown.full_seconds,
            grants=grown.grants,
            releases=dict(grown.releases),
            denials=dict(grown.denials),
            true_denials=self.true_denials,
            granted_after_denial=self.granted_after_denial,
            wait_seconds=self.wait_seconds,
            longest_wait_seconds=self.longest_wait_seconds,
        )


class UsageSummary:
    """Use of a pool over a time, added up from intervals; the fields are those of `UsageInterval`.

    `limit` is that of the latest interval, None where there is none.
    """

    __slots__ = (
        "denials",
        "full_seconds",
        "granted_after_denial",
        "grants",
        "levels",
        "limit",
        "longest_wait_seconds",
        "peak",
        "releases",
        "true_denials",
        "wait_seconds",
    )

    def __init__(
        self,
        levels: dict[int, float] | None = None,
        peak: int = 0,
        limit: int | None = None,
        full_seconds: float = 0.0,
        grants: int = 0,
        releases: dict[str, int] | None = None,
        denials: dict[str, int] | None = None,
        true_denials: int = 0,
        granted_after_denial: int = 0,
        wait_seconds: float = 0.0,
        longest_wait_seconds: float = 0.0,
    ) -> None:
        self.levels = {} if levels is None else levels
        self.peak = peak
        self.limit = limit
        self.full_seconds = full_seconds
        self.grants = grants
        self.releases = {} if releases is None else releases
        self.denials = {} if denials is None else denials
        self.true_denials = true_denials
        self.granted_after_denial = granted_after_denial
        self.wait_seconds = wait_seconds
        self.longest_wait_seconds = longest_wait_seconds

    def add(self, other: UsageSummary) -> None:
        """Add a later summary."""
        levels = self.levels
        for level, seconds in other.levels.items():
            levels[level] = levels.get(level, 0.0) + seconds
        self.peak = max(self.peak, other.peak)
        self.limit = other.limit
        self.full_seconds += other.full_seconds
        self.grants += other.grants
        for mine, theirs in ((self.releases, other.releases), (self.denials, other.denials)):
            for word, number in theirs.items():
                mine[word] = mine.get(word, 0) + number
        self.true_denials += other.true_denials
        self.granted_after_denial += other.granted_after_denial
        self.wait_seconds += other.wait_seconds
        self.longest_wait_seconds = max(self.longest_wait_seconds, other.longest_wait_seconds)

    @property
    def seconds(self) -> float:
        """How long the pool was watched."""
        return sum(self.levels.values())

    @property
    def seat_seconds(self) -> float:
        """The integral of use over that time."""
        return sum(level * seconds for level, seconds in self.levels.items())

    @property
    def mean(self) -> float:
        """Exact mean use while the pool was watched."""
        seconds = self.seconds
        return self.seat_seconds / seconds if seconds else 0.0

    @property
    def denied(self) -> int:
        """Denials, for whatever reason."""
        return sum(self.denials.values())

    def percentiles(self, *shares: float) -> list[int]:
        """Return, for each share (0 to 1, rising), the least use that was not exceeded for that share of the time."""
        found: list[int] = []
        rising = iter(sorted(self.levels.items()))
        passed, level, seconds = 0.0, 0, self.seconds
        for share in shares:
            while passed < share * seconds * (1 - 1e-12):
                level, spent = next(rising)
                passed += spent
            found.append(level)
        return found


def _difference(now: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    if now == before:  # as in most hours, of which a long sleep of the machine has many
        return {}
    return {word: more for word, number in now.items() if (more := number - before.get(word, 0))}


def summed(summaries: Iterable[UsageSummary]) -> UsageSummary:
    """Add up summaries, given in order of time."""
    total = UsageSummary()
    for each in summaries:
        total.add(each)
    return total
