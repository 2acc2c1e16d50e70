"""Whether the wall clock can be trusted to say what is old: one that is wrong after a start or a step is mostly set
right before an hour has passed.
"""

from __future__ import annotations

import math

from gateway.core.counting.session import Instant
from gateway.core.reporting.history import CLOCK_STEP

STEADY = 3600.0
"""Seconds for which the wall clock must have gone evenly before anything is forgotten by it."""


class SteadyClock:
    """Watches the wall clock beside the monotonic one."""

    def __init__(self) -> None:
        self._offset = math.nan
        """Seconds from monotonic time to the wall clock, when that was last looked at."""
        self._since = -math.inf
        """Since when, in monotonic seconds, the wall clock has gone evenly."""

    def is_steady(self, now: Instant) -> bool:
        """Look at the clocks, and return whether the wall clock has gone evenly for long enough."""
        offset = now.wall - now.mono
        if not abs(offset - self._offset) <= CLOCK_STEP:
            self._since = now.mono
        self._offset = offset
        return now.mono - self._since >= STEADY
