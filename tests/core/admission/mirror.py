"""The rules told once more, from scratch: a mirror that knows only what was answered, and recounts every pool from it.

It shares no code with the models. `Mirror` follows the answers; `Tale` retells one license model from the mirror's
facts: what is in each pool now, and when each lease ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gateway.core.counting.session import Identity, Key

CLIENTS = {"app", "browser", "sdk"}
ENDPOINTS = {"sip"}
ABRUPT = {"closed", "reset", "heartbeat_timeout", "slow_consumer"}
GATEWAY_GONE = {"drained", "node_lost"}
OUTLIVE = {"pro", "hosts"}
"""Pools whose seats are leased."""
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
    peer: str = ""
    """The address of its present connection."""
    active: bool | None = None
    """What its client said last of whether somebody uses it."""
    said: float = -math.inf
    """The monotonic instant at which it said so first."""
    free: float | None = -math.inf
    """Since when it is awake and in no live conference."""
    since: float | None = None
    """Since when it is idle."""
    rest: str = ""
    """Why the gateway put it to sleep."""
    groups: tuple[str, ...] = ()
    """Those that its token named."""

    @property
    def identity(self) -> Identity | None:
        return (self.account, self.home) if self.account and self.home else self.account

    @property
    def owner(self) -> tuple[str | None, ...]:
        """By what a seat is kept for it, where connections are counted."""
        return (self.account, self.home, self.device) if self.account else (None, self.address)

    @property
    def user(self) -> bool:
        return self.account is not None and not self.home and self.kind in CLIENTS


@dataclass
class Kept:
    """A seat that is kept for who held it, until a monotonic instant."""

    pool: str
    key: Any
    person: Person
    until: float


@dataclass
class Room:
    """A conference: `members` in order of arrival, and whether each joined as host.

    `stand_in` is the member that is taken for the host as long as nobody declared to be it; there is one at most in the
    life of a conference, and `had_stand_in` says that there was.
    """

    group: bool
    public: bool
    live: bool
    members: dict[int, bool] = field(default_factory=dict)
    hosted: bool = False
    stand_in: int | None = None
    had_stand_in: bool = False
    unnamed: set[int] = field(default_factory=set)


class Mirror:
    """Who is there, and who is where, by the answers that were given."""

    def __init__(self) -> None:
        self.people: dict[int, Person] = {}
        self.rooms: dict[str, Room] = {}
        self.declared: dict[str, tuple[bool, bool, bool]] = {}
        """Whether what was declared is for groups, public, and live."""
        self.lost: dict[int, tuple[float, str]] = {}
        """Sessions that may be resumed, the earliest first: until which monotonic instant, and why they were lost."""
        self.priorities: dict[str, int] = {}
        self.of_groups: dict[str, int] = {}

    def enter(self, name: str, number: int, *, host: bool) -> None:
        room = self.rooms[name]
        room.members[number] = host
        if host:
            room.hosted, room.stand_in = True, None
        elif not room.hosted and not room.had_stand_in and self.people[number].account:
            room.stand_in, room.had_stand_in = number, True

    def leave(self, name: str, number: int) -> None:
        del self.rooms[name].members[number]
        self.rooms[name].unnamed.discard(number)
        if self.rooms[name].stand_in == number:
            self.rooms[name].stand_in = None
        if not self.rooms[name].members:
            del self.rooms[name]

    def look(self, mono: float) -> None:
        """Note who is idle since when."""
        for number, person in self.people.items():
            busy = bool(self.live(number))
            if not person.awake or busy:
                person.free = None
            elif person.free is None:
                person.free = mono
            if person.active is not False or busy:
                person.since = None
            elif person.awake:
                person.since = max(person.free or -math.inf, person.said)
            elif person.since is None:
                person.since = mono

    def priority(self, person: Person) -> int:
        if person.account is None or person.home:
            return 0
        named = [self.of_groups.get(group, 0) for group in person.groups]
        return max([self.priorities.get(person.account, 0), *named])

    def asleep(self, number: int, reason: str) -> None:
        """The gateway has put a session to sleep."""
        for name in self.in_rooms(number):
            self.leave(name, number)
        self.people[number].awake, self.people[number].rest = False, reason

    def gone(self, number: int) -> None:
        for name in self.in_rooms(number):
            self.leave(name, number)
        self.lost.pop(number, None)
        del self.people[number]

    def in_rooms(self, number: int) -> list[str]:
        return [name for name, room in self.rooms.items() if number in room.members]

    def live(self, number: int) -> list[Room]:
        return [room for room in self.rooms.values() if room.live and number in room.members]

    def of(self, identity: Identity) -> list[int]:
        return [number for number, person in self.people.items() if person.identity == identity]


class Tale:
    """One model, retold. `keys` are those of each pool after the latest `retell`; one that is not enforced keeps at
    most `kept` of each pool for nobody. `idle` are the leases that no session uses, the longest idle first. Seats are
    kept for `returning` seconds for those whose gateway was gone.
    """

    def __init__(self, name: str, terms: Any, *, enforced: bool, overdraft: int, wall: float, kept: int) -> None:
        self.name = name
        self.terms = terms
        self.enforced = enforced
        self.overdraft = overdraft if enforced else 0
        self.kept = math.inf if enforced else kept
        self.names: set[Identity] = set()
        self.temporary: dict[Identity, float | None] = {}
        self.granted: dict[Identity, float] = {}
        self.deleted: dict[Identity, float] = {}
        self.permanent: list[str] = []
        self.lingering: dict[Key, float] = {}
        self.returning = 0.0
        self.awaited: list[Kept] = []
        self.held: dict[tuple[int, str, Key], Person] = {}
        """The seats that each session had when somebody last looked."""
        self.let_go: dict[tuple[str, Key], tuple[int, Person]] = {}
        """The session that let go last of each, since somebody took these out."""
        self.idle: dict[Identity, None] = {}
        self.used: set[Identity] = set()
        self.opening: Identity | None = None
        """Who uses a name to open a conference."""
        self.since: dict[Identity, float] = {}
        self.keys: dict[str, set[Key]] = {pool: set() for pool in self.limits}
        self.wall = wall

    @property
    def limits(self) -> dict[str, int | None]:
        terms = self.terms
        match self.name:
            case "epop" | "nefsis-concurrent":
                return {"concurrent": terms.users}
            case "nefsis-named":
                return {"hosts": terms.hosts, "participants": terms.hosts * terms.participants}
            case "trueconf":
                pro = None if terms.edition == "enterprise" else terms.pro
                return {"online": terms.online, "pro": pro, "guest": terms.guest, "gateway": terms.gateway}
            case _:
                return {"seats": terms.limit or None}

    def cap(self, pool: str) -> float:
        """How many keys a pool may be granted."""
        limit = self.limits[pool]
        return math.inf if limit is None or pool == "participants" or not self.enforced else limit + self.overdraft

    # -- the facts -------------------------------------------------------------------------------------------------

    def needed(self, mirror: Mirror, number: int) -> set[tuple[str, Key]]:
        """The seats of one session."""
        person, rooms = mirror.people[number], mirror.live(number)
        if person.kind in {"welcome", "console"}:
            return set()
        return set(getattr(self, "_" + self.name.replace("-", "_"))(mirror, number, person, rooms))

    def _epop(self, _: Mirror, number: int, __: Person, rooms: list[Room]) -> list[tuple[str, Key]]:
        return [("concurrent", number)] if rooms else []

    _nefsis_concurrent = _epop

    def _nefsis_named(self, mirror: Mirror, number: int, person: Person, _: list[Room]) -> list[tuple[str, Key]]:
        found: list[tuple[str, Key]] = []
        for name, room in mirror.rooms.items():
            if room.live and number in room.members:
                if self.terms.host_is_participant or not room.members[number]:
                    found.append(("participants", (name, number)))
                if person.identity and self.hosts(room, number):
                    found.append(("hosts", person.identity))
        return found

    def hosts(self, room: Room, number: int) -> bool:
        taken_for = not self.enforced and room.stand_in == number
        return (room.members.get(number, False) or taken_for) and number not in room.unnamed

    def _trueconf(self, _: Mirror, number: int, person: Person, rooms: list[Room]) -> list[tuple[str, Key]]:
        found: list[tuple[str, Key]] = []
        local = person.account if not person.home else None
        if local and person.awake:
            found.append(("online", (local, person.device or number)))
        if person.kind in ENDPOINTS and rooms:
            found.append(("gateway", number))
        if person.kind in CLIENTS and person.account is None and any(room.public for room in rooms):
            found.append(("guest", number))
        if local and person.kind in CLIENTS and any(room.group for room in rooms):
            found.append(("pro", local))
        return found

    def _floating(self, _: Mirror, number: int, person: Person, __: list[Room]) -> list[tuple[str, Key]]:
        if not person.awake and (person.rest == "preempted" or not self.terms.asleep_counts):
            return []
        by: dict[str, Key | None] = {
            "connection": number,
            "address": person.address,
            "account": person.identity,
            "device": (person.identity, person.device or number) if person.identity else None,
        }
        return [("seats", by[self.terms.key] or number)]

    # -- what outlives sessions --------------------------------------------------------------------------------------

    def lost(self, mirror: Mirror, number: int, cause: str, mono: float) -> None:
        """A session is about to end."""
        if self.name == "floating" and self.terms.linger and cause in ABRUPT:
            for _, key in self.needed(mirror, number):
                self.lingering.pop(key, None)
                self.lingering[key] = mono + self.terms.linger
                while len(self.lingering) > self.kept:
                    del self.lingering[next(iter(self.lingering))]
        if self.enforced and self.returning and cause in GATEWAY_GONE:
            for pool, key in sorted(self.needed(mirror, number), key=str):
                if pool not in OUTLIVE:
                    self.awaited = [each for each in self.awaited if (each.pool, each.key) != (pool, key)]
                    self.awaited.append(Kept(pool, key, mirror.people[number], mono + self.returning))

    def come_back(self, mirror: Mirror, number: int, pool: str, key: Any) -> None:
        """A session has come by a seat: where one is kept for it, it is that one."""
        for each in self.awaited:
            if each.pool == pool and (each.key == key or _is_same(each, key, mirror.people[number])):
                self.awaited.remove(each)
                return

    def is_kept(self, pool: str, key: Any, person: Person) -> bool:
        """Whether a seat is kept for who comes by a key."""
        return any(each.pool == pool and (each.key == key or _is_same(each, key, person)) for each in self.awaited)

    def keep_none(self, binds: Callable[[Person], bool]) -> None:
        """No seat is kept any more for some."""
        self.awaited = [each for each in self.awaited if not binds(each.person)]

    def keep_until(self, latest: float, mono: float) -> None:
        """No seat is kept for longer than that."""
        for each in self.awaited:
            each.until = min(each.until, latest)
        self.awaited = [each for each in self.awaited if each.until > mono]

    def arrived(self, mirror: Mirror, number: int) -> None:
        """A session has begun."""
        for _, key in self.needed(mirror, number):
            self.lingering.pop(key, None)

    def opened(self, mirror: Mirror, starter: int, *, busy: bool) -> None:
        """A session has made a scheduled conference live: it needed a name for that."""
        identity = mirror.people[starter].identity
        if self.name == "nefsis-named" and identity and not busy:
            self.names.add(identity)
            self.opening = identity
            self.watch(mirror)

    def watch(self, mirror: Mirror) -> None:
        """Somebody has come into a conference, or is in one no more: follow who uses what is leased."""
        pool, people = {"nefsis-named": "hosts", "trueconf": "pro"}.get(self.name), mirror.people.items()
        held = {(number, *seat): person for number, person in people for seat in self.needed(mirror, number)}
        for seat in held if self.awaited else ():
            if seat not in self.held:
                self.come_back(mirror, *seat)
        for (number, name, key), person in self.held.items():
            if (number, name, key) not in held:
                self.let_go[name, key] = number, person
        self.held = held
        used: set[Any] = {key for _, name, key in held if name == pool}
        if self.opening is not None:
            used.add(self.opening)
        for who in used - self.used:
            if pool == "hosts":
                self.names.add(who)
            elif who not in self.permanent:
                self.temporary.setdefault(who, None)
                self.deleted.pop(who, None)
        for who in used:
            self.idle.pop(who, None)
        for who in sorted(self.used - used, key=str):
            if who in self.names or who in self.temporary:
                self._make_room()
                self.idle[who] = None
        self.used = used

    def _make_room(self) -> None:
        """One more lease becomes idle: those that have been so longest are forgotten for it."""
        while self.idle and len(self.idle) >= self.kept:
            self._forget_longest_idle()

    def _forget_longest_idle(self) -> None:
        longest = next(iter(self.idle))
        del self.idle[longest]
        self.names.discard(longest)
        self.temporary.pop(longest, None)
        self.granted.pop(longest, None)
        self.since.pop(longest, None)

    def name_host(self, account: str) -> None:
        """The operator has named a host."""
        if account not in self.names:
            self._make_room()
            self.idle[account] = None
        self.names.add(account)

    def unname(self, account: str) -> None:
        """The operator has taken a host's name away."""
        self.names.remove(account)
        self.idle.pop(account, None)

    def request(self, account: str) -> None:
        """A lease was granted without a conference."""
        if account not in self.permanent:
            self.granted[account] = self.wall + LEASE
            if account not in self.used:
                self.idle.pop(account, None)
                self._make_room()
                self.idle[account] = None

    def revoke(self, account: str) -> None:
        """A temporary lease was ended by the operator."""
        del self.temporary[account], self.since[account]
        self.idle.pop(account, None)

    def preempt(self, account: str) -> None:
        """The lease of somebody idle went to another."""
        self.revoke(account)

    def forget(self, account: str) -> None:
        """An account was deleted; its sessions are about to go."""
        if account in self.temporary or account in self.permanent or account in self.deleted:
            self.deleted[account] = self.wall + LEASE
            self.temporary.pop(account, None)
            self.idle.pop(account, None)
            self.permanent = [each for each in self.permanent if each != account]

    def redistribute(self, configured: list[str]) -> list[str]:
        """Steps 5.1 and 5.2, account by account; returns who lost what it had."""
        asked = [account for account in dict.fromkeys(configured) if account not in self.deleted]
        pro = self.limits["pro"]
        room = math.inf if pro is None or not self.enforced else max(pro - len(self.deleted), 0)
        former, before = self.permanent, {*self.permanent, *self.temporary}
        chosen = [account for place, account in enumerate(asked) if place < room]
        self.permanent = [each for each in former if each in chosen] + [each for each in chosen if each not in former]
        for account in self.permanent:
            self.temporary.pop(account, None)
            self.idle.pop(account, None)
        lost = []
        for _ in [account for account in self.permanent if account not in before]:
            if len(self.deleted) + len(self.permanent) + len(self.temporary) <= self.cap("pro"):
                break
            if self.temporary:
                lost.append(self._shortest())
                del self.temporary[lost[-1]]
                self.idle.pop(lost[-1], None)
        for account in former:
            if account in self.permanent:
                continue
            if len(self.deleted) + len(self.permanent) + len(self.temporary) < self.cap("pro"):
                self.temporary[account] = self.wall + LEASE
                self.since[account] = self.wall
                if account not in self.used:
                    self.idle[account] = None
            else:
                lost.append(account)
        while len(self.idle) > self.kept:
            self._forget_longest_idle()
        return lost

    def _shortest(self) -> Any:
        """The temporary holder with the shortest time remaining; of equals the one granted last."""
        full = self.wall + LEASE
        return min(
            reversed(self.temporary),
            key=lambda account: (self.temporary[account] or full, -self.since[account]),
        )

    def pass_time(self, wall: float, mono: float) -> None:
        """It is later: what has run out ends."""
        self.wall = wall
        kept = self.temporary.items()
        self.temporary = {account: expires for account, expires in kept if expires is None or expires > wall}
        self.deleted = {account: expires for account, expires in self.deleted.items() if expires > wall}
        self.idle = {key: None for key in self.idle if key in self.names or key in self.temporary}
        self.lingering = {key: until for key, until in self.lingering.items() if until > mono}
        self.keep_until(math.inf, mono)

    def retell(self, mirror: Mirror) -> None:
        """Recount every pool."""
        self.watch(mirror)
        self.keys = {pool: set() for pool in self.limits}
        for _, pool, key in self.held:
            self.keys[pool].add(key)
        if self.name == "nefsis-named":
            self.keys["hosts"] |= self.names
        if self.name == "trueconf":
            arrived = [mirror.people[number].account or "" for room in mirror.rooms.values() for number in room.members]
            self._retell_leases([account for account in arrived if account in self.keys["pro"]])
            self.keys["pro"] |= {*self.permanent, *self.temporary, *self.deleted}
        if self.name == "floating":
            self.keys["seats"] |= {*self.lingering, *self.reserved()}
        for each in self.awaited:
            self.keys[each.pool].add(each.key)

    def reserved(self) -> list[Key]:
        """The keys that the license holds ready."""
        pairs = [text.split("/") for text in self.terms.reserve] if self.terms.key == "device" else []
        return [(account, device) for account, device in pairs] or list(self.terms.reserve)

    def _retell_leases(self, present: list[str]) -> None:
        for account in present:
            if account not in self.permanent:
                self.temporary[account] = None
                self.deleted.pop(account, None)
        for holder, end in self.granted.items():
            if holder not in present:
                self.temporary[holder] = end
        self.granted = {}
        for holder, expires in self.temporary.items():
            if expires is None and holder not in present:
                self.temporary[holder] = self.wall + LEASE
        self.since = {account: self.since.get(account, self.wall) for account in self.temporary}


def _is_same(kept: Kept, key: Any, person: Person) -> bool:
    """Whether a seat is kept for a person who comes by one that counts its connection."""
    if isinstance(key, int) and isinstance(kept.key, int):
        return kept.person.owner == person.owner
    if isinstance(key, tuple) and isinstance(kept.key, tuple) and isinstance(key[1], int):
        return (isinstance(kept.key[1], int), kept.key[0], kept.person.owner) == (True, key[0], person.owner)
    return False
