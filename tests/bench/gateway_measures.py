"""What only a gateway can show: storms, those who come back, scrapes, durable leases, a stalled disk, a registrar."""

import contextlib
import json
import socket
import sqlite3
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

from .arena import Arena, Side, steady
from .load import Agents, Fault, Load, Phase
from .scale import PER_CONFERENCE, TCP_ONLY, WARM, Scale, Subject
from .servers import Floor, Gateway, Registrar, Server
from .table import Ratio, Row

Measure = Callable[[Subject, Scale], Iterator[Row]]


def storm(subject: Subject, scale: Scale) -> Iterator[Row]:
    """Ack p99 of clients that beat once a second while others connect all at once."""
    beating, more = scale.storm

    def act(side: Side) -> tuple[float, float]:
        phase, _ = side.phase(open=more, window=more, pace=beating)
        side.load.shrink(beating)
        side.server.wait_for(beating)
        return phase.p99 / 1000, phase.open_seconds

    for backlog, storms in ((4096, scale.storms), (100, scale.slow_storms)):  # the second takes half a minute each
        if not storms:
            continue
        with Arena(subject.start, backlog=backlog) as arena:
            arena.grow(beating)
            floor, subject_, twin = arena.turns(storms, act)
        r = Ratio.of([x[0] for x in floor], [x[0] for x in subject_], [x[0] for x in twin], cost=False)
        took = [statistics.median(x[1] for x in side) for side in (floor, subject_)]
        same = backlog == 4096  # the twin's; the aim is held against the same queue
        yield Row(f"ack p99, {more:,} connect, floor backlog {backlog}", subject.name, r.subject, r.floor, "ms",
                  r.ratio, "lower", r.twin if same else None, subject.aim("storm") if same else "",
                  f"storm took {took[1]:.2f} s, floor {took[0]:.2f} s")  # fmt: skip


def returns(subject: Subject, scale: Scale) -> Iterator[Row]:
    """All connections are reset, and all clients come back to their sessions; then others take their devices over.

    The floor's clients connect again. Every client is in a conference of ten, with an account and a device of its own.
    """
    size, transport = scale.sizes[1], subject.name.rpartition(" ")[2]

    def connect(server: Server, load: Load) -> tuple[float, float]:
        before = server.cpu()
        phase = load.run(open=size, window=64)
        held = server.connections()
        if held != size:
            raise Fault(f"{held} sessions after {size} clients came back")
        return (server.cpu() - before) / phase.opened * 1e6, phase.opened / phase.open_seconds

    resumed: tuple[list[tuple[float, float]], ...] = ([], [], [])
    taken: tuple[list[tuple[float, float]], ...] = ([], [], [])
    with ExitStack() as stack:
        gateway = Gateway(transport, ["heartbeat.resume_window=300s"])
        sides = [(Floor(4096), False), (gateway, True), (Floor(4096), False)]
        servers = [stack.enter_context(server) for server, _ in sides]
        loads = [
            stack.enter_context(server.load(join=PER_CONFERENCE if ours else 0, accounts=ours, resume=ours))
            for server, ours in sides
        ]
        for load in loads:
            load.grow(size)
        for _ in range(scale.returns):
            for i, (server, load) in enumerate(zip(servers, loads, strict=True)):
                load.reset()
                resumed[i].append(connect(server, load))
        for i, (server, load) in enumerate(zip(servers, loads, strict=True)):
            if server is gateway:
                load = stack.enter_context(server.load(accounts=True))  # noqa: PLW2901
            else:
                load.reset()
            taken[i].append(connect(server, load))
    for name, (floor, mine, twin) in (("resume", resumed), ("takeover", taken)):
        for j, (what, unit) in enumerate((("CPU per", "µs"), ("", "/s"))):
            r = Ratio.of([x[j] for x in floor], [x[j] for x in mine], [x[j] for x in twin], cost=unit == "µs")
            title = f"{what} {name}" if what else f"{name}s/s"
            yield Row(f"{title}, {size:,}", subject.name, r.subject, r.floor, unit, r.ratio, "higher", r.twin,
                      note="floor: connects")  # fmt: skip


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
    for store in ("file", "memory") * scale.lease_rounds:
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
        for turn in range(2 * scale.stall_rounds):
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


def registrar(_: Subject, scale: Scale) -> Iterator[Row]:
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

        found, note = steady(f"{name} {size:,}", measure, "cpu", scale.attempts)
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
    """Those of the chosen measures that are here."""
    measures: dict[str, Measure] = {
        "storm": storm, "returns": returns, "scrape": scrape, "leases": leases, "stall": stall, "registrar": registrar,
    }  # fmt: skip
    for name, measure in measures.items():
        if name in chosen and (name not in TCP_ONLY or subject.name.endswith("tcp")):
            yield from measure(subject, scale)
