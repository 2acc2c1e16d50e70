"""Lines about what others do, few of them, however much they do."""

from __future__ import annotations

import logging
import math
from typing import Any

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
        before = f"; {self._others} before it without a line" if self._others else ""
        self._log.warning("%s%s", line, before)
        self._said, self._others = now, 0


class CountedLog:
    """What happens to many, as events of one name: the first of `LINE_PAUSE` seconds has a line of its own, those after
    it are counted by what they were, and told together when that time is over.
    """

    def __init__(self, log: logging.Logger, event: str) -> None:
        self._log = log
        self._event = event
        self._others: dict[str, int] = {}
        self._since = -math.inf

    def record(self, what: str, line: str, detail: Any, now: float) -> None:
        """Something happened at the monotonic instant `now`; `what` is by which it is counted."""
        if self._others or now - self._since < LINE_PAUSE:
            self.count(what, 1, now)
            return
        self._since = now
        self._log.info("%s %s", self._event, line, extra={"event": self._event, "detail": detail})

    def count(self, what: str, number: int, now: float) -> None:
        """It happened so many times, without a line."""
        if not self._others:
            self._since = max(self._since, now - LINE_PAUSE)
        self._others[what] = self._others.get(what, 0) + number

    def poll(self, now: float) -> None:
        """Called once a second: tell what was counted, when it is time."""
        seconds = now - self._since
        if not self._others or seconds < LINE_PAUSE:
            return
        total, by = sum(self._others.values()), self._others
        words = ", ".join(f"{what} {number}" for what, number in by.items())
        detail = {"count": total, "seconds": round(seconds), "by": by}
        text = f"{self._event} {total} more in the last {seconds:.0f} s: {words}"
        self._log.info("%s", text, extra={"event": self._event, "detail": detail})
        self._others, self._since = {}, now
