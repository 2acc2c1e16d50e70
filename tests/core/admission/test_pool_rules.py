"""Rules for seats, told once more from the text: random comings and goings under random rules, each decision foretold.

What is known here is who is there, who let go last of a seat that lingers, who is in which group, and the rules; counts
are recounted from that after each step (COUNTING.md, Rules for seats).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from random import Random
from typing import Any, NamedTuple

import pytest
from hypothesis import settings

from gateway.core.admission import commands as c
from gateway.core.admission import state_json
from gateway.core.counting.pool_rule import RuleTerms
from gateway.core.counting.session import Key
from gateway.licensing import MODELS
from gateway.licensing.floating import Floating
from tests.core.harnesses import LicensedHarness

STEPS = 250
ACCOUNTS = ["ann", "bob", "jörg", None, None]
ADDRESSES = ["192.0.2.1", "192.0.2.2", "198.51.100.7", "2001:db8::7"]


class Person(NamedTuple):
    """What a session said of itself."""

    kind: str
    account: str | None
    device: str | None
    home: str
    address: str

    @property
    def identity(self) -> Any:
        return (self.account, self.home) if self.home else self.account


@dataclass
class Seat:
    """A key of the pool: the sessions that hold it, or who let go last."""

    sessions: dict[int, Person]
    last: tuple[int, Person]

    def owners(self) -> Iterable[tuple[int, Person]]:
        return self.sessions.items() if self.sessions else [self.last]


class Told:
    """The pool and its rules, retold."""

    def __init__(self, key: str, limit: int, overdraft: int) -> None:
        self.key, self.limit, self.overdraft = key, limit, overdraft
        self.rules: tuple[RuleTerms, ...] = ()
        self.groups: dict[str, tuple[str, ...]] = {}
        self.seats: dict[Key, Seat] = {}

    def key_of(self, number: int, person: Person) -> Key:
        if self.key == "address":
            return person.address
        if self.key == "connection" or person.account is None:
            return number
        return person.identity if self.key == "account" else (person.identity, person.device or number)

    def matches(self, rule: RuleTerms, person: Person) -> bool:
        members = self.groups.get(rule.group, ())
        return (
            (not rule.group or (not person.home and person.account in members))
            and (not rule.account or (rule.account, rule.home) == (person.account, person.home))
            and (not rule.kind or rule.kind == person.kind)
            and (not rule.network or ip_address(person.address) in ip_network(rule.network))
        )

    def one_of(self, rule: RuleTerms, number: int, person: Person) -> Any:
        if rule.each == "address":
            return person.address
        if rule.each == "account":
            return person.identity or number
        if rule.each == "device":
            return (person.identity, person.device or number) if person.account else number
        return ""

    def keys(self, rule: RuleTerms, one: Any = None) -> set[Key]:
        return {
            key
            for key, seat in self.seats.items()
            for number, person in seat.owners()
            if self.matches(rule, person) and one in {None, self.one_of(rule, number, person)}
        }

    def used(self, rule: RuleTerms) -> int:
        ones = {self.one_of(rule, *owner) for seat in self.seats.values() for owner in seat.owners()}
        return max((len(self.keys(rule, one)) for one in ones), default=0)

    def kept(self, rule: RuleTerms) -> int:
        return max(rule.reserve - len(self.keys(rule)), 0)

    def refusal(self, number: int, person: Person) -> tuple[str, int, int] | None:
        """The rule, use and limit by which somebody is refused; None where there is room."""
        key = self.key_of(number, person)
        for rule in self.rules:
            if rule.most is not None and self.matches(rule, person):
                counted = self.keys(rule, self.one_of(rule, number, person))
                if key not in counted and len(counted) >= rule.most:
                    return rule.name, len(counted), rule.most
        kept = sum(self.kept(rule) for rule in self.rules if not self.matches(rule, person))
        if key not in self.seats and len(self.seats) >= self.limit + self.overdraft - kept:
            return "", len(self.seats), max(self.limit - kept, 0)
        return None


class Life:
    """A random life of the floating model."""

    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)  # noqa: S311 - a test draws the same each time
        key = random.choice(["connection", "device", "account", "address"])
        limit, overdraft = 5, random.choice([0, 0, 1])
        terms = Floating(limit=limit, key=key, linger=60.0)  # type: ignore[arg-type]
        licenses = {name: info.terms() for name, info in MODELS.items()} | {"floating": terms}
        self.harness = LicensedHarness(
            "floating", licenses, on_duplicate="allow", homes=("far",), overdraft=overdraft, queue_limit=4
        )
        self.told = Told(key, limit, overdraft)
        self.people: dict[int, Person] = {}
        self.lingering: dict[Key, float] = {}
        self.waiting: dict[int, tuple[Person, float]] = {}
        self.reload()

    def reload(self) -> None:
        random, rules = self.random, []
        for place in range(random.randint(1, 4)):
            conditions = {
                "group": random.choice(["", "", "team"]),
                "account": random.choice(["", "", "", "ann"]),
                "network": random.choice(["", "", "192.0.2.0/24", "2001:db8::/32"]),
                "kind": random.choice(["", "", "", "tv"]),
            }
            most = random.choice([None, 0, 1, 2, 3])
            reserve = random.choice([0, 1, 2]) if most is None or most > 2 else 0
            each: Any = random.choice(["", "", "account", "device", "address"]) if most is not None else ""
            home = "far" if conditions["account"] and random.random() < 0.3 else ""
            if any(conditions.values()) or not reserve:
                given = {"home": home, **conditions}
                rules.append(RuleTerms(str(place + 1), "seats", reserve=reserve, most=most, each=each, **given))
        rules = rules or [RuleTerms("1", "seats", most=4)]  # without any nobody remembers who let go
        self.told.rules = tuple(rules)
        self.harness.change_terms(rules=self.told.rules)

    def step(self) -> None:
        draws = [self.hello, self.hello, self.hello, self.end, self.end, self.regroup, self.time]
        self.random.choice(draws if self.random.random() < 0.95 else [self.reload])()
        self.served()
        self.check()

    def person(self) -> Person:
        random = self.random
        account = random.choice(ACCOUNTS)
        return Person(
            random.choice(["app", "app", "tv"]),
            account,
            random.choice(["pc", "tv", None]),
            "far" if account and random.random() < 0.2 else "",
            random.choice(ADDRESSES),
        )

    def hello(self) -> None:
        person, state = self.person(), self.harness.state
        number = state.numbers.sessions.last + 1
        hello = c.Hello(person.kind, person.account, person.device, person.home, "", person.address, "tcp")
        wait = self.random.random() < 0.4
        expected, waited = self.told.refusal(number, person), bool(self.waiting)
        decision = self.harness.apply(c.Wait(hello, 600, "id") if wait else hello)
        if decision.session is not None:
            assert expected is None
            self.admitted(decision.session, person)
        elif decision.queue is not None and decision.queue.place is not None:
            assert expected is not None or waited
            assert expected is None or not expected[0] or expected[2]
            self.waiting[decision.queue.place] = (person, self.harness.now.mono + 600)
        else:
            refusal = decision.refused
            assert refusal is not None
            assert refusal.reason == "pool_full"
            if expected is None:
                assert waited
            else:
                assert (refusal.rule, refusal.used, refusal.limit) == expected

    def admitted(self, number: int, person: Person) -> None:
        self.people[number] = person
        key = self.told.key_of(number, person)
        seat = self.told.seats.setdefault(key, Seat({}, (number, person)))
        seat.sessions[number] = person
        self.lingering.pop(key, None)

    def end(self) -> None:
        if not self.people:
            return
        number = self.random.choice([*self.people])
        cause = self.random.choice(["bye", "closed"])
        self.harness.apply(c.End(number, cause))
        person = self.people.pop(number)
        key = self.told.key_of(number, person)
        seat = self.told.seats[key]
        del seat.sessions[number]
        seat.last = (number, person)
        if cause == "closed":
            self.lingering[key] = self.harness.now.mono + 60
        if not seat.sessions and key not in self.lingering:
            del self.told.seats[key]

    def regroup(self) -> None:
        members = tuple(self.random.sample(["ann", "bob", "jörg"], self.random.randint(0, 3)))
        self.told.groups["team"] = members
        self.harness.apply(c.PutGroup("team", members, permanent=False))

    def time(self) -> None:
        self.harness.wait(self.random.choice([1.0, 30.0, 100.0]))
        for key, until in [*self.lingering.items()]:
            if until <= self.harness.now.mono:
                del self.lingering[key]
                if not self.told.seats[key].sessions:
                    del self.told.seats[key]

    def served(self) -> None:
        while self.harness.served:
            served = self.harness.served.pop(0)
            person, until = self.waiting.pop(served.place)
            if served.decision.session is not None:
                assert self.told.refusal(served.decision.session, person) is None
                self.admitted(served.decision.session, person)
            else:
                refusal = served.decision.refused
                assert refusal is not None
                assert until <= self.harness.now.mono or (refusal.rule and refusal.limit == 0)

    def check(self) -> None:
        """Compare the pool, what each rule counts and keeps, and who must wait."""
        state, told = self.harness.state, self.told
        pool = state.primary.pools["seats"]
        assert set(pool.claims) == set(told.seats)
        rules = pool.rules.rules if pool.rules is not None else {}
        shown = {name: (rule.used, set(rule.claims), rule.kept) for name, rule in rules.items()}
        assert shown == {rule.name: (told.used(rule), told.keys(rule), told.kept(rule)) for rule in told.rules}
        assert set(state.lines) == set(self.waiting)
        for places in state.lines.by_line.values():
            person, _ = self.waiting[places[0].number]
            assert told.refusal(state.numbers.sessions.last + 1, person) is not None, places[0].line


@pytest.mark.parametrize("seed", range(2 * settings().max_examples // 3))
def test_every_decision_and_count_under_rules_is_the_one_foretold(seed: int) -> None:
    life = Life(seed)
    for _ in range(STEPS):
        life.step()
    plain = state_json.to_json(life.harness.state)
    again = state_json.from_json(plain, MODELS)
    assert state_json.to_json(again) == plain
    rules = [each.primary.pools["seats"].rules for each in (life.harness.state, again)]
    counted = [{name: (rule.used, rule.kept) for name, rule in each.rules.items()} if each else {} for each in rules]
    assert counted[0] == counted[1]
