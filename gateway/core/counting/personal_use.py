"""Who used the pools: for each person and calendar day how many seats, how long, and what was refused.

A seat is charged to whom it was granted, from the grant until its release; who shares it later (the same account on
another device, another guest of the same address) uses it and is charged nothing. So the seats of all persons are the
seats of the pool, at every instant and over any time (COUNTING.md, Who used it).

A person is an account with a device, or a guest's device, or where nothing is named an address. What one person has of
one pool on one day is a share. A share is charged when its number of seats changes, and never looked at otherwise. When
a day is over, a share is put down and begins again as soon as it is touched, and at the latest in one of the next
ticks: at midnight nothing stops.

Nearly everybody holds one seat of a pool, once a day. As long as that is all, it is told by one value, an `OnlySeat`,
or an `OnlyVisit` when it is over; only who has had more to tell has a `Share`.
"""

from __future__ import annotations

from collections import deque

from gateway.core.counting.calendar_days import Calendar
from gateway.core.counting.multimap import Multimap
from gateway.core.counting.numbers import NumberSequence
from gateway.core.counting.session import Identity, Instant, Key, Person, identity
from gateway.core.counting.use_shares import Day, DenialShare, OwnSeats, Share, ShareRow

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
NOTHING_DENIED = DenialShare()
OnlySeat = float | Day
"""All that a person has of a pool today is one seat that is held still: the monotonic instant at which it was granted,
or the day, where it was held when that began."""
OnlyVisit = tuple[OnlySeat, float, bool]
"""All that a person had of a pool today is one seat: since when, until when, and whether that has been written."""


