"""The API about a copy of the store."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from aiohttp import web

from gateway.edge.api.authorization import caller
from gateway.edge.api.responses import fail
from gateway.edge.server.runtime import Runtime
from gateway.edge.storage.store import MEMORY

CHUNK_BYTES = 1 << 16
"""Bytes of a backup that are sent at once."""


def backup_routes(runtime: Runtime) -> list[web.RouteDef]:
    """The routes of this file."""
    return [web.get("/api/backup", _Backup(runtime).backup, allow_head=False)]


class _Backup:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def backup(self, request: web.Request) -> web.StreamResponse:
        store = self._runtime.persistence.store
        number, name = _beside(store.path)
        with os.fdopen(number, "rb") as copy:
            try:
                await store.backup(name)
            finally:
                os.unlink(name)  # what is open can be read; nothing is left behind, however this ends
            self._runtime.persistence.audit(caller(request), "backup")
            response = web.StreamResponse()
            response.content_type = "application/vnd.sqlite3"
            response.content_length = os.fstat(number).st_size
            await response.prepare(request)
            while piece := copy.read(CHUNK_BYTES):
                await response.write(piece)
            await response.write_eof()
        return response


def _beside(path: str) -> tuple[int, str]:
    """A new file on the disk of the store, open, and its name."""
    folder = None if path == MEMORY else str(Path(path).absolute().parent)
    try:
        return tempfile.mkstemp(prefix="tallygate-", suffix=".backup", dir=folder)
    except OSError as fault:
        fail(503, "store_unavailable", f"no copy can be made: {fault.strerror}")
