"""The rules for seats in the configuration: tables of `[[license.rule]]`, and what is wrong between their keys.

`gateway.core.counting.pool_rule` says what they mean. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

from config.values import AccountOrNone, AddressNetworkOrNone, NameOrNone, SeatKind, Table, quote
from gateway.core.counting.license_model import PoolTerms
from gateway.core.setting_kinds import Count, setting


@dataclass(frozen=True, slots=True)
class RuleSettings:
    """A table `[[license.rule]]`: seats of a pool that are kept for somebody, or denied to somebody."""

    pool: str = setting("", help="The pool, of the model that decides.")
    group: NameOrNone = setting("", help="Of whom it is: accounts of a group, as the directory has them by then;")
    account: AccountOrNone = setting(
        "", help="an account, of another server `account/home` (within a name `/` is `%2F`, and `%` is `%25`);"
    )
    network: AddressNetworkOrNone = setting("", help='who comes from a network such as "10.2.0.0/16";')
    kind: SeatKind | None = setting(None, help='a kind of client such as "sip". Of several given all must hold.')
    reserve: Count = setting(0, help="Seats that others cannot take.")
    most: Count | None = setting(None, help="Seats that they hold at most; 0: none.")
    each: Literal["account", "device", "address"] | None = setting(
        None, help='Whether `most` is for each "account", "device" or "address" of theirs apart.'
    )
    name: NameOrNone = setting("", help="What the rule is called; without, it is its place among all, from 1.")


RULES_HELP = "Seats kept for somebody or denied to somebody; each rule is a table `[[license.rule]]` with these keys."
Rules = tuple[Annotated[RuleSettings, Table()], ...]


class RuleFlaw(NamedTuple):
    """What is wrong with a rule, by its place from 1, and what was probably meant: one of `known`."""

    place: int
    reason: str
    meant: str = ""
    known: tuple[str, ...] = ()


def names_of(rules: Sequence[RuleSettings]) -> list[str]:
    """Return the names of rules, their own or their place."""
    return [rule.name or str(place) for place, rule in enumerate(rules, 1)]


def flaws(
    rules: Sequence[RuleSettings], pools: Mapping[str, PoolTerms], decides: Collection[str]
) -> Iterator[RuleFlaw]:
    """Yield what is wrong with rules; `pools` are all that may decide, by name, `decides` those of the model by now."""
    first: dict[str, int] = {}
    for place, (rule, name) in enumerate(zip(rules, names_of(rules), strict=True), 1):
        if first.setdefault(name, place) != place:
            yield RuleFlaw(place, f"{quote(name)} is the name of item {first[name]}")
        pool = pools.get(rule.pool)
        if pool is None:
            said = f"there is no pool {quote(rule.pool)}" if rule.pool else "pool is missing"
            yield RuleFlaw(place, f"{said}, only {', '.join(decides)}", rule.pool, tuple(decides))
        yield from (RuleFlaw(place, reason) for reason in _alone(rule, pool))
    for name in decides:
        yield from _beyond(name, [*enumerate(rules, 1)], pools[name])


def _alone(rule: RuleSettings, pool: PoolTerms | None) -> Iterator[str]:
    whom = rule.group or rule.account or rule.network or rule.kind
    if not rule.reserve and rule.most is None:
        yield "says neither reserve nor most"
    if rule.each and rule.most is None:
        yield "each is of most, which is missing"
    if rule.reserve and not whom:
        yield "reserve keeps seats for nobody: group, account, network or kind is missing"
    if rule.reserve and rule.most is not None and not rule.each and rule.most < rule.reserve:
        yield f"reserve keeps {rule.reserve} seats for them, of which most lets them have {rule.most}"
    if rule.reserve and pool is not None and not pool.binding:
        yield f"the limit of {rule.pool} is that of each conference: nothing can be kept of it"


def _beyond(name: str, rules: Sequence[tuple[int, RuleSettings]], pool: PoolTerms) -> Iterator[RuleFlaw]:
    """Yield the flaw of the first rule by which more is kept than a pool has."""
    if pool.limit is None or not pool.binding:
        return
    total = keys = len(dict.fromkeys(pool.reserve))
    for place, rule in rules:
        if rule.pool == name and rule.reserve:
            total += rule.reserve
            if total > pool.limit:
                beside = f" beside {keys} reserved keys" if keys else ""
                yield RuleFlaw(place, f"{total - keys} seats of {name} are kept up to here{beside}, of {pool.limit}")
                return


def useless(rules: Sequence[RuleSettings], pools: Mapping[str, PoolTerms]) -> Iterator[RuleFlaw]:
    """Yield the rules that keep seats of a pool without a limit."""
    for place, rule in enumerate(rules, 1):
        if rule.reserve and rule.pool in pools and pools[rule.pool].limit is None:
            yield RuleFlaw(place, f"reserve has no effect: {rule.pool} has no limit")


def unknown_groups(rules: Sequence[RuleSettings], groups: Collection[str]) -> Iterator[RuleFlaw]:
    """Yield the rules of a group that is not there; they match nobody until it is."""
    for place, rule in enumerate(rules, 1):
        if rule.group and rule.group not in groups:
            shown = ", ".join(sorted(groups)[:SHOWN]) + (", ..." if len(groups) > SHOWN else "")
            there = f"there are {shown}" if groups else "there is none yet"
            yield RuleFlaw(place, f"no group {quote(rule.group)}: {there}", rule.group, tuple(groups))


SHOWN = 20
"""Groups that are named at most."""
