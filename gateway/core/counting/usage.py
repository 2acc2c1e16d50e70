"""One hour of one pool: how long it was used how much, and what was granted, released and refused in it.

Levels of use are kept with the seconds spent at each, so mean and percentiles of use are exact, for an hour and, added
up, for any number of hours. What only grows in the book of the pool (grants, releases, denials, time at the limit) is
not counted again: an hour has what grew between its beginning and its end.

An hour of the clock may have several pieces: a restart or a step of the clock begins a new one. Pieces are added up by
whoever reads them.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from gateway.core.counting.pool import Pool

HOUR = 3600.0


class PoolTotals(NamedTuple):
    """What had grown in a book by an instant."""

    full_seconds: float
    grants: int
    releases: Mapping[str, int]
    denials: Mapping[str, int]


class UsageInterval:
    """A piece of an hour. `start` is the beginning of the hour in seconds UTC, `number` tells pieces apart.

    `levels` has the seconds at each use, from 0 to `peak`. `true`, `seated` and `undecided` are the fates of this
    hour's refusals; `waited` is the sum and `longest` the maximum of the seconds that those took which got their seat.
    `changed` says that there is something to write.
    """

    __slots__ = (
        "_final_totals",
        "_totals_before",
        "changed",
        "granted_after_denial",
        "levels",
        "limit",
        "longest_wait_seconds",
        "number",
        "open_denials",
        "peak",
        "start",
        "true_denials",
        "wait_seconds",
    )

    def __init__(self, start: float = 0.0, used: int = 0, since: PoolTotals | None = None) -> None:
        self.start = start
        self.number = 0
        self.peak = used
        self.levels = array("d", bytes(8 * (used + 1)))
        self.limit: int | None = None
        self.true_denials = self.granted_after_denial = self.open_denials = 0
        self.wait_seconds = self.longest_wait_seconds = 0.0
        self.changed = True
        self._totals_before = since or PoolTotals(0.0, 0, {}, {})
        self._final_totals: PoolTotals | None = None
        """What grew in it, once it is over."""

    def record_grant(self, seconds: float) -> None:
        """A refusal of this hour was followed by a grant so many seconds later."""
        self.open_denials -= 1
        self.granted_after_denial += 1
        self.wait_seconds += seconds
        self.longest_wait_seconds = max(self.longest_wait_seconds, seconds)
        self.changed = True

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self._final_totals is not None

    def end(self, book: Pool) -> None:
        """It is over: nothing grows in it any more, but the fate of its refusals may still be open."""
        self._final_totals = self._growth(book)
        self.limit = book.terms.limit
        self.changed = True

    def summary(self, book: Pool) -> UsageSummary:
        """What it holds by now."""
        grown = self._final_totals or self._growth(book)
        return UsageSummary(
            levels={level: seconds for level, seconds in enumerate(self.levels) if seconds},
            peak=self.peak,
            limit=self.limit if self.over else book.terms.limit,
            full_seconds=grown.full_seconds,
            grants=grown.grants,
            releases=dict(grown.releases),
            denials=dict(grown.denials),
            true=self.true_denials,
            seated=self.granted_after_denial,
            waited=self.wait_seconds,
            longest=self.longest_wait_seconds,
        )

    def _growth(self, book: Pool) -> PoolTotals:
        since, grown = self._totals_before, totals_of(book)
        return PoolTotals(
            grown.full_seconds - since.full_seconds,
            grown.grants - since.grants,
            _beyond(grown.releases, since.releases),
            _beyond(grown.denials, since.denials),
        )


class UsageSummary:
    """Use of a pool over a time, added up from pieces; the fields are those of `Hour`.

    `limit` is that of the latest piece, None where there is none.
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
        true: int = 0,
        seated: int = 0,
        waited: float = 0.0,
        longest: float = 0.0,
    ) -> None:
        self.levels = {} if levels is None else levels
        self.peak = peak
        self.limit = limit
        self.full_seconds = full_seconds
        self.grants = grants
        self.releases = {} if releases is None else releases
        self.denials = {} if denials is None else denials
        self.true_denials = true
        self.granted_after_denial = seated
        self.wait_seconds = waited
        self.longest_wait_seconds = longest

    def add(self, other: UsageSummary) -> None:
        """Add a later piece."""
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
        """Refusals, for whatever reason."""
        return sum(self.denials.values())

    def percentiles(self, *shares: float) -> list[int]:
        """For each share (0 to 1, rising) the least use that was not exceeded for that share of the time."""
        found: list[int] = []
        rising = iter(sorted(self.levels.items()))
        passed, level, seconds = 0.0, 0, self.seconds
        for share in shares:
            while passed < share * seconds * (1 - 1e-12):
                level, spent = next(rising)
                passed += spent
            found.append(level)
        return found


def totals_of(book: Pool) -> PoolTotals:
    """What has grown in a book so far."""
    return PoolTotals(book.full_seconds, book.grants, dict(book.releases), dict(book.denial_counts))


def _beyond(now: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    return {word: more for word, number in now.items() if (more := number - before.get(word, 0))}


def summed(pieces: Iterable[UsageSummary]) -> UsageSummary:
    """All pieces, in order of time, as one."""
    total = UsageSummary()
    for piece in pieces:
        total.add(piece)
    return total
