"""The lines told once more: who waits where, from the answers that were given, and who must still wait."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gateway.core.counting.session import Key
from tests.core.admission.mirror import Mirror, Person, Room, Tale
from tests.core.admission.mirror_rules import MirrorRules


class LineName(NamedTuple):
    """A line: of a pool, in which a limit of each conference makes one for each; of a rule for seats that has no room,
    and of one whom it counts apart; else of those for whom the same rules keep seats.
    """

    pool: str
    room: str = ""
    rule: str = ""
    one: Any = ""
    kept_for: tuple[str, ...] = ()


class Short(NamedTuple):
    """What a request is short of: the line in which it belongs, and the use and limit that it is told; None where that
    is of a conference.
    """

    line: LineName
    used: int | None = None
    limit: float | None = None


@dataclass
class InLine:
    """One that waits, or would not if it `waits` not. `number` is its session, None for a `hello` of `person`, which
    comes before those of a lower `priority`.
    """

    verb: str
    number: int | None
    until: float
    line: LineName
    person: Person | None = None
    room: str = ""
    named: bool = True
    """Whether its answer carries the `id` of the request."""
    fields: dict[str, Any] = field(default_factory=dict)
    waits: bool = True
    priority: int = 0

    def rank(self, place: float) -> tuple[float, float]:
        """Who comes first, with its place: the lowest. Who does not wait comes after all."""
        return (-self.priority, place) if self.waits else (math.inf, math.inf)


class MirrorLines:
    """Everybody who waits, by the number of the place, in order of arrival."""

    def __init__(self) -> None:
        self.places: dict[int, InLine] = {}
        self.left: dict[tuple[str, str], int] = {}
        self.preempt = False

    def in_line(self, line: LineName) -> list[int]:
        found = [place for place, each in self.places.items() if each.line == line]
        return sorted(found, key=lambda place: self.places[place].rank(place))

    def of_pool(self, pool: str) -> list[LineName]:
        """The lines of those for whom a pool has no room."""
        lines = dict.fromkeys(each.line for each in self.places.values())
        return [line for line in lines if line.pool == pool and not line.rule]

    def find(self, verb: str, number: int | None, room: str) -> int | None:
        found = (
            p
            for p, each in self.places.items()
            if number and (each.verb, each.number, each.room) == (verb, number, room)
        )
        return next(found, None)

    def out(self, place: int, outcome: str) -> InLine:
        each = self.places.pop(place)
        key = each.line.pool, outcome
        self.left[key] = self.left.get(key, 0) + 1
        return each

    def gave_up(self, *, number: int, verb: str | None = None, room: str | None = None) -> bool:
        """A session is over, or wants something of it no more; whether it waited."""
        gone = [
            place
            for place, each in self.places.items()
            if each.number == number and verb in {None, each.verb} and room in {None, each.room}
        ]
        for place in gone:
            self.out(place, "gave_up")
        return bool(gone)


def lengths(tale: Tale) -> dict[str, int]:
    """How many take part in each conference, as far as its limit is about them."""
    found: dict[str, int] = {}
    for key in tale.keys.get("participants", ()):
        room = str(key[0]) if isinstance(key, tuple) else ""
        found[room] = found.get(room, 0) + 1
    return found


class Trial:
    """A request as if it were granted: who asks, the keys of each pool before and then, and what comes to who asks.

    `old` is the session that it would take over from, `kept` are those of whom no seat may be taken.
    """

    def __init__(
        self, each: InLine, place: float, mirror: Mirror, tale: Tale, old: int | None, kept: Collection[int]
    ) -> None:
        self.mirror, self.tale = mirror, tale
        self.rank, self.old = each.rank(place), old
        self.number = number = -int(min(place, UNPLACED)) if each.number is None else each.number
        self.person = each.person if each.person is not None else mirror.people[number]
        self.but = {number, old, *kept}
        after, told = copy.deepcopy(mirror), copy.deepcopy(tale)
        asked = None
        if each.verb == "hello":
            if old is not None:
                after.gone(old)
            after.people[number] = copy.deepcopy(self.person)
        elif each.verb == "wake":
            after.people[number].awake = True
        elif each.verb == "join":
            if each.room not in after.rooms:
                said = not each.fields["call"], each.fields["public"], not each.fields["scheduled"]
                after.rooms[each.room] = Room(*after.declared.get(each.room, said))
            after.people[number].awake = True
            after.enter(each.room, number, host=each.fields["host"])
        elif self.person.account not in tale.permanent:
            asked = "pro", self.person.account or ""
            told.request(self.person.account or "")
        told.retell(after)
        self.then = told
        seats = {*told.needed(after, number), *([asked] if asked else ())}
        held = tale.needed(mirror, number) if number in mirror.people else set()
        self.added = sorted((seat for seat in seats - held if not tale.is_kept(seat[0], seat[1], self.person)), key=str)

    def grows(self, pool: str) -> bool:
        return len(self.then.keys[pool]) > len(self.tale.keys[pool])

    def new(self, pool: str) -> list[Key]:
        """The keys of a pool that nobody has yet."""
        return [key for name, key in self.added if name == pool and key not in self.tale.keys[pool]]

    def freed(self, pool: str) -> set[Key]:
        return self.tale.keys[pool] - self.then.keys[pool]


UNPLACED = 10**9
"""The number of one that has no place yet."""


class Foretelling:
    """What the license says to a request, by the text alone."""

    def __init__(self, lines: MirrorLines, mirror: Mirror, tale: Tale, rules: MirrorRules) -> None:
        self.lines, self.mirror, self.tale, self.rules = lines, mirror, tale, rules

    def short_of(self, each: InLine, place: float, old: int | None = None, kept: Collection[int] = ()) -> Short | None:
        """What a request, that came as the one at a place, is short of, even with the seats of those who are idle."""
        if not self.tale.enforced:
            return None
        trial = Trial(each, place, self.mirror, self.tale, old, kept)
        short = self._refused(trial) or self._behind_by_rules(trial) or self._behind(trial)
        if short is None or short.line.room or short.line.rule:
            return short
        return None if self._preempts(trial) else short

    def short_of_name(self, account: str) -> Short | None:
        """What the operator is told who gives an account the name of a host, which rules of the account bind."""
        tale, who = self.tale, Person("", account, None, "", "")
        names = tale.keys["hosts"]
        for rule in self.rules.of("hosts", who):
            counted = self.rules.keys_of(rule, self.rules.one(rule, 0, who, account), tale)
            if rule.most is not None and account not in counted and len(counted) >= rule.most:
                return Short(LineName("hosts", rule=rule.name), len(counted), rule.most)
        kept = self.rules.kept_from("hosts", who, tale)
        full = account not in names and len(names) >= tale.cap("hosts") - kept
        return Short(LineName("hosts"), len(names), max(tale.terms.hosts - kept, 0)) if full else None

    def _refused(self, trial: Trial) -> Short | None:
        tale = self.tale
        if tale.name == "nefsis-named":
            before = lengths(tale)
            for room, used in lengths(trial.then).items():
                if used > before.get(room, 0) and used > tale.terms.participants:
                    return Short(LineName("participants", room))
        for pool in tale.limits:
            short = self._refused_by_rule(trial, pool)
            if short is None and pool != "participants" and trial.grows(pool):
                kept = self.rules.kept_from(pool, trial.person, tale)
                short = self._full(trial, pool) if len(trial.then.keys[pool]) > tale.cap(pool) - kept else None
            if short is not None:
                return short
        return None

    def _full(self, trial: Trial, pool: str) -> Short:
        limit, keeping = self.tale.limits[pool], self.rules.keeping(pool, trial.person)
        kept = self.rules.kept_from(pool, trial.person, self.tale)
        told = None if limit is None else max(limit - kept, 0)
        return Short(LineName(pool, kept_for=keeping), len(self.tale.keys[pool]), told)

    def _refused_by_rule(self, trial: Trial, pool: str) -> Short | None:
        own = {*self.tale.permanent} if pool == "pro" else {*self.tale.reserved()} if pool == "seats" else set()
        added = {key for name, key in trial.added if name == pool and key not in own}
        for rule in self.rules.of(pool, trial.person):
            if rule.most is None:
                continue
            one = self.rules.one(rule, trial.number, trial.person)
            counted = self.rules.keys_of(rule, one, self.tale)
            more, back = len(added - counted), len(trial.freed(pool) & counted)
            if more > back and len(counted) - back + more > rule.most:
                return Short(LineName(pool, rule=rule.name, one=one), len(counted), rule.most)
        return None

    def _behind_by_rules(self, trial: Trial) -> Short | None:
        """Somebody waits for a rule who came before."""
        for pool in self.tale.limits:
            own = {*self.tale.permanent} if pool == "pro" else {*self.tale.reserved()} if pool == "seats" else set()
            for key in [key for name, key in trial.added if name == pool and key not in own]:
                for rule in self.rules.of(pool, trial.person):
                    one = self.rules.one(rule, trial.number, trial.person)
                    counted = self.rules.keys_of(rule, one, self.tale)
                    line = LineName(pool, rule=rule.name, one=one)
                    if rule.most is None or key in counted or not self._is_before(line, trial.rank):
                        continue
                    given_up = self.tale.needed(self.mirror, trial.old) if trial.old is not None else ()
                    if not any(name == pool and each in self.rules.keys(rule, self.tale) for name, each in given_up):
                        return Short(line, len(counted), rule.most)
        return None

    def _behind(self, trial: Trial) -> Short | None:
        for pool in self.tale.limits:
            if trial.grows(pool):
                short = self._behind_in(trial, pool)
                if short is not None:
                    return short
        return None

    def _behind_in(self, trial: Trial, pool: str) -> Short | None:
        """Somebody waits in a line of a pool who came before, and may have the same seat."""
        for key in trial.new(pool):
            if pool == "participants":
                line = LineName(pool, str(key[0]) if isinstance(key, tuple) else "")
                if self._is_before(line, trial.rank):
                    return Short(line)
                continue
            kept_for = self.rules.kept_for(pool, trial.person, key, self.tale)
            for line in self.lines.of_pool(pool):
                if kept_for <= {*line.kept_for} and self._is_before(line, trial.rank):
                    return self._full(trial, pool)
        return None

    def _is_before(self, line: LineName, rank: tuple[float, float]) -> bool:
        places = self.lines.places
        return any(places[other].rank(other) < rank for other in self.lines.in_line(line))

    def _preempts(self, trial: Trial) -> bool:
        """Whether a seat of somebody idle is there in each pool that has none."""
        priority = self.mirror.priority(trial.person) if self.lines.preempt else 0
        if not priority or any(self._refused_by_rule(trial, pool) for pool in self.tale.limits):
            return False
        for pool in self.tale.limits:
            room = self.tale.cap(pool) - self.rules.kept_from(pool, trial.person, self.tale)
            full = pool != "participants" and trial.grows(pool) and len(trial.then.keys[pool]) > room
            if not full and not (trial.grows(pool) and self._behind_in(trial, pool)):
                continue
            if len(self.tale.keys[pool]) > room or not self.idle_seats(pool, trial.person, priority, trial.but):
                return False
        return True

    def idle_seats(
        self, pool: str, who: Person, below: int, but: Collection[int | None]
    ) -> list[tuple[int, float, Key]]:
        """The seats of those who are idle and have a priority below that, with it and since when they are idle; without
        those that would be kept for others than `who`.
        """
        tale, mirror = self.tale, self.mirror
        held: dict[Key, list[int]] = {}
        for number in mirror.people:
            for name, key in tale.needed(mirror, number):
                if name == pool:
                    held.setdefault(key, []).append(number)
        if pool == "pro":
            held = {account: mirror.of(account) for account in tale.idle if account not in held}
        found = []
        for key, numbers in held.items():
            if not numbers or key in tale.lingering or (tale.name == "floating" and key in tale.reserved()):
                continue
            people = [mirror.people[number] for number in numbers]
            priority = max(mirror.priority(person) for person in people)
            idle = not {*numbers} & {*but} and all(person.since is not None for person in people)
            if priority < below and idle and not self.rules.keeps_from(pool, who, key, tale):
                found.append((priority, max(person.since or 0.0 for person in people), key))
        return found

    def settle(self, olds: Callable[[InLine], int | None]) -> None:
        """Who is short of a rule waits in its line, and goes into that of the pool when only that has no room."""
        moved = True
        while moved:
            moved = False
            for line in dict.fromkeys(each.line for each in self.lines.places.values()):
                head = self.lines.in_line(line)[0]
                each = self.lines.places[head]
                short = self.short_of(each, head, olds(each))
                if short is None or short.line == line or (short.line.rule and not short.limit):
                    continue
                if short.line.pool == line.pool or short.line.rule or line.rule:
                    each.line, moved = short.line, True

    def sort_anew(self) -> None:
        """The rules, or of whom they are, may be others."""
        for place, each in self.lines.places.items():
            line = each.line
            person = each.person if each.person is not None else self.mirror.people[each.number or 0]
            rules = [rule for rule in self.rules.of(line.pool, person) if rule.name == line.rule and rule.most]
            if rules:
                one = self.rules.one(rules[0], -place if each.number is None else each.number, person)
                each.line = line._replace(one=one)
            elif not line.room:
                each.line = LineName(line.pool, kept_for=self.rules.keeping(line.pool, person))
