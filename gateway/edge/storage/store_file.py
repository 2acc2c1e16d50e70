"""Opens the file of the store, if it is a store, undamaged, of this schema or an older one, and held by nobody else.

A file that is damaged or belongs to another program is set aside under another name, never overwritten. A lock file
beside it keeps a second gateway from starting on it. A new file can be read by its owner only: it holds keys.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import logging
import os
import sqlite3
from pathlib import Path
from typing import IO, Any

import aiosqlite

from gateway.edge.storage.schema import APPLICATION, SCHEMA

MEMORY = ":memory:"
"""The path of a store in memory, which ends with the process."""

log = logging.getLogger("tallygate.store")


class StoreRefused(Exception):
    """The file cannot be used, and setting it aside would not help: another process holds it, it is newer than this
    program, or it may not be read.
    """


async def opened_or_anew(path: str, patience: float) -> aiosqlite.Connection:
    """Return a connection that writes to the store at `path`; a file that is no store is set aside, and a new one made.

    `patience` is how long it waits for somebody else's lock, in seconds. Raises `StoreRefused`.
    """
    aside = _free_name(path)
    with contextlib.suppress(OSError):  # mostly there is none; the library deletes that of a file it cannot read
        os.link(f"{path}-wal", f"{aside}-wal")
    try:
        return await _opened(path, patience)
    except sqlite3.OperationalError as fault:
        raise StoreRefused(f"{path}: {fault}") from fault
    except (sqlite3.DatabaseError, UnicodeError) as fault:
        set_aside(path, str(fault))
        _touch(path)
        return await _opened(path, patience)
    finally:
        _forget_journal(aside)


async def _opened(path: str, patience: float) -> aiosqlite.Connection:
    logging.getLogger("aiosqlite").setLevel(logging.INFO)  # below that it logs every value, and keys are among them
    db = await aiosqlite.connect(path, timeout=patience, isolation_level=None)
    try:
        version = await _version(db, path)  # before anything is changed: it may not be ours
        found = await _value(db, "PRAGMA quick_check(1)")
        if found != "ok":
            raise sqlite3.DatabaseError(str(found))
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            await (await db.execute(f"PRAGMA {pragma}")).close()
        await _migrate(db, version)
    except BaseException:
        await db.close()
        raise
    return db


async def _version(db: aiosqlite.Connection, path: str) -> int:
    version = int(await _value(db, "PRAGMA user_version"))
    owner = int(await _value(db, "PRAGMA application_id"))
    tables = int(await _value(db, "SELECT count(*) FROM sqlite_master"))
    if owner != APPLICATION and (tables or version or owner):
        raise sqlite3.DatabaseError("it belongs to another program")
    if version > len(SCHEMA):
        raise StoreRefused(f"{path}: schema {version} is newer than this program's {len(SCHEMA)}")
    return version


async def _migrate(db: aiosqlite.Connection, version: int) -> None:
    await db.execute("BEGIN IMMEDIATE")  # even where nothing is to be done: whether it can be written to shows here
    for statement in (statement for script in SCHEMA[version:] for statement in script):
        await db.execute(statement)
    if version < len(SCHEMA):
        await db.execute(f"PRAGMA application_id={APPLICATION}")
        await db.execute(f"PRAGMA user_version={len(SCHEMA)}")
    await db.execute("COMMIT")


async def _value(db: aiosqlite.Connection, sql: str) -> Any:
    async with db.execute(sql) as cursor:
        row = await cursor.fetchone()
        return row[0] if row is not None else None


def _free_name(path: str) -> Path:
    """Return the first name beside `path` under which no other file was set aside."""
    names = (Path(f"{path}.damaged-{number}") for number in itertools.count(1))
    return next(name for name in names if not name.exists())


def set_aside(path: str, why: str) -> None:
    """Give the closed file at `path` another name, so that a new one can be begun."""
    aside = _free_name(path)
    log.error("%s is damaged or no store (%s); it was set aside as %s, and a new file is begun", path, why, aside)
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            Path(f"{path}{suffix}").replace(f"{aside}{suffix}")


def _forget_journal(aside: Path) -> None:
    """Delete the copy of a journal unless its file was set aside too."""
    if not aside.exists():
        Path(f"{aside}-wal").unlink(missing_ok=True)


def hold(path: str) -> IO[bytes] | None:
    """Hold the lock file of a store for as long as it is open; a store in memory needs none.

    Raises `StoreRefused`, also where the store itself cannot be opened: the library would say less.
    """
    if path == MEMORY:
        return None
    try:
        lock = open(f"{os.path.realpath(path)}.lock", "ab")  # noqa: SIM115 - held until the store is closed
    except OSError as fault:
        raise StoreRefused(f"{path}: {fault.strerror}") from fault
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise StoreRefused(f"{path}: another gateway holds it") from None
    try:
        _touch(path)
    except OSError as fault:
        lock.close()
        raise StoreRefused(f"{path}: {fault.strerror}") from fault
    return lock


def _touch(path: str) -> None:
    """Make the file where there is none; one that is there keeps its mode."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
