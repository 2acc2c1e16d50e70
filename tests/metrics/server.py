"""The real Prometheus as a process of its own, and its HTTP API."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from tests.programs import free_port, program, serving

PATIENCE = 30.0
"""Seconds for Prometheus to have seen what a test waits for."""


class Prometheus:
    """Its HTTP API."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def get(self, path: str, **params: str) -> Any:
        """The `data` of an answer; raises AssertionError with Prometheus' words where it is none."""
        async with self._session.get(f"/api/v1/{path}", params=params) as response:
            told: dict[str, Any] = await response.json()
        assert told["status"] == "success", (params, told)
        return told["data"]

    async def ask(self, query: str, **params: str) -> list[Any]:
        """The result of a query: now, or over a range where `start`, `end` and `step` are given."""
        found: list[Any] = (await self.get("query_range" if "step" in params else "query", query=query, **params))[
            "result"
        ]
        return found

    async def seen(self, *queries: str) -> None:
        """Wait until all of these queries have a result."""
        async with asyncio.timeout(PATIENCE):
            while not all([await self.ask(query) for query in queries]):  # noqa: ASYNC110 - it has no event to wait on
                await asyncio.sleep(0.2)


@contextlib.asynccontextmanager
async def prometheus(place: Path, config: str) -> AsyncIterator[Prometheus]:
    """A Prometheus that is ready, with a configuration, on a free port; it keeps its data in `place`."""
    path = program("prometheus", "prometheus")
    (place / "prometheus.yml").write_text(config, encoding="utf-8")
    port = free_port()
    async with serving(
        path,
        f"--config.file={place / 'prometheus.yml'}",
        f"--storage.tsdb.path={place / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        port=port,
    ) as session:
        yield Prometheus(session)
