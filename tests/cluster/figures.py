"""What a cluster costs on this machine: two gateways, three members of etcd, the load beside them.

    python -m tests.cluster.figures [NAME ...]

Each NAME is a measure of its own, and takes 20 to 90 seconds; without any, all are made. Everything runs on the same
cores, the load too, so these are figures of a small machine that is full.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import http.client
import json
import os
import re
import resource
import signal
import statistics
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

from tests.bench.load import Fault, Load, Phase
from tests.bench.servers import Gateway
from tests.etcd import Members, write_secret
from tests.polling import wait_until

VISITORS = 1000
"""Connections of each gateway that join and leave."""
HELD = 15_000
"""Connections of each gateway, as many as one process may open here."""
RETURNING = 5000
"""Connections of each gateway that reconnect at once."""
DIED = 10
"""Seconds of patience with a gateway that is killed, where it is not that of the default."""
SECONDS = 8.0


class Node(Gateway):
    """A gateway of a cluster, which answers once its doors are open."""

    def _is_ready(self) -> bool:
        return super()._is_ready() and bool(json.loads(self._file.read_text()).get(self.transport))

    def _get(self, path: str) -> str:
        if self._operator is not None:
            self._operator.close()  # the gateway ends one that was idle for long
        return super()._get(path)

    def used(self) -> int:
        """Seats that are taken in its view."""
        found: int = json.loads(self._get("/api/license"))["models"]["epop"]["pools"]["concurrent"]["used"]
        return found

    def sockets(self) -> int:
        """Connections at its port that the kernel has."""
        local = f"0100007F:{self.port:04X}"
        lines = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
        return len({line[2] for line in lines if line[1] == local and line[3] == "01"})


class Stage:
    """Two gateways `a` and `b` over three members; each `load` is a process of its own."""

    def __init__(self, stack: contextlib.ExitStack, *settings: str) -> None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tallygate-figures-")))
        self.members = Members(folder)
        stack.callback(self.members.stop)
        self.members.start()
        urls = ",".join(f'"{url}"' for url in self.members.urls)
        common = (f"cluster.etcd=[{urls}]", f"cluster.secret_file={write_secret(folder)}", "license.epop.users=100000")
        self.a, self.b = (
            stack.enter_context(Node(settings=(*common, f"cluster.name={name}", *settings))) for name in ("a", "b")
        )
        self._stack = stack
        self._threads = stack.enter_context(concurrent.futures.ThreadPoolExecutor())

    def load(self, node: Gateway, source: int, *, resume: bool = False) -> Load:
        """Connect a load program to a gateway."""
        return self._stack.enter_context(node.load(source=source, resume=resume))

    def both(self, loads: list[Load], **plan: float) -> list[Phase]:
        """Run one phase on all loads at once."""
        return self.at_once(loads, lambda load: load.run(**plan))

    def at_once(self, loads: list[Load], act: Callable[[Load], Phase]) -> list[Phase]:
        """Do something with all loads at once."""
        return list(self._threads.map(act, loads))

    def beside(self, act: Callable[[], Phase]) -> concurrent.futures.Future[Phase]:
        """Run a phase while something else goes on."""
        return self._threads.submit(act)

    def bare_puts(self, number: int) -> tuple[float, float]:
        """Return p50 and p99 of puts in milliseconds, one after the other through one member."""
        key, took = b64encode(b"bare").decode(), []
        connection = http.client.HTTPConnection(self.members.urls[0].removeprefix("http://"))
        body = json.dumps({"key": key, "value": b64encode(bytes(200)).decode()})
        for _ in range(number):
            began = time.monotonic()
            connection.request("POST", "/v3/kv/put", body)
            connection.getresponse().read()
            took.append((time.monotonic() - began) * 1000)
        connection.close()
        return statistics.median(took), sorted(took)[int(len(took) * 0.99)]


def told(name: str, value: str) -> None:
    """Print one figure."""
    print(f"{name:<58} {value}", flush=True)


def _worst(phases: list[Phase]) -> str:
    return ", ".join(
        f"p50 {each.join_p50 / 1000:.1f} p99 {each.join_p99 / 1000:.1f} max {each.join_max / 1000:.0f} ms"
        for each in phases
    )


def joins() -> None:
    """Joins at a steady pace over both gateways, as many leaves beside them, and how many there can be."""
    with contextlib.ExitStack() as stack:
        stage = Stage(stack, "cluster.share=100000")
        told("a bare put of etcd, one at a time", "p50 {:.1f} p99 {:.1f} ms".format(*stage.bare_puts(500)))
        loads = [stage.load(node, place + 1) for place, node in enumerate((stage.a, stage.b))]
        stage.both(loads, open=VISITORS, window=64)
        for pace in (200, 2000):
            cpu = [node.cpu() for node in (stage.a, stage.b)]
            phases = stage.both(loads, visit_pace=pace / 2, seconds=SECONDS)
            busy = [(node.cpu() - before) / SECONDS for node, before in zip((stage.a, stage.b), cpu, strict=True)]
            rate = sum(each.joined for each in phases) / SECONDS
            told(f"{pace:,} joins/s and as many leaves, over both", _worst(phases))
            told("  joins/s that were answered; CPU of each gateway", f"{rate:,.0f}; {busy[0]:.0%}, {busy[1]:.0%}")
        phases = stage.both(loads, visits=500, seconds=SECONDS)
        decided = 2 * sum(each.joined / each.seconds for each in phases)
        told("decisions/s, 500 visits at a time at each gateway", f"{decided:,.0f}")


def leader() -> None:
    """How long nobody is answered when the leader of etcd is killed."""
    with contextlib.ExitStack() as stack:
        stage = Stage(stack)
        loads = [stage.load(node, place + 1) for place, node in enumerate((stage.a, stage.b))]
        stage.both(loads, open=VISITORS, window=64)
        pauses = []
        for _ in range(3):
            phases = stage.beside(lambda: loads[0].attempt(visit_pace=50, seconds=8))
            others = stage.beside(lambda: loads[1].attempt(visit_pace=50, seconds=8))
            time.sleep(2)  # the load runs for a while with a leader, and is then measured without
            killed = stage.members.leader()
            stage.members.kill(killed)
            done = [phases.result(), others.result()]
            pauses.append(max(each.join_max for each in done) / 1e6)
            told(
                "  leader killed: joins, clients lost or refused", f"{_worst(done)}; {sum(each.lost for each in done)}"
            )
            stage.members.start(killed)
            time.sleep(2)  # three members again, that no leader is missed for another reason
        told("longest answer when the leader is killed, three times", ", ".join(f"{each:.1f} s" for each in pauses))


def death() -> None:
    """When the seats of a gateway that was killed are free, and what the others notice of 15,000 that end."""
    with contextlib.ExitStack() as stack:
        stage = Stage(stack)
        loads = [stage.load(node, place + 1) for place, node in enumerate((stage.a, stage.b))]
        stage.both(loads, open=VISITORS, window=64)
        loads[1].run(joins=64)
        before = stage.a.used()
        stage.b.process.send_signal(signal.SIGKILL)
        began = time.monotonic()
        wait_until(lambda: not stage.a.used(), 60, lambda: Fault("seats are not free"))
        told(f"{before:,} seats of a gateway that was killed are free after", f"{time.monotonic() - began:.1f} s")


def end() -> None:
    """Acknowledgments of heartbeats at a gateway while 15,000 sessions of another one end."""
    with contextlib.ExitStack() as stack:
        stage = Stage(stack, f"cluster.patience={DIED}s", "cluster.share=100000")
        loads = [stage.load(node, place + 1) for place, node in enumerate((stage.a, stage.b))]
        loads[0].grow(VISITORS)
        loads[1].grow(HELD)
        quiet = loads[0].run(pace=500, seconds=SECONDS)
        stage.b.process.send_signal(signal.SIGKILL)
        busy = loads[0].run(pace=500, seconds=DIED + 6)
        left = stage.a.connections()
        for name, each in (("before", quiet), (f"while {HELD:,} sessions end, {left:,} left", busy)):
            told(
                f"heartbeats {name}",
                f"p50 {each.p50 / 1000:.2f} p99 {each.p99 / 1000:.1f} max {each.max / 1000:.0f} ms",
            )


def flood() -> None:
    """Joins at one gateway while 1,000 clients flood the other one."""
    with contextlib.ExitStack() as stack:
        stage = Stage(stack)
        loads = [stage.load(node, place + 1) for place, node in enumerate((stage.a, stage.b))]
        stage.both(loads, open=VISITORS, window=64)
        quiet = loads[1].run(visit_pace=100, seconds=SECONDS)
        flooding = stage.beside(lambda: loads[0].attempt(visits=VISITORS, seconds=SECONDS + 1))
        time.sleep(1)  # the flood is under way when the others are measured
        busy = loads[1].attempt(visit_pace=100, seconds=SECONDS - 1)
        done = flooding.result()
        told("100 joins/s at one gateway", _worst([quiet]))
        told(f"  while {VISITORS:,} clients flood the other one", f"{_worst([busy])}; {busy.refused} refused")
        told(
            "  joins/s of those, and refusals/s",
            f"{done.joined / done.seconds:,.0f}, {done.refused / done.seconds:,.0f}",
        )


def beats() -> None:
    """Heartbeats of a gateway of a cluster beside one that is alone, alive at the same time."""
    with contextlib.ExitStack() as stack:
        stage = Stage(stack)
        alone = [stack.enter_context(Gateway()) for _ in range(2)]
        servers: list[Gateway] = [alone[0], stage.a, alone[1]]
        loads = [stage.load(server, place + 1) for place, server in enumerate(servers)]
        for load in loads:
            load.grow(4000)
        cost: list[list[float]] = [[], [], []]
        for turn in range(25):
            for place in (0, 1, 2) if turn % 2 else (2, 1, 0):
                before = servers[place].cpu()
                phase = loads[place].run(saturate=1000, seconds=0.5)
                if turn:
                    cost[place].append((servers[place].cpu() - before) / phase.acks)
        ratios = [statistics.median(a / b for a, b in zip(cost[0], other, strict=True)) for other in cost[1:]]
        told("CPU of a heartbeat alone / in a cluster", f"{ratios[0]:.3f}")
        told("  the same, alone / alone", f"{ratios[1]:.3f}")


def memory() -> None:
    """Memory and truth of two gateways that hold 30,000 connections, and a storm of 10,000 that reconnect."""
    with contextlib.ExitStack() as stack:
        stage = Stage(stack, "cluster.share=100000")
        nodes = (stage.a, stage.b)
        loads = [stage.load(node, place + 1, resume=True) for place, node in enumerate(nodes)]
        empty = [node.memory() for node in nodes]
        began = time.monotonic()
        phases = stage.both(loads, open=HELD, window=64, limit=120)
        told(f"{2 * HELD:,} connections at two gateways, opened in", f"{time.monotonic() - began:.1f} s")
        told("  hello to welcome", ", ".join(f"p99 {each.welcome_p99 / 1000:.0f} ms" for each in phases))
        _truth(stage)
        full = [node.memory() for node in nodes]
        told("memory of each gateway, empty and full", ", ".join(
            f"{before / 1e6:.0f} and {after / 1e6:.0f} MB" for before, after in zip(empty, full, strict=True)
        ))  # fmt: skip
        told("  for each connection that a gateway has", ", ".join(
            f"{(after - before) / HELD / 1024:.1f} KB" for before, after in zip(empty, full, strict=True)
        ))  # fmt: skip
        for load in loads:
            load.shrink(RETURNING)
        stage.a.wait_for(2 * RETURNING)
        for load in loads:
            load.reset()
        began = time.monotonic()
        first = stage.at_once(loads, _come_back)
        told(
            f"{2 * RETURNING:,} clients reconnect at both at once, all welcome in", f"{time.monotonic() - began:.1f} s"
        )
        told(
            "  connect to welcome at the first attempt",
            ", ".join(f"p99 {each.welcome_p99 / 1000:,.0f} ms" for each in first),
        )
        told("  had to come again", f"{sum(each.failed for each in first):,}")
        _truth(stage)


def _come_back(load: Load) -> Phase:
    """Connect all at once, and who was refused a second later again; returns the first attempt."""
    first = load.attempt(open=RETURNING, window=RETURNING, limit=60)

    def are_back() -> bool:
        if load.held < RETURNING:
            load.attempt(open=RETURNING - load.held, window=RETURNING, limit=60)
        return load.held >= RETURNING

    wait_until(are_back, 60, lambda: Fault(f"{load.held} of {RETURNING} are back"), every=1.0)
    return first


def _truth(stage: Stage) -> None:
    """Compare what both gateways count with what the kernel has."""
    time.sleep(1.5)  # longer than the gateways take to see who has gone, which nothing tells
    counted = [node.connections() for node in (stage.a, stage.b)]
    sockets = stage.a.sockets() + stage.b.sockets()
    scraped = [_license_lines(node.scrape()) for node in (stage.a, stage.b)]
    told("  sessions counted at each, sockets of the kernel, drift", f"{counted}, {sockets}, {counted[0] - sockets}")
    told("  license metrics of both scrapes are the same", str(scraped[0] == scraped[1]))


def _license_lines(scrape: str) -> list[str]:
    return [line for line in scrape.splitlines() if re.match(r"tallygate_license_(used|limit|grants)", line)]


MEASURES: dict[str, Callable[[], None]] = {
    each.__name__: each for each in (joins, leader, death, end, flood, beats, memory)
}


def main() -> None:
    """Make the measures that are named."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.cluster.figures", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MEASURES))
    names: list[str] = parser.parse_args().names
    if unknown := [name for name in names if name not in MEASURES]:
        parser.error(f"there is no measure {unknown[0]}: {', '.join(MEASURES)}")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    told("machine", f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    for name in names or MEASURES:
        print(f"-- {name}: {(MEASURES[name].__doc__ or '').splitlines()[0]}", flush=True)
        MEASURES[name]()


if __name__ == "__main__":
    main()
