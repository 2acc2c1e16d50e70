"""One process of the load generator: opens its connections, sends all their heartbeats, and reports what it sees.

It reads its `Plan` as one line of JSON from stdin and writes a report (`phase` and the tally) twice a second as a line
of JSON to stdout. `stop`, or the end of stdin (whoever started it is gone), makes it say `bye` everywhere and end.

No connection has a task or a timer: a `HeartbeatSchedule` sends the heartbeats of all, with one timer for the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import resource
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from random import Random
from typing import Any

from gateway.client_connection import ClientConnection, ConnectionEnd, Transport, codec
from gateway.client_conversation import heartbeat_interval
from gateway.core.wire.answers import Answer, QueuedAnswer, Welcome
from gateway.core.wire.json_lines import Message
from gateway.load.heartbeat_schedule import HeartbeatSchedule
from gateway.load.tally import Tally

PACE = 0.01
"""Seconds between two batches of new connections, or of farewells."""
IN_FLIGHT = 256
"""Connections being made at once."""
FAREWELLS = 200
"""Farewells in a batch."""
PATIENCE = 15.0
"""Seconds that an answer, or a close after `bye`, may take."""
AGAIN = 1.0
"""Seconds after which a peer that was too fast asks for its conference again, twice as many each time."""
REPORT = 0.5
"""Seconds between reports."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What one worker does. Connections are numbered from `first` through the whole load."""

    host: str
    ports: dict[Transport, int]
    transports: list[Transport]
    """Taken in turn by number."""
    first: int
    connections: int
    ramp: float
    """New connections per second."""
    heartbeat: float | None
    """Seconds between beats; None takes what the gateway states."""
    conferences: int
    """Connections join `load-0` … in turn by number; 0 joins none."""
    distinct_accounts: bool
    kind: str
    wait: int | None
    """Seconds that a request waits in line for a seat; None does not wait."""
    sources: list[str]
    """Local addresses, taken in turn by number; none lets the system choose."""
    seed: int

    def dump(self) -> str:
        """The plan as one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, line: str | bytes) -> Plan:
        """The plan that `dump` gave."""
        return cls(**json.loads(line))


class SimulatedPeer:
    """One client of the load, which acts upon what its connection reports. It does not reconnect: a loss is counted."""

    __slots__ = (
        "_beating",
        "_began",
        "_member",
        "_pause",
        "_queued",
        "_welcomed",
        "_worker",
        "beaten",
        "link",
        "number",
        "settled",
        "transport",
    )

    def __init__(self, worker: LoadWorker, number: int, transport: Transport) -> None:
        self._worker = worker
        self._began = worker.loop.time()
        self._welcomed = self._member = self._queued = self.settled = False
        self._beating = False
        self._pause = AGAIN
        self.beaten = 0.0
        self.number = number
        self.transport: Transport = transport
        self.link: ClientConnection | None = None

    def opened(self, link: ClientConnection) -> None:
        """Say hello."""
        self._worker.tally.connected += 1
        link.send(self._worker.hello(self.number))

    def acked(self, link: ClientConnection) -> None:  # noqa: ARG002 - a listener may have several links, a peer has one
        """Record how long the answer to a heartbeat took."""
        tally = self._worker.tally
        tally.acks += 1
        tally.ack.record(self._worker.loop.time() - self.beaten)

    def received(self, link: ClientConnection, message: Answer) -> None:  # noqa: ARG002 - as above
        """Count what the gateway says, and ask for the next thing."""
        worker, tally = self._worker, self._worker.tally
        if message["type"] in {"welcome", "joined", "waiting", "denied"}:
            self._leave_line()
        match message["type"]:
            case "welcome":
                self._enter(message)
            case "queued":
                self._wait_in_line(message)
            case "joined" | "waiting" if not self._member:
                self._member = True
                tally.joined += 1
                tally.members += 1
                self.settle()
            case "denied" if self._member and message.get("reason") == "already_member":
                pass  # it was asked for again, and needed not be
            case "denied":
                tally.denied[f"{message.get('request')} {message.get('reason')}"] += 1
                self.settle()
            case "error":
                tally.errors[str(message.get("code"))] += 1
                if message.get("code") == "too_fast" and self._welcomed and not self.settled:
                    worker.loop.call_later(self._pause, self._ask)
                    self._pause *= 2
                else:
                    self.settle()
            case "removed":
                tally.removed[str(message.get("reason"))] += 1
                self._leave()

    def ended(self, link: ClientConnection, end: ConnectionEnd) -> None:  # noqa: ARG002 - as above
        """Count how it ended."""
        if self.link is None:
            return
        tally = self._worker.tally
        self.link = None
        if self._welcomed:
            tally.open[self.transport] -= 1
            if not self._worker.stopping:
                tally.lost[end.reason] += 1
        elif not self.settled and not self._worker.stopping:
            tally.errors[end.reason] += 1
        self._leave()
        self._leave_line()
        self.settle()
        self._worker.gone(self)

    def settle(self) -> None:
        """The ramp of this peer is over."""
        if not self.settled:
            self.settled = True
            self._worker.tally.settled += 1
            self._worker.changed.set()

    def _enter(self, message: Welcome) -> None:
        worker, tally = self._worker, self._worker.tally
        self._welcomed = True
        tally.welcomed += 1
        tally.open[self.transport] += 1
        tally.welcome.record(worker.loop.time() - self._began)
        self._beat(message)
        if worker.conference(self.number) is None:
            self.settle()
        else:
            self._ask()

    def _beat(self, stated: Welcome | QueuedAnswer) -> None:
        if not self._beating:
            self._beating = True
            self._worker.beat_for(self, stated)

    def _ask(self) -> None:
        if self.link is not None and not self._member:
            conference = self._worker.conference(self.number)
            self.link.send({"type": "join", "conference": conference, **self._worker.patience})

    def _wait_in_line(self, message: QueuedAnswer) -> None:
        """Count one that waits for a seat; its heartbeats begin before it is welcomed."""
        if not self._queued:
            self._queued = True
            self._worker.tally.queued += 1
        self._beat(message)
        self.settle()

    def _leave_line(self) -> None:
        if self._queued:
            self._queued = False
            self._worker.tally.queued -= 1

    def _leave(self) -> None:
        if self._member:
            self._member = False
            self._worker.tally.members -= 1


class LoadWorker:
    """All connections of one process."""

    def __init__(self, plan: Plan) -> None:
        self.loop = asyncio.get_running_loop()
        self.tally = Tally()
        self.stopping = False
        self.phase = "ramping"
        self.changed = asyncio.Event()
        self._plan = plan
        self._random = Random(plan.seed)  # noqa: S311 - repeatable by its seed; nothing is secret here
        self._peers: set[SimulatedPeer] = set()
        self._wheel: HeartbeatSchedule | None = None
        self._slots = asyncio.Semaphore(IN_FLIGHT)

    def hello(self, number: int) -> Message:
        """Return the first message of a peer."""
        message: Message = {"type": "hello", "protocol": 1, "client": "tallygate-load/1", "kind": self._plan.kind}
        message |= self.patience
        if self._plan.distinct_accounts:
            message |= {"account": f"load-{number}@load.invalid", "device": "load"}
        return message

    @property
    def patience(self) -> Message:
        """The field of a request that may wait in line; nothing where it may not."""
        return {} if self._plan.wait is None else {"wait": self._plan.wait}

    def conference(self, number: int) -> str | None:
        """Return the conference that a peer joins; None for none."""
        return f"load-{number % self._plan.conferences}" if self._plan.conferences else None

    def beat_for(self, peer: SimulatedPeer, stated: Welcome | QueuedAnswer) -> None:
        """Send heartbeats for a peer from now on; the first answer to a `hello` states the interval."""
        if self._wheel is None:
            interval = self._plan.heartbeat or heartbeat_interval(stated)
            self._wheel = HeartbeatSchedule(interval, self._random, self.tally)
        self._wheel.add(peer)

    def gone(self, peer: SimulatedPeer) -> None:
        """Forget a peer."""
        self._peers.discard(peer)
        self.changed.set()

    async def ramp(self) -> None:
        """Open every connection at the planned rate and wait until each has what it asked for, or not."""
        start = self.loop.time()
        async with asyncio.TaskGroup() as group:
            while self.tally.attempted < self._plan.connections and not self.stopping:
                due = min(self._plan.connections, 1 + int((self.loop.time() - start) * self._plan.ramp))
                for number in range(self._plan.first + self.tally.attempted, self._plan.first + due):
                    await self._slots.acquire()
                    self.tally.attempted += 1
                    group.create_task(self._open(number))
                await asyncio.sleep(PACE)
        await self._until(lambda: self.stopping or self.tally.settled >= self.tally.attempted)
        for peer in list(self._peers):
            if not self.stopping and peer.link is not None and not peer.settled:
                peer.link.abort(TimeoutError("no answer in time"))
        gc.collect()
        gc.freeze()
        self.phase = "holding"

    def halt(self) -> None:
        """Open nothing more; from now on whatever ends was meant to."""
        self.stopping = True
        self.changed.set()

    async def farewell(self) -> None:
        """Say `bye` everywhere and wait for the gateway to close; what does not close is dropped."""
        if self._wheel is not None:
            self._wheel.stop()
        for number, peer in enumerate(list(self._peers), 1):
            if peer.link is not None:
                peer.link.send({"type": "bye"})
            if number % FAREWELLS == 0:
                await asyncio.sleep(PACE)
        await self._until(lambda: not self._peers)
        for peer in list(self._peers):
            if peer.link is not None:
                peer.link.abort()
        self.phase = "done"

    async def _until(self, reached: Callable[[], bool]) -> None:
        """Wait for it, but not longer than `PATIENCE`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while not reached():
                    self.changed.clear()
                    await self.changed.wait()

    async def _open(self, number: int) -> None:
        transport = self._plan.transports[number % len(self._plan.transports)]
        port = self._plan.ports[transport]
        peer = SimulatedPeer(self, number, transport)
        peer.link = link = ClientConnection(codec(transport, self._plan.host, port, self._random), peer)
        self._peers.add(peer)
        source = (self._plan.sources[number % len(self._plan.sources)], 0) if self._plan.sources else None
        try:
            async with asyncio.timeout(PATIENCE):
                await self.loop.create_connection(lambda: link, self._plan.host, port, local_addr=source)
        except OSError as fault:
            peer.ended(link, ConnectionEnd(error=OSError(_sentence(fault))))
        finally:
            self._slots.release()


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
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    worker = LoadWorker(Plan.load(await commands.readline()))
    reporting = asyncio.create_task(_report(worker))
    ramping = asyncio.create_task(worker.ramp())
    stopped = asyncio.create_task(commands.readline())
    done, _ = await asyncio.wait({reporting, ramping, stopped}, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()  # a fault ends this process, and so the load: whoever leads it waits for its reports
    await stopped
    worker.halt()
    await ramping
    await worker.farewell()
    reporting.cancel()
    await asyncio.wait([reporting])
    _say(worker)


async def _report(worker: LoadWorker) -> None:
    while True:
        _say(worker)
        await asyncio.sleep(REPORT)


def _say(worker: LoadWorker) -> None:
    report: dict[str, Any] = {"phase": worker.phase, "tally": worker.tally.dump()}
    try:
        print(json.dumps(report), flush=True)
    except BrokenPipeError:
        # Who led the load was killed; the end of the input ends this process in order.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    asyncio.run(_main())
