"""Who used the pools: for each person and calendar day how many seats, how long, and what was refused.

A seat is charged to whom it was granted, from the grant until its release; who shares it later (the same account on
another device, another guest of the same address) uses it and is charged nothing. So the seats of all persons are the
seats of the pool, at every instant and over any time (COUNTING.md, Who used it).

A person is an account with a device, or a guest's device, or where nothing is named an address. What one person has of
one pool on one day is a share. A share is charged when its number of seats changes, and never looked at otherwise. When
a day is over, a share is put down and begins again as soon as it is touched, and at the latest in one of the next
ticks: at midnight nothing stops.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from gateway.core.counting.calendar_days import Calendar
from gateway.core.counting.numbers import NumberSequence
from gateway.core.counting.session import Identity, Instant, Key, Person, identity

CLOCK_SLACK = 1.0
"""Seconds by which the wall clock may go back over midnight and the new day goes on."""
SHARES_PER_TICK = 2000
"""Shares of a day that is over which are put down at once."""
MAX_FINISHED_SHARES = 100_000
"""Shares that are over and wait for the store while it is away; the oldest beyond that are forgotten."""
NOBODY: Person = ("", "", "", "")
"""To whom is charged what is beyond the bound of a day."""
CONNECTED = ("", "")
"""The model and pool under which it is counted who was connected: each session is one seat."""


class Day:
    """A calendar day, or a part of it: a restart or a step of the clock begins another part.

    `day` is its number in the calendar, `part` tells it from all others; `ends` is the monotonic instant at which it is
    over, `next` the part that follows.
    """

    __slots__ = ("day", "ends", "next", "part")

    def __init__(self, day: int, part: int, ends: float) -> None:
        self.day = day
        self.part = part
        self.ends = ends
        self.next: Day | None = None


class DenialShare:
    """What a person was denied in one part of a day, and what became of it."""

    __slots__ = ("denials", "longest_wait_seconds", "seated", "true_denials", "wait_seconds")

    def __init__(self) -> None:
        self.denials = self.true_denials = self.seated = 0
        self.wait_seconds = self.longest_wait_seconds = 0.0


NOTHING_DENIED = DenialShare()


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


class PoolShares:
    """The shares of one pool of a model: those of the present day by person, and whose seat each key is."""

    __slots__ = ("by_account", "by_key", "by_person", "model", "pool", "use")

    def __init__(self, use: PersonalUse, model: str, pool: str) -> None:
        self.use = use
        self.model = model
        self.pool = pool
        self.by_person: dict[Person, Share] = {}
        self.by_key: dict[Key, Share] = {}
        self.by_account: dict[Identity, Share | OwnSeats] = {}

    def grant(self, key: Key, person: Person, now: float) -> None:
        """Charge the seat of `key` to a person, from the monotonic instant `now` on."""
        share = self.by_person.get(person)
        if share is None or share.day is not self.use.today:
            share = self._share(person, now)
        held = share.held
        if held:
            share.seat_seconds += held * (now - share.since)
        share.since = now
        share.held = held = held + 1
        share.grants += 1
        share.peak = max(share.peak, held)
        own = share.own
        if own is not None:
            own.held += 1
            share.own_peak = max(share.own_peak, own.held)
        share.changed = True
        self.by_key[key] = share

    def release(self, key: Key, now: float) -> None:
        """Charge the seat of `key` no longer."""
        share = self.by_key.pop(key)
        if share.day is not self.use.today:
            self.turn(share)
        held = share.held
        share.seat_seconds += held * (now - share.since)
        share.since = now
        share.held = held - 1
        if share.own is not None:
            share.own.held -= 1
        share.changed = True

    def deny(self, person: Person, now: float, *, true: bool) -> None:
        """Count a denial; `true` says that it is known to be a true one."""
        denied = self._denied(person, now)
        denied.denials += 1
        denied.true_denials += true

    def settle(self, person: Person, now: float) -> None:
        """Count a denial of a person as a true one."""
        self._denied(person, now, seen=False).true_denials += 1

    def seat(self, person: Person, waited: float, now: float) -> None:
        """Count that a denial of a person was followed by a grant after so many seconds."""
        denied = self._denied(person, now)
        denied.seated += 1
        denied.wait_seconds += waited
        denied.longest_wait_seconds = max(denied.longest_wait_seconds, waited)

    def turn(self, share: Share) -> None:
        """Put a share down for each day that is over; it is gone where it holds nothing."""
        while share.day is not self.use.today and share.day.next is not None:
            over = share.day
            self.use.put_down(self.row(share, over.ends))
            if not share.held:
                self._drop(share)
                return
            self.use.shares_of_today += 1
            share.begin(share.day.next, over.ends)

    def begin(self, now: float) -> None:
        """Forget what was before; who holds seats goes on holding them."""
        for share in list(self.by_person.values()):
            if share.held:
                share.begin(self.use.today, now)
            else:
                self._drop(share)

    def row(self, share: Share, now: float) -> ShareRow:
        """Return a share as it is at a monotonic instant of its day."""
        offset = self.use.offset
        held, denied = share.held, share.denied or NOTHING_DENIED
        return ShareRow(
            share.day.day, share.day.part, self.model, self.pool, *share.person,
            share.seat_seconds + held * (now - share.since), share.peak, max(share.own_peak, share.peak), share.grants,
            denied.denials, denied.true_denials, denied.seated, denied.wait_seconds, denied.longest_wait_seconds,
            share.first + offset, (now if held else share.since) + offset,
        )  # fmt: skip

    def add(self, share: Share) -> None:
        """Take a new share in; those of one account count their seats together."""
        self.by_person[share.person] = share
        account, home = share.person[:2]
        if not account:
            return
        who = identity(account, home)
        first = self.by_account.get(who)
        if first is None:
            self.by_account[who] = share
            return
        if isinstance(first, Share):
            own = self.by_account[who] = first.own = OwnSeats()
            own.held, own.shares = first.held, 1
        else:
            own = first
        share.own = own
        own.held += share.held
        own.shares += 1

    def _denied(self, person: Person, now: float, *, seen: bool = True) -> DenialShare:
        """Return where it is counted what a person was denied; `seen` says that it is active."""
        share = self._share(person, now)
        if seen and not share.held:
            share.since = now
        share.changed = True
        if share.denied is None:
            share.denied = DenialShare()
        return share.denied

    def _share(self, person: Person, now: float) -> Share:
        """Return the share of a person today, a new one if need be; that of nobody where a day has too many."""
        use = self.use
        share = self.by_person.get(person)
        if share is not None and share.day is not use.today:
            self.turn(share)
            share = self.by_person.get(person)
        if share is None:
            if use.shares_of_today >= use.most and person != NOBODY:
                use.left_out += 1
                return self._share(NOBODY, now)
            use.shares_of_today += 1
            share = Share(person, use.today, now)
            self.add(share)
        return share

    def _drop(self, share: Share) -> None:
        del self.by_person[share.person]
        account, home = share.person[:2]
        own = share.own
        if own is not None:
            own.shares -= 1
        if account and (own is None or not own.shares):
            del self.by_account[identity(account, home)]


class PersonalUse:
    """The shares of all pools, and the days to which they belong.

    `numbers` numbers the parts of days; `most` is how many shares a day may have, and `left_out` how often something
    was charged to nobody for it. `finished` has the shares that are over, for whoever takes them.
    """

    def __init__(self, numbers: NumberSequence, calendar: Calendar, most: int, now: Instant) -> None:
        self.numbers = numbers
        self.calendar = calendar
        self.most = most
        self.left_out = 0
        self.offset = now.wall - now.mono
        """Seconds from monotonic time to seconds UTC."""
        self.places: list[PoolShares] = []
        self.finished: deque[ShareRow] = deque(maxlen=MAX_FINISHED_SHARES)
        self.shares_of_today = 0
        self._turning: deque[tuple[PoolShares, Share]] = deque()
        """Shares that may belong to a day that is over."""
        self.today = self._begin_day(now)
        self.connected = self.place(*CONNECTED)

    def place(self, model: str, pool: str) -> PoolShares:
        """Return the shares of another pool."""
        place = PoolShares(self, model, pool)
        self.places.append(place)
        return place

    def begin(self, now: Instant) -> None:
        """Begin to count; what was before is forgotten."""
        self.offset = now.wall - now.mono
        self.today = self._begin_day(now)
        self.finished.clear()
        self._turning.clear()
        for place in self.places:
            place.begin(now.mono)
        self.shares_of_today = sum(len(place.by_person) for place in self.places)

    def advance(self, now: Instant) -> None:
        """Follow the clocks: begin the next day where one is over, or another part where the wall clock was set."""
        self.offset = now.wall - now.mono
        calendar = self.calendar
        before = self.today
        while now.mono >= self.today.ends and now.wall >= calendar.start_of(self.today.day + 1):
            over, day = self.today, self.today.day + 1
            length = calendar.start_of(day + 1) - calendar.start_of(day)
            self.today = over.next = Day(day, self.numbers.take(), over.ends + length)
        day = self.today.day
        if calendar.start_of(day) - CLOCK_SLACK <= now.wall < calendar.start_of(day + 1):
            self.today.ends = now.mono + calendar.start_of(day + 1) - now.wall
        else:
            self.today.ends = now.mono
            self.today.next = self._begin_day(now)
            self.today = self.today.next
        if self.today is not before:
            self.shares_of_today = 0
            self.turn_all()

    def turn_all(self) -> None:
        """Let all shares be put down bit by bit that belong to a day that is over."""
        self._turning = deque((place, share) for place in self.places for share in place.by_person.values())

    def turn_some(self) -> None:
        """Put some of the shares down that belong to a day that is over."""
        for _ in range(min(len(self._turning), SHARES_PER_TICK)):
            place, share = self._turning.popleft()
            if share.day is not self.today and place.by_person.get(share.person) is share:
                place.turn(share)

    def put_down(self, row: ShareRow) -> None:
        """Keep what a share came to on a day that is over."""
        self.finished.append(row)

    def days(self) -> list[Day]:
        """Return the parts of days that any share belongs to, and today, in order."""
        shares = (share.day for place in self.places for share in place.by_person.values())
        day: Day | None = min((self.today, *shares), key=lambda day: day.part)
        found = []
        while day is not None:
            found.append(day)
            day = day.next
        return found

    def _begin_day(self, now: Instant) -> Day:
        day = self.calendar.day_of(now.wall)
        return Day(day, self.numbers.take(), now.mono + self.calendar.start_of(day + 1) - now.wall)
