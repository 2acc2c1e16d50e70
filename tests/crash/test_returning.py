"""A pool that is full, a death, and strangers who come first: nobody takes the seat of who held one."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from tests.crash.gateway import Running, running

POOL = "online"


def environment(holders: int) -> dict[str, str]:
    """Settings of a gateway with a pool of so many seats."""
    return {"TALLYGATE_LICENSE__TRUECONF__ONLINE": str(holders), "TALLYGATE_LICENSE__RETURNING": "5m"}


async def hello(port: int, account: str) -> tuple[dict[str, object], asyncio.StreamWriter]:
    """The answer to a client that comes, and its connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    said = {"type": "hello", "protocol": 1, "account": account, "device": "pc"}
    writer.write(json.dumps(said).encode() + b"\n")
    return json.loads(await reader.readline()), writer


async def come(port: int, accounts: list[str]) -> tuple[list[str], list[asyncio.StreamWriter]]:
    """Let accounts come, a hundred at once; what each was told, and the connections."""
    told: list[str] = []
    writers: list[asyncio.StreamWriter] = []
    for begin in range(0, len(accounts), 100):
        for answer, writer in await asyncio.gather(*(hello(port, each) for each in accounts[begin : begin + 100])):
            told.append(str(answer.get("reason", answer["type"])))
            writers.append(writer)
    return told, writers


def memory(gateway: Running) -> float:
    """MiB that a gateway has in memory."""
    status = Path(f"/proc/{gateway.process.pid}/status").read_text(encoding="ascii")
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


async def survive(store: Path, holders: int) -> str:
    """Fill a pool, kill the gateway, let strangers come first and then those who held the seats; figures for people."""
    names = [f"user{number}" for number in range(holders)]
    writers: list[asyncio.StreamWriter] = []
    try:
        async with running(store, environment(holders)) as gateway:
            told, opened = await come(gateway.ports["tcp"], names)
            writers += opened
            assert told == ["welcome"] * holders
            before = memory(gateway)
            await asyncio.sleep(2.5)  # what is written behind is a second old at most
            await gateway.kill()
        began = time.monotonic()
        async with running(store, environment(holders)) as gateway:
            started, after = time.monotonic() - began, memory(gateway)
            told, opened = await come(gateway.ports["tcp"], [f"stranger{number}" for number in range(100)])
            writers += opened
            assert told == ["pool_full"] * 100
            began = time.monotonic()
            told, opened = await come(gateway.ports["tcp"], names)
            writers += opened
            assert told == ["welcome"] * holders
            back = time.monotonic() - began
            told, opened = await come(gateway.ports["tcp"], ["stranger"])
            writers += opened
            assert told == ["pool_full"]
    finally:
        for writer in writers:
            writer.close()
    return (
        f"{holders} holders: {before:.0f} MiB before; started in {started:.2f} s, {after:.0f} MiB with the seats kept; "
        f"all back in {back:.1f} s"
    )


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_no_stranger_takes_the_seat_of_who_held_one(tmp_path: Path) -> None:
    assert await survive(tmp_path / "crash.db", 500)
