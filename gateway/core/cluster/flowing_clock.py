"""The time of the cluster, as one node proposes it.

The log has one time. It flows with each node's monotonic clock; a wall clock is believed only while it is near. One
node whose clock is wrong by an hour moves it by less than half a second.
"""

from __future__ import annotations

NEAR = 0.5
"""Seconds by which a wall clock may differ from the time of the log and is still followed."""
ALONE_AFTER = 3.0
"""Seconds without an entry of anybody else after which a node takes itself for the first of a cold cluster."""


class FlowingClock:
    """Proposes instants. All arguments `mono` are seconds of the node's monotonic clock, all others seconds UTC.

    `since` is when the node began to listen. Until it has heard others, or nobody, for `ALONE_AFTER`, it proposes none.
    """

    def __init__(self, since: float) -> None:
        self._since = since
        self._at: float | None = None
        self._applied = since
        self._settled = False
        self.offset = 0.0
        """Seconds by which the node's wall clock is ahead of the time of the log."""

    @property
    def settled(self) -> bool:
        """Whether the node knows what time it is in the cluster."""
        return self._settled

    def applied(self, at: float, mono: float, *, told: bool) -> None:
        """Note the time of the log after an entry was applied; `told` says that somebody who lives told it just now."""
        if self._at is None or at > self.time_of_log(mono):
            self._at, self._applied = at, mono
        self._settled = self._settled or told

    def restart(self, mono: float) -> None:
        """Listen again before anything is proposed: what was applied so far is the past."""
        self._since, self._settled = mono, False

    def time_of_log(self, mono: float) -> float:
        """Return the time of the log at this moment, as far as the node knows."""
        return mono if self._at is None else self._at + max(mono - self._applied, 0.0)

    def propose(self, mono: float, wall: float) -> tuple[float | None, bool]:
        """Return the instant to propose, None for none, and whether it is that of the first of a cold cluster."""
        if not self._settled:
            if mono - self._since < ALONE_AFTER:
                return None, False
            self._settled = True
            self._at, self._applied = wall, mono
            return round(wall, 3), True
        flowing = self.time_of_log(mono)
        self.offset = wall - flowing
        return round(wall if abs(self.offset) <= NEAR else flowing, 3), False
