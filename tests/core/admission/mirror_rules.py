"""The rules for seats told once more, from the text: what counts under each, of the keys of the pools that are there
(COUNTING.md, Rules for seats).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from ipaddress import ip_address, ip_network
from typing import Any

from gateway.core.counting.pool_rule import RuleTerms
from gateway.core.counting.session import Key
from tests.core.admission.mirror import Person, Tale

Owner = tuple[int, Person]
"""Who has a key: its session, and what that said of itself; 0 where no session is known."""


class MirrorRules:
    """The rules for seats, and the groups that they are of, as they are now.

    `last` is who let go last of each key, or asked for it, until somebody has it again or it is in the pool no more.
    """

    def __init__(self) -> None:
        self.terms: tuple[RuleTerms, ...] = ()
        self.groups: dict[str, Collection[str]] = {}
        self.last: dict[tuple[str, Key], Owner] = {}

    def follow(self, tale: Tale) -> None:
        """Somebody may hold keys, or has let go of some, and some may be in no pool any more."""
        self.last |= tale.let_go
        tale.let_go.clear()
        held = {(pool, key) for _, pool, key in tale.held}
        for pool, key in list(self.last):
            if (pool, key) in held or key not in tale.keys[pool]:
                del self.last[pool, key]

    def asked(self, pool: str, key: Key, number: int, person: Person, tale: Tale) -> None:
        """Somebody has asked for a key, which counts as that one's unless a session holds it."""
        if all(seat[1:] != (pool, key) for seat in tale.held):
            self.last[pool, key] = number, person

    def keys(self, rule: RuleTerms, tale: Tale) -> dict[Key, set[Any]]:
        """The keys that count under a rule, each with those as whom it counts apart."""
        found: dict[Key, set[Any]] = {}
        for key in tale.keys[rule.pool]:
            ones = {
                self.one(rule, *owner, key)
                for owner in self._owners(rule.pool, key, tale)
                if self._is_of(rule, owner[1])
            }
            if ones:
                found[key] = ones
        return found

    def keys_of(self, rule: RuleTerms, one: Any, tale: Tale) -> set[Key]:
        """The keys that count under a rule as those of one."""
        return {key for key, ones in self.keys(rule, tale).items() if one in ones}

    def of(self, pool: str, person: Person) -> list[RuleTerms]:
        """The rules of a pool that are of somebody, in their order."""
        return [rule for rule in self.terms if rule.pool == pool and self._is_of(rule, person)]

    def kept(self, rule: RuleTerms, tale: Tale) -> int:
        """How many seats a rule keeps that are not used."""
        return max(rule.reserve - len(self.keys(rule, tale)), 0)

    def kept_from(self, pool: str, person: Person, tale: Tale) -> int:
        """How many seats of a pool are kept for others than somebody."""
        own = self.of(pool, person)
        return sum(self.kept(rule, tale) for rule in self.terms if rule.pool == pool and rule not in own)

    def keeping(self, pool: str, person: Person) -> tuple[str, ...]:
        """The rules that keep seats of a pool for somebody."""
        return tuple(rule.name for rule in self.of(pool, person) if rule.reserve)

    def kept_for(self, pool: str, person: Person, key: Key, tale: Tale) -> set[str]:
        """The rules that keep a seat which somebody would use by a key."""
        own = self.of(pool, person)
        return {rule.name for rule in own if self.kept(rule, tale) and key not in self.keys(rule, tale)}

    def keeps_from(self, pool: str, person: Person, key: Key, tale: Tale) -> bool:
        """Whether the seat of a key, were it given up, would be kept for others than somebody."""
        own = self.of(pool, person)
        others = [rule for rule in self.terms if rule.pool == pool and rule.reserve and rule not in own]
        return any(key in (keys := self.keys(rule, tale)) and len(keys) <= rule.reserve for rule in others)

    def used(self, rule: RuleTerms, tale: Tale) -> int:
        """How many keys count under a rule; where somebody is counted apart, those of whoever has most."""
        ones = [one for each in self.keys(rule, tale).values() for one in each]
        return max((ones.count(one) for one in ones), default=0)

    def _owners(self, pool: str, key: Key, tale: Tale) -> Iterator[Owner]:
        sessions = [(number, person) for (number, *seat), person in tale.held.items() if seat == [pool, key]]
        if sessions:
            yield from sessions
        elif (pool, key) in self.last:
            yield self.last[pool, key]
        else:
            yield 0, _by_key_alone(key, tale)

    def _is_in(self, group: str, person: Person) -> bool:
        return person.account is not None and (group in person.groups or person.account in self.groups.get(group, ()))

    def _is_of(self, rule: RuleTerms, person: Person) -> bool:
        return (
            (not rule.group or (not person.home and self._is_in(rule.group, person)))
            and (not rule.account or (rule.account, rule.home) == (person.account, person.home))
            and (not rule.kind or rule.kind == person.kind)
            and (not rule.network or (person.address != "" and ip_address(person.address) in ip_network(rule.network)))
        )

    def one(self, rule: RuleTerms, number: int, person: Person, key: Key = "") -> Any:
        """As whom somebody is counted apart; by a key where no session is known."""
        alone = number or ("of no session", key)
        match rule.each:
            case "address":
                return person.address or alone
            case "account":
                return person.identity or alone
            case "device":
                return (person.identity, person.device or alone) if person.account else alone
        return ""


def _by_key_alone(key: Key, tale: Tale) -> Person:
    """What is known of a key of which nobody let go: its account or its address."""
    if tale.name == "floating" and tale.terms.key == "address":
        return Person("", None, None, "", str(key))
    device = None
    if tale.name == "floating" and tale.terms.key == "device" and isinstance(key, tuple):
        key, device = key
    account, home = key if isinstance(key, tuple) else (key, "")
    return Person("", str(account), None if device is None else str(device), str(home), "")
