"""Full jitter: how long to wait before the next attempt to connect (PROTOCOL.md, Client duties).

`random(0, min(cap, base * 2**n))` spreads the clients of a gateway that went away over the whole interval; a smaller
spread brings them back as one storm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays between attempts, in seconds."""

    base: float = 1.0
    """Upper bound of the first delay."""
    cap: float = 30.0
    """Upper bound of every delay."""

    def ceiling(self, failures: int) -> float:
        """Return the longest delay after `failures` failed attempts in a row (0 before the first)."""
        # Beyond 2**63 the cap has long won; larger powers would overflow a float.
        return min(self.cap, self.base * 2.0 ** min(failures, 63))

    def delay(self, failures: int, uniform: Callable[[float, float], float]) -> float:
        """Return a delay drawn by `uniform`, such as `random.uniform`, from 0 to `ceiling(failures)`."""
        return uniform(0.0, self.ceiling(failures))
