"""Gateways of a cluster, clients on all of them, and everything that can happen to both and to etcd.

`python -m tests.cluster.chaos --minutes 10 --seed 3` draws what happens from a seed. Watched all the time: no more
clients have been told that they are in than the license allows. In the end, when it is quiet: all gateways have come to
the same, and count what the clients hold.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import signal
import sys
import tempfile
import time
from asyncio.subprocess import Process
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp

from tests.etcd import MEMBERS, Members, free_ports, write_secret

GATEWAYS, CLIENTS, LIMIT = 3, 40, 8
PATIENCE = 10.0
"""Seconds of `cluster.patience`; 5 s earlier a gateway falls silent."""
QUIET = 15.0
"""Seconds in which all of it must have come to rest."""


class Invariant(AssertionError):
    """Something happened that must not."""


class GatewayProcess:
    """A gateway that is killed, stopped and started again."""

    def __init__(self, number: int, folder: Path, members: Members, secret: Path, prefix: str) -> None:
        self.name = f"g{number}"
        self.tcp, self.websocket, self.operator = free_ports(3)
        urls = ",".join(f'"{url}"' for url in members.urls)
        self._settings = {
            "listen.tcp": self.tcp,
            "listen.websocket": self.websocket,
            "listen.operator": self.operator,
            "listen.drain": "1s",
            "license.epop.users": LIMIT,
            "heartbeat.resume_window": "2s",
            "registrar.enabled": "false",
            "store.path": folder / f"{self.name}.db",
            "cluster.etcd": f"[{urls}]",
            "cluster.prefix": prefix,
            "cluster.name": self.name,
            "cluster.secret_file": secret,
            "cluster.patience": f"{PATIENCE:g}s",
        }
        self._log = folder / f"{self.name}.log"
        self._process: Process | None = None
        self.stopped = False

    async def start(self) -> None:
        """Start it."""
        options = [part for key, value in self._settings.items() for part in ("--set", f"{key}={value}")]
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "gateway", "serve", *options, stdout=log, stderr=log
            )

    def send(self, number: int) -> None:
        """Send it a signal."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def end(self, number: int = signal.SIGKILL) -> int:
        """End it by a signal; returns its exit code."""
        assert self._process is not None
        self.send(number)
        return await self._process.wait()

    @property
    def exit_code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.returncode if self._process is not None else None

    def said(self) -> str:
        """What it has logged."""
        return self._log.read_text(errors="replace")


