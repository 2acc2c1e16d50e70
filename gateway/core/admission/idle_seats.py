"""Who is idle and holds seats, in the order in which seats are taken (COUNTING.md, Preemption).

A view of the idle sessions and of what they hold, for a request that finds a pool full: with it that looks at nobody of
its own priority or a higher one, and at nobody without a seat of that pool. It is made when it is asked for first, and
followed from then on.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence

from gateway.core.admission.directory import Priorities
from gateway.core.counting.ledger import Ledger
from gateway.core.counting.session import Session

IdleRank = tuple[int, float, int]
"""Who comes first: the lowest. Its priority, the monotonic instant since which it is idle, its number."""


class IdleSeats:
    """The idle sessions that hold seats of each pool of a ledger, in order, under the priorities of accounts."""

    def __init__(self, ledger: Ledger, priorities: Priorities, idle: Iterable[tuple[Session, float]] = ()) -> None:
        self.ledger = ledger
        self.priorities = priorities
        self._of_pool: dict[str, list[IdleRank]] = {name: [] for name in ledger.pools}
        self._ranks: dict[int, tuple[IdleRank, tuple[str, ...]]] = {}
        """The rank of each session by its number, and the pools in which it stands."""
        for session, since in idle:
            rank, pools = self._note(session, since)
            for pool in pools:
                self._of_pool[pool].append(rank)
        for ranks in self._of_pool.values():
            ranks.sort()

    def of_pool(self, name: str) -> Sequence[IdleRank]:
        """Return who holds a seat of a pool, who loses it first at first; of the one that is leased to accounts all who
        have an account of this server. Not to be kept over a change.
        """
        return self._of_pool[name]

    def put(self, session: Session, since: float) -> None:
        """Follow a session that is idle since a monotonic instant, and what it holds."""
        self.discard(session)
        rank, pools = self._note(session, since)
        for pool in pools:
            insort(self._of_pool[pool], rank)

    def discard(self, session: Session) -> None:
        """Follow a session that is idle no more, or over."""
        noted = self._ranks.pop(session.number, None)
        if noted is not None:
            rank, pools = noted
            for pool in pools:
                ranks = self._of_pool[pool]
                del ranks[bisect_left(ranks, rank)]

    def _note(self, session: Session, since: float) -> tuple[IdleRank, tuple[str, ...]]:
        rank = priority_of(session, self.priorities), since, session.number
        held = [pool for pool, _ in session.seats[self.ledger.index]]
        if session.account is not None and not session.home and self.ledger.model.account_pool:
            held.append(self.ledger.model.account_pool)
        pools = tuple(dict.fromkeys(held))
        if pools:
            self._ranks[session.number] = rank, pools
        return rank, pools


def priority_of(session: Session, priorities: Priorities) -> int:
    """Return the priority of a session's account, if it is one of this server."""
    return 0 if session.account is None or session.home else priorities.of(session.account, session.groups)
