"""Keeps a store to one process, whatever name it is opened by.

A lock file beside the store keeps its name, also where the store itself has been taken away; a lock on the store itself
holds under every name that the file has, and whatever became of the lock file. The latter is a lock of one byte that
the database library never locks, and belongs to the open file, not to the process (`F_OFD_SETLK`): the library's own
locks are not disturbed by it. Only Linux has it in this form; elsewhere the lock file is all.

Closing any descriptor of a file drops the locks that the library holds on it in this process. So a lock is taken before
the library opens the file, and given back after it has closed it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

MEMORY = ":memory:"
"""The path of a store in memory, which ends with the process."""
OWN_SUFFIXES = ("", "-wal", "-shm", "-journal", ".lock")
"""What follows the name of a store in the names of the files that belong to it."""
LOCKED_BYTE = 0x7FFF_FFFF_FFFF_FF00
"""The byte that is locked: the library locks some after 0x40000000, and no file is as long as this."""
LOCKS_OF_OPEN_FILES = sys.platform == "linux"
"""Whether the system has locks that belong to an open file, as Linux lays them out."""


class StoreRefused(Exception):
    """The file cannot be used, and setting it aside would not help: another process holds it, it is newer than this
    program, or it may not be read.
    """


class StoreLock:
    """A store that this process holds, until it is closed."""

    def __init__(self, files: contextlib.ExitStack) -> None:
        self._files = files

    def close(self) -> None:
        """Give the store back."""
        self._files.close()


def hold(path: str) -> StoreLock:
    """Hold the store at `path`, which is made where there is none; a store in memory needs no lock.

    Raises `StoreRefused`, also where the store itself cannot be opened: the library would say less.
    """
    with contextlib.ExitStack() as files:
        if path != MEMORY:
            try:
                _lock_name(files.enter_context(open(lock_file(path), "ab")), fcntl.F_WRLCK)
                number = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
                _lock_file(files.enter_context(os.fdopen(number, "rb+")), fcntl.F_WRLCK)
            except BlockingIOError:
                raise StoreRefused(f"{path}: another gateway holds it") from None
            except OSError as fault:
                raise StoreRefused(f"{path}: {fault.strerror}") from fault
        return StoreLock(files.pop_all())


def is_held(path: str) -> bool:
    """Return whether another process holds the store at `path`; one that may not be looked at is taken for free.

    Not for a process that itself has that store open.
    """
    return _is_locked(lock_file(path), _lock_name) or is_open_elsewhere(path)


def is_open_elsewhere(path: str) -> bool:
    """Return whether another process holds the file at `path`, under whatever name."""
    return _is_locked(Path(path), _lock_file)


def held_store(path: str) -> str | None:
    """Return the store that another process holds and to which the file at `path` belongs; None if there is none."""
    real = os.path.realpath(path)
    for suffix in OWN_SUFFIXES:
        if real.endswith(suffix) and is_held(store := real.removesuffix(suffix)):
            return store
    return None


def belongs(path: str, store: str) -> bool:
    """Return whether the file at `path` is the store at `store`, or one that belongs to it; nothing is opened."""
    own = [f"{os.path.realpath(store)}{suffix}" for suffix in OWN_SUFFIXES]
    return os.path.realpath(path) in own or any(
        os.path.exists(path) and os.path.exists(each) and os.path.samefile(path, each) for each in own
    )


def lock_file(path: str) -> Path:
    """Return the lock file of the store at `path`."""
    return Path(f"{os.path.realpath(path)}.lock")


def _is_locked(path: Path, lock: Callable[[IO[bytes], int], None]) -> bool:
    if not path.is_file():  # what opens a pipe waits for who writes into it
        return False
    try:
        with open(path, "rb") as file:
            lock(file, fcntl.F_RDLCK)
    except OSError as fault:
        return isinstance(fault, BlockingIOError)
    return False


def _lock_name(file: IO[bytes], kind: int) -> None:
    """Lock a lock file.

    Raises `BlockingIOError` where another holds it.
    """
    fcntl.flock(file, fcntl.LOCK_NB | (fcntl.LOCK_EX if kind == fcntl.F_WRLCK else fcntl.LOCK_SH))


def _lock_file(file: IO[bytes], kind: int) -> None:
    """Lock the byte of a store.

    Raises `BlockingIOError` where another holds it.
    """
    if LOCKS_OF_OPEN_FILES:
        # struct flock: l_type, l_whence, l_start, l_len, l_pid.
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack("hhqqi0q", kind, os.SEEK_SET, LOCKED_BYTE, 1, 0))
