"""A gateway in a process of its own that can be killed, and what it says when it is started again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

SETTINGS = (
    "listen.tcp=0", "listen.websocket=0", "listen.operator=0", "registrar.port=0", "license.model=trueconf",
    "license.trueconf.pro=100000", "listen.accept_rate=0", "listen.max_pending=4096", "listen.message_rate=0",
)  # fmt: skip
PATIENCE = 30.0
"""Seconds for a gateway to come up."""


class Crashed(Exception):
    """A gateway did not come up; the text is its last word."""


class Running(NamedTuple):
    """A gateway that is ready."""

    process: Process
    ports: dict[str, Any]

    async def kill(self) -> float:
        """SIGKILL; returns the instant, in seconds UTC."""
        self.process.kill()
        killed = time.time()
        await self.process.communicate()
        return killed

    async def leases(self) -> list[dict[str, Any]]:
        """Everything that `/api/pro` lists."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        async with aiohttp.ClientSession(f"http://127.0.0.1:{self.ports['operator']}") as session:
            while True:
                query = {"limit": "1000"} | ({"cursor": cursor} if cursor else {})
                async with session.get("/api/pro", params=query) as response:
                    page = await response.json()
                found += page["items"]
                cursor = page["next"]
                if cursor is None:
                    return found

    async def used(self) -> int:
        """Use of the PRO pool."""
        url = f"http://127.0.0.1:{self.ports['operator']}/api/license"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return int((await response.json())["models"]["trueconf"]["pools"]["pro"]["used"])


@contextlib.asynccontextmanager
async def running(store: Path, more: Mapping[str, str] | None = None) -> AsyncIterator[Running]:
    """`tallygate serve` on a store, with `more` in its environment; killed at the end if it still runs.

    Raises `Crashed`.
    """
    ready = store.with_name("ready.json")
    ready.unlink(missing_ok=True)
    settings = [f"--set={each}" for each in (*SETTINGS, f"store.path={store}")]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "serve", "--ready-file", str(ready), *settings,
        stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE, env={**os.environ, **(more or {})},
    )  # fmt: skip
    try:
        async with asyncio.timeout(PATIENCE):
            while not ready.exists():
                if process.returncode is not None:
                    _, said = await process.communicate()
                    raise Crashed(said.decode().strip())
                await asyncio.sleep(0.01)
        yield Running(process, json.loads(ready.read_text()))
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