class Round:
    """One round: what runs, and which clients were told that they are in."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - drawn again from the same seed
        self.members = Members(folder)
        secret, prefix = write_secret(folder), f"chaos{seed}"
        self.gateways = [GatewayProcess(each, folder, self.members, secret, prefix) for each in range(GATEWAYS)]
        self.holding: dict[int, GatewayProcess] = {}
        self.answers: Counter[str] = Counter()
        self.most = 0
        self.over: list[str] = []
        self.resting = asyncio.Event()

    # -- clients -------------------------------------------------------------------------------------------------------

    async def client(self, number: int) -> None:
        """Come, join, stay a moment, leave, and come back wherever there is a gateway."""
        while not self.resting.is_set():
            gateway = self.random.choice(self.gateways)
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", gateway.tcp)
            except OSError:
                await asyncio.sleep(0.2)
                continue
            try:
                await self._visit(number, gateway, reader, writer)
            except (OSError, TimeoutError) as fault:
                self.answers[type(fault).__name__] += 1
            finally:
                self.holding.pop(number, None)
                writer.close()
            await asyncio.sleep(self.random.random() * 0.3)

    async def _visit(
        self, number: int, gateway: GatewayProcess, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        async def ask(type: str, **fields: Any) -> str:
            writer.write(json.dumps({"type": type, **fields}).encode() + b"\n")
            async with asyncio.timeout(3 * PATIENCE):
                line = await reader.readline()
            message = json.loads(line) if line else {"type": "closed"}
            said = str(message.get("reason", message["type"]))
            self.answers[said] += 1
            return said

        if await ask("hello", protocol=1, account=f"user{number}", device="d") != "welcome":
            return
        for turn in range(4):
            said = await ask("join", conference=f"room{turn}-{number}")
            if said == "joined":
                self._holds(number, gateway)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self.random.random()):
                        await reader.readline()  # nothing is said to who is in, but that it must go
                        return
                self.holding.pop(number, None)
                if await ask("leave", conference=f"room{turn}-{number}") != "left":
                    return
            elif said != "pool_full":
                return

    def _holds(self, number: int, gateway: GatewayProcess) -> None:
        """Note who was told that it is in; who is at a gateway that stands still cannot be sent away by it."""
        self.holding[number] = gateway
        reachable = sum(not each.stopped for each in self.holding.values())
        self.most = max(self.most, reachable)
        if reachable > LIMIT:
            self.over.append(f"{reachable} clients were told that they are in, of {LIMIT}")

    # -- what happens --------------------------------------------------------------------------------------------------

    async def happen(self) -> str:
        """Have one thing happen, and be over again; returns its name."""
        acts = (
            self._kill_leader,
            self._stop_member,
            self._kill_gateway,
            self._stop_gateway,
            self._restart_gateway,
            self._away_for_a_moment,
            self._away_for_long,
        )
        act = self.random.choice(acts)
        await act()
        return act.__name__.strip("_").replace("_", " ")

    async def _kill_leader(self) -> None:
        leader = await asyncio.to_thread(self.members.leader)
        self.members.kill(leader)
        await asyncio.sleep(3.0)
        await asyncio.to_thread(self.members.start, leader)

    async def _stop_member(self) -> None:
        member = self.random.randrange(MEMBERS)
        self.members.signal(signal.SIGSTOP, member)
        await asyncio.sleep(4.0)
        self.members.signal(signal.SIGCONT, member)

    async def _kill_gateway(self) -> None:
        gateway = self.random.choice(self.gateways)
        await gateway.end()
        await asyncio.sleep(self.random.choice([0.0, PATIENCE + 2]))
        await gateway.start()

    async def _restart_gateway(self) -> None:
        gateway = self.random.choice(self.gateways)
        await gateway.end(signal.SIGTERM)
        await gateway.start()

    async def _stop_gateway(self) -> None:
        gateway = self.random.choice(self.gateways)
        gateway.stopped = True
        gateway.send(signal.SIGSTOP)
        await asyncio.sleep(self.random.choice([2.0, PATIENCE + 4]))
        gateway.send(signal.SIGCONT)
        await asyncio.sleep(1.0)  # in which it must have sent away whom it may not serve any more
        gateway.stopped = False

    async def _away_for_a_moment(self) -> None:
        await self._away(2.0)

    async def _away_for_long(self) -> None:
        await self._away(PATIENCE)

    async def _away(self, seconds: float) -> None:
        self.members.signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        self.members.signal(signal.SIGCONT)

    # -- the end -------------------------------------------------------------------------------------------------------

    async def see_that_all_agree(self) -> None:
        """Wait until it is quiet, and compare.

        Raises `Invariant`.
        """
        until = time.monotonic() + QUIET + 2 * PATIENCE
        fault = "nothing was compared"
        async with aiohttp.ClientSession() as session:
            while time.monotonic() < until:
                try:
                    shown = [await self._look(session, each) for each in self.gateways]
                except (aiohttp.ClientError, OSError, TimeoutError) as unreachable:
                    fault = f"a gateway does not answer: {unreachable!r}"
                else:
                    fault = _differ(shown)
                    if not fault:
                        return
                await asyncio.sleep(0.2)
        raise Invariant(fault)

    async def _look(self, session: aiohttp.ClientSession, gateway: GatewayProcess) -> dict[str, Any]:
        if gateway.exit_code is not None:
            raise Invariant(f"{gateway.name} has ended with {gateway.exit_code}: {gateway.said()[-2000:]}")
        url, shown = f"http://127.0.0.1:{gateway.operator}", {}
        for name, path in (("cluster", "/api/cluster"), ("license", "/api/license")):
            async with session.get(url + path, timeout=aiohttp.ClientTimeout(3.0)) as response:
                shown[name] = await response.json()
        return shown


def _differ(shown: list[dict[str, Any]]) -> str:
    """Return what is wrong with what the gateways show; empty where nothing is."""
    clusters = [each["cluster"] for each in shown]
    if any(each["mismatches"] for each in clusters):
        return f"gateways have come to different states: {clusters}"
    if {each["state"] for each in clusters} != {"active"} or any(len(each["nodes"]) != GATEWAYS for each in clusters):
        return f"not all are in: {clusters}"
    used = [each["license"]["models"]["epop"]["pools"]["concurrent"]["used"] for each in shown]
    sessions = [sum(node["connections"] for node in each["nodes"]) for each in clusters]
    return "" if not any(used) and not any(sessions) else f"seats {used}, sessions {sessions}, and no client is left"


async def play(minutes: float, seed: int) -> Counter[str]:
    """Play a round; returns what clients were answered, how often.

    Raises `Invariant`.
    """
    with tempfile.TemporaryDirectory(prefix="tallygate-chaos-") as folder:
        game = Round(Path(folder), seed)
        try:
            await asyncio.to_thread(game.members.start)
            for gateway in game.gateways:
                await gateway.start()
            clients = [asyncio.create_task(game.client(number)) for number in range(CLIENTS)]
            await asyncio.sleep(5.0)
            until = time.monotonic() + 60 * minutes
            while time.monotonic() < until:
                began = time.monotonic()
                happened = await game.happen()
                print(f"{happened}: {time.monotonic() - began:.1f} s, most in {game.most} of {LIMIT}", flush=True)
                await asyncio.sleep(2.0)
                if game.over:
                    raise Invariant(game.over[0])
            game.resting.set()
            _, late = await asyncio.wait(clients, timeout=4 * PATIENCE)
            if late:
                raise Invariant(f"{len(late)} clients had no answer")
            await game.see_that_all_agree()
            if not game.answers["joined"]:
                raise Invariant("nobody was let in at all")
            return game.answers
        finally:
            for gateway in game.gateways:
                gateway.send(signal.SIGCONT)
                if gateway.exit_code is None:
                    await gateway.end()
            game.members.stop()


def main() -> None:
    """Play one round, and say what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.chaos", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    print(dict(asyncio.run(play(options.minutes, options.seed))))


if __name__ == "__main__":
    main()
