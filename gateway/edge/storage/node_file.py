"""What a store has beside the tables of every gateway: a node of a cluster, or the state of a gateway alone, written
down.

It is read before the gateway is put together, and needs no store that is open.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from gateway.edge.storage.persistence import DIVERGENCE, INCARNATION, VERSION
from gateway.edge.storage.rows import ALIVE
from gateway.edge.storage.store import Statement

SKIPPED = "cluster.skipped"
"""The name under which the revisions are kept whose commands are left out, separated by spaces."""
OWN = ("account", "team", "operator", "lease")
"""Tables whose rows are of the state: those of a gateway alone are not those of a cluster."""
LEVEL = 1
"""How hard a dump is packed: little, since it is written every minute."""
SLICE = 0.005
"""Seconds for which a dump is packed before everything else has its turn."""


class NodeFile(NamedTuple):
    """What a file knows of the cluster: the identity of etcd, the last incarnation, up to which entry it was written,
    the revisions that are skipped, and the lines of the dump. All of it is empty where the file is not that of a node;
    `alone` says that it is the store of a gateway that was no node, with something in it. Such a store has the lines of
    a `state` after an orderly stop; `noted` is when its gateway was last noted to live, as it stands there.
    `divergence` says whether the node has come to another state than the others, and what was done about it.
    """

    etcd: str = ""
    incarnation: str = ""
    projected: int = 0
    skipped: frozenset[int] = frozenset()
    dump: tuple[bytes, ...] = ()
    alone: bool = False
    state: tuple[bytes, ...] = ()
    noted: str = ""
    divergence: str = ""


def read(path: str) -> NodeFile:
    """Read what a file knows of the cluster.

    Raises `ValueError` where it is damaged.
    """
    if not Path(path).is_file():
        return NodeFile()
    try:
        with contextlib.closing(sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True)) as db:
            meta = dict(db.execute("SELECT name, value FROM meta").fetchall())
            found = db.execute("SELECT etcd, lines FROM dump").fetchall() if _has_dumps(db) else []
            etcd, packed = found[0] if found else ("", zlib.compress(b""))
            alone = VERSION not in meta and not etcd and any(_rows(db, table) for table in OWN)
    except sqlite3.Error as fault:
        raise ValueError(f"{path}: {fault}") from fault
    try:
        lines = tuple(zlib.decompress(packed).splitlines(keepends=True))
        skipped = frozenset(map(int, meta.get(SKIPPED, "").split()))
        projected = int(meta.get(VERSION, 0))
    except (zlib.error, ValueError, TypeError) as fault:
        raise ValueError(f"{path}: what it says of the cluster is damaged: {fault}") from fault
    dump, state = (lines, ()) if etcd else ((), lines)
    incarnation, noted, divergence = (meta.get(name, "") for name in (INCARNATION, ALIVE, DIVERGENCE))
    return NodeFile(etcd, incarnation, projected, skipped, dump, alone, state, noted, divergence)


def _has_dumps(db: sqlite3.Connection) -> bool:
    return bool(db.execute("SELECT 1 FROM sqlite_master WHERE name = 'dump'").fetchall())


def _rows(db: sqlite3.Connection, table: str) -> bool:
    return bool(db.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchall())  # noqa: S608 - the names stand above


async def pack(lines: Iterable[bytes]) -> bytes:
    """Return lines packed, made in turns."""
    loop = asyncio.get_running_loop()
    packer, packed = zlib.compressobj(LEVEL), bytearray()
    until = loop.time() + SLICE
    for line in lines:
        packed += packer.compress(line)
        if loop.time() > until:
            await asyncio.sleep(0)
            until = loop.time() + SLICE
    return bytes(packed + packer.flush())


def put_dump(etcd: str, version: int, revision: int, packed: bytes) -> Statement:
    """Write the dump in place of the last one; that of a gateway alone has no etcd."""
    return Statement("INSERT OR REPLACE INTO dump VALUES (1, ?, ?, ?, ?)", (etcd, version, revision, packed))
