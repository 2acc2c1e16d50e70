"""One process of the load generator: plays its clients, sends all their heartbeats, and reports what it sees.

It reads its `Plan` as one line of JSON from stdin and writes a report (`phase` and the tally) twice a second as a line
of JSON to stdout. `report N` makes it report at once, with that number; `still` makes it begin nothing more and wait
for what is under way. `stop`, or the end of stdin (whoever started it is gone), makes it say `bye` everywhere and end.

No connection has a task: a `HeartbeatSchedule` sends the heartbeats of all, with one timer for the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import resource
import sys
from collections import deque
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from gateway.client_connection import ClientConnection, ConnectionEnd, codec
from gateway.client_conversation import heartbeat_interval
from gateway.core.wire.answers import QueuedAnswer, Welcome
from gateway.load.heartbeat_schedule import HeartbeatSchedule
from gateway.load.plan import Plan
from gateway.load.profile import LoadGroup, Spike
from gateway.load.simulated_peer import PeerAccount, SimulatedPeer
from gateway.load.tally import Tally

PACE = 0.01
"""Seconds between two batches of new connections, or of farewells."""
IN_FLIGHT = 256
"""Connections being made at once."""
FAREWELLS = 200
"""Farewells in a batch."""
PATIENCE = 15.0
"""Seconds that an answer, or a close after `bye`, may take."""
REPORT = 0.5
"""Seconds between reports."""


class LoadWorker:
    """All clients of one process."""

    def __init__(self, plan: Plan) -> None:
        self.loop = asyncio.get_running_loop()
        self.tally = Tally()
        self.still = False
        self.stopping = False
        self.phase = "ramping" if plan.first_all_come else "holding"
        self.answered = 0
        """The number of the report that was asked for last."""
        self.random = Random(plan.seed)  # noqa: S311 - repeatable by its seed; nothing is secret here
        self._changed = asyncio.Event()
        self._ended = asyncio.Event()
        self._plan = plan
        self._profile = plan.profile
        self._numbers = iter(range(plan.first, plan.first + plan.profile.clients))
        self._accounts: dict[LoadGroup, tuple[int, int]] = {}
        self._away: deque[SimulatedPeer] = deque()
        self._due: deque[SimulatedPeer] = deque()
        self._here: set[SimulatedPeer] = set()
        self._schedule: HeartbeatSchedule | None = None
        self._slots = asyncio.Semaphore(IN_FLIGHT)

    def beat_for(self, peer: SimulatedPeer, stated: Welcome | QueuedAnswer) -> None:
        """Send heartbeats for a peer from now on; the first answer to a `hello` states the interval."""
        if self._schedule is None:
            interval = self._profile.heartbeat or heartbeat_interval(stated)
            self._schedule = HeartbeatSchedule(interval, self.random, self.tally)
        if peer.link is not None:
            self._schedule.add(peer, peer.link)

    def settled(self) -> None:
        """See whether all are by now."""
        self._changed.set()

    def gone(self, peer: SimulatedPeer) -> None:
        """Let a peer come again when it wants to, or when its turn comes."""
        self._here.discard(peer)
        self._changed.set()
        if self.still or self.stopping:
            return
        after = peer.return_after()
        if after is not None:
            self.loop.call_later(after, self._due.append, peer)
        elif peer.group.hold is not None:
            self._away.append(peer)

    async def run(self) -> None:
        """Let clients come and go until all stand still; or, where all are to come first, until each has settled."""
        start = self.loop.time()
        arrivals, spikes = self._arrivals(), self._spikes()
        next_arrival, next_spike = next(arrivals), next(spikes, None)
        async with asyncio.TaskGroup() as group:
            while not self.still and not (self._plan.first_all_come and self.tally.attempted >= self._profile.clients):
                passed = self.loop.time() - start
                while next_arrival <= passed:
                    self._let_come()
                    next_arrival = next(arrivals)
                while next_spike is not None and next_spike[0] <= passed:
                    self._spike(next_spike[1])
                    next_spike = next(spikes, None)
                while self._due and not self.still:
                    await self._slots.acquire()
                    self.tally.attempted += 1
                    group.create_task(self._open(self._due.popleft()))
                await asyncio.sleep(PACE)
        if self._plan.first_all_come and not self.still:
            await self._until(lambda: self.still or self.tally.settled >= self.tally.attempted)
            self._give_up(lambda peer: not peer.settled)
        gc.collect()
        gc.freeze()
        if self.phase == "ramping" and not self.still:
            self.phase = "holding"
        self._ended.set()

    async def stand_still(self) -> None:
        """Begin nothing more, and wait until nothing is under way."""
        self.still = True
        self._changed.set()
        await self._ended.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while any(peer.busy for peer in self._here):  # noqa: ASYNC110 - a pass over all, now and then
                    await asyncio.sleep(10 * PACE)
        self._give_up(lambda peer: peer.busy)
        self.phase = "still"

    def halt(self) -> None:
        """Begin nothing more; from now on whatever ends was meant to."""
        self.still = self.stopping = True
        self._changed.set()

    async def farewell(self) -> None:
        """Say `bye` everywhere and wait for the gateway to close; what does not close is dropped."""
        if self._schedule is not None:
            self._schedule.stop()
        for number, peer in enumerate(list(self._here), 1):
            if peer.link is not None:
                peer.link.send({"type": "bye"})
            if number % FAREWELLS == 0:
                await asyncio.sleep(PACE)
        await self._until(lambda: not self._here)
        for peer in list(self._here):
            if peer.link is not None:
                peer.link.abort()
        self.phase = "done"

    # -- who comes when ----------------------------------------------------------------------------------------------

    def _arrivals(self) -> Iterator[float]:
        """Yield the seconds after which another one comes, without end."""
        rate, at = self._profile.rate, 0.0
        while True:
            yield at
            at += self.random.expovariate(rate) if self._profile.arrivals == "random" else 1 / rate

    def _spikes(self) -> Iterator[tuple[float, Spike]]:
        """Yield the spikes with the seconds after which each is due."""
        due: list[tuple[float, int]] = []
        for number, spike in enumerate(self._profile.spike):
            at = spike.at
            while at < self._profile.duration:
                due.append((at, number))
                if spike.every is None:
                    break
                at += spike.every
        for at, number in sorted(due):
            yield at, self._profile.spike[number]

    def _spike(self, spike: Spike) -> None:
        for _ in range(spike.come):
            self._let_come(self.random.uniform(0.0, spike.within))
        here = sorted((peer for peer in self._here if peer.present), key=lambda peer: peer.number)
        for peer in self.random.sample(here, min(spike.cut, len(here))):
            peer.cut(back=self.random.uniform(0.0, spike.within))

    def _let_come(self, after: float = 0.0) -> None:
        """Let one client come: one that never came, else the one that is away longest; none where all are there."""
        number = next(self._numbers, None)
        if number is not None:
            group = self._profile.group_of(number)
            peer = SimulatedPeer(self, number, group, self._account(number, group))
        elif self._away:
            peer = self._away.popleft()
        else:
            return
        if after:
            self.loop.call_later(after, self._due.append, peer)
        else:
            self._due.append(peer)

    def _account(self, number: int, group: LoadGroup) -> PeerAccount | None:
        """Return the account of a client; clients of a group share one until it has all its devices."""
        if group.accounts == "none":
            return None
        owner, devices = self._accounts.get(group, (number, 0))
        if devices == group.clients_per_account:
            owner, devices = number, 0
        self._accounts[group] = (owner, devices + 1)
        return PeerAccount(f"load-{owner}@load.invalid", f"load-{devices}")

    # -- connections -------------------------------------------------------------------------------------------------

    async def _open(self, peer: SimulatedPeer) -> None:
        host, port, sources = self._plan.host, self._plan.ports[peer.transport], self._plan.sources
        link = ClientConnection(codec(peer.transport, host, port, self.random), peer)
        peer.visit(link)
        self._here.add(peer)
        source = (sources[peer.number % len(sources)], 0) if sources else None
        try:
            async with asyncio.timeout(PATIENCE):
                await self.loop.create_connection(lambda: link, host, port, local_addr=source)
        except OSError as fault:
            peer.ended(link, ConnectionEnd(error=OSError(_sentence(fault))))
        finally:
            self._slots.release()

    def _give_up(self, on: Callable[[SimulatedPeer], bool]) -> None:
        """Drop the connections of those whose answer has not come."""
        for peer in list(self._here):
            if peer.link is not None and on(peer):
                peer.link.abort(TimeoutError("no answer in time"))

    async def _until(self, reached: Callable[[], bool]) -> None:
        """Wait until `reached` is true, but not longer than `PATIENCE` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while not reached():
                    self._changed.clear()
                    await self._changed.wait()


