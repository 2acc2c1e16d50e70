"""A day of believable traffic: who comes when, which meetings there are, who takes part. Nothing here is played.

An office has people at desks, their phones (asleep most of the time), meeting rooms that call in over SIP and H.323,
and guests who come for one meeting. A day of it is a list of steps in order of time: quiet night, morning ramp,
meetings on the hour and some on the half hour, lunch, and the evening. The same seed gives the same office and the same
days.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from random import Random
from typing import Literal, NamedTuple

from gateway.client_connection import Transport

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
CURVE = ((0, 0.03), (6, 0.04), (7.5, 0.2), (9, 0.9), (10, 1.0), (11.5, 0.95), (12.5, 0.45), (14, 0.95), (15.5, 1.0),
         (16.5, 0.7), (18, 0.2), (20, 0.07), (24, 0.03))  # fmt: skip
"""How busy a working day is at an hour: 0 to 1."""
HALF_PAST = 0.4
"""How many meetings begin at half past, as a share of those on the hour."""
PLACES = 12
"""People at work for each meeting of a busy hour."""
TEAM = 12
"""People in a team, at most."""
OWN_HOSTS = 0.5
"""Share of the people who ever call a meeting."""

FIRST = ("ada", "ben", "cleo", "dan", "eva", "finn", "gina", "hugo", "ida", "jan", "kim", "leo", "mia", "nils", "olga",
         "paul", "quinn", "rosa", "sven", "tara", "uma", "vera", "walt", "zoe")  # fmt: skip
LAST = ("adler", "berg", "costa", "diaz", "ek", "fox", "grant", "hahn", "ito", "jansen", "klein", "lund", "moore",
        "novak", "ortiz", "park", "quist", "rossi", "silva", "tan", "urban", "vogel", "weber", "young")  # fmt: skip
TOPICS = ("design", "sales", "support", "budget", "release", "planning", "review", "hiring", "training", "operations",
          "roadmap", "partners", "security", "marketing", "quality", "board")  # fmt: skip
ROOMS = ("atlas", "borneo", "cairo", "delhi", "evora", "fuji", "geneva", "hanoi", "izmir", "java", "kyoto", "lima")

Verb = Literal["come", "go", "join", "leave", "sleep", "wake"]


class Actor(NamedTuple):
    """Somebody with a device; a guest and a meeting room have no account."""

    number: int
    kind: str
    account: str | None
    device: str | None
    client: str
    transport: Transport


class Meeting(NamedTuple):
    """A conference, as the one who comes first makes it."""

    name: str
    access: Literal["internal", "public"] = "internal"
    mode: Literal["group", "call"] = "group"


class ScenarioStep(NamedTuple):
    """What an actor does, `at` seconds after midnight. Who is a member already joins no second time: a later `join` is
    for those who were refused before.
    """

    at: float
    actor: int
    verb: Verb
    meeting: Meeting | None = None
    host: bool = False


class OfficeLimits(NamedTuple):
    """Seats with which such an office gets along, but not at its busiest."""

    online: int
    pro: int
    guest: int
    gateway: int
    concurrent: int
    hosts: int


class Employee(NamedTuple):
    """Somebody's habits: seconds after midnight."""

    desk: Actor
    phone: Actor | None
    arrives: float
    leaves: float


class Presence:
    """When somebody is at the desk on one day, and until when the next meeting must wait."""

    def __init__(self, spans: list[tuple[float, float]]) -> None:
        self.spans = spans
        self.busy = 0.0

    def until(self, at: float) -> float:
        """How long somebody free at `at` stays; 0 who is not free."""
        if at < self.busy:
            return 0.0
        return next((end for start, end in self.spans if start + 5 * MINUTE <= at < end - 15 * MINUTE), 0.0)


