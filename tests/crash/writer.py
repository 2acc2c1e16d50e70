"""A process that writes one row after the other into a store and says each number once it is committed.

    python -m tests.crash.writer PATH SYNCHRONOUS

SYNCHRONOUS is the pragma's value, which the store itself sets to FULL.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time

from gateway.edge.storage.store import Statement, Store


async def write(path: str, synchronous: str) -> None:
    """Write until killed."""
    store = Store(path, tuple, time.monotonic)
    await store.open()
    if store.file.db is None:
        raise AssertionError("the store is not open")
    await store.file.db.execute(f"PRAGMA synchronous={synchronous}")
    for number in itertools.count():
        await store.write([Statement("INSERT INTO meta VALUES (?, ?)", (str(number), ""))])
        print(number, flush=True)


if __name__ == "__main__":
    asyncio.run(write(*sys.argv[1:3]))
