"""Leads a load: starts workers, waits until they have connected, holds, compares the counts, and ends them.

The comparison is its purpose: what the gateway counts, less what it counted before, must be what the workers hold. The
difference is the *drift*. It is measured while the load holds, and again after all clients have said `bye`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import Process
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from prometheus_client.parser import text_string_to_metric_families

from gateway.load.tally import Tally
from gateway.load.worker import Plan
from gateway.operator_client import Operator

SETTLE = 3.0
"""Seconds the comparison may take to come out even: a scrape and a report are not of the same instant."""
DISMISS = 30.0
"""Seconds a worker may take to end."""


class LoadError(Exception):
    """The load itself failed; the text is one sentence for a person."""


Gauges = dict[str, int]
"""What is compared: `connections tcp`, `connections websocket`, `conference members`, `sessions`,
`waiting in line`."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The gateway's gauges (less what was there before the load) beside what the load holds."""

    gateway: Gauges
    held: Gauges

    @property
    def drift(self) -> int:
        """The sum of all differences."""
        return sum(abs(self.gateway.get(name, 0) - held) for name, held in self.held.items())


@dataclass(slots=True)
class LoadResult:
    """The result of a load; the comparisons are None where the gateway's operator port was not asked."""

    tally: Tally = field(default_factory=Tally)
    seconds: float = 0.0
    holding: Comparison | None = None
    after: Comparison | None = None
    interrupted: bool = False

    @property
    def good(self) -> bool:
        """Whether nothing was lost, nothing failed and no count drifted. Being denied is no failure."""
        drift = sum(comparison.drift for comparison in (self.holding, self.after) if comparison is not None)
        return not (drift or self.tally.lost.total() or self.tally.errors.total())


async def read_gauges(gateway: Operator) -> Gauges:
    """Return what the gateway counts now.

    Raises `OperatorError`.
    """
    gauges = {"connections tcp": 0, "connections websocket": 0, "conference members": 0, "waiting in line": 0}
    for family in text_string_to_metric_families(await gateway.text("/metrics")):
        for sample in family.samples:
            if sample.name == "tallygate_connections" and sample.labels.get("state") == "open":
                gauges[f"connections {sample.labels.get('transport')}"] += int(sample.value)
            elif sample.name == "tallygate_conference_members":
                gauges["conference members"] += int(sample.value)
            elif sample.name == "tallygate_license_queue_length":
                gauges["waiting in line"] += int(sample.value)
    gauges["sessions"] = await gateway.count("/api/connections/count")
    return gauges


async def read_room(gateway: Operator) -> tuple[int, int]:
    """Return how many more connections the gateway would take now, and how many it takes at all.

    Raises `OperatorError`.
    """
    limit, taken = sys.maxsize, 0
    for family in text_string_to_metric_families(await gateway.text("/metrics")):
        for sample in family.samples:
            if sample.name == "tallygate_connections_limit":
                limit = int(sample.value)
            elif sample.name == "tallygate_connections":
                taken += int(sample.value)
    return limit - taken, limit


