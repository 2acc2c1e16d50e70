"""When Python looks for objects that nobody can reach any more and that know each other in a circle.

Everybody's heartbeats wait while it looks. What the gateway makes for sessions and connections is no circle and goes
without it. Others make some: asyncio one for each of its sockets that ends, of about a kilobyte (CPython 3.11; uvloop
none), aiohttp one for each malformed request, of about seven. Looking through what is new takes about a millisecond;
through everything 0.1 to 0.2 s where 15,000 sessions are open, so that is done rarely.
"""

from __future__ import annotations

import gc
from collections.abc import Callable

THRESHOLDS = (50_000, 50, 50)
"""New objects after which Python looks by itself, whatever the time; how many such looks before it looks further."""
NEW_EVERY = 60.0
"""Seconds between two looks through what is new."""
ALL_EVERY = 3600.0
"""Seconds between two looks through everything."""


class GarbageCollection:
    """Looks when it is time; `mono` tells monotonic seconds."""

    def __init__(self, mono: Callable[[], float]) -> None:
        self._mono = mono
        self._looked = self._looked_through_all = mono()
        self._thresholds = gc.get_threshold()

    def start(self) -> None:
        """Keep Python from looking as often as it does by itself."""
        self._thresholds = gc.get_threshold()
        gc.set_threshold(*THRESHOLDS)

    def freeze(self) -> None:
        """Take what is there now out of sight until everything is looked through: all of it stays."""
        gc.freeze()

    def stop(self) -> None:
        """Let Python look as it did before, and through everything: the process may go on without a gateway."""
        gc.set_threshold(*self._thresholds)
        gc.unfreeze()

    def poll(self) -> None:
        """Look if it is time."""
        now = self._mono()
        if now - self._looked_through_all >= ALL_EVERY:
            self._looked = self._looked_through_all = now
            gc.unfreeze()
            gc.collect()
            gc.freeze()
        elif now - self._looked >= NEW_EVERY:
            self._looked = now
            gc.collect(0)
