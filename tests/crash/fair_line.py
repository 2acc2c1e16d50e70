"""A line under a storm: many wait for few seats, each held for a moment. Whoever came first is served first, no seat is
idle while somebody waits, and a seat that is given back is granted at once.

`python -m tests.crash.fair_line [WAITING SEATS HELD SERVED]` runs it once on a gateway of its own, until so many have
had a seat, and prints the figures.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import aiohttp

from tests.crash.gateway import Running, running

SECONDS = re.compile(
    r'^tallygate_license_(seat|full)_seconds_total\{model="trueconf",pool="online"\} (\S+)$', re.MULTILINE
)


LAG = 0.005
"""Seconds between two looks at how late the clients are."""


class Client(NamedTuple):
    """One who asks for a seat and waits for it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def hear(self) -> dict[str, object]:
        return dict(json.loads(await self.reader.readline()))

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


class Figures(NamedTuple):
    """What came of a storm: who was served, in order of the grants; seconds from each release to the grant that follows
    from it, and by which these clients themselves were late; seat-seconds and full-seconds of the pool while
    somebody waited.
    """

    served: list[int]
    delays: list[float]
    lags: list[float]
    seat_seconds: float
    full_seconds: float


def percentile(seconds: list[float], share: float) -> float:
    """The milliseconds that a share of some spans does not exceed."""
    return sorted(seconds)[round(share * (len(seconds) - 1))] * 1000


async def arrive(port: int, number: int) -> tuple[Client, dict[str, object]]:
    """A client that would rather wait than be denied, and what it is told."""
    client = Client(*await asyncio.open_connection("127.0.0.1", port))
    hello = {"type": "hello", "protocol": 1, "account": f"user{number}", "device": "pc", "wait": 3600}
    client.writer.write(json.dumps(hello).encode() + b"\n")
    return client, await client.hear()


async def seconds(gateway: Running) -> tuple[float, float]:
    """The seat-seconds and full-seconds of the pool so far."""
    url = f"http://127.0.0.1:{gateway.ports['operator']}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        found = {kind: float(value) for kind, value in SECONDS.findall(await response.text())}
    return found["seat"], found["full"]


async def storm(store: Path, waiting: int, seats: int, held: float, serve: int) -> Figures:
    """Let so many wait for so many seats, each held for `held` seconds, until `serve` of them have had one; somebody
    waits all the time.
    """
    settings = {
        "TALLYGATE_LICENSE__TRUECONF__ONLINE": str(seats),
        "TALLYGATE_LICENSE__QUEUE_LIMIT": str(waiting),
        "TALLYGATE_HEARTBEAT__INTERVAL": "300s",
        "TALLYGATE_HEARTBEAT__TIMEOUT": "900s",
    }
    released: list[float] = []
    granted: list[float] = []
    served: list[int] = []
    lags: list[float] = []
    enough = asyncio.Event()
    async with running(store, settings) as gateway, asyncio.TaskGroup() as group:
        port = gateway.ports["tcp"]

        async def leave(client: Client) -> None:
            await asyncio.sleep(held)
            released.append(time.perf_counter())
            client.writer.write(b'{"type":"bye"}\n')
            await client.reader.read()

        async def wait(client: Client, number: int) -> None:
            while b'"welcome"' not in await client.reader.readline():  # where many hear of their positions, read little
                pass
            granted.append(time.perf_counter())
            served.append(number)
            if len(served) == serve:
                enough.set()
            await leave(client)

        async def lag() -> None:
            while not enough.is_set():
                began = time.perf_counter()
                await asyncio.sleep(LAG)
                lags.append(time.perf_counter() - began - LAG)

        first = [await arrive(port, -1 - number) for number in range(seats)]
        assert [said["type"] for _, said in first] == ["welcome"] * seats
        line = []
        for number in range(waiting):
            client, said = await arrive(port, number)
            assert (said["type"], said["position"]) == ("queued", number + 1)
            line.append(client)
        before = await seconds(gateway)
        waits = [group.create_task(wait(client, number)) for number, client in enumerate(line)]
        group.create_task(lag())
        for client, _ in first:
            group.create_task(leave(client))
            await asyncio.sleep(held / seats)
        await enough.wait()
        after = await seconds(gateway)
        for task in waits:
            task.cancel()
    for client in [*(client for client, _ in first), *line]:
        await client.close()
    delays = [grant - release for release, grant in zip(released, granted, strict=False)]
    return Figures(served, delays, lags, after[0] - before[0], after[1] - before[1])


async def main(waiting: int = 2000, seats: int = 10, held: float = 1.0, serve: int = 1500) -> None:
    """One storm, and its figures."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        found = await storm(Path(folder) / "line.db", waiting, seats, held, serve)
    order = "in order" if found.served == sorted(found.served) else "NOT IN ORDER"
    idle = seats * found.full_seconds - found.seat_seconds
    shares = (("p50", 0.5), ("p99", 0.99), ("most", 1.0))
    delays, lags = (
        ", ".join(f"{name} {percentile(each, share):.2f} ms" for name, share in shares)
        for each in (found.delays, found.lags)
    )
    print(
        f"{len(found.served)} served {order} in {time.monotonic() - began:.1f} s; from release to grant {delays} "
        f"(these clients were late themselves: {lags}); a seat was idle for {idle:.6f} s while somebody waited"
    )


if __name__ == "__main__":
    asyncio.run(main(*(kind(text) for kind, text in zip((int, int, float, int), sys.argv[1:], strict=False))))
