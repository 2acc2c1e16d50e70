"""A gateway of a cluster in a process of its own, which is killed, stopped and started again."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp

from tests.etcd import free_ports

LOOK = aiohttp.ClientTimeout(total=3.0)
"""Seconds for an answer of the operator port."""


class GatewayProcess:
    """`tallygate serve` as the node `name`, over etcd at `urls`; `settings` come on top of those that all need."""

    def __init__(
        self, name: str, folder: Path, urls: Sequence[str], secret: Path, prefix: str, **settings: Any
    ) -> None:
        self.name = name
        self.tcp, self.websocket, self.operator = free_ports(3)
        self.url = f"http://127.0.0.1:{self.operator}"
        etcd = ",".join(f'"{url}"' for url in urls)
        self._settings = {
            "listen.tcp": self.tcp,
            "listen.websocket": self.websocket,
            "listen.operator": self.operator,
            "registrar.enabled": "false",
            "store.path": folder / f"{name}.db",
            "cluster.etcd": f"[{etcd}]",
            "cluster.prefix": prefix,
            "cluster.name": name,
            "cluster.secret_file": secret,
            **{key.replace("__", "."): value for key, value in settings.items()},
        }
        self._log = folder / f"{name}.log"
        self._process: Process | None = None
        self.is_up = False
        """Whether it was started and not ended: a process that is not there then ended by itself."""

    async def start(self) -> None:
        """Start it."""
        options = [part for key, value in self._settings.items() for part in ("--set", f"{key}={value}")]
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "gateway", "serve", *options, stdout=log, stderr=log
            )
        self.is_up = True

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process is not None
        return self._process.pid

    def send(self, number: int) -> None:
        """Send it a signal."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def end(self, number: int = signal.SIGKILL) -> int:
        """End it by a signal; returns its exit code."""
        assert self._process is not None
        self.is_up = False
        self.send(number)
        return await self._process.wait()

    @property
    def exit_code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.returncode if self._process is not None else None

    def said(self) -> str:
        """What it has logged."""
        return self._log.read_text(errors="replace")

    def found_no_etcd(self) -> bool:
        """Return whether it has ended because no member of etcd answered when it was started."""
        return self.said().rstrip().rpartition("\n")[2].startswith("tallygate: cannot start: http")

    async def get(self, session: aiohttp.ClientSession, path: str) -> Any:
        """Return what its operator port answers.

        Raises `aiohttp.ClientError`, `OSError` or `TimeoutError` where it does not.
        """
        async with session.get(self.url + path, timeout=LOOK) as response:
            response.raise_for_status()
            return await (response.json() if response.content_type == "application/json" else response.text())

    async def is_ready(self, session: aiohttp.ClientSession) -> bool:
        """Return whether it is in the cluster and its doors are open."""
        try:
            await self.get(session, "/readyz")
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False
        return True

    def sockets(self) -> int:
        """How many connections of clients the kernel has at its port over TCP."""
        local = f":{self.tcp:04X}"
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
        return sum(1 for line in lines if line.split()[1].endswith(local) and line.split()[3] == "01")
