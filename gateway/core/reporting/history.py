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

from gateway.core.counting.denials import Episode
from gateway.core.counting.ledger import Ledger
from gateway.core.counting.pool import Book, Hold
from gateway.core.counting.session import Key, Now
from gateway.core.counting.usage import HOUR, Hour, Use

STEP = 1.0
"""Seconds of difference between the clocks, within a second, that make it a step of the wall clock."""
PAST = 24 * 31
"""Hours of a pool that are kept for the store while it is away; the oldest beyond that are forgotten."""


class Course(NamedTuple):
    """A pool of a model, and the hours of it that are over and not known to be durable."""

    model: str
    pool: str
    book: Book
    past: list[Hour]


class Piece(NamedTuple):
    """What one piece of an hour holds by now; `start` is the hour's beginning in seconds UTC."""

    start: float
    number: int
    model: str
    pool: str
    use: Use


class History:
    """The course of all pools of `ledgers`; nothing is recorded before `begin`.

    `window` (seconds) is how long a refusal may wait for a grant and be no true denial.
    """

    def __init__(self, ledgers: Sequence[Ledger], window: float) -> None:
        self.courses = [
            Course(ledger.model.name, pool, book, []) for ledger in ledgers for pool, book in ledger.pools.items()
        ]
        self.demand = _demand(ledgers)
        self.offset = 0.0
        """Seconds from monotonic time to seconds UTC."""
        self._pieces: Iterator[int] = count(1)
        for course in self.courses:
            course.book.refusals.window = window
        for place in set(self.demand.values()):
            self._book(place).began = {}

    def _book(self, place: tuple[str, str]) -> Book:
        return next(course.book for course in self.courses if (course.model, course.pool) == place)

    def begin(self, now: Now, *, piece: int = 1, episode: int = 1) -> None:
        """Begin to record; the first numbers of pieces and episodes are those after the last ones of the store."""
        self._pieces = count(piece)
        numbers = count(episode)
        self.offset = now.wall - now.mono
        for course in self.courses:
            course.book.refusals.numbers = numbers
            course.book.clock(now.mono)
            self._turn(course, now)
            course.book.past.clear()

    def _turn(self, course: Course, now: Now) -> None:
        start = now.wall // HOUR * HOUR
        course.book.turn(start, now.mono + start + HOUR - now.wall)
        course.book.hour.number = next(self._pieces)

    def advance(self, now: Now) -> None:
        """Live up to `now`: end what hours have ended, follow the wall clock, decide what refusals have become."""
        offset = now.wall - now.mono
        stepped = abs(offset - self.offset) > STEP
        self.offset = offset
        for course in self.courses:
            book = course.book
            if stepped and now.wall // HOUR * HOUR != book.hour.start:
                self._turn(course, now)
            book.turns = now.mono + book.hour.start + HOUR - now.wall
            book.clock(now.mono)
            book.refusals.decide(now.mono)
            if book.past:
                course.past.extend(hour for hour in book.past if hour.start)
                book.past.clear()
                del course.past[:-PAST]
            for hour in (*course.past, book.hour):
                hour.number = hour.number or next(self._pieces)

    def present(self) -> Iterator[Piece]:
        """Every piece that memory has, up to the last `advance`, in order of time for each pool."""
        for course in self.courses:
            for hour in (*course.past, course.book.hour):
                yield piece(course, hour)

    def holding(self, model: str, pool: str) -> list[tuple[Key, float]]:
        """The keys that hold a seat of a pool now, and since which monotonic instant."""
        return list((self._book((model, pool)).began or {}).items())

    def ended(self, model: str, pool: str) -> list[Hold]:
        """Ended holds of a pool that nobody has taken yet."""
        return list(self._book((model, pool)).ended)

    def episodes(self) -> Iterator[tuple[Course, Episode]]:
        """The episodes of refusals that memory has, over or not; only an enforced model has any."""
        for course in self.courses:
            refusals = course.book.refusals
            open_ = [episode for by_reason in refusals.asking.values() for episode in by_reason.values()]
            for episode in (*refusals.finished, *open_):
                yield course, episode


def piece(course: Course, hour: Hour) -> Piece:
    """A piece as it is now."""
    return Piece(hour.start, hour.number, course.model, course.pool, hour.use(course.book))


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
