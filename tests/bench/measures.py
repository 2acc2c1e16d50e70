"""What is measured: one function per measure, each yielding rows of the table.

`compare` lives one arena through: connects while it grows, heartbeats at each size, and ack latency. `memory` and
`zero` need servers of their own, as do the measures of `gateway_measures.py`.
"""

import functools
import time
from collections.abc import Callable, Iterator

from . import gateway_measures
from .arena import Arena, Side, steady
from .scale import PER_CONFERENCE, STEP, WARM, Scale, Subject
from .servers import Floor, Gateway, Server
from .table import Ratio, Row


def _beats(arena: Arena, scale: Scale) -> dict[str, Ratio]:
    """Saturated: a closed loop over all connections, at most 1,000 heartbeats outstanding."""

    def act(side: Side) -> tuple[float, float, float]:
        phase, cpu = side.phase(saturate=min(side.load.held, 1000), seconds=scale.window)
        return cpu / phase.acks * 1e6, phase.acks / phase.seconds, phase.cpu / phase.seconds

    arena.turns(1, act)
    floor, subject, twin = arena.turns(scale.rounds, act)
    return {
        name: Ratio.of([x[i] for x in floor], [x[i] for x in subject], [x[i] for x in twin], cost=name == "cpu")
        for i, name in enumerate(("cpu", "rate", "load"))
    }


def beats(arena: Arena, subject: Subject, scale: Scale) -> Iterator[Row]:
    """CPU per heartbeat and heartbeats per second at the size the arena has."""
    size = arena.sides[1].load.held
    found, note = steady(f"{subject.name} beats {size:,}", lambda: _beats(arena, scale), "cpu", scale.attempts)
    cpu, rate, load = found["cpu"], found["rate"], found["load"]
    note = ", ".join(part for part in (note, f"load side {load.subject:.0%} busy") if part)
    yield Row(f"CPU per beat, {size:,}", subject.name, cpu.subject, cpu.floor, "µs", cpu.ratio, "higher", cpu.twin,
              subject.aim("beats"), note)  # fmt: skip
    yield Row(f"beats/s, {size:,}", subject.name, rate.subject, rate.floor, "/s", rate.ratio, "higher", rate.twin)


