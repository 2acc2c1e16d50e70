"""What comes of a load, for the terminal: a bar while it runs, then a summary or a document."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from gateway.load.coordinator import Comparison, LoadResult
from gateway.load.histogram import LatencyHistogram
from gateway.load.tally import Tally

PLAIN_EVERY = 5.0
"""Seconds between lines of progress where there is no terminal."""


class Progress:
    """How far the load is: a bar that redraws itself on a terminal, a line now and then elsewhere (stderr)."""

    def __init__(self, clients: int, terminal: bool) -> None:
        self._clients = clients
        self._terminal = terminal
        self._last = float("-inf")
        self._phase = ""

    def show(self, phase: str, tally: Tally) -> None:
        """Show a tally, if it is time."""
        line = bar(phase, tally, self._clients)
        if self._terminal:
            print(f"\r{line}\x1b[K", end="", file=sys.stderr, flush=True)
        elif phase != self._phase or time.monotonic() - self._last >= PLAIN_EVERY:
            self._last = time.monotonic()
            print(line, file=sys.stderr, flush=True)
        self._phase = phase

    def end(self) -> None:
        """Take the bar away."""
        if self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def bar(phase: str, tally: Tally, clients: int) -> str:
    """Return one line of at most 79 columns."""
    width = 20
    full = width * tally.settled // clients
    parts = [f"{phase:8}[{'#' * full}{'.' * (width - full)}] {tally.open.total()}/{clients} open"]
    for name, number in (
        ("joined", tally.members),
        ("waiting", tally.queued),
        ("denied", tally.denied.total()),
        ("errors", tally.errors.total()),
        ("lost", tally.lost.total()),
    ):
        if number:
            parts.append(f"{number} {name}")
    p99 = tally.ack.percentile(0.99)
    if p99 is not None:
        parts.append(f"ack p99 {_milliseconds(p99)}")
    return "  ".join(parts)[:79]


def document(outcome: LoadResult) -> dict[str, Any]:
    """Return the outcome as JSON takes it; latencies in seconds, null where there are none."""
    tally = outcome.tally
    return {
        "good": outcome.good,
        "interrupted": outcome.interrupted,
        "seconds": round(outcome.seconds, 3),
        "attempted": tally.attempted,
        "connected": tally.connected,
        "welcomed": tally.welcomed,
        "joined": tally.joined,
        "open": dict(tally.open),
        "members": tally.members,
        "queued": tally.queued,
        "asleep": tally.asleep,
        "half_open": tally.silent,
        "left": tally.left,
        "cut": tally.cut,
        "timed_out": tally.expired,
        "retried": tally.retried,
        "denied": dict(tally.denied),
        "full": dict(tally.full),
        "errors": dict(tally.errors),
        "lost": dict(tally.lost),
        "removed": dict(tally.removed),
        "heartbeats": {"sent": tally.beats, "acked": tally.acks, "latency": _latency(tally.ack)},
        "welcome": {"latency": _latency(tally.welcome)},
        "join": {"latency": _latency(tally.join)},
        "holding": _compared(outcome.holding),
        "after": _compared(outcome.after),
    }


def summary(outcome: LoadResult) -> str:
    """Return the outcome for a person."""
    tally = outcome.tally
    lines = [f"connected   {tally.connected} of {tally.attempted}, {tally.welcomed} welcomed, {tally.joined} joined"]
    if tally.left or tally.cut or tally.expired:
        lines.append(f"gone        {tally.left} by bye, {tally.cut} cut, {tally.expired} half-open timed out")
    if tally.queued:
        lines.append(f"waiting     {tally.queued} in line for a seat")
    if tally.asleep or tally.silent:
        lines.append(f"quiet       {tally.asleep} asleep, {tally.silent} half-open")
    lines.append(f"denied      {_reasons(tally.denied)}")
    if tally.full:
        lines.append(f"            by the license ({_limits(tally.full)}), which is no fault: it lets in so many")
    if tally.retried:
        lines.append(f"            {tally.retried} asked again")
    lines += [f"errors      {_reasons(tally.errors)}", f"lost        {_reasons(tally.lost)}"]
    if tally.removed:
        lines.append(f"removed     {_reasons(tally.removed)}")
    lines.append(f"heartbeats  {tally.beats} sent, {tally.acks} acked")
    for name, latency in (("ack", tally.ack), ("welcome", tally.welcome), ("join", tally.join)):
        if latency.count or name != "join":
            lines.append(f"  {name:9} {_percentiles(latency)}")
    for title, comparison in (("holding", outcome.holding), ("after bye", outcome.after)):
        if comparison is None:
            lines.append(f"{title:12}not compared")
            continue
        lines.append(f"{title:12}drift {comparison.drift}")
        for name, held in comparison.held.items():
            said = comparison.gateway.get(name, 0)
            lines.append(f"  {name:22} gateway {said:>7}  held {held:>7}{'' if said == held else '  differs'}")
    return "\n".join(lines)


def failure(outcome: LoadResult) -> str:
    """Return why an outcome is not good."""
    faults = []
    if lost := outcome.tally.lost.total():
        faults.append(f"{lost} connections lost")
    if errors := outcome.tally.errors.total():
        faults.append(f"{errors} errors")
    faults.extend(
        f"drift {comparison.drift} {when}"
        for when, comparison in (("while holding", outcome.holding), ("after bye", outcome.after))
        if comparison is not None and comparison.drift
    )
    return ", ".join(faults)


def _compared(comparison: Comparison | None) -> dict[str, Any] | None:
    if comparison is None:
        return None
    return {"drift": comparison.drift, "gateway": comparison.gateway, "held": comparison.held}


def _latency(histogram: LatencyHistogram) -> dict[str, float | None]:
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    known: dict[str, float | None] = {name: histogram.percentile(share) for name, share in shares.items()}
    return known | {"max": histogram.max if histogram.count else None}


def _percentiles(histogram: LatencyHistogram) -> str:
    known = {name: value for name, value in _latency(histogram).items() if value is not None}
    return "  ".join(f"{name} {_milliseconds(value)}" for name, value in known.items()) or "-"


def _milliseconds(seconds: float) -> str:
    value = seconds * 1000
    return f"{value:.2f} ms" if value < 10 else f"{value:.0f} ms"


def _reasons(reasons: Mapping[str, int]) -> str:
    total = sum(reasons.values())
    if not total:
        return "0"
    return f"{total}: " + ", ".join(f"{reason} {number}" for reason, number in sorted(reasons.items()))


def _limits(full: Mapping[str, int]) -> str:
    return ", ".join(f"{pool}: {limit}" for pool, limit in sorted(full.items()))
