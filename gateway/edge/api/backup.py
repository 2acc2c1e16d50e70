"""The API about a copy of the store."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from aiohttp import web

from gateway.edge.api.authorization import record_act
from gateway.edge.api.responses import fail
from gateway.edge.api.routes import ADMIN, Route
from gateway.edge.server.runtime import Runtime
from gateway.edge.storage.store import MEMORY

CHUNK_BYTES = 1 << 16
"""Bytes of a backup that are sent at once."""
SQLITE = "application/vnd.sqlite3"


@Route(
    "GET",
    "/api/backup",
    scope=ADMIN,
    summary="The store as it is now, as one SQLite file; scope admin.",
    media=(SQLITE,),
    statuses=(503,),
    head=False,
)
async def get_backup(runtime: Runtime, request: web.Request) -> web.StreamResponse:
    """Copy the store beside itself, and send the copy."""
    store = runtime.persistence.store
    number, name = _beside(store.path)
    with os.fdopen(number, "rb") as copy:
        try:
            await store.backup(name)
        finally:
            os.unlink(name)  # what is open can be read; nothing is left behind, however this ends
        record_act(runtime, request, "backup")
        response = web.StreamResponse()
        response.content_type = SQLITE
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