def connects(arena: Arena, subject: Subject, scale: Scale) -> Iterator[Row]:
    """From `connect` to `welcome`, 1,000 a turn, at most 64 unfinished, up to all."""
    size = scale.sizes[1]

    def act(side: Side) -> tuple[float, float]:
        phase, cpu = side.phase(open=STEP, window=64)
        return cpu / phase.opened * 1e6, phase.opened / phase.open_seconds

    def measure() -> dict[str, Ratio]:
        if arena.sides[0].load.held >= size:
            arena.shrink(STEP)
        floor, subject_, twin = arena.turns((size - arena.sides[0].load.held) // STEP, act)
        return {
            name: Ratio.of([x[i] for x in floor], [x[i] for x in subject_], [x[i] for x in twin], cost=name == "cpu")
            for i, name in enumerate(("cpu", "rate"))
        }

    found, note = steady(f"{subject.name} connects", measure, "cpu", scale.attempts)
    cpu, rate = found["cpu"], found["rate"]
    yield Row("CPU per connect", subject.name, cpu.subject, cpu.floor, "µs", cpu.ratio, "higher", cpu.twin,
              subject.aim("connects"), note)  # fmt: skip
    yield Row("connects/s", subject.name, rate.subject, rate.floor, "/s", rate.ratio, "higher", rate.twin,
              subject.aim("connects"))  # fmt: skip


def latency(arena: Arena, subject: Subject, scale: Scale) -> Iterator[Row]:
    """Ack latency at a steady pace over all connections."""
    for pace in scale.paces:

        def act(side: Side, pace: int = pace) -> tuple[float, float]:
            phase, _ = side.phase(pace=pace, seconds=scale.latency_seconds)
            return phase.p50, phase.p99

        floor, subject_, twin = arena.turns(scale.latency_rounds, act)
        for i, name in enumerate(("p50", "p99")):
            r = Ratio.of([x[i] for x in floor], [x[i] for x in subject_], [x[i] for x in twin], cost=False)
            yield Row(f"ack {name}, {pace:,}/s", subject.name, r.subject, r.floor, "µs", r.ratio, "lower", r.twin)


def zero(subject: Subject, scale: Scale) -> Iterator[Row]:
    """From SIGKILL of the client program to a count of 0; the gateway's clients are in conferences of ten."""
    size, join = scale.sizes[1], PER_CONFERENCE if subject.ours else 0

    def death(side: Side) -> float:
        side.load.grow(size)
        side.server.wait_for(size)
        start = time.monotonic()
        side.load.kill()
        side.server.wait_for(0)
        passed = time.monotonic() - start
        side.load = side.server.load(join=join if side is arena.sides[1] else 0)
        return passed

    with Arena(subject.start, join=join) as arena:
        r = Ratio.of(*arena.turns(scale.deaths, death), cost=False)
    yield Row(f"{size:,} killed, to zero", subject.name, r.subject, r.floor, "s", r.ratio, "lower", r.twin,
              subject.aim("zero"))  # fmt: skip


def _memory(start: Callable[[], Server], size: int, *, join: int = 0, accounts: bool = False) -> float:
    """Bytes per idle connection between 500 connections and `size`."""
    with start() as server, server.load(join=join, accounts=accounts) as load:
        load.grow(WARM)
        before = server.memory()
        load.grow(size)
        return (server.memory() - before) / (size - WARM)


@functools.cache
def _floor_memory(size: int) -> float:
    return _memory(Floor, size)


def memory(subject: Subject, scale: Scale) -> Iterator[Row]:
    """User-space memory per idle connection: welcomed, and for the gateway in conferences, without and with shadows."""
    size = scale.sizes[1]
    floor = _floor_memory(size)
    kinds: list[tuple[str, str, Callable[[], float]]] = []
    if subject.ours:
        transport = subject.name.rpartition(" ")[2]

        def bare() -> Server:
            return Gateway(transport, ["license.shadow=[]"])

        def shadowed() -> Server:
            return Gateway(transport)

        kinds = [
            ("welcomed, no shadow", "", lambda: _memory(bare, size)),
            ("in a conference, no shadow", "≤ 1.6", lambda: _memory(bare, size, join=PER_CONFERENCE)),
            ("in a conference, all shadow", "", lambda: _memory(shadowed, size, join=PER_CONFERENCE)),
            ("same with account, device", "≤ 2.6", lambda: _memory(shadowed, size, join=PER_CONFERENCE, accounts=True)),
        ]
    else:
        kinds = [("welcomed", "", lambda: _memory(subject.start, size))]
    for name, aim, act in kinds:
        each = act()
        yield Row(f"memory, {name}", subject.name, each / 1024, floor / 1024, "KB", each / floor, "lower", aim=aim)


def compare(subject: Subject, scale: Scale, chosen: set[str]) -> Iterator[Row]:
    """All chosen measures of one subject."""
    small, full = scale.sizes
    if chosen & {"beats", "connects"} or (subject.ours and "latency" in chosen):
        with Arena(subject.start) as arena:
            arena.grow(small)
            if "beats" in chosen:
                yield from beats(arena, subject, scale)
            if "connects" in chosen:
                yield from connects(arena, subject, scale)
            arena.grow(full)
            if "beats" in chosen:
                yield from beats(arena, subject, scale)
            if subject.ours and "latency" in chosen:
                yield from latency(arena, subject, scale)
    if "memory" in chosen:
        yield from memory(subject, scale)
    if "zero" in chosen:
        yield from zero(subject, scale)
    if subject.ours:
        yield from gateway_measures.compare(subject, scale, chosen)
