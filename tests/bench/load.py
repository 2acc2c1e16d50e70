"""The load side: one `client.c` process and the connections it holds to one server; for a registrar, `agents.py`.

All connections of a load stay open while phase after phase is commanded; an answer comes when the phase is over and
every heartbeat of it was acknowledged, so the server's CPU clock read before and after belongs to that phase.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from . import cache


@dataclass(frozen=True, slots=True)
class Phase:
    """What one phase brought. Latencies in microseconds, the rest in seconds and numbers."""

    opened: int
    failed: int
    open_seconds: float
    acks: int
    unanswered: int
    skipped: int
    lost: int
    p50: float
    p99: float
    max: float
    welcome_p50: float
    welcome_p99: float
    welcome_max: float
    join_p50: float
    join_p99: float
    join_max: float
    joined: int
    join_seconds: float
    seconds: float
    cpu: float
    held: int
    refused: int
    refusal: str


class Fault(Exception):
    """A measurement that cannot be trusted: connections refused or lost, or a server that died."""


class Load:
    """A load program connected to `port`, speaking `transport`; `join` puts so many clients into each conference.

    With `resume` the clients that connect after a `reset` resume the sessions they had.
    """

    def __init__(
        self, port: int, transport: str, *, join: int = 0, accounts: bool = False, resume: bool = False, source: int = 1
    ) -> None:
        command = [cache.client(), str(port), transport, "--source", str(source)]
        command += ["--resume"] if resume else []
        command += ["--join", str(join)] if join else []
        command += ["--accounts"] if accounts else []
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.held = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _ask(self, command: str) -> dict[str, object]:
        if self._process.stdin is None or self._process.stdout is None:
            raise Fault("the load program has no pipes")
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise Fault(f"the load program died at {command!r}")
        answer: dict[str, object] = json.loads(line)
        return answer

    def run(self, **plan: float) -> Phase:
        """Run one phase (the keys of the `run` command in client.c); `Fault` when a connection failed or was lost."""
        phase = self.attempt(**plan)
        if phase.failed or phase.lost or phase.unanswered or phase.refused:
            raise Fault(
                f"{phase.failed} not connected, {phase.lost} lost, {phase.unanswered} heartbeats unanswered, "
                f"{phase.refused} refusals {phase.refusal}"
            )
        return phase

    def attempt(self, **plan: float) -> Phase:
        """Run one phase in which connections may fail, be lost or refused."""
        phase = Phase(**self._ask("run " + " ".join(f"{key}={value:g}" for key, value in plan.items())))  # type: ignore[arg-type]  # the program's own keys
        self.held = phase.held
        return phase

    def grow(self, size: int) -> None:
        """Open connections until the load holds `size`."""
        if size > self.held:
            self.run(open=size - self.held, window=64)

    def shrink(self, size: int) -> None:
        """Close the newest connections down to `size`."""
        if self.held > size:
            self._ask(f"close {self.held - size}")
            self.held = size

    def reset(self) -> None:
        """Reset every connection."""
        self._ask("reset")
        self.held = 0

    def kill(self) -> None:
        """SIGKILL the program: the kernel closes its connections."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self.held = 0


@dataclass(frozen=True, slots=True)
class Checks:
    """What a phase of agents brought. Latencies in microseconds, the rest in seconds and numbers."""

    answers: int
    seconds: float
    p50: float
    p99: float
    cpu: float
    lost: int
    wrong: int


class Agents:
    """An `agents.py` process connected to `port`; without `keys` its lines are constant."""

    def __init__(self, port: int, keys: Path | None = None) -> None:
        command = [sys.executable, "-m", "tests.bench.agents", str(port), *([str(keys)] if keys else [])]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=cache.ROOT
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def _ask(self, order: str) -> dict[str, object]:
        if self._process.stdin is None or self._process.stdout is None:
            raise Fault("the agents have no pipes")
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise Fault(f"the agents died at {order!r}")
        answer: dict[str, object] = json.loads(line)
        if answer["wrong"]:
            raise Fault(f"{answer['wrong']} answers were wrong")
        return answer

    def grow(self, size: int) -> None:
        """Connect and register until there are so many."""
        self._ask(f"grow {size}")

    def run(self, seconds: float) -> Checks:
        """Have each agent verified once a second; `Fault` when one was lost."""
        checks = Checks(**self._ask(f"run {seconds:g}"))  # type: ignore[arg-type]  # the program's own keys
        if checks.lost:
            raise Fault(f"{checks.lost} agents lost their connection")
        return checks