class Office:
    """An office with about `clients` connections at its busiest."""

    def __init__(self, clients: int, seed: int) -> None:
        self._seed = seed
        lots = self._lots("office")
        people = max(4, round(clients * 0.7))
        self.actors: list[Actor] = []
        self.workers = [self._worker(number, lots) for number in range(people)]
        self.rooms = [self._room(number) for number in range(max(2, round(clients * 0.03)))]
        self.guests = [self._guest(number) for number in range(max(3, round(clients * 0.12)))]
        phones = sum(worker.phone is not None for worker in self.workers)
        self.limits = OfficeLimits(
            online=people + phones // 8,
            pro=max(3, round(people * 0.66)),
            guest=max(1, round(clients * 0.04)),
            gateway=max(1, round(len(self.rooms) * 0.7)),
            concurrent=max(3, round(people * 0.42)),
            hosts=max(2, round(people * OWN_HOSTS * 0.8)),
        )

    def _lots(self, *what: object) -> Random:
        return Random("/".join(map(str, (self._seed, *what))))  # noqa: S311 - believable, not secret

    def _actor(self, kind: str, account: str | None, device: str | None, client: str, transport: Transport) -> Actor:
        actor = Actor(len(self.actors), kind, account, device, client, transport)
        self.actors.append(actor)
        return actor

    def _worker(self, number: int, lots: Random) -> Employee:
        again, place = divmod(number, len(FIRST) * len(LAST))
        # Steps without a common divisor lead to every pair of names, the like ones far from each other.
        first, last = FIRST[place % len(FIRST)], LAST[(place * 7 + place // len(FIRST)) % len(LAST)]
        account = f"{first}.{last}{again or ''}@example.org"
        browses = lots.random() < 0.3
        desk = (
            self._actor("browser", account, "browser", "web/5.2", "websocket")
            if browses
            else self._actor("app", account, "desktop", "desktop/8.4 (linux)", "tcp")
        )
        phone = self._actor("app", account, "phone", "mobile/8.4", "tcp") if lots.random() < 0.35 else None
        return Employee(desk, phone, lots.gauss(8.7, 0.55) * HOUR, lots.gauss(17.3, 0.8) * HOUR)

    def _room(self, number: int) -> Actor:
        name = ROOMS[number % len(ROOMS)] + str(number // len(ROOMS) or "")
        return self._actor("h323" if number % 3 == 2 else "sip", None, f"room-{name}", "codec/2.1", "tcp")

    def _guest(self, number: int) -> Actor:
        return self._actor("browser", None, f"guest-{number + 1}", "web/5.2", "websocket")

    def team(self, first: int) -> tuple[str, ...]:
        """Accounts that belong together; another number, another team."""
        every = max(1, len(self.workers) // TEAM)
        return tuple(str(worker.desk.account) for worker in self.workers[first::every][:TEAM])

    # -- one day -----------------------------------------------------------------------------------------------------

    def day(self, number: int, *, working: bool = True) -> list[ScenarioStep]:
        """The steps of a day, in order; days of different numbers differ. Hardly anybody comes when nobody works."""
        lots = self._lots("day", number)
        present = [self._presence(worker, lots, working=working) for worker in self.workers]
        steps = [step for worker, presence in zip(self.workers, present, strict=True)
                 for step in _attendance(worker, presence, lots)]  # fmt: skip
        steps += [ScenarioStep(0.0, room.number, "come") for room in self.rooms]
        steps += self._meetings(present, lots)
        steps.sort(key=lambda step: step.at)  # stable: steps of one instant keep their order
        return steps

    def _presence(self, worker: Employee, lots: Random, *, working: bool) -> Presence:
        if lots.random() > (0.93 if working else 0.06):
            return Presence([])
        if lots.random() < 0.03:  # looks in at night
            start = lots.uniform(0, 4) * HOUR
            return Presence([(start, start + lots.uniform(0.5, 2) * HOUR)])
        start = max(6 * HOUR, worker.arrives + lots.gauss(0, 12) * MINUTE)
        end = min(23.5 * HOUR, max(start + 3 * HOUR, worker.leaves + lots.gauss(0, 25) * MINUTE))
        if lots.random() < 0.55:
            lunch = lots.gauss(12.3, 0.35) * HOUR
            back = lunch + lots.uniform(30, 65) * MINUTE
            if start + HOUR < lunch and back + HOUR < end:
                return Presence([(start, lunch), (back, end)])
        return Presence([(start, end)])

    def _meetings(self, present: list[Presence], lots: Random) -> Iterator[ScenarioStep]:
        names: dict[str, int] = {}
        hosts = range(max(2, round(len(self.workers) * OWN_HOSTS)))
        free = {guest.number: 0.0 for guest in self.guests}
        rooms = {room.number: 0.0 for room in self.rooms}
        for half in range(48):
            at = half * HOUR / 2
            here = [number for number, presence in enumerate(present) if presence.until(at)]
            share = bustle(at) * (HALF_PAST if half % 2 else 1.0)
            for _ in range(round(len(here) / PLACES * share * lots.uniform(0.8, 1.3))):
                here = [number for number in here if present[number].until(at)]
                leaders = [number for number in here if number in hosts]
                if not leaders or len(here) < 2:
                    break
                leader = lots.choice(leaders)
                others = [number for number in here if number != leader]
                call = lots.random() < 0.15
                size = 1 if call else min(len(others), lots.choice((1, 2, 3, 3, 4, 5, 6, 8)))
                members = [leader, *lots.sample(others, size)]
                topic = f"{'call' if call else lots.choice(TOPICS)}-{half // 2:02}{half % 2 * 30:02}"
                names[topic] = names.get(topic, 0) + 1
                name = topic if names[topic] == 1 else f"{topic}-{names[topic]}"
                public = not call and lots.random() < 0.35
                meeting = Meeting(name, "public" if public else "internal", "call" if call else "group")
                over = at + lots.choice((12, 25) if call else (25, 50, 50, 80)) * MINUTE
                for member in members:
                    present[member].busy = over + 2 * MINUTE
                yield from _held(meeting, [self.workers[member].desk for member in members], at, over, lots)
                if public:
                    for guest in _free(free, lots.choice((1, 1, 2, 3)), at, over, lots):
                        yield from _visit(meeting, guest, at, over, lots)
                if not call and lots.random() < 0.3:
                    for room in _free(rooms, 1, at, over, lots):
                        came = at + lots.uniform(3, 5) * MINUTE
                        yield ScenarioStep(came, room, "join", meeting)
                        yield ScenarioStep(over, room, "leave", meeting)


def bustle(at: float) -> float:
    """How busy a working day is `at` seconds after midnight, 0 to 1."""
    hour = at % DAY / HOUR
    for (before, low), (after, high) in pairwise(CURVE):
        if hour <= after:
            return low + (high - low) * (hour - before) / (after - before)
    return CURVE[-1][1]


def _attendance(worker: Employee, presence: Presence, lots: Random) -> Iterator[ScenarioStep]:
    """Somebody comes and goes, and looks at the phone now and then."""
    for start, end in presence.spans:
        yield ScenarioStep(start, worker.desk.number, "come")
        yield ScenarioStep(end, worker.desk.number, "go")
    if worker.phone is None:
        return
    yield ScenarioStep(0.0, worker.phone.number, "come")
    yield ScenarioStep(0.0, worker.phone.number, "sleep")
    for start in sorted(lots.uniform(7, 22.5) * HOUR for _ in range(lots.randint(2, 5))):
        yield ScenarioStep(start, worker.phone.number, "wake")
        yield ScenarioStep(start + lots.uniform(4, 25) * MINUTE, worker.phone.number, "sleep")


def _held(meeting: Meeting, members: list[Actor], at: float, over: float, lots: Random) -> Iterator[ScenarioStep]:
    """The first of the members calls the meeting, the others come within minutes; who was refused tries again."""
    for place, member in enumerate(members):
        came = at + (lots.uniform(-2, 0) if place == 0 else lots.uniform(0.1, 3)) * MINUTE
        yield ScenarioStep(came, member.number, "join", meeting, place == 0)
        yield ScenarioStep(came + lots.uniform(0.5, 6) * MINUTE, member.number, "join", meeting)
        yield ScenarioStep(over - lots.uniform(0, 2) * MINUTE, member.number, "leave", meeting)


def _visit(meeting: Meeting, guest: int, at: float, over: float, lots: Random) -> Iterator[ScenarioStep]:
    came = at + lots.uniform(3, 6) * MINUTE
    yield ScenarioStep(came, guest, "come")
    yield ScenarioStep(came + MINUTE / 2, guest, "join", meeting)
    yield ScenarioStep(over - MINUTE, guest, "go")


def _free(until: dict[int, float], count: int, at: float, over: float, lots: Random) -> list[int]:
    """Some who are free, busy from now on until it is over."""
    free = [number for number, busy in until.items() if busy <= at]
    chosen = lots.sample(free, min(count, len(free)))
    until.update((number, over + MINUTE) for number in chosen)
    return chosen
