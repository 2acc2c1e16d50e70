"""How far each node has come in the log, by what it says of itself in its batches.

It is known as of the last batch of a node: what happened to it since is told by its silence.
"""

from __future__ import annotations

import math
from collections.abc import Container
from typing import NamedTuple

from gateway.core.cluster.nodes import Node
from gateway.core.cluster.replica import Replica

KEPT = 10_000
"""Entries whose times are kept; a node that is further behind is at least as late as the oldest of them."""
TOLERATED_LAG = 0.05
"""Seconds by which another node may be behind, and nobody waits for it."""
LONGEST_PAUSE = 0.1
"""Seconds for which it is waited for at most before a batch."""
SPOKE_LATELY = 1.5
"""Seconds of lived time within which a node has put something that is not silent."""


class Position(NamedTuple):
    """Where a node stood when it wrote its last batch: the time of the log of the last entry that it had applied then,
    in seconds UTC, and the age in seconds of the oldest that it had not.
    """

    at: float
    lag: float


class Positions:
    """The positions of the nodes that were heard, and the times of the last entries."""

    def __init__(self) -> None:
        self._times: dict[int, float] = {}
        self._latest = 0
        self._of: dict[str, Position] = {}

    def follow(self, replica: Replica) -> None:
        """Note the entry that was applied last, and how far its node had come."""
        batch = replica.batch
        self.note(replica.version, replica.at)
        if batch is not None and batch.seen is not None:
            self.heard(batch.node, batch.seen.version, replica.nodes.living)
        elif batch is not None and batch.enter is not None:
            self.heard(batch.node, batch.enter.read, replica.nodes.living)

    def note(self, version: int, at: float) -> None:
        """Note when the next entry was: the time of the log after it."""
        self._latest = version
        self._times[version] = at
        self._times.pop(version - KEPT, None)

    def heard(self, node: str, applied: int, living: Container[str]) -> None:
        """Note up to which version a node had applied the log when it wrote the entry that was noted last; nodes that
        are not among the `living` are forgotten.
        """
        if node not in self._of:
            self._of = {each: position for each, position in self._of.items() if each in living}
        times, latest = self._times, self._latest
        applied = min(max(applied, latest - len(times) + 1), latest)
        lag = times[latest] - times[applied + 1] if applied + 1 < latest else 0.0
        self._of[node] = Position(times[applied], lag)

    def applied_until(self, node: Node | None) -> float:
        """Return the time of the log, in seconds UTC, of the last entry that a node is known to have applied."""
        position = self._of.get(node.incarnation) if node is not None else None
        return position.at if position is not None else -math.inf

    def of(self, node: str) -> Position | None:
        """Return where a node stood; None where it was not heard."""
        return self._of.get(node)

    def pause_for_others(self, replica: Replica, own: str) -> float:
        """Return for how many seconds the node `own` is to wait for the others before it asks for more: one that is
        behind falls behind further with each batch, and so long its clients wait. One that is silent is not waited for.
        """
        lags = [
            position.lag
            for each in replica.nodes
            if each.incarnation != own and replica.life - each.heard < SPOKE_LATELY
            if (position := self._of.get(each.incarnation))
        ]
        lag = max(lags, default=0.0)
        return min(lag, LONGEST_PAUSE) if lag > TOLERATED_LAG else 0.0
