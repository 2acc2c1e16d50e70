"""Warnings about what others do wrong, few of them, however much they do."""

from __future__ import annotations

import logging
import math

LINE_PAUSE = 10.0
"""Seconds between two lines of the log of the same kind, whoever does however much."""


class PacedLog:
    """Warnings of one kind: a line in `LINE_PAUSE` seconds at most, with how many others there were before it."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._others = 0
        self._said = -math.inf

    def record(self, line: str, now: float) -> None:
        """Something happened at the monotonic instant `now`."""
        if now - self._said < LINE_PAUSE:
            self._others += 1
            return
        self._log.warning("%s; %d others before it", line, self._others)
        self._said, self._others = now, 0
