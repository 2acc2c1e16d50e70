"""A store and the memory that it has to keep, for its tests."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from gateway.edge.storage.store import Statement, Store
from tests.wire_client import PATIENCE

PUT = "INSERT OR REPLACE INTO meta VALUES (?, ?)"
EVERY = 0.02
"""Seconds between attempts to recover, in these tests."""


def put(name: str, value: object = "") -> Statement:
    return Statement(PUT, (name, str(value)))


class Kept:
    """A store and the memory that it has to keep."""

    def __init__(self, path: str, patience: float) -> None:
        self.memory: dict[str, str] = {}
        self.store = Store(path, self.everything, time.monotonic, patience=patience)

    def everything(self) -> Iterator[Statement]:
        yield Statement("DELETE FROM meta")
        yield from (put(name, value) for name, value in self.memory.items())

    def write(self, name: str, value: object = "") -> asyncio.Future[None]:
        self.memory[name] = str(value)
        return self.store.write([put(name, value)])

    async def names(self) -> set[str]:
        return {name for (name,) in await self.store.read("SELECT name FROM meta")}

    async def recovered(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while not self.store.available:  # noqa: ASYNC110 - an attempt has no event of its own
                await asyncio.sleep(EVERY)


Open = Callable[..., Awaitable[Kept]]


def rows(path: str | Path) -> dict[str, str]:
    """What is in the file, read by somebody else."""
    with contextlib.closing(sqlite3.connect(path)) as other:
        return dict(other.execute("SELECT name, value FROM meta"))


def names(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()}
