"""Opens the file of the store, if it is a store, undamaged, of this schema or an older one, and held by nobody else.

A file that is damaged or belongs to another program is set aside under another name, never overwritten. A new file can
be read by its owner only: it holds keys.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import sqlite3
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import aiosqlite

from gateway.edge.files import sync_folder
from gateway.edge.storage.audit_chaining import chain_anew
from gateway.edge.storage.schema import APPLICATION, SCHEMA, SEALED_AUDIT
from gateway.edge.storage.store_lock import MEMORY, StoreLock, StoreRefused, hold, is_open_elsewhere

SUFFIXES = ("", "-wal", "-shm")
"""What follows the name of an open store in the names of its files."""
MAGIC = b"SQLite format 3\0"
"""How a file of the library begins (https://www.sqlite.org/fileformat2.html, 1.3)."""
HEADER_BYTES = 100
PAGE_SIZE = slice(16, 18)
"""Where the header says how long a page is, in bytes; a 1 stands for 65,536."""
WRITE_VERSION = slice(18, 19)
"""Where the header says which journal is used for writing."""
WITH_WAL = b"\2"
"""What it says of a file whose journal is `-wal`."""

MARK_REWRITE = "INSERT OR REPLACE INTO meta VALUES ('rewrite_due', '')"
"""Says that the file is to be written anew before it is used."""

log = logging.getLogger("tallygate.store")


FileIdentity = tuple[tuple[int, int] | None, ...]
"""Device and inode of each file of a store."""


class StoreFile(NamedTuple):
    """An open store: the connection that writes, and what keeps other processes off."""

    db: aiosqlite.Connection
    lock: StoreLock


def taken(path: str) -> StoreLock:
    """Hold the store at `path`, and have nothing beside it that belongs to another file.

    Raises `StoreRefused`.
    """
    lock = hold(path)
    try:
        part_from_other_journals(_real(path))
    except BaseException:
        lock.close()
        raise
    return lock


async def open_store(path: str, patience: float, lock: StoreLock) -> StoreFile:
    """Open the store at `path`, which was `taken`; a file that is no store is set aside, and a new one made.

    `patience` is how long it waits for somebody else's lock, in seconds. Raises `StoreRefused`, and gives up the lock.
    """
    path = _real(path)
    aside = _free_name(path)
    with contextlib.suppress(OSError):  # mostly there is none; the library deletes that of a file it cannot read
        os.link(f"{path}-wal", f"{aside}-wal")
    try:
        try:
            return StoreFile(await _opened(path, patience), lock)
        except sqlite3.OperationalError as fault:
            raise StoreRefused(f"{path}: {fault}") from fault
        except (sqlite3.DatabaseError, UnicodeError) as fault:
            lock.close()
            set_aside(path, str(fault))
            lock = hold(path)
            return StoreFile(await _opened(path, patience), lock)
    except BaseException:
        lock.close()
        raise
    finally:
        _forget_journal(aside)


def _real(path: str) -> str:
    return path if path == MEMORY else os.path.realpath(path)


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
        await rewrite_if_marked(db)
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
    if version < SEALED_AUDIT:
        await chain_anew(db)
    if version < len(SCHEMA):
        await db.execute(f"PRAGMA application_id={APPLICATION}")
        await db.execute(f"PRAGMA user_version={len(SCHEMA)}")
    await db.execute("COMMIT")


async def rewrite(db: aiosqlite.Connection) -> None:
    """Write a file anew, without free space in which something that was deleted could be read, and empty its journal.

    Raises `sqlite3.Error`.
    """
    await db.execute("VACUUM")
    await (await db.execute("PRAGMA wal_checkpoint(TRUNCATE)")).close()


async def rewrite_if_marked(db: aiosqlite.Connection) -> None:
    """Write a file anew of which `MARK_REWRITE` said that it is to be.

    Raises `sqlite3.Error`.
    """
    if await _value(db, "SELECT 1 FROM meta WHERE name = 'rewrite_due'"):
        await rewrite(db)
        await db.execute("DELETE FROM meta WHERE name = 'rewrite_due'")


async def _value(db: aiosqlite.Connection, sql: str) -> Any:
    rows = await db.execute_fetchall(sql)
    return next((row[0] for row in rows), None)


def _free_name(path: str, why: str = "damaged", suffixes: Iterable[str] = ("",)) -> Path:
    """Return the first name beside `path` under which no other file was set aside."""
    names = (f"{path}.{why}-{number}" for number in itertools.count(1))
    return next(Path(name) for name in names if not any(os.path.lexists(f"{name}{suffix}") for suffix in suffixes))


def set_aside(path: str, why: str) -> None:
    """Give the closed file at `path` another name, so that a new one can be begun."""
    aside = _free_name(path)
    log.error("%s is damaged or no store (%s); it was set aside as %s, and a new file is begun", path, why, aside)
    _move(path, aside, SUFFIXES)


def move_aside(path: str, why: str, suffixes: Iterable[str] = SUFFIXES) -> Path:
    """Give files at `path` that are whole, but stand in the way, another name, and return it.

    `why` becomes part of that name.
    """
    aside = _free_name(path, why, SUFFIXES)
    _move(path, aside, suffixes)
    return aside


def _move(path: str, aside: Path, suffixes: Iterable[str]) -> None:
    for suffix in suffixes:
        with contextlib.suppress(FileNotFoundError):
            Path(f"{path}{suffix}").replace(f"{aside}{suffix}")


def _forget_journal(aside: Path) -> None:
    """Delete the copy of a journal unless its file was set aside too."""
    if not aside.exists():
        Path(f"{aside}-wal").unlink(missing_ok=True)


def part_from_other_journals(path: str) -> None:
    """Keep the library from mixing a copy of a store with what an earlier store at its place had not yet taken over.

    A gateway's own file names the journal `-wal` in its header for as long as it lives; a backup does not. So a `-wal`
    beside a file that does not name it belongs to another file, and is set aside (https://www.sqlite.org/howtocorrupt.html,
    1.4). A journal of the other kind is left by another program only; the library would write it back.

    Raises `StoreRefused`.
    """
    if path == MEMORY:
        return
    with open(path, "rb") as file:
        header = file.read(HEADER_BYTES)
    if header and not header.startswith(MAGIC):
        return
    page = int.from_bytes(header[PAGE_SIZE])
    if os.path.getsize(path) > page and os.path.lexists(f"{path}-journal"):  # one page alone holds nothing yet
        raise StoreRefused(f"{path}: {path}-journal stands beside it, which is of another program or another file")
    if header[WRITE_VERSION] != WITH_WAL and os.path.lexists(f"{path}-wal"):
        aside = move_aside(path, "other", ("-wal", "-shm"))
        log.error("%s-wal does not belong to %s, which was put there; it was set aside as %s-wal", path, path, aside)


def identity(path: str) -> FileIdentity:
    """Return device and inode of each file of the store at `path`; None for one that is not there.

    Raises `OSError`.
    """
    real = os.path.realpath(path)
    return tuple(_identity(f"{real}{suffix}") for suffix in SUFFIXES if path != MEMORY)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def draft_beside(path: str) -> str:
    """Make an empty file in which the store at `path` is to be made again, and return its name.

    Raises `OSError`.
    """
    number, name = tempfile.mkstemp(prefix="tallygate-", suffix=".backup", dir=os.path.dirname(os.path.realpath(path)))
    os.close(number)
    return name


def clear_place(path: str, ours: FileIdentity) -> None:
    """Set aside what stands at `path` and is not the open store, whose identity is `ours`.

    Raises `OSError`, and `StoreRefused` where another process holds it.
    """
    real = os.path.realpath(path)
    others = [
        suffix
        for suffix, own, found in zip(SUFFIXES, ours, identity(path), strict=True)
        if found is not None and found != own
    ]
    if "" in others and is_open_elsewhere(real):
        raise StoreRefused(f"{path}: another gateway holds it")
    if others:
        log.error(
            "the file at %s was not put there by this gateway: it was set aside as %s",
            path,
            move_aside(real, "other", others),
        )


def put_in_place(draft: str | None, path: str) -> None:
    """Put a copy of the store, now closed, at its place; where none could be made, clear that place.

    Raises `OSError`.
    """
    real = os.path.realpath(path)
    if draft is None:
        move_aside(real, "damaged")
        return
    for suffix in SUFFIXES[1:]:
        Path(f"{real}{suffix}").unlink(missing_ok=True)  # what it held is in the copy
    os.replace(draft, real)
    sync_folder(Path(real).parent)


def keep_aside(draft: str, path: str) -> Path | None:
    """Put a copy of a store in the place of the closed one at `path`, which is kept under the name that is returned.

    None if there was none, or an empty one. At no instant does no store stand at `path`. Raises `OSError`.
    """
    aside = _free_name(path, "replaced", SUFFIXES)
    empty = os.path.getsize(path) == 0
    if not empty:
        os.link(path, aside)
    os.replace(draft, path)
    _move(path, aside, SUFFIXES[1:])
    return None if empty else aside
