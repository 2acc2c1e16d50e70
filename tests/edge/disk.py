"""A disk that fails or does not answer, under a gateway with a store in a file."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from gateway.edge.storage.persistence import Persistence
from gateway.edge.storage.store import Store
from tests.conftest import House, until
from tests.wire_client import PATIENCE

FOREVER = 60_000
"""Milliseconds that a commit waits for a lock, where it is to find out nothing by itself."""


@contextlib.contextmanager
def locked(path: str | Path) -> Iterator[None]:
    """Another connection holds the write lock inside the block."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            other.execute("ROLLBACK")


def patient(house: House, seconds: float = PATIENCE) -> None:
    """Give commits so much time: a busy machine is no broken disk."""
    house.runtime.pending_replies._deadline = house.runtime.persistence.store.patience = seconds


@contextlib.asynccontextmanager
async def broken(house: House, how: str) -> AsyncIterator[None]:
    """No commit succeeds inside the block: `failing` ones fail at once, `stalled` ones do not end. The deadline that is
    configured holds inside the block only.
    """
    store = house.runtime.persistence.store
    assert store.file.db is not None
    await store.file.db.execute(f"PRAGMA busy_timeout={0 if how == 'failing' else FOREVER}")
    await idle(store)
    with locked(store.path):
        patient(house, house.runtime.settings.store.deadline)
        yield
    patient(house)


async def idle(store: Store) -> None:
    """Wait until the store has nothing to do, so that its lock can be had without waiting for it."""
    await until(lambda: not store.pending and not store._rewriting)


async def recovered(house: House) -> None:
    """Wait until the store is available and nothing waits for it."""
    store = house.runtime.persistence.store
    await until(lambda: store.available and not store.pending and not len(house.runtime.pending_replies))


async def stuck(house: House) -> None:
    """Wait until a commit is under way."""
    await until(lambda: bool(house.runtime.persistence.store._under_way))


async def given_up(house: House, askers: int = 1) -> None:
    """Wait until so many clients wait for a commit, and let the time be over that it may take, as a tick does."""
    pending = house.runtime.pending_replies
    await until(lambda: len(pending.deferred_input) == askers)
    pending.check_deadlines(math.inf)


def leases(path: str | Path) -> dict[str, tuple[str, float | None]]:
    """The PRO licenses in the file: account, kind and end."""
    with contextlib.closing(sqlite3.connect(path)) as other:
        rows = other.execute("SELECT key, kind, expires FROM lease WHERE model = 'trueconf'").fetchall()
    return {json.loads(key): (kind, expires) for key, kind, expires in rows}


def held(house: House) -> dict[str, tuple[str, float | None]]:
    """The PRO licenses in memory, in the same form."""
    book = next(each for each in house.runtime.state.ledgers if each.model.name == "trueconf").pools["pro"]
    held: dict[str, tuple[str, float | None]] = {
        str(key): ("temporary", lease.expires) for key, lease in book.leases.items()
    }
    return held | {str(key): ("permanent", None) for key in book.reservations}


async def written(recorder: Persistence) -> None:
    """Wait for the commit after all that has been written so far."""
    async with asyncio.timeout(PATIENCE):
        await recorder.store.write([])


async def counted(house: House) -> dict[str, Any]:
    """What the API counts: use of all pools of all models, conferences, sessions."""
    _, license = await house.http("GET", "/api/license")
    _, conferences = await house.http("GET", "/api/conferences")
    _, sessions = await house.http("GET", "/api/connections")
    return {
        "used": {
            (model, pool): view["used"]
            for model, seen in license["models"].items()
            for pool, view in seen["pools"].items()
        },
        "conferences": conferences["items"],
        "sessions": [
            {name: each[name] for name in ("id", "presence", "conferences", "seats")} for each in sessions["items"]
        ],
        "leases": held(house),
    }
