"""The real etcd, its members on this machine."""

from __future__ import annotations

import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.polling import wait_until
from tests.programs import program

MEMBERS = 3
START = 20.0
"""Seconds until a majority must answer."""
LOWEST_PORT, HIGHEST_PORT = 20_000, 32_000
"""Below the ports that the kernel gives to whoever connects: a member that is restarted must find its own free."""


def free_ports(number: int) -> list[int]:
    """So many ports that nobody has now, and that the kernel gives to nobody by itself."""
    found: list[int] = []
    for port in random.sample(range(LOWEST_PORT, HIGHEST_PORT), 500):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == number:
            return found
    raise OSError("there are no free ports")


class Members:
    """The members of one etcd cluster, whose data lies in `folder`; `options` are further ones of the program."""

    def __init__(self, folder: Path, number: int = MEMBERS, options: Sequence[str] = ()) -> None:
        ports = free_ports(2 * number)
        self._binary = program("etcd", "etcd-server")
        self._folder = folder
        self._options = options
        self.urls = [f"http://127.0.0.1:{port}" for port in ports[:number]]
        self._peers = [f"http://127.0.0.1:{port}" for port in ports[number:]]
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._tracers: list[subprocess.Popen[bytes]] = []

    def start(self, *members: int) -> None:
        """Start members (all, unless some are named), and wait until they answer."""
        for member in members or range(len(self.urls)):
            with (self._folder / f"etcd{member}.log").open("ab") as log:
                self._processes[member] = subprocess.Popen(self._command(member), stdout=log, stderr=log)
        wait_until(
            lambda: all(self.is_healthy(member) for member in members or range(len(self.urls))),
            START,
            lambda: AssertionError("etcd does not answer"),
        )

    def _command(self, member: int) -> list[str]:
        cluster = ",".join(f"m{number}={peer}" for number, peer in enumerate(self._peers))
        return [
            *(self._binary, "--name", f"m{member}", "--data-dir", str(self._folder / f"m{member}")),
            *("--listen-client-urls", self.urls[member], "--advertise-client-urls", self.urls[member]),
            *("--listen-peer-urls", self._peers[member], "--initial-advertise-peer-urls", self._peers[member]),
            *("--initial-cluster", cluster, "--initial-cluster-state", "new", "--log-level", "error"),
            *self._options,
        ]

    def is_healthy(self, member: int) -> bool:
        """Whether a member answers, and has a leader."""
        try:
            return bool(self._ask(member, "GET", "/health")["health"] == "true")
        except (OSError, http.client.HTTPException, ValueError):
            return False

    def leader(self) -> int:
        """The member that leads, once there is one."""
        leaders: list[int] = []

        def found() -> bool:
            leaders.extend(member for member in self._processes if self._leads(member))
            return bool(leaders)

        wait_until(found, START, lambda: AssertionError("nobody leads"))
        return leaders[0]

    def _leads(self, member: int) -> bool:
        try:
            told = self._ask(member, "POST", "/v3/maintenance/status")
            return bool(told["header"]["member_id"] == told.get("leader"))
        except (OSError, http.client.HTTPException, ValueError):
            return False

    def _ask(self, member: int, method: str, path: str) -> Any:
        connection = http.client.HTTPConnection(self.urls[member].removeprefix("http://"), timeout=2.0)
        try:
            connection.request(method, path, "{}" if method == "POST" else None)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def signal(self, number: int, *members: int) -> None:
        """Send a signal to members (all, unless some are named)."""
        for member in members or tuple(self._processes):
            self._processes[member].send_signal(number)

    def slow_down(self, member: int, seconds: float) -> None:
        """Let a member wait so long whenever it writes to its disk, until `speed_up`."""
        delay = f"inject=fdatasync:delay_enter={round(seconds * 1e6)}"
        command = [program("strace", "strace"), "-qq", "-f", "-e", "trace=fdatasync", "-e", delay, "-o", "/dev/null"]
        self._tracers.append(subprocess.Popen([*command, "-p", str(self._processes[member].pid)]))

    def speed_up(self) -> None:
        """Let all members write as fast as they can again."""
        for tracer in self._tracers:
            tracer.terminate()
            tracer.wait()
        self._tracers.clear()

    def save(self, folder: Path) -> None:
        """Copy the data of all members, which do not run."""
        for member in range(len(self.urls)):
            shutil.copytree(self._folder / f"m{member}", folder / f"m{member}")

    def put_back(self, folder: Path) -> None:
        """Put data that was copied in the place of what the members have, which do not run."""
        for member in range(len(self.urls)):
            shutil.rmtree(self._folder / f"m{member}")
            shutil.copytree(folder / f"m{member}", self._folder / f"m{member}")

    def kill(self, *members: int) -> None:
        """Kill members (all, unless some are named)."""
        for member in members or tuple(self._processes):
            self._processes[member].kill()
            self._processes[member].wait()

    def stop(self) -> None:
        """End all members."""
        self.speed_up()
        for process in self._processes.values():
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()


def write_secret(folder: Path) -> Path:
    """Write a secret of a cluster, and return its file."""
    path = folder / "secret"
    path.touch(mode=0o600)
    path.write_text(os.urandom(24).hex())
    return path
