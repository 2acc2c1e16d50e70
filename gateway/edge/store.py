"""The store: one SQLite file, one connection that writes, one writer.

Whatever is to be written joins the current group commit: while one transaction is on its way to the disk, the next one
gathers, so the price of a sync is shared by everybody who waits for it. A transaction is whole or not at all. The file
is in WAL mode with `synchronous=FULL`: what was committed survives a loss of power. Queries have a connection of their
own, so a long report does not hold up a commit. A lock file beside it keeps a second gateway from starting on it.

A write that fails (disk full, locked, read-only, taken away) fails everything that waits for it, and the store is
unavailable. From then on memory is the truth: `retry` is asked for all of it, again and again, until a commit has made
the file the same. A file that is damaged or is no store is set aside under another name, never overwritten.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import itertools
import logging
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import aiosqlite

from gateway.edge.schema import APPLICATION, SCHEMA
from metrics.histogram import Histogram

MEMORY = ":memory:"
"""The path of a store that is forgotten with the process."""
RETRY = 1.0
"""Seconds between two attempts to write again after a failure."""
COMMITS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
"""Buckets of the time a commit takes, in seconds."""

log = logging.getLogger("tallygate.store")


class Statement(NamedTuple):
    """One SQL statement and its parameters."""

    sql: str
    values: tuple[Any, ...] = ()


class StoreUnavailable(Exception):
    """What was to be written is not; the text says why."""


class StoreRefused(Exception):
    """The file cannot be used, and setting it aside would not help: it is held, newer than this program, or not ours
    to read.
    """


class _Waiting(NamedTuple):
    statements: tuple[Statement, ...]
    done: asyncio.Future[None]


class Store:
    """The file at `path`. `retry` gives the statements that make an empty file the same as memory."""

    def __init__(self, path: str, retry: Callable[[], Iterable[Statement]], clock: Callable[[], float]) -> None:
        self.path = path
        self.errors = 0
        self.commits = Histogram(COMMITS)
        self.available = True
        self._retry = retry
        self._clock = clock
        self._waiting: list[_Waiting] = []
        self._wake = asyncio.Event()
        self._db: aiosqlite.Connection | None = None
        self._reader: aiosqlite.Connection | None = None
        self._lock: IO[bytes] | None = None
        self._writer: asyncio.Task[None] | None = None

    @property
    def pending(self) -> int:
        """Writes that have not been committed yet."""
        return len(self._waiting)

    async def open(self) -> None:
        """Open the file, make it or bring its schema up to date, and begin to write.

        Raises `StoreRefused`.
        """
        self._lock = _locked(self.path)
        try:
            self._db = await self._opened_or_anew()
            self._reader = await self._reading(self._db)
        except BaseException:
            await self.close()
            raise
        self._writer = asyncio.create_task(self._write_all(self._db), name="store writer")

    async def _opened_or_anew(self) -> aiosqlite.Connection:
        try:
            return await self._opened()
        except sqlite3.OperationalError as fault:
            raise StoreRefused(f"{self.path}: {fault}") from fault
        except sqlite3.DatabaseError as fault:
            aside = self._set_aside()
            log.error("%s is damaged or no store (%s); set aside as %s, a new one is begun", self.path, fault, aside)
            return await self._opened()

    async def _opened(self) -> aiosqlite.Connection:
        db = await aiosqlite.connect(self.path, isolation_level=None)
        try:
            for pragma in ("busy_timeout=0", "journal_mode=WAL", "synchronous=FULL"):
                await (await db.execute(f"PRAGMA {pragma}")).close()
            await db.execute("BEGIN IMMEDIATE")
            await self._migrate(db)
            await db.execute("COMMIT")
            found = await _value(db, "PRAGMA quick_check(1)")
            if found != "ok":
                raise sqlite3.DatabaseError(str(found))
        except BaseException:
            await db.close()
            raise
        return db

    async def _reading(self, db: aiosqlite.Connection) -> aiosqlite.Connection:
        """A connection for queries; a store in memory has only the one."""
        if self.path == MEMORY:
            return db
        reader = await aiosqlite.connect(self.path, isolation_level=None)
        await reader.execute("PRAGMA query_only=ON")
        return reader

    async def _migrate(self, db: aiosqlite.Connection) -> None:
        version = int(await _value(db, "PRAGMA user_version"))
        owner = int(await _value(db, "PRAGMA application_id"))
        tables = int(await _value(db, "SELECT count(*) FROM sqlite_master"))
        if owner != APPLICATION and (tables or version or owner):
            raise sqlite3.DatabaseError("it belongs to another program")
        if version > len(SCHEMA):
            raise StoreRefused(f"{self.path}: schema {version} is newer than this program's {len(SCHEMA)}")
        for script in SCHEMA[version:]:
            for statement in script:
                await db.execute(statement)
        await db.execute(f"PRAGMA application_id={APPLICATION}")
        await db.execute(f"PRAGMA user_version={len(SCHEMA)}")

    def _set_aside(self) -> Path:
        path = Path(self.path)
        aside = next(
            candidate
            for number in itertools.count(1)
            if not (candidate := path.with_name(f"{path.name}.damaged-{number}")).exists()
        )
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
        return aside

    async def close(self) -> None:
        """Write what waits, and close the file."""
        if self._writer is not None:
            self._wake.set()
            self._waiting.append(_Waiting((), asyncio.get_running_loop().create_future()))
            await asyncio.wait({self._waiting[-1].done, self._writer}, return_when=asyncio.FIRST_COMPLETED)
            self._writer.cancel()
            await asyncio.wait({self._writer})
            self._writer = None
        for db in dict.fromkeys((self._reader, self._db)):
            if db is not None:
                await db.close()
        self._reader = self._db = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def write(self, statements: Sequence[Statement]) -> asyncio.Future[None]:
        """Join the next commit. The future is done when the statements are durable.

        It fails with `StoreUnavailable`; nobody need await it.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.add_done_callback(_retrieved)
        if not self.available:
            done.set_exception(StoreUnavailable("the store is unavailable"))
            return done
        self._waiting.append(_Waiting(tuple(statements), done))
        self._wake.set()
        return done

    async def read(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query.

        Raises `StoreUnavailable`.
        """
        if self._reader is None:
            raise StoreUnavailable("the store is closed")
        try:
            async with self._reader.execute(sql, tuple(values)) as cursor:
                return [tuple(row) for row in await cursor.fetchall()]
        except sqlite3.Error as fault:
            raise StoreUnavailable(str(fault)) from fault

    async def backup(self, target: str) -> None:
        """Copy the file as it is now, while it is in use.

        Raises `StoreUnavailable`.
        """
        if self._db is None:
            raise StoreUnavailable("the store is closed")
        try:
            async with aiosqlite.connect(target) as copy:
                await self._db.backup(copy)
        except sqlite3.Error as fault:
            raise StoreUnavailable(str(fault)) from fault

    def mistrust(self) -> None:
        """Memory and file may differ (a decision was undone while its write was under way): write all of it again."""
        self.available = False
        self._wake.set()

    async def _write_all(self, db: aiosqlite.Connection) -> None:
        while True:
            if self.available:
                await self._wake.wait()
            self._wake.clear()
            batch, self._waiting = self._waiting, []
            if self.available:
                await self._commit(db, batch)
            else:
                for waiting in batch:
                    if not waiting.done.done():
                        waiting.done.set_exception(StoreUnavailable("the store is unavailable"))
                await self._recover(db)

    async def _commit(self, db: aiosqlite.Connection, batch: Sequence[_Waiting]) -> None:
        began = self._clock()
        try:
            await _transaction(db, [statement for waiting in batch for statement in waiting.statements])
        except sqlite3.Error as fault:
            self._failed(fault)
            for waiting in batch:
                if not waiting.done.done():
                    waiting.done.set_exception(StoreUnavailable(str(fault)))
            return
        self.commits.observe(self._clock() - began)
        for waiting in batch:
            if not waiting.done.done():
                waiting.done.set_result(None)

    async def _recover(self, db: aiosqlite.Connection) -> None:
        try:
            await _transaction(db, list(self._retry()))
        except sqlite3.Error as fault:
            self._failed(fault)
            await asyncio.sleep(RETRY)
            return
        self.available = True
        log.warning("the store is available again")

    def _failed(self, fault: sqlite3.Error) -> None:
        self.errors += 1
        if self.available:
            log.error("the store is unavailable: %s", fault)
        self.available = False


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


async def _value(db: aiosqlite.Connection, sql: str) -> Any:
    async with db.execute(sql) as cursor:
        row = await cursor.fetchone()
        return row[0] if row is not None else None


def _retrieved(done: asyncio.Future[None]) -> None:
    """Whoever does not wait for a write hears of its failure through the store's state."""
    if not done.cancelled():
        done.exception()


def _locked(path: str) -> IO[bytes] | None:
    """Hold the lock file of a store for as long as it is open; a store in memory needs none."""
    if path == MEMORY:
        return None
    try:
        lock = open(f"{path}.lock", "ab")  # noqa: SIM115 - held until the store is closed
    except OSError as fault:
        raise StoreRefused(f"{path}: {fault.strerror}") from fault
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise StoreRefused(f"{path}: another gateway holds it") from None
    return lock
