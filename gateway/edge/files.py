"""Writes files that others read: whole or not at all, and never in place of what is no file."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


def is_regular(path: Path) -> bool:
    """Return whether a file stands at `path`, or nothing does: no pipe, no device, no folder.

    Raises `OSError`.
    """
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return True


@contextlib.contextmanager
def written_whole(path: Path, *, mode: int = 0o666, durable: bool = False) -> Iterator[BinaryIO]:
    """Yield a file to write to; what was written stands at `path` when the block ends, and nothing if it fails.

    A symbolic link stays, and its target is written. A pipe, a terminal or a device is written to as it is: whoever
    reads from it would lose it otherwise. `mode` is that of the new file, less the umask; what is `durable` is on the
    disk when the block ends. Raises `OSError`, also for a folder, and for a pipe that nobody reads.
    """
    if is_regular(path):
        with _replacement(Path(os.path.realpath(path)), mode, durable=durable) as file:
            yield file
        return
    try:
        # Without O_NONBLOCK a pipe would keep us waiting for a reader who may never come.
        number = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as fault:
        if fault.errno != errno.ENXIO:
            raise
        raise OSError(fault.errno, "nobody reads from this pipe") from None
    os.set_blocking(number, True)
    with os.fdopen(number, "wb") as file:
        yield file


@contextlib.contextmanager
def _replacement(path: Path, mode: int, *, durable: bool) -> Iterator[BinaryIO]:
    draft = path.with_name(f".tallygate-{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Have the disk keep which names stand in a folder.

    Raises `OSError`.
    """
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
