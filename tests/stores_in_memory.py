"""A store in memory is a copy of the first one of the process, and does without a thread: the scripts that make it, and
the threads, are a good part of the start of a gateway, and of those there are hundreds. What the scripts make, and what
goes on while a thread is at work, is tested with files.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Generator
from typing import Any

import aiosqlite

from gateway.edge.storage import store_file
from gateway.edge.storage.store_lock import MEMORY

open_as_ever = store_file._opened
_first = sqlite3.connect(MEMORY, check_same_thread=False)


def copy_the_first() -> None:
    """Let every store in memory that is opened from now on be such a copy."""
    setattr(store_file, "_opened", _opened)  # noqa: B010 - mypy takes functions for constants


async def _opened(path: str, patience: float) -> aiosqlite.Connection:
    if path != MEMORY:
        return await open_as_ever(path, patience)
    if _first.execute("SELECT 1 FROM sqlite_master").fetchone() is not None:
        return await _Threadless(_copy, iter_chunk_size=64)
    db = await open_as_ever(path, patience)
    await db.backup(_first)
    return db


def _copy() -> sqlite3.Connection:
    db = sqlite3.connect(MEMORY, isolation_level=None)
    _first.backup(db)
    return db


class _Threadless(aiosqlite.Connection):
    """What it is to do, the event loop does in its next round."""

    def __await__(self) -> Generator[Any, None, aiosqlite.Connection]:
        vars(self)["_tx"] = _NextRound()
        return self._connect().__await__()


class _NextRound:
    """Stands for the queue of the thread."""

    def put_nowait(self, work: tuple[asyncio.Future[Any] | None, Callable[[], Any]]) -> None:
        """Have a function called, and a future told of its result; at once where no loop runs any more."""
        future, function = work
        if future is None:
            function()
        else:
            future.get_loop().call_soon(_settle, future, function)


def _settle(future: asyncio.Future[Any], function: Callable[[], Any]) -> None:
    try:
        result = function()
    except Exception as fault:
        if not future.done():
            future.set_exception(fault)
    else:
        if not future.done():
            future.set_result(result)
