"""`tallygate load`: puts thousands of clients on a gateway, and checks that it counts them right.

The arguments become one plan for each process; what comes of it is shown as a bar, then as a summary.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import secrets
import signal
import socket
import sys
import time
from contextlib import AsyncExitStack
from typing import Any

from gateway import operator_client
from gateway.cli.argument_kinds import count, count_or_none, port, positive
from gateway.client_connection import Transport
from gateway.core.addresses import ip_address, is_loopback
from gateway.core.counting.session import KINDS
from gateway.load.coordinator import Comparison, Coordinator, LoadError, LoadResult
from gateway.load.histogram import LatencyHistogram
from gateway.load.tally import Tally
from gateway.load.worker import Plan

HELP = """\
Put load on a gateway: open connections, join conferences, beat, and compare the gateway's own counts with what is held.
Exit code 1 when a connection was lost or failed, or when a count differs; being denied is no failure."""
EXAMPLES = """\
examples:
  tallygate load --connections 1000
  tallygate load --connections 15000 --ramp 2000 --duration 60 --transport mix --conferences 500
  tallygate load --connections 50 --accounts distinct --conferences 5 --json
"""

PER_PROCESS = 8000
"""Connections a process is given by default: one processor beats for them with ease."""
SPARE = 128
"""Files a process needs beside its connections."""
PER_SOURCE = 5000
"""Connections from one loopback address: of its some 28,000 ports the last free ones are slow to find."""
PLAIN_EVERY = 5.0
"""Seconds between lines of progress where there is no terminal."""
_TRANSPORTS: dict[str, list[Transport]] = {
    "tcp": ["tcp"],
    "websocket": ["websocket"],
    "mix": ["tcp", "websocket"],
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `load`."""
    add = parser.add_argument
    add("--connections", metavar="N", type=count, default=100, help="connections in all (default %(default)s)")
    add("--ramp", metavar="R", type=positive, default=500.0, help="new connections per second (default %(default)g)")
    add("--duration", metavar="S", type=positive, default=10.0, help="seconds to hold them (default %(default)g)")
    add("--heartbeat", metavar="S", type=positive, help="seconds between beats (default: what the gateway states)")
    add("--transport", choices=tuple(_TRANSPORTS), default="tcp", help="which door (default %(default)s)")
    add(
        "--conferences",
        metavar="K",
        type=count_or_none,
        default=0,
        help="spread over K conferences (default: join none)",
    )
    add("--processes", metavar="P", type=count, help=f"processes (default: one for each {PER_PROCESS} connections)")
    add("--accounts", choices=("none", "distinct"), default="none", help="accounts to claim (default %(default)s)")
    add("--kind", choices=sorted(KINDS), default="app", help="what the clients are (default %(default)s)")
    add(
        "--wait",
        metavar="S",
        type=count,
        help="seconds that each request waits in line for a seat (default: it is denied where there is none)",
    )
    add("--host", default="127.0.0.1", help="the gateway; nothing else is ever contacted (default %(default)s)")
    add("--tcp-port", metavar="PORT", type=port, default=4307, help="its TCP door (default %(default)s)")
    add("--websocket-port", metavar="PORT", type=port, default=4308, help="its WebSocket door (default %(default)s)")
    add("--no-compare", action="store_true", help="do not ask the operator port, compare nothing")
    add("--seed", type=int, help="make the beats fall at the same points again")
    add("--json", action="store_true", help="the summary as JSON")
    add(
        "--operator",
        metavar="URL",
        type=operator_client.address,
        help="its operator port (default port 4311 of the host); a token is read from TALLYGATE_TOKEN",
    )
    operator_client.authorities_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    try:
        outcome = asyncio.run(_load(args))
    except (operator_client.OperatorError, LoadError, OSError) as fault:
        print(f"tallygate load: {fault}", file=sys.stderr)
        return 1
    print(json.dumps(document(outcome)) if args.json else summary(outcome))
    if not outcome.good:
        print(f"tallygate load: {_failure(outcome)}", file=sys.stderr)
        return 1
    return 130 if outcome.interrupted else 0


