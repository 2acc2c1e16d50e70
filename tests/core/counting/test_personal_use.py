"""Who used the pools: every figure equals a recount of a random life by hand, in every model, in any time zone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.admission import commands as c
from gateway.core.admission.apply import apply
from gateway.core.admission.state import State
from gateway.core.admission.state_json import digest, from_json, to_json
from gateway.core.counting.calendar_days import Calendar
from gateway.core.counting.numbers import NumberSequence
from gateway.core.counting.personal_use import NOBODY, SHARES_PER_TICK, PersonalUse
from gateway.core.counting.pool import Pool
from gateway.core.counting.returning import KeptSeat
from gateway.core.counting.session import Instant, Key, Person, Session, account_and_home
from gateway.core.counting.use_shares import ShareRow
from gateway.licensing import MODELS
from tests.core.admission.random_day import RandomDay, first_terms
from tests.core_harness import DAY, HOUR, START, CoreHarness

ANN: Person = ("ann", "", "", "")


def rows_of(use: PersonalUse, now: float) -> list[ShareRow]:
    """All rows there are by an instant: those that are over, and the present ones."""
    present: list[ShareRow] = []
    for place in use.places:
        for person in list(place.by_person):
            place.turn(person)
        present += [place.row(person, now) for person in place.by_person]
    return [*use.finished, *present]


def whose(pool: Pool, key: Key) -> Person:
    """To whom a key is charged that has just come into a pool."""
    for claim in pool.claims.values_of(key):
        if isinstance(claim, Session | KeptSeat):
            return claim.person
    who, device = key if pool.terms.keys == "device" and isinstance(key, tuple) else (key, "")
    return (*account_and_home(who), str(device), "")


LEASED = {("trueconf", "pro"), ("nefsis-named", "hosts")}
"""Pools whose seats may be granted to a session and kept by a lease within one command: nobody sees the device."""


class Recount:
    """Counts a life again in another way: looks at all pools after every command."""

    def __init__(self, state: State, calendar: Calendar) -> None:
        self.state = state
        self.calendar = calendar
        self.at = state.at
        self.held: dict[tuple[str, str], dict[Key, Person]] = defaultdict(dict)
        self.seat_seconds: dict[tuple[Any, ...], float] = defaultdict(float)
        self.peak: dict[tuple[Any, ...], int] = defaultdict(int)
        self.own_peak: dict[tuple[Any, ...], int] = defaultdict(int)
        self.look()

    def pass_time(self, now: Instant) -> None:
        """Add what was held up to `now`, day by day."""
        begin = self.at.wall
        while begin < now.wall:
            day = self.calendar.day_of(begin)
            end = min(self.calendar.start_of(day + 1), now.wall)
            for place, held in self.held.items():
                counts: dict[Person, int] = defaultdict(int)
                accounts: dict[str, int] = defaultdict(int)
                for person in held.values():
                    counts[person] += 1
                    accounts[repr(person[:2] if person[0] else person)] += 1
                for person, seats in counts.items():
                    row = (day, *place, person)
                    self.seat_seconds[row] += seats * (end - begin)
                    self.peak[row] = max(self.peak[row], seats)
                    whole = (day, *place, repr(person[:2] if person[0] else person))
                    self.own_peak[whole] = max(self.own_peak[whole], accounts[whole[-1]])
            begin = end
        self.at = now

    def look(self) -> None:
        """See who holds what now."""
        sessions = self.state.sessions.by_number
        self._see(("", ""), {number: session.person for number, session in sessions.items()})
        for ledger in self.state.ledgers:
            for name, pool in ledger.pools.items():
                place = (ledger.model.name, name)
                before = self.held[place]
                found = {key: before.get(key) or whose(pool, key) for key in pool.claims}
                self._see(place, {key: (*who[:2], "", "") if place in LEASED else who for key, who in found.items()})

    def _see(self, place: tuple[str, str], now: dict[Key, Person]) -> None:
        self.held[place] = now


def live(day: RandomDay, number: int) -> Iterator[Instant]:
    """Apply so many random commands, and yield each instant before and after."""
    weights = [weight for weight, _ in day.draws]
    for _ in range(number):
        (draw,) = day.random.choices([draw for _, draw in day.draws], weights)
        command = draw()
        if command is None:
            continue
        seconds = day.random.choice([0.0, 0.25, 1.0, 3.0, 40.0, 900.0])
        day.now = Instant(day.now.mono + seconds, day.now.wall + seconds)
        yield day.now
        decision = apply(day.state, command, day.now)
        if decision.withdraw is not None and decision.changes:
            day.undoable = [*day.undoable[-3:], decision.withdraw]
        yield day.now


@settings(max_examples=12)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 5.5 * HOUR, -9.5 * HOUR]), st.integers(0, 40))
def test_every_figure_equals_a_recount_of_a_random_life(seed: int, ahead: float, changes: int) -> None:
    offsets = ((0.0, ahead), (START + changes * HOUR, ahead + HOUR))
    day, calendar = RandomDay(seed), Calendar(offsets)
    day.draws = [(weight, draw) for weight, draw in day.draws if draw != day.administer]
    apply(day.state, c.SetTerms(first_terms_with(offsets)), day.now)
    recount = Recount(day.state, calendar)
    for number, now in enumerate(live(day, 250)):
        if number % 2:
            recount.look()
        else:
            recount.pass_time(now)
    seat_seconds: dict[tuple[Any, ...], float] = defaultdict(float)
    peak: dict[tuple[Any, ...], int] = defaultdict(int)
    own_peak: dict[tuple[Any, ...], int] = defaultdict(int)
    for row in rows_of(day.state.use, day.now.mono):
        seen = (row.model, row.pool) not in LEASED
        person = (row.account, row.home, row.device if seen else "", row.address)
        key = (row.day, row.model, row.pool, person)
        whole = (row.day, row.model, row.pool, repr(person[:2] if person[0] else person))
        seat_seconds[key] += row.seat_seconds
        peak[key] = max(peak[key], row.peak)
        own_peak[whole] = max(own_peak[whole], row.own_peak)
        assert row.first <= row.last <= day.now.wall + 1e-6
    assert {key: value for key, value in seat_seconds.items() if value > 1e-6} == pytest.approx(
        {key: value for key, value in recount.seat_seconds.items() if value}
    )
    assert all(peak[key] >= seats for key, seats in recount.peak.items())
    assert all(own_peak[key] >= seats for key, seats in recount.own_peak.items())


def first_terms_with(offsets: tuple[tuple[float, float], ...]) -> Any:
    """The terms of a random day in a time zone."""
    return replace(first_terms(), offsets=offsets)


@settings(max_examples=10)
@given(st.integers(0, 10_000))
def test_all_persons_together_are_the_pool_whatever_the_clocks_do(seed: int) -> None:
    day = RandomDay(seed)
    for _ in day.commands(500):
        pass
    sums: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0, 0, 0])
    for row in rows_of(day.state.use, day.now.mono):
        for place, value in enumerate((row.seat_seconds, row.grants, row.denials, row.true_denials)):
            sums[row.model, row.pool][place] += value
    for ledger in day.state.ledgers:
        for name, pool in ledger.pools.items():
            totals = pool.totals(day.now.mono)
            reserved = len(pool.terms.reserve)  # granted before anybody counts
            true = sum(pool.denial_tracker.true_denials.values())
            found = sums[ledger.model.name, name]
            assert found == pytest.approx(
                [totals.seat_seconds, totals.grants - reserved, sum(totals.denials.values()), true]
            )
            assert set(pool.shares.charged) <= set(pool.claims)
            charged = Counter(pool.shares.charged.get(key) or whose(pool, key) for key in pool.claims)
            shares, now = pool.shares, day.now.mono
            grown = {
                person: round(shares.row(person, now + 1).seat_seconds - shares.row(person, now).seat_seconds)
                for person in shares.by_person
            }
            assert {person: seats for person, seats in grown.items() if seats} == charged


def test_a_state_that_was_written_counts_on_in_the_same_way() -> None:
    day = RandomDay(11)
    for _ in day.commands(1500):
        pass
    other = from_json(to_json(day.state), MODELS)
    assert digest(other) == digest(day.state)
    later = Instant(day.now.mono + 2 * DAY, day.now.wall + 2 * DAY)
    for state in (day.state, other):
        state.use.finished.clear()
        apply(state, c.Tick(), later)
    assert rows_of(day.state.use, later.mono) == rows_of(other.use, later.mono)


# -- one by one --------------------------------------------------------------------------------------------------------


def use_of(most: int = 100) -> PersonalUse:
    return PersonalUse(NumberSequence(), Calendar(), most, Instant(0.0, 0.0))


def test_a_seat_is_charged_to_whom_it_was_granted_until_its_release() -> None:
    house = CoreHarness(MODELS["trueconf"].model(MODELS["trueconf"].terms(pro=2, online=9)))
    phone = house.hello("ann", "phone")
    house.join(phone)
    house.wait(10)
    laptop = house.hello("ann", "laptop")
    house.join(laptop)
    house.end(phone, "bye")
    house.wait(5)
    rows = {(row.pool, row.device): row for row in rows_of(house.state.use, house.now.mono) if row.model}
    assert rows["pro", "phone"].seat_seconds == pytest.approx(15)
    assert ("pro", "laptop") not in rows
    assert rows["online", "phone"].seat_seconds == pytest.approx(10)
    assert rows["online", "laptop"].seat_seconds == pytest.approx(5)
    assert (rows["online", "laptop"].peak, rows["online", "laptop"].own_peak) == (1, 2)


def test_a_denial_that_was_seated_tells_how_long_it_waited() -> None:
    house = CoreHarness(MODELS["floating"].model(MODELS["floating"].terms(limit=1)))
    bob = house.hello("bob")
    assert house.knock("ann", "phone")[0] is None
    house.wait(12)
    house.end(bob, "bye")
    house.hello("ann", "laptop")
    rows = {(row.pool, row.account, row.device): row for row in rows_of(house.state.use, house.now.mono)}
    ann = rows["seats", "ann", "phone"]
    assert (ann.denials, ann.seated, ann.true_denials, ann.waited, ann.longest) == (1, 1, 0, 12.0, 12.0)
    assert rows["seats", "ann", "laptop"].grants == 1


def test_a_denial_that_found_no_seat_in_time_is_a_true_one() -> None:
    house = CoreHarness(MODELS["floating"].model(MODELS["floating"].terms(limit=1)))
    house.hello("bob")
    house.knock("ann")
    house.wait(61)
    (ann,) = [row for row in rows_of(house.state.use, house.now.mono) if row.account == "ann"]
    assert (ann.denials, ann.true_denials, ann.seated, ann.seat_seconds) == (1, 1, 0, 0.0)
    assert ann.first == ann.last == START


def test_each_device_that_was_refused_has_what_became_of_its_own_denial() -> None:
    house = CoreHarness(MODELS["floating"].model(MODELS["floating"].terms(limit=1)))
    bob = house.hello("bob")
    for device in ("phone", "laptop"):
        house.knock("ann", device)
        house.wait(1)
    rows = {row.device: row for row in rows_of(house.state.use, house.now.mono) if row.account == "ann"}
    assert [(rows[device].denials, rows[device].true_denials) for device in ("phone", "laptop")] == [(1, 0), (1, 0)]
    house.end(bob, "bye")
    house.hello("ann", "tablet")
    rows = {row.device: row for row in rows_of(house.state.use, house.now.mono) if row.account == "ann"}
    assert [(rows[device].seated, rows[device].waited) for device in ("phone", "laptop")] == [(1, 2.0), (1, 1.0)]


def test_each_device_that_found_no_seat_has_a_true_denial_of_its_own() -> None:
    house = CoreHarness(MODELS["floating"].model(MODELS["floating"].terms(limit=1)))
    house.hello("bob")
    house.knock("ann", "phone")
    house.knock("ann", "laptop")
    house.wait(61)
    rows = {row.device: row for row in rows_of(house.state.use, house.now.mono) if row.account == "ann"}
    assert [(rows[device].denials, rows[device].true_denials) for device in ("phone", "laptop")] == [(1, 1), (1, 1)]


def test_a_shadow_charges_what_it_would_have_cost() -> None:
    models = [MODELS[name].model(MODELS[name].terms()) for name in ("epop", "trueconf")]
    house = CoreHarness(*models)
    ann = house.hello("ann", "phone")
    house.join(ann)
    house.wait(30)
    house.end(ann, "bye")
    house.wait(HOUR)
    rows = {(row.model, row.pool): row for row in rows_of(house.state.use, house.now.mono)}
    assert rows["epop", "concurrent"].seat_seconds == 30
    assert rows["trueconf", "pro"].seat_seconds == 30 + HOUR  # leased for 24 h
    assert rows["", ""].seat_seconds == 30


def test_what_is_beyond_the_bound_of_a_day_is_charged_to_nobody() -> None:
    use = use_of(most=2)
    place = use.place("m", "p")
    for number in range(5):
        place.grant(number, (f"u{number}", "", "", ""), 0.0)
    for number in range(5):
        place.release(number, (f"u{number}", "", "", ""), 2.0)
    rows = {row.account: row for row in rows_of(use, 2.0)}
    assert {name: row.seat_seconds for name, row in rows.items()} == {"u0": 2.0, "u1": 2.0, "": 6.0}
    assert (rows[""].peak, use.left_out) == (3, 3)
    assert NOBODY in place.by_person


def test_who_came_yesterday_is_beyond_the_bound_of_today_like_everybody_else() -> None:
    use = use_of(most=1)
    place = use.place("m", "p")
    place.grant("a", ANN, 0.0)
    place.release("a", ANN, 10.0)
    use.advance(Instant(DAY + 1, DAY + 1))
    place.grant("b", ("bob", "", "", ""), DAY + 1)
    place.grant("a", ANN, DAY + 2)
    place.release("a", ANN, DAY + 5)
    found = [(row.day, row.account, row.seat_seconds) for row in rows_of(use, DAY + 5)]
    assert found == [(0, "ann", 10.0), (1, "bob", 4.0), (1, "", 3.0)]


def test_at_midnight_shares_are_put_down_bit_by_bit_and_idle_ones_are_forgotten() -> None:
    use = use_of(most=10_000)
    place = use.place("m", "p")
    people = SHARES_PER_TICK + 50
    for number in range(people):
        place.grant(number, (f"u{number}", "", "", ""), 10.0)
    for number in range(1, people):
        place.release(number, (f"u{number}", "", "", ""), 20.0)
    later = Instant(DAY + 1, DAY + 1)
    use.advance(later)
    use.turn_some()
    assert len(use.finished) == SHARES_PER_TICK
    assert len(place.by_person) == people - SHARES_PER_TICK + 1
    use.turn_some()
    assert (len(use.finished), list(place.by_person), list(use.persons)) == (people, [("u0", "", "", "")], ["u0"])
    assert use.finished[0].seat_seconds == DAY - 10
    assert use.finished[0].last == DAY
    assert place.row(("u0", "", "", ""), DAY + 1).seat_seconds == 1


def test_days_that_passed_while_the_machine_slept_are_days_of_their_own() -> None:
    use = use_of()
    place = use.place("m", "p")
    place.grant("k", ANN, 0.0)
    use.advance(Instant(3 * DAY + 5, 3 * DAY + 5))
    use.turn_some()
    found = [(row.day, row.seat_seconds) for row in rows_of(use, 3 * DAY + 5)]
    assert found == [(0, DAY), (1, DAY), (2, DAY), (3, 5)]


@pytest.mark.parametrize("step", [-2 * HOUR, DAY, -40 * DAY])
def test_a_step_of_the_clock_over_midnight_begins_another_part(step: float) -> None:
    use = PersonalUse(NumberSequence(), Calendar(), 9, Instant(0.0, DAY + HOUR))
    place = use.place("m", "p")
    place.grant("k", ANN, 0.0)
    use.advance(Instant(100.0, DAY + HOUR + 100 + step))
    place.release("k", ANN, 130.0)
    rows = rows_of(use, 130.0)
    assert [row.seat_seconds for row in rows] == [100, 30]
    assert rows[0].part < rows[1].part
    assert [row.day for row in rows] == [1, int((DAY + HOUR + 100 + step) // DAY)]
    first = DAY + HOUR  # each part by the clock of its time
    assert [(row.first, row.last) for row in rows] == [
        (first, first + 100),
        (first + 100 + step, first + 130 + step),
    ]


def test_a_clock_that_goes_back_a_little_over_midnight_changes_no_day() -> None:
    use = PersonalUse(NumberSequence(), Calendar(), 9, Instant(0.0, DAY - 1))
    use.advance(Instant(1.0, DAY))
    part = use.today.part
    use.advance(Instant(1.5, DAY - 0.5))
    use.advance(Instant(2.5, DAY + 0.5))
    assert use.today.part == part
