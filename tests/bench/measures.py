"""What is measured: one function per measure, each yielding rows of the table.

`compare` lives one arena through: connects while it grows, heartbeats at each size, ack latency, and the death of all
clients. The others need servers of their own: `memory` fresh ones, `storm` a half full one, `scrape` a small and a
large gateway.
"""

import contextlib
import json
import socket
import sqlite3
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from .arena import Arena, Side, say, steady
from .load import Agents, Fault, Phase
from .servers import Floor, Gateway, Registrar, Server
from .table import Ratio, Row

STEP = 1000  # connections opened in one turn
WARM = 500  # connections before memory is first read
PER_CONFERENCE = 10


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured: connections, seconds of a window, turns."""

    sizes: tuple[int, int] = (1000, 15000)
    window: float = 0.5
    rounds: int = 12
    latency_seconds: float = 2.0
    latency_rounds: int = 4
    storm: tuple[int, int] = (5000, 9500)
    storms: int = 5
    deaths: int = 5
    scrapes: int = 200
    agents: int = 2000
    check_seconds: float = 2.0
    check_rounds: int = 8


QUICK = Scale(
    sizes=(1000, 5000), window=0.3, rounds=6, latency_seconds=1.0, latency_rounds=2, storm=(2000, 4000), storms=2,
    deaths=1, scrapes=50, agents=1000, check_seconds=1.0, check_rounds=4,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Subject:
    """What is compared with the floor; `ours` gets aims, and the measures that only a gateway can show."""

    name: str
    start: Callable[[], Server]
    ours: bool = False
    aims: tuple[tuple[str, str], ...] = ()

    def aim(self, measure: str) -> str:
        """What the project wants of this measure, empty for a peer."""
        return dict(self.aims).get(measure, "")


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
    found, note = steady(f"{subject.name} beats {size:,}", lambda: _beats(arena, scale), "cpu")
    cpu, rate, load = found["cpu"], found["rate"], found["load"]
    note = ", ".join(part for part in (note, f"load side {load.subject:.0%} busy") if part)
    yield Row(f"CPU per beat, {size:,}", subject.name, cpu.subject, cpu.floor, "µs", cpu.ratio, "higher", cpu.twin,
              subject.aim("beats"), note)  # fmt: skip
    yield Row(f"beats/s, {size:,}", subject.name, rate.subject, rate.floor, "/s", rate.ratio, "higher", rate.twin)


def connects(arena: Arena, subject: Subject, size: int) -> Iterator[Row]:
    """From `connect` to `welcome`, 1,000 a turn, at most 64 unfinished, up to `size` connections."""

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

    found, note = steady(f"{subject.name} connects", measure, "cpu")
    cpu, rate = found["cpu"], found["rate"]
    yield Row("CPU per connect", subject.name, cpu.subject, cpu.floor, "µs", cpu.ratio, "higher", cpu.twin,
              subject.aim("connects"), note)  # fmt: skip
    yield Row("connects/s", subject.name, rate.subject, rate.floor, "/s", rate.ratio, "higher", rate.twin,
              subject.aim("connects"))  # fmt: skip


def latency(arena: Arena, subject: Subject, scale: Scale) -> Iterator[Row]:
    """Ack latency at a steady pace over all connections."""
    for pace in (3000, 10000):

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


def storm(subject: Subject, scale: Scale) -> Iterator[Row]:
    """Ack p99 of clients that beat once a second while others connect all at once."""
    beating, more = scale.storm

    def act(side: Side) -> tuple[float, float]:
        phase, _ = side.phase(open=more, window=more, pace=beating)
        side.load.shrink(beating)
        side.server.wait_for(beating)
        return phase.p99 / 1000, phase.open_seconds

    for backlog, storms in ((4096, scale.storms), (100, 2)):  # the second takes half a minute each
        with Arena(subject.start, backlog=backlog) as arena:
            arena.grow(beating)
            floor, subject_, twin = arena.turns(storms, act)
        r = Ratio.of([x[0] for x in floor], [x[0] for x in subject_], [x[0] for x in twin], cost=False)
        took = [statistics.median(x[1] for x in side) for side in (floor, subject_)]
        same = backlog == 4096  # the twin's; the aim is held against the same queue
        yield Row(f"ack p99, {more:,} connect, floor backlog {backlog}", subject.name, r.subject, r.floor, "ms",
                  r.ratio, "lower", r.twin if same else None, subject.aim("storm") if same else "",
                  f"storm took {took[1]:.2f} s, floor {took[0]:.2f} s")  # fmt: skip


def _memory(start: Callable[[], Server], size: int, *, join: int = 0, accounts: bool = False) -> float:
    """Bytes per idle connection between 500 connections and `size`."""
    with start() as server, server.load(join=join, accounts=accounts) as load:
        load.grow(WARM)
        before = server.memory()
        load.grow(size)
        return (server.memory() - before) / (size - WARM)


def memory(subject: Subject, scale: Scale) -> Iterator[Row]:
    """User-space memory per idle connection: welcomed, and for the gateway in conferences, without and with shadows."""
    size = scale.sizes[1]
    floor = _memory(Floor, size)
    kinds: list[tuple[str, str, Callable[[], float]]] = []
    if subject.ours:
        transport = subject.name.rpartition(" ")[2]

        def bare() -> Server:
            return Gateway(transport, ["license.shadow=[]"])

        def shadowed() -> Server:
            return Gateway(transport)

        kinds = [
            ("welcomed, no shadow", "", lambda: _memory(bare, size)),
            ("in a conference, no shadow", "≤ 2.5", lambda: _memory(bare, size, join=PER_CONFERENCE)),
            ("in a conference, all shadow", "≤ 4", lambda: _memory(shadowed, size, join=PER_CONFERENCE)),
            ("same with account, device", "", lambda: _memory(shadowed, size, join=PER_CONFERENCE, accounts=True)),
        ]
    else:
        kinds = [("welcomed", "", lambda: _memory(subject.start, size))]
    for name, aim, act in kinds:
        each = act()
        yield Row(f"memory, {name}", subject.name, each / 1024, floor / 1024, "KB", each / floor, "lower", aim=aim)


def scrape(subject: Subject, scale: Scale) -> Iterator[Row]:
    """Time of GET /metrics with 10 connections (here in the column of the floor, twice) and with all of them."""
    size = scale.sizes[1]
    with ExitStack() as stack:
        gateways = [stack.enter_context(Gateway()) for _ in range(3)]
        for i, (gateway, held) in enumerate(zip(gateways, (10, size, 10), strict=True)):
            stack.enter_context(gateway.load(join=PER_CONFERENCE, source=i + 1)).grow(held)
            gateway.scrape()
        times: list[list[float]] = [[], [], []]
        cpus: list[list[float]] = [[], [], []]
        for turn in range(scale.scrapes):
            for i in range(3) if turn % 2 == 0 else range(2, -1, -1):
                gateway = gateways[i]
                cpu, start = gateway.cpu(), time.perf_counter()
                gateway.scrape()
                times[i].append((time.perf_counter() - start) * 1000)
                cpus[i].append((gateway.cpu() - cpu) * 1000)
    for name, samples in (("time", times), ("CPU", cpus)):
        small, large, twin = (statistics.median(side) for side in samples)
        yield Row(f"scrape {name}, {size:,} against 10", subject.name, large, small, "ms", large / small, "lower",
                  twin / small, subject.aim("scrape"))  # fmt: skip


def leases(subject: Subject, scale: Scale) -> Iterator[Row]:
    """Distinct accounts join under trueconf: `joined` is a license on the disk. Beside it, without a file to sync."""
    size = min(scale.sizes[1], 10000)
    window = 128
    found: dict[str, list[Phase]] = {"file": [], "memory": []}
    commits: list[float] = []
    for store in ("file", "memory") * scale.storms:
        settings = ["license.model=trueconf", *(["store.path=:memory:"] if store == "memory" else [])]
        with Gateway(settings=settings) as gateway, gateway.load(accounts=True) as load:
            load.grow(size)
            before = gateway.metric("tallygate_store_commit_seconds_count")
            phase = load.run(joins=window)
            if store == "file":
                made = gateway.metric("tallygate_store_commit_seconds_count") - before
                commits.append(made / phase.join_seconds)
        found[store].append(phase)
    rates = [statistics.median(each.joined / each.join_seconds for each in side) for side in found.values()]
    p99s = [statistics.median(each.join_p99 / 1000 for each in side) for side in found.values()]
    yield Row("durable joins/s", subject.name, rates[0], rates[1], "/s", rates[0] / rates[1], "higher", None,
              subject.aim("leases"), f"{statistics.median(commits):.0f} commits/s; floor: store in memory")  # fmt: skip
    yield Row(f"joined p99, {window} unanswered", subject.name, p99s[0], p99s[1], "ms", p99s[0] / p99s[1], "lower")


def stall(subject: Subject, scale: Scale) -> Iterator[Row]:
    """Ack p99 while a join waits for a disk that does not answer for 3 s; beside it with a disk that does."""
    pace, seconds = 5000, 3.0
    p99s: dict[bool, list[float]] = {False: [], True: []}
    with Gateway(settings=["license.model=trueconf"]) as gateway, gateway.load(accounts=True) as load:
        load.grow(pace)
        load.run(joins=512)
        for turn in range(2 * scale.latency_rounds):
            stalls = turn % 2 == 1
            with contextlib.ExitStack() as stack:
                if stalls:
                    lock = stack.enter_context(contextlib.closing(sqlite3.connect(gateway.store, isolation_level=None)))
                    lock.execute("BEGIN IMMEDIATE")
                    stack.enter_context(waiting_join(gateway.port, f"stalled{turn}"))
                p99s[stalls].append(load.run(pace=pace, seconds=seconds).p99)
    with_disk, without = (statistics.median(p99s[stalls]) for stalls in (False, True))
    yield Row(f"ack p99, disk stalls {seconds:g} s", subject.name, without, with_disk, "µs", without / with_disk,
              "lower", None, subject.aim("stall"), "floor: the disk answers")  # fmt: skip


@contextlib.contextmanager
def waiting_join(port: int, account: str) -> Iterator[None]:
    """A client that asks for a license, and is answered only after the block."""
    with socket.create_connection(("127.0.0.1", port)) as client, client.makefile("rw") as lines:
        for message in (
            {"type": "hello", "protocol": 1, "account": account},
            {"type": "join", "conference": account},
        ):
            lines.write(json.dumps(message) + "\n")
            lines.flush()
        lines.readline()
        yield
        client.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            raise Fault(f"a join was answered while the disk stalled: {client.recv(4096).decode()}")


def registrar(scale: Scale) -> Iterator[Row]:
    """Agents that have their licenses verified each second, each with a ticket on the disk; beside it, bare lines."""
    name, size = "tallygate registrar", scale.agents
    with ExitStack() as stack:
        service = stack.enter_context(Registrar(size))
        sides: list[tuple[Server, Agents]] = []
        grown: list[float] = []
        for server, keys in ((Floor(), None), (service, service.keys), (Floor(), None)):
            if server is not service:
                stack.enter_context(server)
            agents = stack.enter_context(Agents(server.port, keys))
            agents.grow(WARM)
            before = server.memory()
            agents.grow(size)
            grown.append((server.memory() - before) / (size - WARM))
            sides.append((server, agents))
        commits: list[float] = []

        def act(server: Server, agents: Agents) -> tuple[float, ...]:
            made, before = service.metric("tallygate_store_commit_seconds_count"), server.cpu()
            checks = agents.run(scale.check_seconds)
            cpu = server.cpu() - before
            if server is service:
                made = service.metric("tallygate_store_commit_seconds_count") - made
                commits.append(made / checks.seconds)
            took, rate = cpu / checks.answers * 1e6, checks.answers / checks.seconds
            return took, rate, checks.p50, checks.p99, checks.cpu / checks.seconds, cpu / checks.seconds

        def measure() -> dict[str, Ratio]:
            results: tuple[list[tuple[float, ...]], ...] = ([], [], [])
            for turn in range(scale.check_rounds):
                for i in range(3) if turn % 2 == 0 else range(2, -1, -1):
                    results[i].append(act(*sides[i]))
            return {
                key: Ratio.of(*([each[i] for each in side] for side in results), cost=key == "cpu")
                for i, key in enumerate(("cpu", "rate", "p50", "p99", "load", "busy"))
            }

        found, note = steady(f"{name} {size:,}", measure, "cpu")
    cpu, rate, load, busy = (found[key] for key in ("cpu", "rate", "load", "busy"))
    note = ", ".join(part for part in (note, f"load side {load.subject:.0%} busy") if part)
    yield Row(f"CPU per check, {size:,} agents", name, cpu.subject, cpu.floor, "µs", cpu.ratio, "higher", cpu.twin,
              "", note)  # fmt: skip
    yield Row("checks/s, one each second", name, rate.subject, rate.floor, "/s", rate.ratio, "higher", rate.twin, "",
              f"{busy.subject:.0%} of a core, {statistics.median(commits):.0f} commits/s")  # fmt: skip
    for key, note in (("p50", "an answer waits for the disk"), ("p99", "")):
        r = found[key]
        yield Row(f"answer {key}", name, r.subject / 1000, r.floor / 1000, "ms", r.ratio, "lower", r.twin, "", note)
    floor, each, twin = grown
    yield Row("memory, registered agent", name, each / 1024, floor / 1024, "KB", each / floor, "lower", twin / floor)


def compare(subject: Subject, scale: Scale, chosen: set[str]) -> Iterator[Row]:
    """One arena's life: heartbeats when small, connects while it grows, heartbeats and latency when full."""
    small, full = scale.sizes
    if chosen & {"beats", "connects"} or (subject.ours and "latency" in chosen):
        with Arena(subject.start) as arena:
            arena.grow(small)
            if "beats" in chosen:
                yield from beats(arena, subject, scale)
            if "connects" in chosen:
                yield from connects(arena, subject, full)
            arena.grow(full)
            if "beats" in chosen:
                yield from beats(arena, subject, scale)
            if subject.ours and "latency" in chosen:
                yield from latency(arena, subject, scale)
    if "memory" in chosen:
        yield from memory(subject, scale)
    if subject.ours and "storm" in chosen:
        yield from storm(subject, scale)
    if subject.ours and "zero" in chosen:
        yield from zero(subject, scale)
    if subject.ours and subject.name.endswith("tcp") and "scrape" in chosen:
        yield from scrape(subject, scale)
    if subject.ours and subject.name.endswith("tcp") and "leases" in chosen:
        yield from leases(subject, scale)
    if subject.ours and subject.name.endswith("tcp") and "stall" in chosen:
        yield from stall(subject, scale)
    if subject.ours and subject.name.endswith("tcp") and "registrar" in chosen:
        yield from registrar(scale)
    say(f"  {subject.name}: done")
