"""The course of a load as CSV: a row a second, of what is held then and what has happened since the row before."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import IO

from gateway.load.tally import Tally

EVERY = 1.0
"""Seconds between two rows, at least."""
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
HELD: dict[str, Callable[[Tally], int]] = {
    "connected": lambda tally: tally.open.total(),
    "tcp": lambda tally: tally.open["tcp"],
    "websocket": lambda tally: tally.open["websocket"],
    "joined": lambda tally: tally.members,
    "waiting": lambda tally: tally.queued,
    "asleep": lambda tally: tally.asleep,
    "half_open": lambda tally: tally.silent,
}
"""What is held at the instant of a row."""
HAPPENED: dict[str, Callable[[Tally], int]] = {
    "arrived": lambda tally: tally.attempted,
    "welcomed": lambda tally: tally.welcomed,
    "joins": lambda tally: tally.joined,
    "denied": lambda tally: tally.denied.total(),
    "retried": lambda tally: tally.retried,
    "left": lambda tally: tally.left,
    "cut": lambda tally: tally.cut,
    "timed_out": lambda tally: tally.expired,
    "lost": lambda tally: tally.lost.total(),
    "errors": lambda tally: tally.errors.total(),
    "heartbeats": lambda tally: tally.acks,
}
"""What has happened since the row before."""
LATENCIES = ("welcome", "join", "ack")
"""Latencies since the row before, in seconds; empty where there were none."""
HEADINGS = (
    *("time", "seconds", "phase", *HELD, *HAPPENED),
    *(f"{latency}_{share}" for latency in LATENCIES for share in SHARES),
)


class TimeSeries:
    """Writes the rows into a file, each as soon as it is due."""

    def __init__(self, file: IO[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._file = file
        self._rows = csv.writer(file, lineterminator="\n")
        self._rows.writerow(HEADINGS)
        self._clock = clock
        self._began: float | None = None
        self._last = float("-inf")
        self._before = Tally()

    def show(self, phase: str, tally: Tally) -> None:
        """Write a row of a tally, if it is time."""
        now = self._clock()
        if now - self._last < EVERY:
            return
        if self._began is None:
            self._began = now
        self._last = now
        row: list[object] = [datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")]
        row += [f"{now - self._began:.3f}", phase]
        row += [value(tally) for value in HELD.values()]
        row += [value(tally) - value(self._before) for value in HAPPENED.values()]
        for name in LATENCIES:
            since = getattr(tally, name).since(getattr(self._before, name))
            row += [None if (known := since.percentile(share)) is None else f"{known:.6f}" for share in SHARES.values()]
        self._rows.writerow(row)
        self._file.flush()
        self._before = tally