class Coordinator:
    """The workers of one load. `run` once."""

    def __init__(self, plans: list[Plan], gateway: Operator | None) -> None:
        """One worker for each plan; without `gateway` nothing is compared."""
        self._plans = plans
        self._gateway = gateway
        self._before: Gauges = {}
        self._workers: list[Process] = []
        self._reports: dict[int, Tally] = {}
        self._phases: dict[int, str] = {}
        self._reported = asyncio.Event()

    async def run(self, duration: float, stop: asyncio.Event, show: Callable[[str, Tally], None]) -> LoadResult:
        """Ramp up, hold for `duration` seconds, compare, say `bye`, compare again.

        `stop` ends the first two early. `show` is told the phase and the sum of all tallies as reports come.
        Raises `OperatorError`, or `LoadError` when the gateway has too few connections left or a worker died.
        """
        outcome = LoadResult()
        loop = asyncio.get_running_loop()
        began = loop.time()
        if self._gateway is not None:
            self._before = await read_gauges(self._gateway)
            wanted, (room, limit) = sum(plan.connections for plan in self._plans), await read_room(self._gateway)
            if wanted > room:
                raise LoadError(f"{wanted} connections are wanted, and the gateway has room for {room} of its {limit}")
        listeners: list[asyncio.Task[None]] = []
        try:
            for number, plan in enumerate(self._plans):
                self._workers.append(await _start(plan))
                listeners.append(asyncio.create_task(self._listen(number, self._workers[number])))
            while not stop.is_set() and not self._all("holding"):
                await self._next_report(stop)
                show("ramping", self.total())
            until = loop.time() + duration
            while not stop.is_set() and loop.time() < until:
                await self._next_report(stop, until - loop.time())
                show("holding", self.total())
            outcome.interrupted = stop.is_set()
            if self._all("holding"):
                outcome.holding = await self._compare()
            outcome.tally = self.total()
            for worker in self._workers:
                _dismiss(worker)
            async with asyncio.timeout(DISMISS):
                while not self._all("done"):
                    await self._next_report()
                    show("leaving", self.total())
            outcome.after = await self._compare()
        except TimeoutError:
            raise LoadError("a process of the load did not end") from None
        finally:
            for worker in self._workers:
                if worker.returncode is None and not self._all("done"):
                    worker.kill()
                await worker.wait()
            await asyncio.gather(*listeners)
        # The last answers come in while the workers leave; what was held is what was held before.
        last = self.total()
        last.open, last.members, last.queued = outcome.tally.open, outcome.tally.members, outcome.tally.queued
        outcome.tally = last
        outcome.seconds = loop.time() - began
        return outcome

    def total(self) -> Tally:
        """All tallies together, as last reported."""
        total = Tally()
        for tally in self._reports.values():
            total.add(tally)
        return total

    def _all(self, phase: str) -> bool:
        return len(self._phases) == len(self._plans) and all(now == phase for now in self._phases.values())

    async def _listen(self, number: int, worker: Process) -> None:
        """Keep the last report of a worker."""
        try:
            async for line in cast(asyncio.StreamReader, worker.stdout):
                report = json.loads(line)
                self._reports[number] = Tally.load(report["tally"])
                self._phases[number] = report["phase"]
                self._reported.set()
        finally:
            if self._phases.get(number) != "done":
                self._phases[number] = "died"
                self._reported.set()

    async def _next_report(self, stop: asyncio.Event | None = None, seconds: float | None = None) -> None:
        """Wait for any report, for `stop`, or for some seconds."""
        self._reported.clear()
        waits = [asyncio.ensure_future(self._reported.wait())]
        if stop is not None:
            waits.append(asyncio.ensure_future(stop.wait()))
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if "died" in self._phases.values():
            raise LoadError("a process of the load died")

    async def _compare(self) -> Comparison | None:
        """Compare until it comes out even, or does not."""
        if self._gateway is None:
            return None
        loop = asyncio.get_running_loop()
        until = loop.time() + SETTLE
        while True:
            now = await read_gauges(self._gateway)
            total = self.total()
            gauges = {name: value - self._before.get(name, 0) for name, value in now.items()}
            held = {f"connections {name}": total.open[name] for name in ("tcp", "websocket")}
            held |= {
                "conference members": total.members,
                "sessions": total.open.total(),
                "waiting in line": total.queued,
            }
            comparison = Comparison(gauges, held)
            if not comparison.drift or loop.time() >= until:
                return comparison
            await asyncio.sleep(0.5)


async def _start(plan: Plan) -> Process:
    pipe = asyncio.subprocess.PIPE
    # A session of its own: Ctrl-C of the terminal is for the coordinator, which ends the workers in order.
    worker = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway.load.worker",
        stdin=pipe,
        stdout=pipe,
        limit=1 << 20,
        start_new_session=True,
    )
    cast(asyncio.StreamWriter, worker.stdin).write(plan.dump().encode() + b"\n")
    return worker


def _dismiss(worker: Process) -> None:
    commands = cast(asyncio.StreamWriter, worker.stdin)
    commands.write(b"stop\n")
    commands.close()
