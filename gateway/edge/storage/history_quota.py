"""How much of the past is kept one by one.

Use and refusals are added up for every hour, whatever happens. Beside that, seats that have ended and refusals stand
one by one, for sizing and for who asks who was refused. One client could fill the disk with them: by joining and
leaving as fast as it may, or under names that it makes up. So each name has so many of an hour, and each pool; what is
beyond that is left out, and only added up.
"""

from __future__ import annotations

import logging
from array import array
from collections import Counter

from gateway.core.counting.usage import HOUR

BUCKETS = 65_536
"""Counts of names; names that fall into the same one share its rows, so that the counts do not grow with the names. No
setting: half a megabyte for each table, and more names than that in an hour meet `of_pool` first."""

log = logging.getLogger("tallygate.history")


class HistoryQuota:
    """What may be written of one table in an hour: `of_name` rows of a name in a pool, `of_pool` rows of a pool."""

    def __init__(self, table: str, of_name: int, of_pool: int) -> None:
        self.left_out: Counter[tuple[str, str]] = Counter()
        """How many rows of each (model, pool) were left out since the start."""
        self._table = table
        self._of_name = of_name
        self._of_pool = of_pool
        self._hour = 0
        self._names = array("L", [0]) * BUCKETS
        self._pools: Counter[tuple[str, str]] = Counter()
        self._told: set[tuple[str, str]] = set()

    def allows(self, now: float, place: tuple[str, str], name: object) -> bool:
        """Return whether another row of a (model, pool) may be written, and count it; `now` is in monotonic seconds."""
        bucket = hash((place, name)) % BUCKETS
        if self.is_used_up(now, place) or self._names[bucket] >= self._of_name:
            self.leave_out(place)
            return False
        self._pools[place] += 1
        self._names[bucket] += 1
        return True

    def is_used_up(self, now: float, place: tuple[str, str]) -> bool:
        """Return whether no more rows of a (model, pool) may be written in this hour, whatever their names."""
        if now // HOUR != self._hour:
            self._hour = int(now // HOUR)
            self._names = array("L", [0]) * BUCKETS
            self._pools.clear()
            self._told.clear()
        return self._pools[place] >= self._of_pool

    def leave_out(self, place: tuple[str, str], rows: int = 1) -> None:
        """Count rows of a (model, pool) that are not written, and say so once in an hour."""
        self.left_out[place] += rows
        if place not in self._told:
            self._told.add(place)
            log.warning("more %s of the pool %s of %s in an hour than are kept one by one: the rest are only added up",
                        self._table, place[1], place[0])  # fmt: skip
