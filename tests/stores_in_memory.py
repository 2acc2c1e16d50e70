"""A store in memory is a copy of the first one of the process: the scripts that make it are a good part of the start of
a gateway, and of those there are hundreds. What they make is tested with files.
"""

from __future__ import annotations

import sqlite3

import aiosqlite

from gateway.edge.storage import store_file
from gateway.edge.storage.store_lock import MEMORY

_open = store_file._opened
_first = sqlite3.connect(MEMORY, check_same_thread=False)


def copy_the_first() -> None:
    """Let every store in memory that is opened from now on be such a copy."""
    setattr(store_file, "_opened", _opened)  # noqa: B010 - mypy takes functions for constants


async def _opened(path: str, patience: float) -> aiosqlite.Connection:
    if path != MEMORY:
        return await _open(path, patience)
    if _first.execute("SELECT 1 FROM sqlite_master").fetchone() is not None:
        return await aiosqlite.Connection(_copy, iter_chunk_size=64)
    db = await _open(path, patience)
    await db.backup(_first)
    return db


def _copy() -> sqlite3.Connection:
    db = sqlite3.connect(MEMORY, isolation_level=None)
    _first.backup(db)
    return db
