"""What the tests of the store share: stores that are closed after the test."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.edge.storage import store as module
from gateway.edge.storage import store_connections
from tests.edge.storage.kept import EVERY, Kept, Open


@pytest.fixture
async def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Open]:
    """Opens a store: `kept = await opened()`; a commit waits `patience` seconds for somebody else's lock."""
    monkeypatch.setattr(module, "RETRY", EVERY)
    monkeypatch.setattr(module, "LOOK_EVERY", EVERY)
    monkeypatch.setattr(store_connections, "LOOKS_APART", 0.0)
    async with contextlib.AsyncExitStack() as stack:

        async def open_store(path: str | None = None, patience: float = 0.0) -> Kept:
            kept = Kept(path or str(tmp_path / "store.db"), patience)
            await kept.store.open()
            stack.push_async_callback(kept.store.close)
            return kept

        yield open_store
