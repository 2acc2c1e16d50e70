"""Puts a copy of a store in the place of a store that no gateway holds."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gateway.edge.files import sync_folder
from gateway.edge.storage.rows import FORGET_SEATS
from gateway.edge.storage.schema import APPLICATION, SCHEMA
from gateway.edge.storage.store_file import draft_beside, keep_aside
from gateway.edge.storage.store_lock import StoreRefused, hold, is_held


class Restored(NamedTuple):
    """What was restored: the time of the last entry in the audit log of the copy (RFC 3339; empty without any), and
    where the store that stood there is kept, if one did.
    """

    last: str
    kept: Path | None


def restore(copy: Path, path: Path) -> Restored:
    """Put what `copy` holds in the place of the store at `path`; that store is kept under another name.

    The copy stays as it is. Raises `StoreRefused` where it is no store of this program, or a gateway holds the store at
    `path`, and `OSError`.
    """
    if not copy.is_file():
        raise StoreRefused(f"{copy}: there is no such file")
    if path.exists() and copy.samefile(path):
        raise StoreRefused(f"{copy}: it is the store itself")
    if is_held(str(path)):
        raise StoreRefused(f"{path}: a gateway holds it; stop that first")
    place = os.path.realpath(path)
    with _draft(place) as draft:
        last = _copied(copy, draft)
        with contextlib.closing(hold(str(path))):
            _take_owner(draft, place)
            kept = keep_aside(draft, place)
    return Restored(last, kept)


@contextlib.contextmanager
def _draft(place: str) -> Iterator[str]:
    draft = draft_beside(place)
    try:
        yield draft
    finally:
        Path(draft).unlink(missing_ok=True)
        sync_folder(Path(place).parent)


def _copied(copy: Path, draft: str) -> str:
    """Copy a store with what its journal holds; return the time of its last audit entry."""
    source = f"{copy.absolute().as_uri()}?mode=ro"
    try:
        with (
            contextlib.closing(sqlite3.connect(source, uri=True)) as old,
            contextlib.closing(sqlite3.connect(draft)) as new,
        ):
            ((owner,),) = old.execute("PRAGMA application_id").fetchall()
            ((version,),) = old.execute("PRAGMA user_version").fetchall()
            if owner != APPLICATION:
                raise StoreRefused(f"{copy}: it is no store of this program")
            if version > len(SCHEMA):
                raise StoreRefused(f"{copy}: schema {version} is newer than this program's {len(SCHEMA)}")
            old.backup(new)
            if new.execute("SELECT 1 FROM sqlite_master WHERE name = 'seat'").fetchall():
                new.execute(FORGET_SEATS)  # others hold seats by now than when the copy was made
                new.commit()
            new.execute("PRAGMA journal_mode=DELETE")  # by that the gateway knows that no journal belongs to it
            ((found,),) = new.execute("PRAGMA quick_check(1)").fetchall()
            if found != "ok":
                raise StoreRefused(f"{copy}: it is damaged: {found}")
            return "".join(time for (time,) in new.execute("SELECT time FROM audit ORDER BY seq DESC LIMIT 1"))
    except sqlite3.Error as fault:
        raise StoreRefused(f"{copy}: {fault}") from fault


def _take_owner(draft: str, place: str) -> None:
    """Give the copy the owner and the mode of what it replaces: the gateway runs as another user than who restores."""
    before, now = os.stat(place), os.stat(draft)
    if (before.st_uid, before.st_gid) != (now.st_uid, now.st_gid):
        os.chown(draft, before.st_uid, before.st_gid)
    os.chmod(draft, before.st_mode & 0o777)
