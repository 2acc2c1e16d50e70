"""Rules for the seats of a pool, which are kept for somebody or denied to somebody (COUNTING.md, Rules for seats).

A rule says whom it is of, and how many keys of theirs a pool may hold (`most`) or holds ready for them (`reserve`). A
key counts under a rule while a session that matches it holds the key; a key that outlives its sessions counts as that
of the session which let go last. Counts are lengths of views, as in the pool itself: they follow what the pool does,
and the groups of the directory, and no decision looks through sessions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from gateway.core.addresses import ip_address
from gateway.core.counting.license_model import PoolTerms, Refusal
from gateway.core.counting.multimap import Multimap
from gateway.core.counting.pool_rule import (
    AddressBits,
    Claimant,
    Holder,
    Members,
    PoolRule,
    RuleTerms,
    holder_of,
    holder_of_key,
)
from gateway.core.counting.session import Identity, Key, Session


class PoolRules:
    """All rules of one pool. `claims` are the pool's own, `kept` is who let go last of each key that no session holds.

    Rules are found by whom they are of: by account (the members of groups among them), network or kind.
    """

    def __init__(
        self,
        pool: PoolTerms,
        claims: Multimap[Key, Any],
        rules: Iterable[tuple[int, RuleTerms]],
        members: Members,
        kept: Mapping[Key, Holder],
    ) -> None:
        self.rules = {terms.name: PoolRule(terms, place, members) for place, terms in rules}
        self.kept: dict[Key, Holder] = {}
        self._pool = pool
        self._claims = claims
        self._of_identity: dict[Identity, list[PoolRule]] = {}
        self._of_group: dict[str, list[PoolRule]] = {}
        """Those of groups, for who is in one by a token."""
        self._of_kind: dict[str, list[PoolRule]] = {}
        self._of_network: dict[tuple[int, int], dict[int, list[PoolRule]]] = {}
        self._of_all: list[PoolRule] = []
        self._keeping = [rule for rule in self.rules.values() if rule.terms.reserve]
        self._addressed = any(rule.network for rule in self.rules.values())
        self._grouped = any(rule.terms.group for rule in self.rules.values())
        self._held_by: dict[Identity, dict[tuple[Key, Claimant], None]] = {}
        """What an account holds, where groups are asked for."""
        for rule in self.rules.values():
            self._index(rule)
        for key, holder in kept.items():
            if key in claims and not self._in_use(key):
                self._keep(key, holder)
        for key in claims:
            sessions = [claim for claim in claims.values_of(key) if isinstance(claim, Session)]
            for session in sessions:
                self._count(key, session)
            if not sessions and key not in self.kept:
                self._keep(key, holder_of_key(pool, key, claims.values_of(key)))

    def _index(self, rule: PoolRule) -> None:
        terms = rule.terms
        if rule.account is not None:
            self._of_identity.setdefault(rule.account, []).append(rule)
        elif terms.group:
            self._of_group.setdefault(terms.group, []).append(rule)
            for account in rule.members:
                self._of_identity.setdefault(account, []).append(rule)
        elif rule.network is not None:
            width, rest, prefix = rule.network
            self._of_network.setdefault((width, rest), {}).setdefault(prefix, []).append(rule)
        elif terms.kind:
            self._of_kind.setdefault(terms.kind, []).append(rule)
        else:
            self._of_all.append(rule)

    def matching(self, who: Claimant) -> list[PoolRule]:
        """Return the rules that somebody matches, in their order."""
        found = [*self._of_all, *self._of_kind.get(who.kind, ())]
        if who.identity is not None:
            found += self._of_identity.get(who.identity, ())
        for group in who.groups:
            found += [rule for rule in self._of_group.get(group, ()) if who.identity not in rule.members]
        place = _place(who.address) if self._addressed else None
        if place is not None:
            for (width, rest), prefixes in self._of_network.items():
                if width == place[0]:
                    found += prefixes.get(place[1] >> rest, ())
        found = [rule for rule in found if rule.matches_beside_group(who, place) and rule.matches_group(who)]
        if len(found) > 1:
            found.sort(key=_by_place)
        return found

    # -- what is decided ---------------------------------------------------------------------------------------------

    def refusal(self, who: Claimant, keys: Collection[Key], freed: Collection[Key] = ()) -> Refusal | None:
        """Return the refusal of the first rule that lets somebody hold no key more, who asks for `keys`; None where
        none does. `freed` are keys that are given back for them.
        """
        for rule in self.matching(who):
            most = rule.terms.most
            if most is None:
                continue
            counted = rule.keys_with(who)
            added = sum(key not in counted for key in keys)
            given_back = sum(key in counted for key in freed)
            if added > given_back and len(counted) - given_back + added > most:
                return self.full(rule.terms.name, rule.one_of(who))
        return None

    def full(self, name: str, one: Key) -> Refusal:
        """Return the refusal of a rule that has no room, for one whom it counts apart perhaps."""
        rule = self.rules[name]
        return Refusal("pool_full", self._pool.name, len(rule.keys_of(one)), rule.terms.most, rule=name)

    def kept_from(self, who: Claimant) -> int:
        """Return how many seats of the pool are kept for others, and not used by them."""
        kept = sum([rule.kept for rule in self._keeping])
        return kept - sum([rule.kept for rule in self.matching(who)]) if kept else 0

    def keeps_from(self, who: Claimant, key: Key) -> bool:
        """Return whether a seat that somebody gave up would be kept for others."""
        found = self.matching(who)
        return any(
            key in rule.claims and len(rule.claims) <= rule.terms.reserve and rule not in found
            for rule in self._keeping
        )

    def keeping(self, who: Claimant) -> tuple[str, ...]:
        """Return the names of the rules that keep seats for somebody."""
        return tuple([rule.terms.name for rule in self.matching(who) if rule.terms.reserve])

    def kept_for(self, who: Claimant, key: Key) -> frozenset[str]:
        """Return the names of the rules that keep a seat which somebody would use by holding `key`."""
        return frozenset([rule.terms.name for rule in self.matching(who) if rule.kept and key not in rule.claims])

    def short(self, who: Claimant, key: Key) -> list[PoolRule]:
        """Return the rules under which `key` would be one more of somebody's keys, of which they have only so many."""
        found = self.matching(who)
        return [rule for rule in found if rule.terms.most is not None and key not in rule.keys_with(who)]

    # -- what the pool does ------------------------------------------------------------------------------------------

    def added(self, key: Key, claim: object) -> None:
        """A claim has come to a key of the pool."""
        if isinstance(claim, Session):
            self._count(key, claim)
            self._forget(key)
        elif key not in self.kept and not self._in_use(key):
            self._keep(key, holder_of_key(self._pool, key, (claim,)))

    def removed(self, key: Key, claim: object) -> None:
        """A claim has left a key of the pool."""
        if isinstance(claim, Session):
            self._uncount(key, claim)
            if key in self._claims and key not in self.kept and not self._in_use(key):
                self._keep(key, holder_of(claim))
        elif key not in self._claims:
            self._forget(key)

    def rename(self, old: Key, new: Key) -> None:
        """A key that no session holds is another one from now on."""
        holder = self.kept.get(old)
        if holder is not None:
            self._forget(old)
            self._keep(new, holder)

    def forget(self, who: Identity) -> None:
        """Count what an account let go of last as nobody's."""
        for key in [key for key, holder in self.kept.items() if holder.identity == who]:
            self._forget(key)
            self._keep(key, Holder(None))

    def attribute(self, key: Key, who: Claimant) -> None:
        """Count a key that no session holds as that of somebody who asked for it."""
        if key in self.kept:
            self._forget(key)
            self._keep(key, holder_of(who))

    def change_group(self, group: str, accounts: Collection[str]) -> None:
        """A group has other members: what they hold counts as theirs from now on."""
        for rule in self.rules.values():
            if rule.terms.group != group:
                continue
            before, rule.members = rule.members, frozenset(accounts)
            for account in before ^ rule.members:
                joined = account in rule.members
                if rule.account is None:
                    self._index_member(rule, account, joined=joined)
                for key, who in self._held_by.get(account, ()):
                    if group not in who.groups and rule.matches_beside_group(who, _place(who.address)):
                        (rule.add if joined else rule.discard)(key, who)

    def _index_member(self, rule: PoolRule, account: str, *, joined: bool) -> None:
        if joined:
            self._of_identity.setdefault(account, []).append(rule)
            return
        self._of_identity[account].remove(rule)
        if not self._of_identity[account]:
            del self._of_identity[account]

    def _in_use(self, key: Key) -> bool:
        return any(isinstance(claim, Session) for claim in self._claims.values_of(key))

    def _keep(self, key: Key, holder: Holder) -> None:
        self.kept[key] = holder
        self._count(key, holder)

    def _forget(self, key: Key) -> None:
        holder = self.kept.pop(key, None)
        if holder is not None:
            self._uncount(key, holder)

    def _count(self, key: Key, who: Claimant) -> None:
        for rule in self.matching(who):
            rule.add(key, who)
        if self._grouped and who.identity is not None:
            self._held_by.setdefault(who.identity, {})[key, who] = None

    def _uncount(self, key: Key, who: Claimant) -> None:
        for rule in self.matching(who):
            rule.discard(key, who)
        if self._grouped and who.identity is not None:
            held = self._held_by.get(who.identity, {})
            held.pop((key, who), None)
            if not held:
                self._held_by.pop(who.identity, None)


def _by_place(rule: PoolRule) -> int:
    return rule.place


def _place(address: str) -> AddressBits | None:
    """Return an address in numbers; None where it is not one, such as the name of a socket file."""
    try:
        found = ip_address(address)
    except ValueError:
        return None
    return found.max_prefixlen, int(found)
