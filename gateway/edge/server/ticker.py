"""The clockwork: one timer, from which all deadlines are looked at.

It counts time that this process has lived through. A look that comes late makes up for a second at most: after a stall
the deadlines go on from where they were, because silence during our own absence is not silence of theirs. And a late
look waits one more turn of the loop, so that what the kernel buffered meanwhile has been read before anybody is judged.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from metrics.histogram import Histogram

TICK = 0.25
"""Seconds between two looks at the deadlines."""
MAX_CATCH_UP = 4
"""Ticks that one late look may make up for; more than that was a stall of ours."""
LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Buckets of the loop's lag, in seconds."""

log = logging.getLogger("tallygate.clockwork")


class Ticker:
    """Calls `live` with the number of ticks that have passed; `mono` tells monotonic seconds."""

    def __init__(self, mono: Callable[[], float], live: Callable[[int], None]) -> None:
        self.lag = Histogram(LAG_BUCKETS)
        self._mono = mono
        self._advance = live
        self._last = mono()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to look."""
        self._last = self._mono()
        self._timer = asyncio.get_running_loop().call_later(TICK, self._poll)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _poll(self) -> None:
        """Look now, or, when late, after one more turn of the loop.

        A wait that a stop of the process interrupted ends without saying what can be read; the next one says it.
        """
        if self._mono() - self._last > 2 * TICK:
            self._timer = asyncio.get_running_loop().call_later(0, self._tick)
        else:
            self._tick()

    def _tick(self) -> None:
        elapsed = self._mono() - self._last
        # The next look is set before anything can fail: the chain does not break.
        self._timer = asyncio.get_running_loop().call_later(max(TICK - (elapsed % TICK), TICK / 10), self._poll)
        self.lag.observe(max(elapsed - TICK, 0.0))
        if elapsed > 2 * MAX_CATCH_UP * TICK:
            log.warning("stalled for %.1f s; deadlines go on from where they were", elapsed)
        self._last += elapsed - elapsed % TICK
        self._advance(min(max(int(elapsed / TICK), 1), MAX_CATCH_UP))