class PoolShares:
    """The shares of one pool of a model: those of the present day by person, and whose seat each key is.

    A key is charged to the person of its claims, or where that is not whom it was granted to, as `charged` says. Of an
    account with shares by several devices `own_seats` has what it holds by all of them.
    """

    __slots__ = ("by_person", "charged", "model", "own_seats", "pool", "use")

    def __init__(self, use: PersonalUse, model: str, pool: str) -> None:
        self.use = use
        self.model = model
        self.pool = pool
        self.by_person: dict[Person, OnlySeat | OnlyVisit | Share] = {}
        self.charged: dict[Key, Person] = {}
        self.own_seats: dict[Identity, OwnSeats] = {}

    def grant(self, key: Key, person: Person, now: float) -> None:
        """Charge the seat of `key` to a person, from the monotonic instant `now` on."""
        use, found = self.use, self.by_person.get(person)
        if found is None and use.shares_of_today < use.most and self._own_seats(person) is None:
            use.shares_of_today += 1
            self.by_person[person] = now
            return
        share = found if isinstance(found, Share) and found.day is use.today else self._share(person, now)
        if share.person != person:
            self.charged[key] = share.person
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

    def rename(self, before: Key, key: Key) -> None:
        """Let a seat have another key; it is charged to whom it was."""
        if before in self.charged:
            self.charged[key] = self.charged.pop(before)

    def release(self, key: Key, person: Person, now: float) -> None:
        """Charge the seat of `key` no longer; `person` is that of its last claim."""
        person = self.charged.pop(key, person)
        found, today = self.by_person[person], self.use.today
        if found is today or (isinstance(found, float) and found >= today.begins):
            self.by_person[person] = (found, now, False)
            return
        share = found if isinstance(found, Share) and found.day is today else self._share(person, now)
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

    def turn(self, person: Person) -> None:
        """Put down what a person had on each day that is over; who holds nothing has no share any more."""
        use, share = self.use, self._as_share(person)
        if share.day is use.today:
            return
        while share.day is not use.today and share.day.next is not None:
            over = share.day
            use.put_down(self._row(share, over.ends))
            if not share.held:
                self._drop(share)
                return
            use.shares_of_today += 1
            share.begin(share.day.next, over.ends)
        self._keep(share)

    def forget(self, person: Person, now: float) -> None:
        """Put down what a person had in parts of days that are over, and charge to nobody what is still held for it."""
        if person not in self.by_person:
            return
        self.turn(person)
        for key in [key for key, charged in self.charged.items() if charged == person]:
            self.release(key, person, now)
            nobody = self._share(NOBODY, now)
            self.charged[key] = NOBODY
            self.grant(key, NOBODY, now)
            nobody.grants -= 1
        if person in self.by_person and not self._as_share(person).held:
            share = self._as_share(person)
            if share.grants:  # of this very instant
                self._share(NOBODY, now).grants += share.grants
            self._drop(share)

    def begin(self, now: float) -> None:
        """Forget what was before; who holds seats goes on holding them."""
        for person in list(self.by_person):
            share = self._as_share(person)
            if share.held:
                share.begin(self.use.today, now)
                self._keep(share)
            else:
                self._drop(share)

    def holds(self, person: Person) -> bool:
        """Return whether a person that has a share holds a seat, so that its share goes on."""
        found = self.by_person[person]
        return found.held > 0 if isinstance(found, Share) else not isinstance(found, tuple)

    def row(self, person: Person, now: float) -> ShareRow:
        """Return what a person has of the pool, as it is at a monotonic instant of its day."""
        return self._row(self._as_share(person), now)

    def changed_row(self, person: Person, now: float) -> ShareRow | None:
        """Return what a person has of the pool today, or had on a day that is over; None where that is as it was when
        this was asked last.
        """
        found = self.by_person.get(person)
        if found is None:
            return None
        if isinstance(found, Share):
            if not (found.changed or found.held):
                return None
            found.changed = False
        elif isinstance(found, tuple):
            if found[2]:
                return None
            self.by_person[person] = (*found[:2], True)
        share = self._as_share(person)
        return self._row(share, now if share.day is self.use.today else share.day.ends)

    def _row(self, share: Share, now: float) -> ShareRow:
        offset = share.day.offset
        held, denied = share.held, share.denied or NOTHING_DENIED
        return ShareRow(
            share.day.day, share.day.part, self.model, self.pool, *share.person,
            share.seat_seconds + held * (now - share.since), share.peak, max(share.own_peak, share.peak), share.grants,
            denied.denials, denied.true_denials, denied.seated, denied.wait_seconds, denied.longest_wait_seconds,
            share.first + offset, (now if held else share.since) + offset,
        )  # fmt: skip

    def _denied(self, person: Person, now: float, *, seen: bool = True) -> DenialShare:
        """Return what counts the denials of a person; `seen` says that the person is active now."""
        share = self._share(person, now)
        if seen and not share.held:
            share.since = now
        share.changed = True
        if share.denied is None:
            share.denied = DenialShare()
        return share.denied

    def _share(self, person: Person, now: float) -> Share:
        """Return the share of a person today, a new one if need be; the share of `NOBODY` where a day has too many."""
        use = self.use
        if person in self.by_person:
            share = self._as_share(person)
            if share.day is use.today:
                self.by_person[person] = share
                return share
            self.turn(person)
        if person in self.by_person:
            share = self._as_share(person)
        elif use.shares_of_today >= use.most and person != NOBODY:
            use.left_out += 1
            return self._share(NOBODY, now)
        else:
            use.shares_of_today += 1
            share = Share(person, use.today, now)
            share.own = self._own_seats(person)
            if share.own is not None:
                share.own.shares += 1
        self.by_person[person] = share
        return share

    def _as_share(self, person: Person) -> Share:
        """Return what a person has, as a `Share`; the table still has the short form."""
        found = self.by_person[person]
        if isinstance(found, Share):
            return found
        written, released = False, None
        if isinstance(found, tuple):
            found, released, written = found
        if isinstance(found, Day):
            share = Share(person, found, found.begins)
        else:
            share = Share(person, self.use.day_at(found), found)
            share.grants = 1
        share.peak = share.own_peak = share.held = 1
        if released is not None:
            share.seat_seconds, share.since, share.held = released - share.since, released, 0
            share.changed = not written
        return share

    def _keep(self, share: Share) -> None:
        """Put a share that begins with a day into the table, as the day alone where it says no more."""
        self.by_person[share.person] = share.day if share.held == 1 and share.own is None else share

    def _own_seats(self, person: Person) -> OwnSeats | None:
        """Note that a person is to have a share here; returns what its account holds by several devices, if another of
        them has a share already.
        """
        account, persons = person[0], self.use.persons
        if not account:
            return None
        who = (account, person[1]) if person[1] else account
        if persons.get(who) is person or persons.add(who, person):
            return None
        own = self.own_seats.get(who)
        if own is None:
            other = next((each for each in persons.values_of(who) if each != person and each in self.by_person), None)
            if other is None:
                return None
            share = self.by_person[other] = self._as_share(other)
            own = self.own_seats[who] = share.own = OwnSeats()
            own.held, own.shares = share.held, 1
        return own

    def _drop(self, share: Share) -> None:
        person, own = share.person, share.own
        del self.by_person[person]
        if not person[0]:
            return
        who = identity(*person[:2])
        if own is not None:
            own.shares -= 1
            if not own.shares:
                del self.own_seats[who]
        if not any(person in place.by_person for place in self.use.places):
            self.use.persons.discard(who, person)


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
        self.places: list[PoolShares] = []
        self.finished: deque[ShareRow] = deque(maxlen=MAX_FINISHED_SHARES)
        self.persons: Multimap[Identity, Person] = Multimap()
        """The persons of each account that have a share of any pool."""
        self.shares_of_today = 0
        self._turning: deque[tuple[PoolShares, Person]] = deque()
        """Whose shares may belong to a day that is over."""
        self.today = self.oldest = self._begin_day(now)
        self.connected = self.place(*CONNECTED)

    def place(self, model: str, pool: str) -> PoolShares:
        """Return the shares of another pool."""
        place = PoolShares(self, model, pool)
        self.places.append(place)
        return place

    def begin(self, now: Instant) -> None:
        """Begin to count; what was before is forgotten."""
        self.today = self.oldest = self._begin_day(now)
        self.finished.clear()
        self._turning.clear()
        for place in self.places:
            place.begin(now.mono)
        self.shares_of_today = sum(len(place.by_person) for place in self.places)

    def advance(self, now: Instant) -> None:
        """Follow the clocks: begin the next day where one is over, or another part where the wall clock was set."""
        calendar, offset = self.calendar, now.wall - now.mono
        before = self.today
        while now.mono >= self.today.ends and now.wall >= calendar.start_of(self.today.day + 1):
            over, day = self.today, self.today.day + 1
            length = calendar.start_of(day + 1) - calendar.start_of(day)
            self.today = over.next = Day(day, self.numbers.take(), over.ends, over.ends + length, offset)
        day = self.today.day
        if calendar.start_of(day) - CLOCK_SLACK <= now.wall < calendar.start_of(day + 1):
            self.today.ends, self.today.offset = now.mono + calendar.start_of(day + 1) - now.wall, offset
        else:
            self.today.ends = now.mono
            self.today.next = self._begin_day(now)
            self.today = self.today.next
        if self.today is not before:
            self.shares_of_today = 0
            self.turn_all()

    def forget(self, who: Identity, now: Instant) -> None:
        """Forget an account: another part of the day begins, and what it had before is put down."""
        over = self.today
        self.today = over.next = Day(over.day, self.numbers.take(), now.mono, over.ends, over.offset)
        over.ends = now.mono
        self.shares_of_today = 0
        for person in list(self.persons.values_of(who)):
            for place in self.places:
                place.forget(person, now.mono)
        self.turn_all()

    def turn_all(self) -> None:
        """Let all shares be put down bit by bit that belong to a day that is over."""
        self._turning = deque((place, person) for place in self.places for person in place.by_person)

    def turn_some(self) -> None:
        """Put some of the shares down that belong to a day that is over."""
        for _ in range(min(len(self._turning), SHARES_PER_TICK)):
            place, person = self._turning.popleft()
            if person in place.by_person:
                place.turn(person)
        if not self._turning:
            self.oldest = self.today

    def put_down(self, row: ShareRow) -> None:
        """Keep what a share came to on a day that is over."""
        self.finished.append(row)

    def day_at(self, instant: float) -> Day:
        """Return the day of a monotonic instant, among those to which a share may belong."""
        day = self.oldest
        while day.next is not None and instant >= day.ends:
            day = day.next
        return day

    def days(self) -> list[Day]:
        """Return the days to which a share may belong, in order; today is the last."""
        day: Day | None = self.oldest
        found = []
        while day is not None:
            found.append(day)
            day = day.next
        return found

    def _begin_day(self, now: Instant) -> Day:
        day = self.calendar.day_of(now.wall)
        ends = now.mono + self.calendar.start_of(day + 1) - now.wall
        return Day(day, self.numbers.take(), now.mono, ends, now.wall - now.mono)
