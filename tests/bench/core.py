"""What the core alone costs: microseconds of a `hello`, a `join`, a `leave` and the end of a session, and its memory.

    python -m tests.bench.core [--sessions N] [--rounds N] [--json FILE]

No socket, no disk, no clock: commands are applied to a state as the server applies them, with the garbage collector
frozen. Accounts and devices are all different, ten sessions share a conference, limits are out of reach, and an instant
passes between any two commands. Every model is enforced once by itself and once with the four others in shadow; the
least of all rounds is shown, which other processes raise least. Memory is what Python has allocated for each session
while all of them are members.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from gateway.core.admission.apply import apply
from gateway.core.admission.commands import Command, End, Hello, Join, Leave
from gateway.core.admission.state import State
from gateway.core.admission.terms import Terms
from gateway.core.counting.session import Instant
from gateway.licensing import MODELS

ENFORCED = ("epop", "trueconf", "nefsis-named", "floating")
PER_CONFERENCE = 10
PASSES = 50e-6  # seconds between two commands
PLENTY = 1_000_000


@dataclass(frozen=True, slots=True)
class Costs:
    """Microseconds of each step, and bytes of a session, under one enforced model with so many in shadow."""

    model: str
    shadows: int
    hello: float
    join: float
    leave: float
    end: float
    bytes: float


def licenses() -> dict[str, Any]:
    """The terms of every model, with limits that nobody reaches."""
    found = {name: info.terms() for name, info in MODELS.items()}
    return {
        name: replace(terms, **dict.fromkeys(MODELS[name].limits.values(), PLENTY)) for name, terms in found.items()
    }


def new_state(model: str, shadows: int) -> State:
    """A state that enforces one model and has so many others in shadow."""
    names = [model, *[name for name in MODELS if name != model][:shadows]]
    terms = licenses()
    return State(
        Terms(model, {name: terms[name] for name in names}, shadow_leases=PLENTY), MODELS, Instant(0.0, 1.8e9), "bench"
    )


class Bench:
    """A state and its clock; sessions are numbered from 1."""

    def __init__(self, model: str, shadows: int, sessions: int) -> None:
        self.state = new_state(model, shadows)
        self.sessions = range(1, sessions + 1)
        self.mono = 0.0

    def hello(self, number: int) -> Command:
        """A session of an account and a device of its own."""
        return Hello("app", f"user-{number}", f"device-{number}", "", "", "192.0.2.1", "tcp")

    def join(self, number: int) -> Command:
        """The first of a conference is its host."""
        return Join(number, f"room-{(number - 1) // PER_CONFERENCE}", (number - 1) % PER_CONFERENCE == 0)

    def leave(self, number: int) -> Command:
        """It leaves that conference."""
        return Leave(number, f"room-{(number - 1) // PER_CONFERENCE}")

    def end(self, number: int) -> Command:
        """Its connection is closed."""
        return End(number, "closed")

    def apply(self, commands: Iterable[Command]) -> float:
        """Apply commands; returns the CPU seconds of the process."""
        steps = []
        for command in commands:
            self.mono += PASSES
            steps.append((command, Instant(self.mono, 1.8e9 + self.mono)))
        state = self.state
        start = time.process_time()
        for command, at in steps:
            apply(state, command, at)
        return time.process_time() - start

    def microseconds(self, make: Callable[[int], Command]) -> float:
        """What a step of each session costs."""
        return self.apply([make(number) for number in self.sessions]) / len(self.sessions) * 1e6


def timed(model: str, shadows: int, sessions: int) -> tuple[float, ...]:
    """Microseconds of `hello`, `join`, `leave`, and of the end of a session that is a member."""
    bench = Bench(model, shadows, sessions)
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        hello, join, leave = (bench.microseconds(make) for make in (bench.hello, bench.join, bench.leave))
        bench.microseconds(bench.join)
        return hello, join, leave, bench.microseconds(bench.end)
    finally:
        gc.enable()
        gc.unfreeze()


def allocated(model: str, shadows: int, sessions: int) -> float:
    """Bytes of a session that is a member, with the texts that its client said."""
    bench = Bench(model, shadows, sessions)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in bench.sessions:
        bench.apply([bench.hello(number)])
        bench.apply([bench.join(number)])
    gc.collect()
    found = (tracemalloc.get_traced_memory()[0] - before) / sessions
    tracemalloc.stop()
    return found


def measure(sessions: int, rounds: int) -> Iterable[Costs]:
    """The costs under each model, alone and with all others in shadow."""
    for model in ENFORCED:
        for shadows in (0, len(MODELS) - 1):
            turns = [timed(model, shadows, sessions) for _ in range(rounds)]
            hello, join, leave, end = (min(turn) for turn in zip(*turns, strict=True))
            yield Costs(model, shadows, hello, join, leave, end, allocated(model, shadows, 15 * sessions))


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.core", description="What the core alone costs.")
    parser.add_argument(
        "--sessions", type=int, default=1000, help="sessions of a round; memory is that of 15 times them"
    )
    parser.add_argument("--rounds", type=int, default=15, help="the least of so many is shown")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures as JSON")
    options = parser.parse_args()
    print(f"{'enforced':14} {'shadows':>7} {'hello':>8} {'join':>8} {'leave':>8} {'end':>8} {'bytes':>7}")
    rows = []
    for row in measure(options.sessions, options.rounds):
        rows.append(row)
        steps = " ".join(f"{each:5.1f} µs" for each in (row.hello, row.join, row.leave, row.end))
        print(f"{row.model:14} {row.shadows:>7} {steps} {row.bytes:7,.0f}", flush=True)
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
