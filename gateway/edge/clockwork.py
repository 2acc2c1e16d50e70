"""The clockwork: one timer, from which all deadlines are looked at.

It counts time that this process has lived through. A look that comes late makes up for a second at most: after a stall
the deadlines go on from where they were, because silence during our own absence is not silence of theirs. And a late
look waits until the loop has polled once more, so that what the kernel buffered meanwhile has been read before anybody
is judged. A tick counts once it has passed in full: a timer may come a little early (uvloop rounds to milliseconds).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from metrics.histogram import Histogram

TICK = 0.25
"""Seconds between two looks at the deadlines."""
CATCH_UP = 4
"""Ticks that one late look may make up for; more than that was a stall of ours."""
POLL = 0.005
"""Seconds after which a loop has polled for what can be read. After none at all uvloop has not: it calls back first."""
SOON = 0.001
"""Seconds at least until the next look, where a timer has come early."""
LAGS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Buckets of the loop's lag, in seconds."""

log = logging.getLogger("tallygate.clockwork")


class Clockwork:
    """Calls `live` with the number of ticks that have passed; `mono` tells monotonic seconds."""

    def __init__(self, mono: Callable[[], float], live: Callable[[int], None]) -> None:
        self.lag = Histogram(LAGS)
        self._mono = mono
        self._live = live
        self._looked = mono()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to look."""
        self._looked = self._mono()
        self._timer = asyncio.get_running_loop().call_later(TICK, self._look)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """Look now, or, when late, after the loop has polled.

        A poll that a stop of the process interrupted ends without saying what can be read; the next one says it.
        """
        if self._mono() - self._looked > 2 * TICK:
            self._timer = asyncio.get_running_loop().call_later(POLL, self._tick)
        else:
            self._tick()

    def _tick(self) -> None:
        elapsed = self._mono() - self._looked
        ticks = int(elapsed / TICK)
        # The next look is set before anything can fail: the chain does not break.
        self._timer = asyncio.get_running_loop().call_later(max(TICK - elapsed % TICK, SOON), self._look)
        if ticks < 1:
            return
        self.lag.observe(elapsed - TICK)
        if elapsed > 2 * CATCH_UP * TICK:
            log.warning("stalled for %.1f s; deadlines go on from where they were", elapsed)
        self._looked += ticks * TICK
        self._live(min(ticks, CATCH_UP))
