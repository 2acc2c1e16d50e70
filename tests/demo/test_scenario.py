"""A day has a curve that people would recognize, and is the same each time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from gateway.demo.scenario import DAY, HOUR, Office, ScenarioStep, bustle

PEAK = 300


@dataclass
class Seen:
    """Who is there and in a conference while steps are taken."""

    there: set[int] = field(default_factory=set)
    awake: set[int] = field(default_factory=set)
    members: dict[int, str] = field(default_factory=dict)

    def take(self, step: ScenarioStep) -> None:
        match step.verb:
            case "come":
                self.there.add(step.actor)
                self.awake.add(step.actor)
            case "go":
                self.there.discard(step.actor)
                self.awake.discard(step.actor)
                self.members.pop(step.actor, None)
            case "sleep":
                self.awake.discard(step.actor)
            case "wake":
                self.awake.add(step.actor)
            case "join" if step.meeting is not None:
                self.members.setdefault(step.actor, step.meeting.name)
            case "leave":
                self.members.pop(step.actor, None)


def lived(steps: list[ScenarioStep]) -> dict[int, Seen]:
    """What was seen at the end of each hour."""
    now, hours = Seen(), {}
    todo = list(steps)
    for hour in range(24):
        while todo and todo[0].at < (hour + 1) * HOUR:
            now.take(todo.pop(0))
        hours[hour] = Seen(set(now.there), set(now.awake), dict(now.members))
    return hours


@pytest.fixture(scope="module")
def office() -> Office:
    return Office(PEAK, seed=1)


def test_a_day_is_in_order_and_within_itself(office: Office) -> None:
    steps = office.day(1)
    assert [step.at for step in steps] == sorted(step.at for step in steps)
    assert steps[0].at >= 0
    assert steps[-1].at < DAY


def test_the_peak_is_what_was_asked_for(office: Office) -> None:
    now, peak = Seen(), 0
    for step in office.day(1):
        now.take(step)
        peak = max(peak, len(now.there))
    assert PEAK * 0.85 < peak < PEAK * 1.15


def test_night_is_quiet_morning_rises_lunch_dips_evening_falls(office: Office) -> None:
    awake = {hour: len(seen.awake) for hour, seen in lived(office.day(1)).items()}
    assert awake[3] < 0.15 * awake[10]
    assert awake[7] < awake[8] < awake[9]
    assert awake[12] < 0.85 * awake[10]
    assert awake[14] > awake[12]
    assert awake[20] < 0.15 * awake[14]


def test_meetings_begin_on_the_hour_and_some_at_half_past(office: Office) -> None:
    begun: Counter[int] = Counter()
    known = set()
    for step in office.day(1):
        if step.verb == "join" and step.meeting is not None and step.meeting.name not in known:
            known.add(step.meeting.name)
            begun[round(step.at / 60) % 60] += 1
    assert sum(begun[minute] for minute in (58, 59, 0)) > sum(begun[minute] for minute in (28, 29, 30)) > 0
    assert set(begun) <= {28, 29, 30, 58, 59, 0}


def test_hardly_anybody_comes_when_nobody_works(office: Office) -> None:
    assert len(lived(office.day(6, working=False))[10].awake) < 0.2 * len(lived(office.day(5))[10].awake)


def test_everybody_but_phones_and_rooms_has_gone_by_midnight(office: Office) -> None:
    last = lived(office.day(1))[23]
    staying = {office.actors[number] for number in last.there}
    assert all(actor.device == "phone" or actor.kind in {"sip", "h323"} for actor in staying)
    assert last.members == {}


def test_guests_come_to_public_meetings_only_and_calls_have_two(office: Office) -> None:
    members: dict[str, set[int]] = {}
    for step in office.day(1):
        if step.verb == "join" and step.meeting is not None:
            actor = office.actors[step.actor]
            guest = actor.account is None and actor.kind == "browser"
            assert not guest or step.meeting.access == "public"
            if step.meeting.mode == "call":
                members.setdefault(step.meeting.name, set()).add(step.actor)
    assert members
    assert all(len(each) == 2 for each in members.values())


def test_the_seed_decides_everything(office: Office) -> None:
    assert Office(PEAK, seed=1).day(3) == office.day(3)
    assert office.day(3) != office.day(4)
    assert Office(PEAK, seed=2).day(3) != office.day(3)


@pytest.mark.parametrize("clients", [1, 5, 2000])
def test_any_size_has_people_with_names_of_their_own(clients: int) -> None:
    office = Office(clients, seed=1)
    accounts = [worker.desk.account for worker in office.workers]
    assert len(set(accounts)) == len(accounts) >= 4
    assert office.day(1)


def test_the_curve_is_without_jumps() -> None:
    values = [bustle(minute * 60.0) for minute in range(24 * 60 + 1)]
    assert all(0 <= value <= 1 for value in values)
    assert max(abs(after - before) for before, after in pairwise(values)) < 0.02
    assert values[0] == values[-1]
