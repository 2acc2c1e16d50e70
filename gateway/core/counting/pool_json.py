"""A pool as plain data, and back: what must be known to go on counting as if nothing had happened.

Claims are not written: sessions, leases, reservations, lingering and kept seats make them again. Finished holds and
finished episodes are not written either: they wait for the store and change no decision.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gateway.core.counting.claims import Lease, Linger, Reservation
from gateway.core.counting.denials import DenialEpisode, DenialTracker
from gateway.core.counting.pool import Pool
from gateway.core.counting.pool_rule import Holder
from gateway.core.counting.returning import KeptSeat, Returning
from gateway.core.counting.session import Person
from gateway.core.counting.usage import PoolTotals, UsageInterval
from gateway.core.counting.waits import WaitTotals

INTERVAL = (
    "start",
    "number",
    "peak",
    "limit",
    "true_denials",
    "granted_after_denial",
    "open_denials",
    "wait_seconds",
    "longest_wait_seconds",
)
POOL = ("grants", "releases", "denial_counts", "seat_seconds", "full_seconds", "accounted_until", "interval_end")
EPISODE = ("began", "last", "denials", "true_denials", "granted", "wait_seconds")


def key_from_json(plain: Any) -> Any:
    """Return the `Key` that was written: a list was a tuple."""
    return tuple(map(key_from_json, plain)) if isinstance(plain, list) else plain


def pool_to_json(pool: Pool, ended: Iterable[UsageInterval]) -> dict[str, Any]:
    """Return a pool as plain data; `ended` are its intervals that are over and not known to be durable."""
    return {
        **{name: getattr(pool, name) for name in POOL},
        "maxima": [list(each) for each in pool.maxima],
        "maxima_second": pool.maxima_second,
        "leases": [
            [key, lease.since, lease.number, lease.expires, lease.deleted] for key, lease in pool.leases.items()
        ],
        "unused_leases": list(pool.unused_leases),
        "reservations": [[key, each.since] for key, each in pool.reservations.items()],
        "lingering": [[key, *_kept_to_json(each), each.cause] for key, each in pool.lingering.items()],
        "returning": [[key, *_kept_to_json(each)] for key, each in pool.returning.items()],
        "held_since": None if pool.held_since is None else [list(each) for each in pool.held_since.items()],
        "interval": _interval_to_json(pool.interval),
        "ended": [_interval_to_json(each) for each in ended],
        "denials": _tracker_to_json(pool.denial_tracker),
        "waits": pool.waits.to_json(),
        **({} if pool.rules is None else {"kept": [[key, *who] for key, who in pool.rules.kept.items()]}),
    }


def fill_pool(pool: Pool, plain: Mapping[str, Any]) -> list[UsageInterval]:
    """Fill a new pool with what was written, and return its intervals that are over.

    What the pool's terms reserve is part of what was written. Sessions claim their seats afterwards, what they do not
    claim is claimed by the leases (`Leases.claim_idle`), and then its rules count anew.
    """
    _drop_claims(pool)
    for name in POOL:
        value = plain[name]
        setattr(pool, name, dict(value) if isinstance(value, dict) else value)
    pool.maxima = deque((second, used) for second, used in plain["maxima"])
    pool.maxima_second = plain["maxima_second"]
    pool.same_second_until = -math.inf
    for key, since, number, expires, deleted in plain["leases"]:
        pool.leases[key_from_json(key)] = Lease(since, number, expires, deleted=deleted)
    pool.unused_leases = dict.fromkeys(key_from_json(key) for key in plain["unused_leases"])
    for key, since in plain["reservations"]:
        pool.reservations[key_from_json(key)] = Reservation(since)
    for key, *who in plain["lingering"]:
        pool.lingering[key_from_json(key)] = Linger(*who)
    for key, *who in plain["returning"]:
        pool.returning.put(key_from_json(key), Returning(*who))
    for claims in (pool.reservations, pool.lingering, pool.returning):
        for held, claim in claims.items():
            pool.claims.add(held, claim)
    if pool.rules is not None:
        pool.rules.kept = {key_from_json(key): holder_from_json(who) for key, *who in plain.get("kept", ())}
    held_since = plain["held_since"]
    pool.held_since = None if held_since is None else {key_from_json(key): since for key, since in held_since}
    pool.interval = _interval_from_json(plain["interval"])
    pool.ended_intervals.clear()
    ended = [_interval_from_json(each) for each in plain["ended"]]
    pool.waits = WaitTotals.from_json(plain["waits"])
    _fill_tracker(pool.denial_tracker, plain["denials"], {each.number: each for each in (*ended, pool.interval)})
    return ended


def holder_from_json(plain: Sequence[Any]) -> Holder:
    """Return the holder that was written."""
    identity, device, address, kind, number, groups = plain
    return Holder(key_from_json(identity), device, address, kind, number, tuple(groups))


def _kept_to_json(seat: KeptSeat) -> list[Any]:
    return [seat.account, seat.home, seat.device, seat.address, seat.until]


def _drop_claims(pool: Pool) -> None:
    for claims in (pool.leases, pool.reservations, pool.lingering):
        for key, claim in claims.items():
            pool.claims.discard(key, claim)
        claims.clear()


def _interval_to_json(interval: UsageInterval) -> dict[str, Any]:
    """As plain data, without whether the store has it: who reads it writes it once more."""
    final = interval.final_totals
    return {
        **{name: getattr(interval, name) for name in INTERVAL},
        "levels": list(interval.levels),
        "totals_before": list(interval.totals_before),
        "final_totals": None if final is None else list(final),
    }


def _interval_from_json(plain: Mapping[str, Any]) -> UsageInterval:
    interval = UsageInterval(before=PoolTotals(*plain["totals_before"]))
    for name in INTERVAL:
        setattr(interval, name, plain[name])
    interval.levels = array("d", plain["levels"])
    interval.final_totals = None if plain["final_totals"] is None else PoolTotals(*plain["final_totals"])
    return interval


def _tracker_to_json(tracker: DenialTracker) -> dict[str, Any]:
    episodes = [each for by_reason in tracker.open_episodes.values() for each in by_reason.values()]
    still_open = {each.number for each in episodes}
    return {
        "true_denials": tracker.true_denials,
        "episodes": [
            [each.number, each.asker, each.reason]
            + [[[at, interval.number, person] for at, interval, person in each.open_denials]]
            + [getattr(each, name) for name in EPISODE]
            for each in episodes
        ],
        "open": [[at, each.number if each.number in still_open else None] for at, each in tracker.open_denials],
    }


def person_from_json(plain: Any) -> Person:
    """Return to whom use is charged."""
    account, home, device, address = plain
    return account, home, device, address


def _fill_tracker(tracker: DenialTracker, plain: Mapping[str, Any], intervals: Mapping[int, UsageInterval]) -> None:
    tracker.true_denials = dict(plain["true_denials"])
    settled = DenialEpisode(0, ("", ""), "", 0.0)
    episodes: dict[int | None, DenialEpisode] = {None: settled}
    forgotten = UsageInterval()
    for number, (kind, name), reason, denials, *values in plain["episodes"]:
        episode = DenialEpisode(number, (kind, key_from_json(name)), reason, 0.0)
        episodes[number] = episode
        for field, value in zip(EPISODE, values, strict=True):
            setattr(episode, field, value)
        episode.open_denials = deque(
            (at, intervals.get(interval, forgotten), person_from_json(person)) for at, interval, person in denials
        )
        tracker.open_episodes.setdefault(episode.asker, {})[reason] = episode
    tracker.open_denials = deque((at, episodes[number]) for at, number in plain["open"])
