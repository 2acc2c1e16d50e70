"""How a seat is kept for who comes back, how that session takes it over, and how it ends (COUNTING.md, Returning)."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.core.counting.pool import Pool
from gateway.core.counting.returning import NOT_RETURNED, Returning, held_by
from gateway.core.counting.session import Key, Session


def keep(pool: Pool, key: Key, session: Session, until: float) -> None:
    """Keep the seat that a session holds, in its place, until a monotonic instant."""
    claim = Returning(*held_by(session), until)
    pool.replace(key, session, claim)
    if key in pool.returning:
        pool.claims.discard(key, pool.returning.take(key))
    pool.returning.put(key, claim)


def keep_for(pool: Pool, key: Key, claim: Returning, now: float) -> None:
    """Keep a seat that no session holds in the place of the claim, if it is not kept already."""
    if key not in pool.returning:
        pool.returning.put(key, claim)
        pool.add(key, claim, now)


def take_over(pool: Pool, kept: Key, key: Key, session: Session, now: float) -> Returning:
    """Let `session` hold `key` in place of the claim that keeps a seat under `kept`, without a gap; return that."""
    claim = pool.returning.take(kept)
    if key != kept:
        del pool.claims[kept]
        pool.claims[key] = claim
        pool.shares.rename(kept, key)
        if pool.rules is not None:
            pool.rules.rename(kept, key)
        if pool.held_since is not None:
            pool.held_since[key] = pool.held_since.pop(kept, now)
    if pool.changed_keys is not None:
        pool.changed_keys[kept] = pool.changed_keys[key] = ""
    pool.pass_on(key, claim, session, now)
    return claim


def end(pool: Pool, key: Key, cause: str, now: float) -> None:
    """Keep a seat no longer."""
    pool.remove(key, pool.returning.take(key), cause, now)


def end_due(pools: Iterable[Pool], now: float) -> None:
    """Release the seats for which nobody came back in time."""
    for pool in pools:
        for key in [key for key, claim in pool.returning.items() if claim.until <= now]:
            end(pool, key, NOT_RETURNED, now)


def bound(pools: Iterable[Pool], until: float) -> None:
    """Keep no seat longer than until a monotonic instant."""
    for pool in pools:
        for key, claim in pool.returning.items():
            if claim.until > until:
                claim.until = until
                if pool.changed_keys is not None:
                    pool.changed_keys[key] = ""
