"""A month of who used it: how long an answer takes, beside a plain sum over the same rows.

    python -m tests.bench.usage [--sessions N] [--json]

Writes the month of `tests.bench.history` into a new store, some million grants and releases, and starts a gateway on
it. Then it asks who used it, put together in each way: over the API as the page does, until the last page, and as
`tallygate usage`, whose own start is part of its time. The floor is what SQLite itself takes to add up the seconds of
every row of the table. Reported: events, rows, and the best and worst seconds of five rounds.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import time
from asyncio.subprocess import DEVNULL
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import aiohttp

from gateway.cli.usage import BY
from tests.bench.history import run, serving, write

ROUNDS = 5
SINCE = "40d"


async def timed(ask: Callable[[], Awaitable[None]]) -> list[float]:
    """Seconds of each round, in order of size."""
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        await ask()
        times.append(time.perf_counter() - began)
    return sorted(times)


async def pages(http: aiohttp.ClientSession, by: str) -> None:
    """Ask for everything that is put together one way."""
    cursor: dict[str, str] = {}
    while True:
        query = {"by": by, "since": SINCE, "limit": "1000", **cursor}
        async with http.get("/api/usage", params=query, raise_for_status=True) as answer:
            found = await answer.json()
        if found["next"] is None:
            return
        cursor = {"cursor": found["next"]}


async def command(operator: str, by: str) -> None:
    """Run the command, to its end.

    Raises `SystemExit` where it fails.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "usage", "--by", by, "--since", SINCE, "--operator", operator, stdout=DEVNULL
    )
    if await process.wait():
        raise SystemExit("the command failed")


async def measure(directory: Path, sessions: int) -> dict[str, float]:
    """All of it; times in seconds."""
    store = directory / "month.db"
    found: dict[str, float] = {"events": await write(str(store), sessions)}
    file = sqlite3.connect(store)
    (found["rows"],) = file.execute("SELECT count(*) FROM usage").fetchone()

    async def floor() -> None:
        file.execute("SELECT sum(seat_seconds) FROM usage").fetchone()

    found["floor"] = (await timed(floor))[0]
    file.close()
    async with serving(store) as ports:
        operator = f"http://127.0.0.1:{ports['operator']}"
        async with aiohttp.ClientSession(operator) as http:
            for by in BY:
                times = await timed(partial(pages, http, by))
                found[f"api_{by}"], found[f"api_{by}_worst"] = times[0], times[-1]
        for by in BY:
            times = await timed(partial(command, operator, by))
            found[f"command_{by}"], found[f"command_{by}_worst"] = times[0], times[-1]
    return {name: round(value, 4) for name, value in found.items()}


if __name__ == "__main__":
    sys.exit(run("usage", "A month of use, added up.", measure))