def _sentence(fault: OSError) -> str:
    """Return a fault in words without addresses and ports, so that equal ones are counted together."""
    if isinstance(fault, TimeoutError):
        return "connecting took too long"
    return os.strerror(fault.errno) if fault.errno else type(fault).__name__


def raise_limit() -> int:
    """Raise the limit of open files as far as possible, and return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


async def _main() -> None:
    loop = asyncio.get_running_loop()
    raise_limit()
    gc.set_threshold(100_000, 50, 50)
    commands = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    worker = LoadWorker(Plan.load(json.loads(await commands.readline())))
    reporting = asyncio.create_task(_report(worker))
    running = asyncio.create_task(worker.run())
    running.add_done_callback(lambda _: _say(worker))  # whoever leads it waits for all to be in
    obeying = asyncio.create_task(_obey(worker, commands))
    done, _ = await asyncio.wait({reporting, running, obeying}, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()  # a fault ends this process, and so the load: whoever leads it waits for its reports
    await obeying
    worker.halt()
    await running
    await worker.farewell()
    reporting.cancel()
    await asyncio.wait([reporting])
    _say(worker)


async def _obey(worker: LoadWorker, commands: asyncio.StreamReader) -> None:
    """Carry out the commands of who leads the load, until the end of the input."""
    while True:
        match (await commands.readline()).split():
            case [b"still"]:
                await worker.stand_still()
                _say(worker)
            case [b"report", number]:
                worker.answered = int(number)
                _say(worker)
            case _:
                return


async def _report(worker: LoadWorker) -> None:
    while True:
        _say(worker)
        await asyncio.sleep(REPORT)


def _say(worker: LoadWorker) -> None:
    report: dict[str, Any] = {"phase": worker.phase, "answered": worker.answered, "tally": worker.tally.dump()}
    try:
        print(json.dumps(report), flush=True)
    except BrokenPipeError:
        # Who led the load was killed; the end of the input ends this process in order.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    asyncio.run(_main())