def plans(args: argparse.Namespace, files: int, address: str) -> list[Plan]:
    """One plan for each process; `files` is how many a process may open, `address` that of the host.

    Raises `LoadError` when that is too few.
    """
    room = files - SPARE
    processes = args.processes or -(-args.connections // min(PER_PROCESS, room))
    processes = min(processes, args.connections)
    if args.connections > processes * room:
        raise LoadError(
            f"{args.connections} connections need {-(-args.connections // room)} processes: "
            f"a process may open {files} files here"
        )
    seed = secrets.randbits(32) if args.seed is None else args.seed
    made: list[Plan] = []
    first = source = 0
    for number in range(processes):
        share = args.connections // processes + (number < args.connections % processes)
        sources = -(-share // PER_SOURCE)
        made.append(
            Plan(
                host=address,
                ports={"tcp": args.tcp_port, "websocket": args.websocket_port},
                transports=_TRANSPORTS[args.transport],
                first=first,
                connections=share,
                ramp=args.ramp / processes,
                heartbeat=args.heartbeat,
                conferences=args.conferences,
                distinct_accounts=args.accounts == "distinct",
                kind=args.kind,
                wait=args.wait,
                sources=[f"127.0.0.{2 + (source + n) % 250}" for n in range(sources)] if _loopback(address) else [],
                seed=seed + number,
            )
        )
        first += share
        source += sources
    return made


def _loopback(address: str) -> bool:
    """Whether 127.0.0.x may be a source: Linux has all of 127/8, others only the first."""
    return sys.platform == "linux" and ip_address(address).version == 4 and is_loopback(address)


async def _address(host: str) -> str:
    """An address of a host: it is looked up once, not for every connection.

    Raises `LoadError` where it has none.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as fault:
        raise LoadError(f"the host {host} cannot be found: {getattr(fault, 'strerror', None) or fault}") from None
    return str(found[0][4][0])


async def _load(args: argparse.Namespace) -> LoadResult:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    task = asyncio.current_task()

    def interrupt() -> None:
        if stop.is_set() and task is not None:
            task.cancel()  # asked twice: no more manners
        stop.set()

    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    todo = plans(args, sys.maxsize if files == resource.RLIM_INFINITY else files, await _address(args.host))
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    try:
        async with AsyncExitStack() as stack:
            gateway = None
            if not args.no_compare:
                host = f"[{args.host}]" if ":" in args.host else args.host
                gateway = await stack.enter_async_context(
                    operator_client.Operator(args.operator or f"http://{host}:4311", args.ca)
                )
            progress = Progress(args.connections, sys.stderr.isatty())
            outcome = await Coordinator(todo, gateway).run(args.duration, stop, progress.show)
            progress.end()
            return outcome
    except asyncio.CancelledError:
        if stop.is_set():
            raise KeyboardInterrupt from None
        raise
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


class Progress:
    """How far the load is: a bar that redraws itself on a terminal, a line now and then elsewhere (stderr)."""

    def __init__(self, connections: int, terminal: bool) -> None:
        self._connections = connections
        self._terminal = terminal
        self._last = float("-inf")
        self._phase = ""

    def show(self, phase: str, tally: Tally) -> None:
        """Show a tally, if it is time."""
        line = bar(phase, tally, self._connections)
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


def bar(phase: str, tally: Tally, connections: int) -> str:
    """One line of at most 79 columns."""
    width = 20
    full = width * tally.settled // connections
    parts = [f"{phase:8}[{'#' * full}{'.' * (width - full)}] {tally.open.total()}/{connections} open"]
    if tally.members:
        parts.append(f"{tally.members} joined")
    for name, number in (
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
    """The outcome as JSON takes it; latencies in seconds, null where there are none."""
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
        "denied": dict(tally.denied),
        "errors": dict(tally.errors),
        "lost": dict(tally.lost),
        "removed": dict(tally.removed),
        "heartbeats": {"sent": tally.beats, "acked": tally.acks, "latency": _latency(tally.ack)},
        "welcome": {"latency": _latency(tally.welcome)},
        "holding": _compared(outcome.holding),
        "after": _compared(outcome.after),
    }


def summary(outcome: LoadResult) -> str:
    """The outcome for a person."""
    tally = outcome.tally
    lines = [
        f"connected   {tally.connected} of {tally.attempted}, {tally.welcomed} welcomed, {tally.joined} joined",
        f"denied      {_reasons(tally.denied)}",
        f"errors      {_reasons(tally.errors)}",
        f"lost        {_reasons(tally.lost)}",
        f"heartbeats  {tally.beats} sent, {tally.acks} acked",
        f"  ack       {_percentiles(tally.ack)}",
        f"  welcome   {_percentiles(tally.welcome)}",
    ]
    if tally.queued:
        lines.insert(1, f"waiting     {tally.queued} in line for a seat")
    if tally.removed:
        lines.insert(-3, f"removed     {_reasons(tally.removed)}")
    for title, comparison in (("holding", outcome.holding), ("after bye", outcome.after)):
        if comparison is None:
            lines.append(f"{title:12}not compared")
            continue
        lines.append(f"{title:12}drift {comparison.drift}")
        for name, held in comparison.held.items():
            said = comparison.gateway.get(name, 0)
            lines.append(f"  {name:22} gateway {said:>7}  held {held:>7}{'' if said == held else '  differs'}")
    return "\n".join(lines)


def _failure(outcome: LoadResult) -> str:
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


def _reasons(reasons: dict[str, int]) -> str:
    total = sum(reasons.values())
    if not total:
        return "0"
    return f"{total}: " + ", ".join(f"{reason} {number}" for reason, number in sorted(reasons.items()))
