"""The store: one SQLite file, one connection that writes, one writer.

Whatever is to be written joins the current group commit: while one transaction is on its way to the disk, the next one
gathers, so the price of a sync is shared by everybody who waits for it. A transaction is whole or not at all. The file
is in WAL mode with `synchronous=FULL`: what was committed survives a loss of power. Queries and backups have a
connection of their own, so a long report does not hold up a commit. A store in memory has one connection for all, which
they use in turn: a backup queued between BEGIN and COMMIT would wait for ever for the COMMIT behind it.

A write that fails (disk full, locked, read-only, taken away) fails everything that waits for it, and the store is
unavailable. From then on memory is the truth: `retry` is asked for all of it, again and again, until a commit has made
the file the same; what is written while that commit is on its way comes after it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import IO, Any, NamedTuple

import aiosqlite

from gateway.edge.storage.store_file import MEMORY, StoreRefused, hold, opened_or_anew, set_aside
from metrics.histogram import Histogram

__all__ = ["MEMORY", "Statement", "Store", "StoreDamaged", "StoreRefused", "StoreUnavailable"]

RETRY = 1.0
"""Seconds between two attempts to write again after a failure."""
DAMAGE = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
"""What the library says of a file that does not hold what it should."""
COMMITS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
"""Buckets of the time a commit takes, in seconds."""

log = logging.getLogger("tallygate.store")


class Statement(NamedTuple):
    """One SQL statement and its parameters."""

    sql: str
    values: tuple[Any, ...] = ()


class StoreUnavailable(Exception):
    """What was to be written is not; the text says why."""


class StoreDamaged(StoreUnavailable):
    """The file does not hold what it should."""


class _Waiting(NamedTuple):
    statements: tuple[Statement, ...]
    trail: tuple[Statement, ...]
    done: asyncio.Future[None]


class Store:
    """The file at `path`. `retry` gives the statements that make any file the same as memory.

    `patience` is how long a commit waits for somebody else's lock, in seconds.
    """

    def __init__(
        self,
        path: str,
        retry: Callable[[], Iterable[Statement]],
        clock: Callable[[], float],
        *,
        patience: float = 5.0,
    ) -> None:
        self.path = path
        self.patience = patience
        self.errors = 0
        self.commits = Histogram(COMMITS)
        self.available = True
        self._retry = retry
        self._clock = clock
        self._rewriting = False
        self._waiting: list[_Waiting] = []
        self._under_way: list[_Waiting] = []
        self._began: float | None = None
        self._wake = asyncio.Event()
        self._closing = asyncio.Event()
        self._db: aiosqlite.Connection | None = None
        self._reader: aiosqlite.Connection | None = None
        self._write_lock = asyncio.Lock()
        """Held from BEGIN to COMMIT."""
        self._read_lock = self._write_lock if path == MEMORY else asyncio.Lock()
        """Held for a query or a backup."""
        self._lock: IO[bytes] | None = None
        self._writer: asyncio.Task[None] | None = None

    @property
    def pending(self) -> int:
        """Writes that have not been committed yet."""
        return len(self._waiting) + len(self._under_way)

    @property
    def stalled(self) -> bool:
        """Whether a commit takes longer than it may: the disk does not answer."""
        # By the loop's own clock: one that is set from outside may leap over a commit that is only under way.
        now = asyncio.get_running_loop().time()
        return self.available and self._began is not None and now - self._began >= self.patience

    async def open(self) -> None:
        """Open the file, make it or bring its schema up to date, and begin to write.

        Raises `StoreRefused`.
        """
        self._lock = hold(self.path)
        try:
            self._db = await opened_or_anew(self.path, self.patience)
            self._reader = await self._reading(self._db)
        except BaseException:
            await self.close()
            raise
        self._writer = asyncio.create_task(self._write_all(self._db), name="store writer")
        self._writer.add_done_callback(_ended)

    async def begin_anew(self, why: str) -> None:
        """Set the open file aside, since it cannot be understood, and open a new one.

        Raises `StoreRefused`.
        """
        await self.close()
        set_aside(self.path, why)
        self._closing.clear()
        await self.open()

    async def _reading(self, db: aiosqlite.Connection) -> aiosqlite.Connection:
        """A connection for queries; a store in memory has only the one."""
        if self.path == MEMORY:
            return db
        reader = await aiosqlite.connect(self.path, isolation_level=None)
        await reader.execute("PRAGMA query_only=ON")
        return reader

    def _open_reader(self) -> aiosqlite.Connection:
        if self._reader is None:
            raise StoreUnavailable("the store is closed")
        return self._reader

    async def close(self) -> None:
        """Write what waits, and close the file; a store that is unavailable is tried once more."""
        if self._writer is not None:
            self._closing.set()
            self._wake.set()
            await asyncio.wait({self._writer})
        for db in dict.fromkeys((self._reader, self._db)):
            if db is not None:
                await db.close()
        self._reader = self._db = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        if self._writer is not None:
            writer, self._writer = self._writer, None
            await writer

    def write(self, statements: Sequence[Statement], trail: Sequence[Statement] = ()) -> asyncio.Future[None]:
        """Join the next commit. The future is done when the statements are durable.

        `trail` comes after the statements of the whole commit, so that runs of the same statement stay together.
        It fails with `StoreUnavailable`; nobody need await it.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.add_done_callback(_retrieved)
        if self._writer is None or self._writer.done() or not (self.available or self._rewriting):
            done.set_exception(StoreUnavailable("the store is unavailable"))
            return done
        self._waiting.append(_Waiting(tuple(statements), tuple(trail), done))
        self._wake.set()
        return done

    async def read(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query.

        Raises `StoreUnavailable`; `StoreDamaged` where that will not pass.
        """
        try:
            async with self._read_lock, self._open_reader().execute(sql, tuple(values)) as cursor:
                return [tuple(row) for row in await cursor.fetchall()]
        except (sqlite3.Error, UnicodeError) as fault:
            # Text that is no UTF-8 is an error without a code.
            damaged = getattr(fault, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF in DAMAGE
            raise (StoreDamaged if damaged else StoreUnavailable)(str(fault)) from fault

    async def backup(self, target: str) -> None:
        """Copy the file as it is now, while it is in use.

        Raises `StoreUnavailable`.
        """
        try:
            async with aiosqlite.connect(target) as copy:
                async with self._read_lock:
                    await self._open_reader().backup(copy)
                await copy.execute("PRAGMA journal_mode=DELETE")  # one file, which reading leaves alone
        except sqlite3.Error as fault:
            raise StoreUnavailable(str(fault)) from fault

    def mistrust(self, why: str) -> None:
        """Memory and file may differ (a decision was undone while its write was under way): write all of it again.
        What is under way may still come to pass; what waits behind it fails.
        """
        self._lose(why)
        self._rewriting = False
        self._refuse()
        self._wake.set()

    async def _write_all(self, db: aiosqlite.Connection) -> None:
        while self._waiting or not (self.available and self._closing.is_set()):
            if self.available and not self._waiting:
                await self._wake.wait()
                self._wake.clear()
            elif self.available:
                if not await self._commit(db):
                    await self._pause()
            elif not await self._rewrite(db):
                if self._closing.is_set():
                    return
                await self._pause()

    async def _pause(self) -> None:
        """Let some time pass before the next attempt, but do not hold up the end."""
        await asyncio.sleep(0)  # those who waited undo what has failed
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RETRY):
                await self._closing.wait()

    async def _commit(self, db: aiosqlite.Connection) -> bool:
        batch, self._waiting = self._waiting, []
        self._under_way = batch
        began, self._began = self._clock(), asyncio.get_running_loop().time()
        try:
            first = [statement for waiting in batch for statement in waiting.statements]
            last = [statement for waiting in batch for statement in waiting.trail]
            async with self._write_lock:
                await _transaction(db, first + last)
        except sqlite3.Error as fault:
            self._lose(str(fault))
            _fail(batch, str(fault))
            self._refuse()
            return False
        finally:
            self._under_way, self._began = [], None
        self.commits.observe(self._clock() - began)
        for waiting in batch:
            if not waiting.done.done():
                waiting.done.set_result(None)
        return True

    async def _rewrite(self, db: aiosqlite.Connection) -> bool:
        """Make the file the same as memory is now."""
        self._refuse()
        self._rewriting = True
        everything = list(self._retry())
        try:
            async with self._write_lock:
                await _transaction(db, everything)
        except sqlite3.Error as fault:
            self._rewriting = False
            self._lose(str(fault))
            self._refuse()
            return False
        if not self._rewriting:
            return False
        self.available, self._rewriting = True, False
        log.warning("the store is available again")
        return True

    def _lose(self, why: str) -> None:
        self.errors += 1
        if self.available:
            log.error("the store is unavailable: %s", why)
        self.available = False

    def _refuse(self) -> None:
        batch, self._waiting = self._waiting, []
        _fail(batch, "the store is unavailable")


def _fail(batch: Iterable[_Waiting], why: str) -> None:
    for waiting in batch:
        if not waiting.done.done():
            waiting.done.set_exception(StoreUnavailable(why))


async def _transaction(db: aiosqlite.Connection, statements: Sequence[Statement]) -> None:
    """All statements or none; runs of the same statement with other values go to the library in one call."""
    if not statements:
        return
    try:
        await db.execute("BEGIN IMMEDIATE")
        for sql, run in itertools.groupby(statements, key=lambda statement: statement.sql):
            await db.executemany(sql, [statement.values for statement in run])
        await db.execute("COMMIT")
    except sqlite3.Error:
        with contextlib.suppress(sqlite3.Error):  # there may be nothing to take back
            await db.execute("ROLLBACK")
        raise


def _ended(writer: asyncio.Task[None]) -> None:
    fault = None if writer.cancelled() else writer.exception()
    if fault is not None:
        log.critical("the store's writer has failed; nothing more is written", exc_info=fault)


def _retrieved(done: asyncio.Future[None]) -> None:
    """Whoever does not wait for a write hears of its failure through the store's state."""
    if not done.cancelled():
        done.exception()
