"""One rule for the seats of a pool: of whom it is, and what counts under it (COUNTING.md, Rules for seats)."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Literal, NamedTuple

from gateway.core.counting.license_model import PoolTerms
from gateway.core.counting.multimap import Multimap
from gateway.core.counting.returning import Returning, number_of
from gateway.core.counting.session import Identity, Key, Session, account_and_home, identity
from gateway.core.setting_kinds import Count

Members = Callable[[str], Collection[str]]
"""The accounts of a group, by its name; none of one that there is not."""


class RuleTerms(NamedTuple):
    """A rule as it is configured: who matches has all that is given of `group`, `account` (with `home`, where it is one
    of another server), `network` and `kind`.

    `reserve` seats of the pool are kept for them; they hold `most` at once, None for any number, each account, device
    or address of theirs apart where `each` says so. `name` is its own among all rules.
    """

    name: str
    pool: str
    group: str = ""
    account: str = ""
    home: str = ""
    network: str = ""
    kind: str = ""
    reserve: Count = 0
    most: Count | None = None
    each: Literal["", "account", "device", "address"] = ""


def rule_from_json(plain: Mapping[str, Any]) -> RuleTerms:
    """Return the rule that was written as plain data.

    Raises `TypeError` or `ValueError` where it is not valid.
    """
    rule = RuleTerms(**plain)
    if rule.network:
        ipaddress.ip_network(str(rule.network))  # a number would be an address too
    return rule


class Holder(NamedTuple):
    """Whose seat it is that no session holds: what is known of the session that let go last, or of the key alone."""

    identity: Identity | None
    device: str | None = None
    address: str = ""
    kind: str = ""
    number: int = 0
    groups: tuple[str, ...] = ()

    @property
    def peer_address(self) -> str:
        """Where it comes from, for bans."""
        return self.address


Claimant = Session | Holder
"""Who holds a key."""
AddressBits = tuple[int, int]
"""An address: the bits of its family, and its own."""


def holder_of(who: Claimant) -> Holder:
    """Return what rules know of somebody."""
    return Holder(who.identity, who.device, who.address, who.kind, who.number, who.groups)


def holder_of_key(terms: PoolTerms, key: Key, claims: Iterable[object]) -> Holder:
    """Return what is known of the holder of a key that no session holds, in a pool of these terms: what a claim says
    that keeps it for who comes back, or else what the key tells.
    """
    for claim in claims:
        if isinstance(claim, Returning):
            return Holder(claim.identity, claim.device or None, claim.address, number=number_of(key))
    if terms.keys == "address":
        return Holder(None, address=str(key))
    who, device = key if terms.keys == "device" and isinstance(key, tuple) else (key, None)
    return Holder(identity(*account_and_home(who)), None if device is None else str(device))


class PoolRule:
    """One rule, and what counts under it. `place` is where it stands among all; `members` are those of its group.

    `claims` are its keys, with who holds each. Where `each` counts somebody apart, `of_one` has the same for each of
    them, and `sizes` how many of them have so many keys.
    """

    __slots__ = ("account", "claims", "members", "network", "of_one", "place", "sizes", "terms")

    def __init__(self, terms: RuleTerms, place: int, members: Members) -> None:
        self.terms = terms
        self.place = place
        self.account = identity(terms.account, terms.home) if terms.account else None
        self.members = frozenset(members(terms.group)) if terms.group else frozenset()
        self.network = _prefix(terms.network) if terms.network else None
        self.claims: Multimap[Key, Claimant] = Multimap()
        self.of_one: dict[Key, Multimap[Key, Claimant]] = {}
        self.sizes: dict[int, int] = {}

    @property
    def kept(self) -> int:
        """How many seats are kept for those who match, and not used by them."""
        return max(self.terms.reserve - len(self.claims), 0)

    @property
    def used(self) -> int:
        """Its keys; where somebody is counted apart, those of whoever has most."""
        return max(self.sizes, default=0) if self.terms.each else len(self.claims)

    def keys_with(self, who: Claimant) -> Multimap[Key, Claimant]:
        """Return the keys that are counted together with those of somebody."""
        return self.keys_of(self.one_of(who))

    def keys_of(self, one: Key) -> Multimap[Key, Claimant]:
        """Return the keys that are counted together with those of one who is counted apart."""
        return self.of_one.get(one, _NOTHING) if self.terms.each else self.claims

    def one_of(self, who: Claimant) -> Key:
        """Return as whom somebody is counted apart: without an account (a device, an address) by its session alone, and
        an account of which no session and no address is known by itself.
        """
        each = self.terms.each
        if not each:
            return ""
        if each == "address":
            return who.address or who.number or (who.identity or "", 0)
        if who.identity is None or each == "account":
            return who.number if who.identity is None else who.identity
        return (who.identity, who.device or who.number)

    def matches_group(self, who: Claimant) -> bool:
        """Return whether somebody is in the group, by the directory or by what a token named."""
        group = self.terms.group
        return not group or who.identity in self.members or group in who.groups

    def matches_beside_group(self, who: Claimant, place: AddressBits | None) -> bool:
        """Return whether somebody with an address matches all but the group."""
        terms = self.terms
        if terms.kind and terms.kind != who.kind:
            return False
        if self.account is not None and self.account != who.identity:
            return False
        return self.network is None or (place is not None and _is_within(place, self.network))

    def add(self, key: Key, who: Claimant) -> None:
        """Count a key that somebody holds."""
        self.claims.add(key, who)
        if self.terms.each:
            keys = self.of_one.setdefault(self.one_of(who), Multimap())
            if keys.add(key, who):
                self._resize(len(keys) - 1, len(keys))

    def discard(self, key: Key, who: Claimant) -> None:
        """Count a key no more as one that somebody holds."""
        self.claims.discard(key, who)
        if self.terms.each:
            one = self.one_of(who)
            keys = self.of_one.get(one)
            if keys is not None and keys.discard(key, who):
                self._resize(len(keys) + 1, len(keys))
                if not keys:
                    del self.of_one[one]

    def _resize(self, before: int, now: int) -> None:
        for size, change in ((before, -1), (now, 1)):
            left = self.sizes.get(size, 0) + change
            if left and size:
                self.sizes[size] = left
            else:
                self.sizes.pop(size, None)


_NOTHING: Multimap[Key, Claimant] = Multimap()


def _prefix(network: str) -> tuple[int, int, int]:
    """Return the bits of addresses of a network, how many of them follow its prefix, and the prefix."""
    found = ipaddress.ip_network(network)
    rest = found.max_prefixlen - found.prefixlen
    return found.max_prefixlen, rest, int(found.network_address) >> rest


def _is_within(place: AddressBits, network: tuple[int, int, int]) -> bool:
    width, rest, prefix = network
    return place[0] == width and place[1] >> rest == prefix
