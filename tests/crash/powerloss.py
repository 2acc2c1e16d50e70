"""The loss of power: what a disk may hold whose owner was promised only what it had synced.

`powerloss.c` records what a process does to its store. From the record a disk is made up that holds everything that was
synced, and of what was written after the last sync of a file nothing, the first part, or any part.
"""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache" / "crash"
HEAD = struct.Struct("<cHqI")
SECTOR = 512
"""Bytes that a disk writes whole or not at all."""
LOSSES = ("all", "tail", "any")
"""What is lost of the writes after the last sync: all of them, all from some point on, or any of them."""


class Missing(Exception):
    """This machine cannot record what a process writes; the text says why."""


class Operation(NamedTuple):
    """One line of the record: `w` writes `data` at `offset`, `t` truncates to it, `s` syncs, `u` unlinks."""

    op: str
    path: str
    offset: int
    data: bytes


def shim() -> Path:
    """The library to preload, compiled when it is older than its source.

    Raises `Missing`.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise Missing("there is no C compiler")
    source, library = HERE / "powerloss.c", CACHE / "powerloss.so"
    if not library.exists() or library.stat().st_mtime < source.stat().st_mtime:
        CACHE.mkdir(parents=True, exist_ok=True)
        command = [compiler, "-O2", "-Wall", "-Wextra", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode:
            raise Missing(f"cc failed: {made.stderr.strip()}")
    return library


def environment(store: Path, record: Path) -> dict[str, str]:
    """The environment under which a process is recorded.

    Raises `Missing`.
    """
    return {"LD_PRELOAD": str(shim()), "POWERLOSS_MATCH": store.name, "POWERLOSS_LOG": str(record)}


def operations(record: Path) -> Iterator[Operation]:
    """What was recorded; a last line that the end of the process cut short is left out."""
    told = record.read_bytes()
    at = 0
    while at + HEAD.size <= len(told):
        op, path_size, offset, size = HEAD.unpack_from(told, at)
        at += HEAD.size
        path, data = told[at : at + path_size], told[at + path_size : at + path_size + size]
        if len(data) < size:
            return
        yield Operation(op.decode(), path.decode(), offset, data)
        at += path_size + size


class File:
    """A file on the disk that is made up: what is surely there, and what may be."""

    def __init__(self) -> None:
        self.synced = bytearray()
        self.loose: list[Operation] = []

    def sync(self) -> None:
        for operation in self.loose:
            _apply(self.synced, operation)
        self.loose.clear()

    def after(self, loss: str, chance: random.Random) -> bytes:
        """The content after the power was lost."""
        content = bytearray(self.synced)
        if loss == "tail":
            kept = self.loose[: chance.randint(0, len(self.loose))]
        else:
            kept = [each for each in self.loose if loss == "any" and chance.random() < 0.5]
        if kept and loss != "all" and kept[-1].op == "w":  # the last one may be torn
            sectors = chance.randint(0, len(kept[-1].data) // SECTOR)
            kept[-1] = kept[-1]._replace(data=kept[-1].data[: sectors * SECTOR])
        for operation in kept:
            _apply(content, operation)
        return bytes(content)


def _apply(content: bytearray, operation: Operation) -> None:
    offset, data = operation.offset, operation.data
    if operation.op == "t":
        del content[offset:]
        content.extend(bytes(offset - len(content)))
    elif data:
        content.extend(bytes(max(offset + len(data) - len(content), 0)))
        content[offset : offset + len(data)] = data


def disk(record: Path, folder: Path, loss: str, chance: random.Random) -> int:
    """Make up in `folder` the files of a recorded process after a loss of power; returns how many writes were loose.

    Shared memory and lock files are no part of a disk that was switched off.
    """
    files: dict[str, File] = {}
    for operation in operations(record):
        if operation.path.endswith(("-shm", ".lock")):
            continue
        if operation.op == "u":
            files.pop(operation.path, None)
            continue
        file = files.setdefault(operation.path, File())
        if operation.op == "s":
            file.sync()
        else:
            file.loose.append(operation)
    folder.mkdir(parents=True)
    for path, file in files.items():
        (folder / Path(path).name).write_bytes(file.after(loss, chance))
    return sum(len(file.loose) for file in files.values())
