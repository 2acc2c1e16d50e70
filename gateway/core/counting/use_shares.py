"""What is known of a person's use of a pool on one day: the day, the share, and the row that is written of it."""

from __future__ import annotations

from typing import NamedTuple

from gateway.core.counting.session import Person


class Day:
    """A calendar day, or a part of it: a restart or a step of the clock begins another part.

    `day` is its number in the calendar, `part` tells it from all others; `begins` and `ends` are the monotonic instants
    of its begin and of its end, `offset` are the seconds from monotonic time to UTC as the clock said in it, `next` is
    the part that follows.
    """

    __slots__ = ("begins", "day", "ends", "next", "offset", "part")

    def __init__(self, day: int, part: int, begins: float, ends: float, offset: float) -> None:
        self.day = day
        self.part = part
        self.begins = begins
        self.ends = ends
        self.offset = offset
        self.next: Day | None = None


class DenialShare:
    """What a person was denied in one part of a day, and what became of it."""

    __slots__ = ("denials", "longest_wait_seconds", "seated", "true_denials", "wait_seconds")

    def __init__(self) -> None:
        self.denials = self.true_denials = self.seated = 0
        self.wait_seconds = self.longest_wait_seconds = 0.0


class OwnSeats:
    """The seats that an account with several devices holds in a pool by all of them, and its shares."""

    __slots__ = ("held", "shares")

    def __init__(self) -> None:
        self.held = self.shares = 0


class Share:
    """What a person has of a pool in one part of a day. Times are monotonic, `held` is the seats of this moment,
    `since` when that last changed or something was refused. `peak` is the most seats at once of this person; the
    highest `own_peak` of an account is the most that it held at once by all its devices, where it has several (`own`).
    `changed` says that there is something to write.
    """

    __slots__ = (
        "changed",
        "day",
        "denied",
        "first",
        "grants",
        "held",
        "own",
        "own_peak",
        "peak",
        "person",
        "seat_seconds",
        "since",
    )

    def __init__(self, person: Person, day: Day, now: float) -> None:
        self.person = person
        self.day = day
        self.first = self.since = now
        self.held = self.peak = self.own_peak = self.grants = 0
        self.seat_seconds = 0.0
        self.own: OwnSeats | None = None
        self.denied: DenialShare | None = None
        self.changed = True

    def begin(self, day: Day, now: float) -> None:
        """Begin with another part of a day, with the seats that are held."""
        self.day = day
        self.first = self.since = now
        self.peak = self.held
        self.own_peak = self.own.held if self.own is not None and self.held else self.held
        self.grants = 0
        self.seat_seconds = 0.0
        self.denied = None
        self.changed = True


class ShareRow(NamedTuple):
    """A share as it was at an instant. `day` is the day of the calendar, `first` and `last` are in seconds UTC.

    `denials` were refused; `true_denials` of them found no seat in time, `seated` found one, after `waited` seconds in
    all and `longest` at most. What became of a denial is counted on the day on which it is known.
    """

    day: int
    part: int
    model: str
    pool: str
    account: str
    home: str
    device: str
    address: str
    seat_seconds: float
    peak: int
    own_peak: int
    grants: int
    denials: int
    true_denials: int
    seated: int
    waited: float
    longest: float
    first: float
    last: float
