"""What the tests of the API share: a store with operators."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.edge.storage.offline_store import offline_store


@pytest.fixture
async def store(tmp_path: Path) -> tuple[Path, str, str]:
    """A store with two operators: its path, an admin's token and a reader's."""
    path = tmp_path / "t.db"
    async with offline_store(path) as held:
        return path, await held.appoint("ops", "admin"), await held.appoint("prometheus", "read")
