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
    from gateway.core.counting.pool import Book

HOUR = 3600.0


class Growth(NamedTuple):
    """What had grown in a book by an instant."""

    full_seconds: float
    grants: int
    releases: Mapping[str, int]
    denials: Mapping[str, int]


class Hour:
    """A piece of an hour. `start` is the beginning of the hour in seconds UTC, `number` tells pieces apart.

    `levels` has the seconds at each use, from 0 to `peak`. `true`, `seated` and `undecided` are the fates of this
    hour's refusals; `waited` is the sum and `longest` the maximum of the seconds that those took which got their seat.
    `changed` says that there is something to write.
    """

    __slots__ = (
        "_grown",
        "_since",
        "changed",
        "levels",
        "limit",
        "longest",
        "number",
        "peak",
        "seated",
        "start",
        "true",
        "undecided",
        "waited",
    )

    def __init__(self, start: float = 0.0, used: int = 0, since: Growth | None = None) -> None:
        self.start = start
        self.number = 0
        self.peak = used
        self.levels = array("d", bytes(8 * (used + 1)))
        self.limit: int | None = None
        self.true = self.seated = self.undecided = 0
        self.waited = self.longest = 0.0
        self.changed = True
        self._since = since or Growth(0.0, 0, {}, {})
        self._grown: Growth | None = None
        """What grew in it, once it is over."""

    def seat(self, seconds: float) -> None:
        """A refusal of this hour was followed by a grant so many seconds later."""
        self.undecided -= 1
        self.seated += 1
        self.waited += seconds
        self.longest = max(self.longest, seconds)
        self.changed = True

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self._grown is not None

    def end(self, book: Book) -> None:
        """It is over: nothing grows in it any more, but the fate of its refusals may still be open."""
        self._grown = self._growth(book)
        self.limit = book.terms.limit
        self.changed = True

    def use(self, book: Book) -> Use:
        """What it holds by now."""
        grown = self._grown or self._growth(book)
        return Use(
            levels={level: seconds for level, seconds in enumerate(self.levels) if seconds},
            peak=self.peak,
            limit=self.limit if self.over else book.terms.limit,
            full_seconds=grown.full_seconds,
            grants=grown.grants,
            releases=dict(grown.releases),
            denials=dict(grown.denials),
            true=self.true,
            seated=self.seated,
            waited=self.waited,
            longest=self.longest,
        )

    def _growth(self, book: Book) -> Growth:
        since, grown = self._since, growth(book)
        return Growth(
            grown.full_seconds - since.full_seconds,
            grown.grants - since.grants,
            _beyond(grown.releases, since.releases),
            _beyond(grown.denials, since.denials),
        )


class Use:
    """Use of a pool over a time, added up from pieces; the fields are those of `Hour`.

    `limit` is that of the latest piece, None where there is none.
    """

    __slots__ = (
        "denials",
        "full_seconds",
        "grants",
        "levels",
        "limit",
        "longest",
        "peak",
        "releases",
        "seated",
        "true",
        "waited",
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
        self.true = true
        self.seated = seated
        self.waited = waited
        self.longest = longest

    def add(self, other: Use) -> None:
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
        self.true += other.true
        self.seated += other.seated
        self.waited += other.waited
        self.longest = max(self.longest, other.longest)

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


def growth(book: Book) -> Growth:
    """What has grown in a book so far."""
    return Growth(book.full_seconds, book.grants, dict(book.releases), dict(book.denials))


def _beyond(now: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    return {word: more for word, number in now.items() if (more := number - before.get(word, 0))}


def added(pieces: Iterable[Use]) -> Use:
    """All pieces, in order of time, as one."""
    total = Use()
    for piece in pieces:
        total.add(piece)
    return total
