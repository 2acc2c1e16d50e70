"""Gateways of a cluster, clients on all of them, and everything that can happen to both and to etcd.

`python -m tests.cluster.chaos --minutes 10 --seed 3` draws what happens from a seed. Watched all the time: no more
clients have been told that they are in than the license allows, every request is answered once, a gateway that was
frozen for too long grants nothing of before, all gateways come to the same. In the end, when it is quiet: the gateways
count what the clients hold and the kernel has, and every license that somebody was told to have leased is there.

The first gateway reaches etcd through a proxy, so that its way can be cut. What needs a program that is not there
(strace, for a slow disk) is left out, and said.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import random
import shutil
import signal
import tempfile
import time
import urllib.parse
from collections import Counter
from pathlib import Path

import aiohttp

from tests.cluster.chaos_client import Gone, Visit
from tests.cluster.gateway_process import GatewayProcess
from tests.cluster.proxy import EtcdProxy
from tests.etcd import MEMBERS, Members, write_secret

GATEWAYS, CLIENTS, LIMIT = 3, 40, 8
PATIENCE = 10.0
"""Seconds of `cluster.patience`; 5 s earlier a gateway falls silent."""
VISITS = 5
"""Visits of a client under one account."""
GRANTS = 30
"""Clients that are let in, and join, before anything happens again."""
FSYNC = 0.3
"""Seconds that a slow disk takes longer."""
SETTINGS = {
    "listen__drain": "1s",
    "license__model": "trueconf",
    "license__trueconf__pro": 100_000,
    "heartbeat__resume_window": "2s",
    "cluster__patience": f"{PATIENCE:g}s",
}


class Invariant(AssertionError):
    """Something happened that must not."""


class Round:
    """One round: what runs, and which clients were told that they are in."""

    def __init__(self, folder: Path, seed: int, limit: int) -> None:
        self.limit = limit
        self.random = random.Random(seed)  # noqa: S311 - drawn again from the same seed
        """Draws what happens, and for nobody else: how often clients come depends on the speed of the machine."""
        self.whims = random.Random(seed)  # noqa: S311 - what clients do
        self.members = Members(folder)
        self.proxy = EtcdProxy(self.members.urls)
        self._folder, self._secret, self._prefix = folder, write_secret(folder), f"chaos{seed}"
        self.gateways: list[GatewayProcess] = []
        self.frozen: Counter[str] = Counter()
        """How often a gateway was frozen for longer than the others wait for it."""
        self.stopped: set[str] = set()
        """Gateways that cannot send anybody away at this moment."""
        self.holding: dict[int, GatewayProcess] = {}
        self.leased: set[str] = set()
        self.answers: Counter[str] = Counter()
        self.acts: Counter[str] = Counter()
        self.most = self.samples = self.comparisons = 0
        self.faults: list[str] = []
        self.resting = asyncio.Event()
        self.released = asyncio.Event()

    async def open(self) -> None:
        """Start everything."""
        await asyncio.to_thread(self.members.start)
        await self.proxy.open()
        settings = {**SETTINGS, "license__trueconf__online": self.limit}
        for number in range(GATEWAYS):
            urls = self.members.urls if number else self.proxy.urls
            self.gateways.append(
                GatewayProcess(f"g{number}", self._folder, urls, self._secret, self._prefix, **settings)
            )
            await self.gateways[-1].start()

    async def close(self) -> None:
        """End everything."""
        for gateway in self.gateways:
            if gateway.exit_code is None:
                gateway.send(signal.SIGCONT)
                await gateway.end()
        await self.proxy.close()
        self.members.stop()

    # -- clients -------------------------------------------------------------------------------------------------------

    async def client(self, number: int) -> None:
        """Come, join, stay a moment, leave, and come back wherever there is a gateway."""
        for visit in itertools.count():
            if self.released.is_set():
                return
            gateway = self.whims.choice(self.gateways)
            if self.resting.is_set() and len(self.holding) >= self.limit:
                await asyncio.sleep(0.2)  # until it is released, or somebody has to go
                continue
            visiting = Visit(self, number, gateway)
            try:
                await visiting.connect()
            except OSError:
                await asyncio.sleep(0.2)
                continue
            try:
                await visiting.go(f"user{number}-{visit // VISITS}")
            except Gone as gone:
                self.answers[f"closing: {gone}"] += 1
            finally:
                visiting.close()
            await asyncio.sleep(self.whims.random() * 0.3)

    def holds(self, number: int, gateway: GatewayProcess) -> None:
        """Note who was told that it is in; who is at a gateway that stands still cannot be sent away by it."""
        self.holding[number] = gateway
        self.samples += 1
        reachable = sum(each.name not in self.stopped for each in self.holding.values())
        self.most = max(self.most, reachable)
        if reachable > self.limit:
            at = Counter(each.name for each in self.holding.values())
            self.faults.append(f"{reachable} clients were told that they are in, of {self.limit}: {dict(at)}")

    # -- what happens --------------------------------------------------------------------------------------------------

    async def happen(self) -> str:
        """Have one thing happen, and be over again; returns its name."""
        acts = [
            self._kill_leader,
            self._kill_all_members,
            self._stop_member,
            self._stop_leader,
            self._kill_gateway,
            self._stop_gateway,
            self._restart_gateway,
            self._take_the_majority_away_for_a_moment,
            self._take_the_majority_away_for_long,
            self._cut_a_gateway_off_for_a_moment,
            self._cut_a_gateway_off_for_long,
            self._slow_a_disk_down,
        ]
        act = self.random.choice(acts)
        while act == self._slow_a_disk_down and not shutil.which("strace"):
            act = self.random.choice(acts)
        await act()
        name = act.__name__.strip("_").replace("_", " ")
        self.acts[name] += 1
        return name

    async def _kill_leader(self) -> None:
        leader = await asyncio.to_thread(self.members.leader)
        self.members.kill(leader)
        await asyncio.sleep(3.0)
        await asyncio.to_thread(self.members.start, leader)

    async def _kill_all_members(self) -> None:
        self.members.kill()
        await asyncio.sleep(1.0)
        await asyncio.to_thread(self.members.start)

    async def _stop_member(self) -> None:
        await self._freeze_members(4.0, self.random.randrange(MEMBERS))

    async def _stop_leader(self) -> None:
        await self._freeze_members(6.0, await asyncio.to_thread(self.members.leader))

    async def _take_the_majority_away_for_a_moment(self) -> None:
        await self._freeze_members(2.0, *self.random.sample(range(MEMBERS), 2))

    async def _take_the_majority_away_for_long(self) -> None:
        await self._freeze_members(PATIENCE + 2, *self.random.sample(range(MEMBERS), 2))

    async def _freeze_members(self, seconds: float, *members: int) -> None:
        self.members.signal(signal.SIGSTOP, *members)
        await asyncio.sleep(seconds)
        self.members.signal(signal.SIGCONT, *members)

    async def _slow_a_disk_down(self) -> None:
        self.members.slow_down(self.random.randrange(MEMBERS), FSYNC)
        await asyncio.sleep(6.0)
        await asyncio.to_thread(self.members.speed_up)

    async def _cut_a_gateway_off_for_a_moment(self) -> None:
        await self._cut(3.0)

    async def _cut_a_gateway_off_for_long(self) -> None:
        await self._cut(PATIENCE + 4)

    async def _cut(self, seconds: float) -> None:
        self.proxy.cut()
        await asyncio.sleep(seconds)
        self.proxy.mend()

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
        seconds = self.random.choice([2.0, PATIENCE + 4])
        self.stopped.add(gateway.name)
        gateway.send(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        if seconds > PATIENCE:
            self.frozen[gateway.name] += 1
        gateway.send(signal.SIGCONT)
        await asyncio.sleep(1.0)  # in which it must have sent away whom it may not serve any more
        self.stopped.discard(gateway.name)

    # -- what must hold ------------------------------------------------------------------------------------------------

    async def compare(self, session: aiohttp.ClientSession) -> None:
        """See that all gateways go on, and that none has come to another state.

        Raises `Invariant`.
        """
        if self.faults:
            raise Invariant(self.faults[0])
        digests: dict[int, str] = {}
        for gateway in self.gateways:
            if gateway.is_up and gateway.exit_code is not None and gateway.found_no_etcd():
                self.acts["start again what found no etcd"] += 1  # as whoever looks after a service does
                await gateway.start()
            elif gateway.is_up and gateway.exit_code is not None:
                raise Invariant(f"{gateway.name} has ended with {gateway.exit_code}: {gateway.said()[-2000:]}")
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                shown = await gateway.get(session, "/api/cluster")
                if shown["mismatches"] or digests.setdefault(shown["version"], shown["digest"]) != shown["digest"]:
                    raise Invariant(f"{gateway.name} has come to another state: {shown}")
                self.comparisons += 1

    async def go_on(self, session: aiohttp.ClientSession) -> None:
        """Wait until `GRANTS` more clients were let in and have joined; all that time gateways are compared.

        A round has looked at so many for each thing that happened, however slow the machine is. Raises `Invariant`.
        """
        let_in, joined = self.samples + GRANTS, self.answers["joined"] + GRANTS
        until = time.monotonic() + 5 * PATIENCE
        while self.samples < let_in or self.answers["joined"] < joined:
            if time.monotonic() > until:
                raise Invariant(f"only {GRANTS - let_in + self.samples} were let in since it is over")
            await asyncio.sleep(0.2)
            await self.compare(session)

    async def rest(self, session: aiohttp.ClientSession) -> None:
        """Wait until it is quiet: who is in stays, and all that is counted must be that.

        Raises `Invariant`.
        """
        self.resting.set()
        await self._settle(session, self.limit)
        pages = await self._leases(session)
        lost = [sorted(self.leased - each)[:5] for each in pages]
        if any(lost):
            raise Invariant(f"licenses that clients were told of are gone: {lost}")

    async def see_off(self, session: aiohttp.ClientSession, clients: list[asyncio.Task[None]]) -> None:
        """Let everybody go: nothing may be left.

        Raises `Invariant`.
        """
        self.released.set()
        _, late = await asyncio.wait(clients, timeout=4 * PATIENCE)
        if late:
            raise Invariant(f"{len(late)} clients had no answer")
        for each in clients:
            each.result()
        await self._settle(session, 0)

    async def _settle(self, session: aiohttp.ClientSession, held: int) -> None:
        until = time.monotonic() + 5 * PATIENCE
        fault = "nothing was compared"
        while fault and time.monotonic() < until:
            await asyncio.sleep(0.2)
            await self.compare(session)
            try:
                fault = await self._differ(session, held)
            except (aiohttp.ClientError, OSError, TimeoutError) as unreachable:
                fault = f"a gateway does not answer: {unreachable!r}"
        if fault:
            raise Invariant(fault)

    async def _differ(self, session: aiohttp.ClientSession, held: int) -> str:
        """Return what is wrong with what the gateways show; empty where nothing is."""
        clusters = [await each.get(session, "/api/cluster") for each in self.gateways]
        used = []
        for each in self.gateways:
            license = await each.get(session, "/api/license")
            used.append(license["models"]["trueconf"]["pools"]["online"]["used"])
        names = [each.name for each in self.gateways]
        counts = [{node["name"]: node["connections"] for node in each["nodes"]} for each in clusters]
        clients = {name: sum(each.name == name for each in self.holding.values()) for name in names}
        sockets = {each.name: each.sockets() for each in self.gateways}
        if {each["state"] for each in clusters} != {"active"} or used != [held] * GATEWAYS:
            return f"states {[each['state'] for each in clusters]}, seats {used}, not {held}"
        if any(each != clients for each in counts) or sockets != clients:
            return f"connections {counts}, of clients {clients}, of the kernel {sockets}"
        return ""

    async def _leases(self, session: aiohttp.ClientSession) -> list[set[str]]:
        return [await self._leases_of(session, each) for each in self.gateways]

    async def _leases_of(self, session: aiohttp.ClientSession, gateway: GatewayProcess) -> set[str]:
        found: set[str] = set()
        after = ""
        while True:
            page = await gateway.get(session, f"/api/pro?limit=1000{after}")
            found |= {each["account"] for each in page["items"]}
            if not page.get("next"):
                return found
            after = "&cursor=" + urllib.parse.quote(page["next"])


async def play(minutes: float, seed: int, clients: int = CLIENTS, limit: int = LIMIT) -> Round:
    """Play a round with so many `clients`, of whom `limit` may be in at once, and return it: what happened, and what
    clients were answered, how often.

    Raises `Invariant`.
    """
    with tempfile.TemporaryDirectory(prefix="tallygate-chaos-") as folder:
        game = Round(Path(folder), seed, limit)
        try:
            await game.open()
            async with aiohttp.ClientSession() as session:
                visiting = [asyncio.create_task(game.client(number)) for number in range(clients)]
                await game.go_on(session)
                until = time.monotonic() + 60 * minutes
                while time.monotonic() < until:
                    began = time.monotonic()
                    happened = await game.happen()
                    say(f"{happened}: {time.monotonic() - began:.1f} s, most in {game.most} of {limit}")
                    await game.go_on(session)
                await game.rest(session)
                await game.see_off(session, visiting)
            if not game.leased:
                raise Invariant("nobody was let in at all")
            return game
        except Invariant:
            for gateway in game.gateways:
                say(f"--- {gateway.name}\n{gateway.said()[-6000:]}")
            raise
        finally:
            await game.close()


def say(line: str) -> None:
    """Print a line with the time of day."""
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


def main() -> None:
    """Play one round, and say what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.chaos", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clients", type=int, default=CLIENTS)
    parser.add_argument("--limit", type=int, default=LIMIT, help="how many of them may be in at once")
    options = parser.parse_args()
    say(f"seed {options.seed}" + ("" if shutil.which("strace") else "; without strace no disk is slow"))
    game = asyncio.run(play(options.minutes, options.seed, options.clients, options.limit))
    say(f"what happened: {dict(game.acts)}")
    say(f"answers: {dict(game.answers)}")
    say(
        f"grants looked at {game.samples}, never more than {game.most} of {game.limit} in; states compared "
        f"{game.comparisons} times; {len(game.leased)} leases told of, none lost"
    )


if __name__ == "__main__":
    main()
