"""The rules told once more, from scratch: a mirror that knows only what was answered, and recounts every pool from it.

It shares no code with the models. `Mirror` follows the answers; `Tale` retells one license model from the mirror's
facts: what is in each pool now, and when each lease ends. The tale of each model stands in that model's test file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from gateway.core.counting.session import Key

CLIENTS = {"app", "browser", "sdk"}
ENDPOINTS = {"sip"}
VISITORS = {"welcome", "console"}
ABRUPT = {"closed", "reset", "heartbeat_timeout", "slow_consumer"}
LEASE = 86400.0


@dataclass
class Person:
    """What a session said of itself."""

    kind: str
    account: str | None
    device: str | None
    home: str
    address: str
    awake: bool = True

    @property
    def identity(self) -> str | None:
        return f"{self.account}/{self.home}" if self.account and self.home else self.account

    @property
    def user(self) -> bool:
        return self.account is not None and not self.home and self.kind in CLIENTS


@dataclass
class Room:
    """A conference: `members` in order of arrival, and whether each joined as host."""

    group: bool
    public: bool
    live: bool
    members: dict[int, bool] = field(default_factory=dict)
    hosted: bool = False
    stand_in: int | None = None
    unnamed: set[int] = field(default_factory=set)


class Mirror:
    """Who is there, and who is where, by the answers that were given."""

    def __init__(self) -> None:
        self.people: dict[int, Person] = {}
        self.rooms: dict[str, Room] = {}
        self.declared: set[str] = set()

    def enter(self, name: str, number: int, *, host: bool) -> None:
        room = self.rooms[name]
        room.members[number] = host
        self.people[number].awake = True
        if host:
            room.hosted = True
        elif not room.hosted and room.stand_in is None and self.people[number].account:
            room.stand_in = number

    def leave(self, name: str, number: int) -> None:
        del self.rooms[name].members[number]
        self.rooms[name].unnamed.discard(number)
        if not self.rooms[name].members:
            del self.rooms[name]

    def gone(self, number: int) -> None:
        for name in self.in_rooms(number):
            self.leave(name, number)
        del self.people[number]

    def in_rooms(self, number: int) -> list[str]:
        return [name for name, room in self.rooms.items() if number in room.members]

    def live(self, number: int) -> list[Room]:
        return [room for room in self.rooms.values() if room.live and number in room.members]

    def of(self, identity: str) -> list[int]:
        return [number for number, person in self.people.items() if person.identity == identity]


class Tale:
    """One model, retold. `keys` are those of each pool after the latest `retell`.

    The test file of a model retells it in a subclass: what its limits are, what a session holds, and what outlives
    sessions. `reported` are the pools whose limit is only reported.
    """

    reported: frozenset[str] = frozenset()

    def __init__(self, name: str, terms: Any, *, enforced: bool, overdraft: int, wall: float) -> None:
        self.name = name
        self.terms = terms
        self.enforced = enforced
        self.overdraft = overdraft if enforced else 0
        self.mirror, self.wall, self.mono = Mirror(), wall, 0.0
        self.keys: dict[str, set[Key]] = {pool: set() for pool in self.limits}
        self.kept: dict[str, set[Key]] = {}

    # -- what a model is -------------------------------------------------------------------------------------------

    @property
    def limits(self) -> dict[str, int | None]:
        """The limit of each pool, None for no limit."""
        raise NotImplementedError

    def seats(self, mirror: Mirror, number: int) -> list[tuple[str, Key]]:
        """The seats of a session."""
        raise NotImplementedError

    def lasting(self) -> dict[str, set[Key]]:
        """What pools hold whether or not a session does; asked when `keys` has what sessions hold."""
        return {}

    def lost(self, mirror: Mirror, number: int, cause: str, mono: float) -> None:
        """A session is about to end."""

    def arrived(self, mirror: Mirror, number: int) -> None:
        """A session has begun."""

    def opened(self, mirror: Mirror, starter: int) -> None:
        """A session is about to make a scheduled conference live."""

    # -- the recount -----------------------------------------------------------------------------------------------

    def cap(self, pool: str) -> float:
        """How many keys a pool may be granted."""
        limit = self.limits[pool]
        return math.inf if limit is None or pool in self.reported or not self.enforced else limit + self.overdraft

    def needed(self, mirror: Mirror, number: int) -> set[tuple[str, Key]]:
        """The seats of one session."""
        return set() if mirror.people[number].kind in VISITORS else set(self.seats(mirror, number))

    def outlives(self, pool: str, key: Key) -> bool:
        """Whether a key stays in a pool when its last session lets go of it."""
        return key in self.kept.get(pool, ())

    def retell(self, mirror: Mirror, wall: float, mono: float) -> None:
        """Recount every pool."""
        self.mirror, self.wall, self.mono = mirror, wall, mono
        seats = [seat for number in mirror.people for seat in self.needed(mirror, number)]
        self.keys = {pool: {key for name, key in seats if name == pool} for pool in self.limits}
        self.kept = self.lasting()
        for pool, keys in self.kept.items():
            self.keys[pool] |= keys
