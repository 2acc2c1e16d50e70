"""A month of history: how long a report takes, and whether heartbeats feel it.

    python -m tests.bench.history [--sessions N] [--json]

Writes 31 days of believable traffic into a new store - sessions by the hour of the day, conferences that fill within
seconds, every model counting them - decided by the core itself, so that hours, holds, denials and who used it are what
a gateway would have kept. Then it starts a gateway on that store and runs `tallygate report` against it, while one
client beats every 5 ms over TCP. Reported: events (grants and releases), seconds of the report, ack p99 and the longest
with and without a report running.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import json
import random
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from config.record_settings import HistorySettings
from gateway.core.admission.apply import apply
from gateway.core.admission.commands import End, Hello, Join, Tick
from gateway.core.admission.state import State
from gateway.core.admission.terms import Terms
from gateway.core.counting.session import Instant
from gateway.edge.storage.history_store import HistoryStore
from gateway.edge.storage.store import Store
from gateway.edge.storage.usage_store import UsageStore
from gateway.licensing import MODELS
from gateway.licensing.epop import Epop
from gateway.licensing.trueconf import TrueConf

DAYS = 31
BUSY = (0, 0, 0, 0, 0, 0, 1, 3, 8, 12, 12, 10, 7, 9, 12, 11, 8, 5, 3, 2, 1, 1, 0, 0)
"""How busy each hour of a day is."""
LIMITS = {"epop": Epop(users=150), "trueconf": TrueConf(pro=150, online=400, guest=20)}


async def write(path: str, sessions: int) -> int:
    """Live the month; returns how many grants and releases there were."""
    lots = random.Random(20261121)  # noqa: S311 - believable, not secret
    end = time.time() // 3600 * 3600
    now = Instant(0.0, end - DAYS * 86400)
    licenses = {name: LIMITS.get(name) or MODELS[name].terms() for name in MODELS}
    state = State(Terms(next(iter(MODELS)), licenses), MODELS, now)
    store = Store(path, lambda: (), time.monotonic)
    await store.open()
    archive = HistoryStore(state.history, store, HistorySettings())
    await archive.open()
    usage = UsageStore(state.use, store)
    weights = [BUSY[int(hour % 24)] * (0.15 if hour // 24 % 7 > 4 else 1) for hour in range(DAYS * 24)]
    due: list[tuple[float, int, str, str]] = []
    number = 0
    for hour in lots.choices(range(DAYS * 24), weights, k=sessions // 8):
        opens, length, size = hour * 3600 + lots.random() * 3600, lots.expovariate(1 / 1800), lots.randint(2, 14)
        for _ in range(size):
            number += 1
            came = opens + lots.expovariate(1 / 30)
            heapq.heappush(due, (came, number, "come", f"c{opens:.0f}"))
            heapq.heappush(due, (max(opens + length * lots.uniform(0.7, 1), came + 5), number, "go", ""))
    there: dict[int, int] = {}
    looked = 0.0
    while due:
        at, who, what, room = heapq.heappop(due)
        while looked + 60 <= at:
            looked += 60
            instant = Instant(looked, now.wall + looked)
            apply(state, Tick(), instant)
            archive.poll(instant)
            usage.poll(instant)
            await asyncio.sleep(0)
        instant = Instant(at, now.wall + at)
        if what == "come":
            account = None if lots.random() < 0.05 else f"u{lots.randrange(600)}"
            session = apply(state, Hello("app", account, f"d{who % 2}", "", "", "192.0.2.1", "tcp"), instant).session
            if session is not None:
                there[who] = session
                apply(state, Join(session, room, access="public"), instant)
        elif (left := there.pop(who, None)) in state.sessions.by_number:
            apply(state, End(left, "closed"), instant)
    instant = Instant(looked, now.wall + looked)
    archive.close(instant)
    usage.close(instant)
    await store.close()
    pools = [timeline.pool for timeline in state.history.timelines]
    return sum(pool.grants + sum(pool.releases.values()) for pool in pools)


async def beats(port: int, until: asyncio.Event) -> list[float]:
    """Milliseconds from heartbeat to ack, one beat every 5 ms."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b'{"type":"hello","protocol":1}\n')
    await reader.readline()
    found = []
    while not until.is_set():
        began = time.perf_counter()
        writer.write(b'{"type":"heartbeat"}\n')
        await reader.readline()
        found.append((time.perf_counter() - began) * 1000)
        await asyncio.sleep(0.005)
    writer.close()
    return sorted(found)


@asynccontextmanager
async def serving(store: Path) -> AsyncIterator[dict[str, int]]:
    """A gateway with the licenses of the month on its store, and the ports at which it serves."""
    ready = store.with_name("ready")
    settings = [f"--set={key}" for key in (
        "listen.tcp=0", "listen.websocket=0", "listen.operator=0", "registrar.enabled=false", f"store.path={store}",
        "license.epop.users=150", "license.trueconf.pro=150", "license.trueconf.online=400",
        "license.trueconf.guest=20", "listen.message_rate=1000",
    )]  # fmt: skip
    gateway = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "serve", "--ready-file", str(ready), *settings, stdout=DEVNULL
    )
    try:
        while not ready.exists():
            if gateway.returncode is not None:
                raise SystemExit("the gateway did not start")
            await asyncio.sleep(0.05)
        yield json.loads(ready.read_text())
    finally:
        gateway.terminate()
        await gateway.wait()


async def measure(directory: Path, sessions: int) -> dict[str, float]:
    """All of it; times in seconds, acks in milliseconds."""
    store = directory / "month.db"
    events = await write(str(store), sessions)
    async with serving(store) as ports:
        quiet_over, busy_over = asyncio.Event(), asyncio.Event()
        quiet = asyncio.create_task(beats(ports["tcp"], quiet_over))
        await asyncio.sleep(2)
        quiet_over.set()
        calm = await quiet
        busy = asyncio.create_task(beats(ports["tcp"], busy_over))
        times = []
        for _ in range(3):
            began = time.perf_counter()
            report = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "gateway", "report", "--since", "40d",
                "--operator", f"http://127.0.0.1:{ports['operator']}", stdout=PIPE,
            )  # fmt: skip
            text, _ = await report.communicate()
            times.append(time.perf_counter() - began)
        busy_over.set()
        stressed = await busy
    print(text.decode(), file=sys.stderr)
    return {
        "events": events,
        "store_megabytes": round(store.stat().st_size / 1e6, 1),
        "report_seconds": round(min(times), 3),
        "report_seconds_worst": round(max(times), 3),
        "ack_p99_quiet": round(calm[int(len(calm) * 0.99)], 2),
        "ack_p99_reporting": round(stressed[int(len(stressed) * 0.99)], 2),
        "ack_longest_quiet": round(calm[-1], 2),
        "ack_longest_reporting": round(stressed[-1], 2),
    }


def run(name: str, description: str, measure: Callable[[Path, int], Awaitable[Mapping[str, float]]]) -> int:
    """Measure what a month of sessions costs, in a folder of its own, and print it."""
    parser = argparse.ArgumentParser(prog=f"python -m tests.bench.{name}", description=description)
    parser.add_argument("--sessions", type=int, default=110_000, help="default %(default)s")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args()

    async def measured(directory: str) -> Mapping[str, float]:
        return await measure(Path(directory), options.sessions)

    with tempfile.TemporaryDirectory() as directory:
        found = asyncio.run(measured(directory))
    print(json.dumps(found) if options.json else "\n".join(f"{key:24}{value:>12}" for key, value in found.items()))
    return 0


if __name__ == "__main__":
    sys.exit(run("history", "A month of history, reported.", measure))
