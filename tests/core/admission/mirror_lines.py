"""The lines told once more: who waits where, from the answers that were given, and who must still wait."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.core.counting.session import Key
from tests.core.admission.mirror import Mirror, Person, Room, Tale

LineName = tuple[str, str]
"""A pool; where its limit is that of each conference, the conference too."""


@dataclass
class InLine:
    """One that waits. `number` is its session, None for a `hello` of `person`."""

    verb: str
    number: int | None
    until: float
    line: LineName
    person: Person | None = None
    room: str = ""
    named: bool = True
    """Whether its answer carries the `id` of the request."""
    fields: dict[str, Any] = field(default_factory=dict)


class MirrorLines:
    """Everybody who waits, by the number of the place, in order of arrival."""

    def __init__(self) -> None:
        self.places: dict[int, InLine] = {}
        self.left: dict[tuple[str, str], int] = {}
        self.preempt = False

    def in_line(self, line: LineName) -> list[int]:
        return [place for place, each in self.places.items() if each.line == line]

    def find(self, verb: str, number: int | None, room: str) -> int | None:
        found = (
            p
            for p, each in self.places.items()
            if number and (each.verb, each.number, each.room) == (verb, number, room)
        )
        return next(found, None)

    def out(self, place: int, outcome: str) -> InLine:
        each = self.places.pop(place)
        key = each.line[0], outcome
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


def line_of(pool: str, room: str) -> LineName:
    return (pool, room) if pool == "participants" else (pool, "")


def lengths(tale: Tale) -> dict[LineName, int]:
    """The use that a line's limit is about."""
    found = {(pool, ""): len(keys) for pool, keys in tale.keys.items() if pool != "participants"}
    for key in tale.keys.get("participants", ()):
        line = ("participants", str(key[0]) if isinstance(key, tuple) else "")
        found[line] = found.get(line, 0) + 1
    return found


def most(tale: Tale, line: LineName) -> float:
    return tale.terms.participants if line[0] == "participants" else tale.cap(line[0])


def idle_seats(
    pool: str, mirror: Mirror, tale: Tale, below: int, but: Collection[int | None]
) -> list[tuple[int, float, Key]]:
    """The seats of those who are idle and have a priority below that, with it and since when they are idle."""
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
        if priority < below and not {*numbers} & {*but} and all(person.since is not None for person in people):
            found.append((priority, max(person.since or 0.0 for person in people), key))
    return found


def must_wait(place: int, lines: MirrorLines, mirror: Mirror, tale: Tale, twins: Mapping[str, Any]) -> bool:
    """Whether the one at a place would find a pool full, or overtake somebody who came before it.

    `twins` says which session a `hello` would take over from.
    """
    return bool(short_of(lines.places[place], place, lines, mirror, tale, twins))


def short_of(
    each: InLine, place: float, lines: MirrorLines, mirror: Mirror, tale: Tale, twins: Mapping[str, Any]
) -> str:
    """The pool in which a request, that came as the one at a place, finds no seat, even of somebody idle."""
    after, told = copy.deepcopy(mirror), copy.deepcopy(tale)
    if each.verb == "hello":
        if each.person is None:
            return "?"
        old = twins.get("old")
        if old is not None:
            after.gone(old)
        after.people[0] = copy.deepcopy(each.person)
    elif each.verb == "wake":
        after.people[each.number or 0].awake = True
    elif each.verb == "join":
        if each.room not in after.rooms:
            asked = each.fields
            said = not asked["call"], asked["public"], not asked["scheduled"]
            after.rooms[each.room] = Room(*after.declared.get(each.room, said))
        after.people[each.number or 0].awake = True
        after.enter(each.room, each.number or 0, host=each.fields["host"])
    else:
        told.request(mirror.people[each.number or 0].account or "")
    told.retell(after)
    asker = each.person if each.person is not None else mirror.people[each.number or 0]
    priority = mirror.priority(asker) if lines.preempt and tale.enforced else 0
    before, then = lengths(tale), lengths(told)
    for line, used in then.items():
        if used <= before.get(line, 0):
            continue
        if used > most(tale, line) or any(other < place for other in lines.in_line(line)):
            above = before.get(line, 0) > most(tale, line)
            if above or not idle_seats(line[0], mirror, tale, priority, (each.number, twins.get("old"))):
                return line[0]
    return ""
