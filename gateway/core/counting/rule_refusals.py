"""What pools say where rules keep seats for somebody, or deny them to somebody (COUNTING.md, Rules for seats)."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from gateway.core.counting.license_model import Refusal
from gateway.core.counting.pool import Pool
from gateway.core.counting.pool_rule import Claimant
from gateway.core.counting.session import Key, Seat


def refusal_by_rules(
    pools: Mapping[str, Pool], who: Claimant, added: Collection[Seat], freed: Mapping[str, Collection[Key]]
) -> Refusal | None:
    """Return the refusal of the first pool that cannot hold what somebody asks for; None if all fit. Of each pool
    `freed` has the keys that are given back for them.
    """
    for name, pool in pools.items():
        keys = [key for each, key in added if each == name]
        refusal = refusal_of_pool(pool, who, keys, freed.get(name, ())) if keys else None
        if refusal is not None:
            return refusal
    return None


def refusal_of_pool(pool: Pool, who: Claimant, keys: Collection[Key], freed: Collection[Key] = ()) -> Refusal | None:
    """Return what a pool has against somebody who asks for keys; `freed` are given back for them. Its rules come first,
    and then the limit, as far as nothing is kept for others.
    """
    refusal = refusal_of_rules(pool, who, keys, freed)
    count = sum([key not in pool.claims for key in keys])
    if refusal is not None or count <= len(freed):
        return refusal
    kept = pool.rules.kept_from(who) if pool.rules is not None else 0
    return None if pool.used - len(freed) + count <= pool.granted_below - kept else pool.full(who)


def refusal_of_rules(pool: Pool, who: Claimant, keys: Collection[Key], freed: Collection[Key] = ()) -> Refusal | None:
    """Return the refusal of the first rule of a pool that has no room for keys, whether the pool itself has or not.

    A key that has a reservation is its owner's own, whatever rules say.
    """
    if pool.rules is None:
        return None
    asked = [key for key in keys if key not in pool.reservations] if pool.reservations else keys
    return pool.rules.refusal(who, asked, freed)
