"""The ticker: one timer, from which all deadlines are looked at.

It counts the time that this process was running. A look that comes late makes up for a second at most: while the
process stood still it could not hear anybody, so deadlines go on from where they were. And a late look waits until the
loop has polled once more, so that what the kernel buffered meanwhile has been read before anybody is judged. A tick
counts once it has passed in full: a timer may come a little early (uvloop rounds to milliseconds).
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
POLL_AFTER = 0.005
"""Seconds after which a loop has polled for what can be read. After none at all uvloop has not: it calls back first."""
SHORTEST_WAIT = 0.001
"""Seconds at least until the next look, where a timer has come early."""
LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Buckets of the loop's lag, in seconds."""

log = logging.getLogger("tallygate.ticker")


class Ticker:
    """Calls `advance` with the number of ticks that have passed; `mono` tells monotonic seconds."""

    def __init__(self, mono: Callable[[], float], advance: Callable[[int], None]) -> None:
        self.lag = Histogram(LAG_BUCKETS)
        self.worst_lag = 0.0
        """The highest lag, in seconds, since whoever looks at it has set it to 0."""
        self._mono = mono
        self._advance = advance
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
        """Look now, or, when late, after the loop has polled.

        A poll that a stop of the process interrupted ends without saying what can be read; the next one says it.
        """
        if self._mono() - self._last > 2 * TICK:
            self._timer = asyncio.get_running_loop().call_later(POLL_AFTER, self._tick)
        else:
            self._tick()

    def _tick(self) -> None:
        elapsed = self._mono() - self._last
        ticks = int(elapsed / TICK)
        # The next look is set before anything can fail: the chain does not break.
        self._timer = asyncio.get_running_loop().call_later(max(TICK - elapsed % TICK, SHORTEST_WAIT), self._poll)
        if ticks < 1:
            return
        self.lag.observe(elapsed - TICK)
        self.worst_lag = max(self.worst_lag, elapsed - TICK)
        if elapsed > 2 * MAX_CATCH_UP * TICK:
            log.warning("the process stood still for %.1f s; clients are not taken for silent for that time", elapsed)
        self._last += ticks * TICK
        self._advance(min(ticks, MAX_CATCH_UP))
