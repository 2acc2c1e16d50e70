"""The connections to the file of a store: one that writes and one that reads, and whether the file is still in place.

The library goes on writing into a file that was deleted, moved or replaced, and says nothing. So it is seen after a
transaction, and where there is none for a while, whether the file and its journal still stand where they were opened.
If not, the file can be made again from what only the open connections still read; what stands there is set aside.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import math
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import aiosqlite

from gateway.edge.storage.store_file import (
    clear_place,
    draft_beside,
    identity,
    open_store,
    put_in_place,
    rewrite,
    rewrite_if_marked,
    taken,
)
from gateway.edge.storage.store_lock import MEMORY, StoreLock

DAMAGE = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
"""What the library says of a file that does not hold what it should."""
LOOKS_APART = 0.05
"""Seconds between two looks at the file, at least: transactions that follow each other quickly share one."""
UNREADABLE = (*DAMAGE, sqlite3.SQLITE_IOERR)
"""What it says of a file of which no copy will ever be made."""

log = logging.getLogger("tallygate.store")


class Statement(NamedTuple):
    """One SQL statement and its parameters."""

    sql: str
    values: tuple[Any, ...] = ()


class StoreUnavailable(Exception):
    """Statements were not written, or rows not read; the text says why."""


class StoreDamaged(StoreUnavailable):
    """The file does not hold what it should."""


class StoreConnections:
    """The connections to the store at `path`; a store in memory has only one, which writers and readers use in turn.

    `patience` is how long a transaction waits for somebody else's lock, in seconds.
    """

    def __init__(self, path: str, patience: float) -> None:
        self.path = path if path == MEMORY else os.path.abspath(path)  # wherever the process goes, it stays there
        self.db: aiosqlite.Connection | None = None
        self.write_lock = asyncio.Lock()
        """Held from BEGIN to COMMIT."""
        self._read_lock = self.write_lock if path == MEMORY else asyncio.Lock()
        """Held for a query or a backup."""
        self._patience = patience
        self._reader: aiosqlite.Connection | None = None
        self._lock: StoreLock | None = None
        self._identity = identity(MEMORY)
        self._looked = -math.inf

    async def hold(self) -> StoreLock:
        """Keep the file from every other process until it is closed, without opening it yet; a thread does it, which a
        disk may keep waiting.

        Raises `StoreRefused`.
        """
        return self._hold() if self.path == MEMORY else await asyncio.to_thread(self._hold)

    def _hold(self) -> StoreLock:
        if self._lock is None:
            self._lock = taken(self.path)
        return self._lock

    async def open(self) -> None:
        """Open the file, make it or bring its schema up to date.

        Raises `StoreRefused`.
        """
        try:
            self.db, self._lock = await open_store(self.path, self._patience, await self.hold())
            self._reader = await self._reading(self.db)
            self._identity = identity(self.path)
        except BaseException:
            await self.close()
            raise

    async def _reading(self, db: aiosqlite.Connection) -> aiosqlite.Connection:
        """A connection for queries; a store in memory has only the one."""
        if self.path == MEMORY:
            return db
        reader = await aiosqlite.connect(self.path, isolation_level=None)
        await reader.execute("PRAGMA query_only=ON")
        # Now, so that it has the journal open should that be taken away.
        await reader.execute_fetchall("SELECT count(*) FROM sqlite_master")
        return reader

    async def close(self) -> None:
        """Close the file, and give it back."""
        for db in dict.fromkeys((self._reader, self.db)):
            if db is not None:
                await db.close()
        self._reader = self.db = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    async def write(self, statements: Sequence[Statement]) -> None:
        """Write all statements or none, durably, into the file that stands in its place (or did `LOOKS_APART` before).

        Raises `sqlite3.Error`, `OSError` or `StoreUnavailable`.
        """
        if self.db is None:
            raise StoreUnavailable("the store is closed")
        if not statements:
            return
        async with self.write_lock:
            await _transaction(self.db, statements)
        if self.path != MEMORY and asyncio.get_running_loop().time() - self._looked >= LOOKS_APART:
            await self.look()

    async def look(self) -> None:
        """See whether the file stands where it was opened; a thread does it, which a disk may keep waiting.

        Raises `FileNotFoundError` if it does not, `OSError` if that cannot be seen.
        """
        self._looked = asyncio.get_running_loop().time()
        if await asyncio.to_thread(identity, self.path) != self._identity:
            raise FileNotFoundError(f"{self.path} or its journal was taken away or replaced")

    async def read(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query.

        Raises `StoreUnavailable`; `StoreDamaged` where trying again will not help.
        """
        try:
            async with self._read_lock:
                return [tuple(row) for row in await self._open_reader().execute_fetchall(sql, tuple(values))]
        except (sqlite3.Error, UnicodeError) as fault:
            # Text that is no UTF-8 is an error without a code.
            damaged = getattr(fault, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF in DAMAGE
            raise (StoreDamaged if damaged else StoreUnavailable)(str(fault)) from fault

    async def copy(self, target: str) -> None:
        """Copy the file as it is now into another, while it is in use.

        Raises `sqlite3.Error` or `StoreUnavailable`.
        """
        async with aiosqlite.connect(target) as copy:
            async with self._read_lock:
                await self._open_reader().backup(copy)
            await rewrite_if_marked(copy)
            await copy.execute("PRAGMA journal_mode=DELETE")  # one file, which reading leaves alone

    async def size(self) -> int:
        """Return how many bytes the file has.

        Raises `StoreUnavailable`.
        """
        ((pages, page),) = await self.read("SELECT page_count, page_size FROM pragma_page_count, pragma_page_size")
        return int(pages * page)

    async def rewrite(self) -> None:
        """Write the file anew, without free space, and empty its journal.

        Raises `sqlite3.Error` or `StoreUnavailable`.
        """
        if self.db is None:
            raise StoreUnavailable("the store is closed")
        async with self.write_lock, contextlib.AsyncExitStack() as reading:
            if self._read_lock is not self.write_lock:
                await reading.enter_async_context(self._read_lock)
            await rewrite(self.db)

    async def make_again(self) -> None:
        """Make the file again if it does not stand in its place, with all that can be read of it.

        Raises `OSError`, `StoreRefused` or `sqlite3.Error`; what is open stays so where no copy can be made.
        """
        if self._reader is None:  # the last attempt came that far
            await self.open()
            return
        try:
            await self.look()
        except FileNotFoundError:
            draft = await asyncio.to_thread(draft_beside, self.path)
            try:
                copied = await self._copied(draft)
                async with self._read_lock:
                    await self._replace(draft if copied else None)
            finally:
                await asyncio.to_thread(Path(draft).unlink, missing_ok=True)
            log.warning("%s was made again", self.path)

    async def _copied(self, draft: str) -> bool:
        """Copy the file; whether anything of it could be read."""
        try:
            await self.copy(draft)
        except sqlite3.Error as fault:
            if fault.sqlite_errorcode & 0xFF not in UNREADABLE:
                raise
            log.error("the audit log and the history of %s cannot be read any more: %s", self.path, fault)
            return False
        return True

    async def _replace(self, draft: str | None) -> None:
        await asyncio.to_thread(clear_place, self.path, self._identity)
        await self.close()
        await asyncio.to_thread(put_in_place, draft, self.path)
        await self.open()

    def _open_reader(self) -> aiosqlite.Connection:
        if self._reader is None:
            raise StoreUnavailable("the store is closed")
        return self._reader


async def _transaction(db: aiosqlite.Connection, statements: Sequence[Statement]) -> None:
    """All statements or none; runs of the same statement with other values go to the library in one call."""
    try:
        await db.execute("BEGIN IMMEDIATE")
        for sql, run in itertools.groupby(statements, key=lambda statement: statement.sql):
            await db.executemany(sql, [statement.values for statement in run])
        await db.execute("COMMIT")
    except sqlite3.Error:
        with contextlib.suppress(sqlite3.Error):  # there may be nothing to take back
            await db.execute("ROLLBACK")
        raise
