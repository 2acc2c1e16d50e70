"""The benchmark: what the gateway costs, beside a bare asyncio server alive in the same run.

    bash tests/bench/run [--quick] [--only NAME ...] [--json FILE] [--svg FILE]

Rates of different minutes are not comparable on a shared machine, ratios within one run are. So every figure has its
floor beside it: the bare `asyncio.Protocol` of `floor.py`, with as many connections, measured in alternating short
windows (`arena.py`). A second floor runs along; where floor/floor leaves 0.95 to 1.05 the CPU rows are measured again,
up to three times (once with --quick), and marked "restless machine" if it never came back. Nothing here asserts a
speed: the column `aim` is what the project wants, for orientation.

- The load side is `client.c`, one epoll thread per server, compiled into `.cache/bench`; the notes tell how busy it
  was, so that nobody has to believe it was not the bottleneck. It counts only what the server acknowledged.
- CPU is the kernel's clock of the server process, read around a phase that drains all its acks: CPU per beat and per
  connect are complete, the kernel's part in send, receive and accept included.
- Beats: a closed loop over all connections in turn, at most 1,000 outstanding. Connects: TCP (and upgrade), hello,
  welcome; at most 64 unfinished, so that no kernel queue overflows. WebSocket and MQTT are held against the TCP floor.
- Memory is anonymous resident pages after they settled, from 500 connections to all, per connection; the kernel's part
  (4-5 KB per socket, the same for all) is not in it.
- Latency and storm: an open loop at a fixed pace. The storm is 9,500 connects at once beside 5,000 beating clients,
  against asyncio's own accept loop with a queue of 4096, and with its default of 100, where the kernel drops what does
  not fit and the clients come back a second later: quieter, but slow.
- Returns: every connection is reset, and its client resumes its session; then each client is replaced by one of the
  same account and device. The floor's clients connect again.
- Leases: accounts join under trueconf, and `joined` is a license on the disk; the column of the floor is the same
  gateway with a store in memory. Stall: the acks of beating clients while a join waits 3 s for the disk.
- Registrar: 2,000 agents in another process, each verified once a second; an answer is sent when its ticket is on the
  disk. The floor gets lines of the same length and answers a constant. Memory is from 500 agents to all.
- Peers (mosquitto, Node `ws`, aiohttp, `websockets`) run where they are installed or can be; else a line says why not.

NAME is a measure (beats connects latency memory zero storm returns scrape leases stall registrar) or a subject (tcp
websocket mosquitto ws aiohttp websockets floor); without any, all but the floor as its own subject.
"""

import argparse
import http.client
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from . import cache
from .arena import say
from .load import Fault
from .measures import compare
from .picture import draw
from .scale import QUICK, TAKES, Scale, Subject, expected_seconds
from .servers import Broker, Floor, Gateway, Server
from .table import Row, render

MEASURES = tuple(TAKES)
AIMS = (("storm", "≤ 0.25"), ("zero", "≤ 0.90"), ("scrape", "≤ 1.20"), ("stall", "≤ 1.10"))


def _peer(command: Callable[[], list[str]]) -> Callable[[], Server]:
    return lambda: Server(command())


SUBJECTS: dict[str, Subject] = {
    "tcp": Subject("tallygate tcp", Gateway, ours=True,
                   aims=(*AIMS, ("beats", "≥ 1.25"), ("connects", "≥ 0.90"), ("leases", "≥ 5,000/s"))),
    "websocket": Subject("tallygate websocket", lambda: Gateway("websocket"), ours=True,
                         aims=(*AIMS, ("beats", "≥ 1.10"), ("connects", "≥ 0.60"))),
    "mosquitto": Subject("mosquitto (MQTT)", Broker),
    "ws": Subject("Node ws", _peer(cache.node)),
    "aiohttp": Subject("aiohttp", _peer(cache.aiohttp)),
    "websockets": Subject("websockets", _peer(cache.websockets)),
    "floor": Subject("floor, again", Floor),
}  # fmt: skip


def measure(names: list[str], scale: Scale) -> tuple[list[Row], list[str]]:
    """The rows of all chosen measures and subjects, and a line for each that was not possible."""
    chosen = {name for name in names if name in MEASURES} or set(MEASURES)
    subjects = [name for name in names if name in SUBJECTS] or [name for name in SUBJECTS if name != "floor"]
    takes = expected_seconds([SUBJECTS[name] for name in subjects], chosen, quick=scale == QUICK)
    say(f"this takes about {takes // 60} min {takes % 60:02d} s on two idle cores")
    rows: list[Row] = []
    skipped: list[str] = []
    for name in subjects:
        say(f"{SUBJECTS[name].name} ...")
        start = time.monotonic()
        try:
            for row in compare(SUBJECTS[name], scale, chosen):
                rows.append(row)  # noqa: PERF402  # what was measured before a fault is kept
        except (cache.Missing, Fault, OSError, http.client.HTTPException) as fault:
            skipped.append(f"{SUBJECTS[name].name}: skipped, {fault}")
            say(f"  {skipped[-1]}")
        say(f"  done in {time.monotonic() - start:.0f} s")
    return rows, skipped


def main() -> int:
    """Measure and print; 0 unless nothing at all could be measured."""
    parser = argparse.ArgumentParser(prog="tests/bench/run", description="The gateway beside a bare asyncio server.")
    parser.add_argument("--quick", action="store_true", help="fewer connections and shorter windows, for a first look")
    names = [*MEASURES, *SUBJECTS]
    parser.add_argument("--only", nargs="+", default=[], choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--connections", type=int, help="instead of 15,000")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows as JSON")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="also draw the rows that peers have too")
    options = parser.parse_args()
    scale = QUICK if options.quick else Scale()
    if options.connections:
        scale = replace(scale, sizes=(min(1000, options.connections), options.connections))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, so that no server stays behind
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        cache.client()
    except cache.Missing as missing:
        print(f"tests/bench: {missing}; the load side is a C program", file=sys.stderr)
        return 1
    rows, skipped = measure(options.only, scale)
    if options.json:
        found = {"rows": [asdict(row) for row in rows], "skipped": skipped}
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    if options.svg:
        options.svg.write_text(draw(rows))
    title = f"{os.cpu_count()} CPUs, Python {sys.version.split()[0]}, {scale.rounds} turns of {scale.window} s"
    print("\n".join([render(rows, title), *skipped]))
    return 0 if rows else 1


if __name__ == "__main__":
    sys.exit(main())
