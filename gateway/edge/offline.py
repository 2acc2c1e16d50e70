"""A store that no gateway holds, opened to make and revoke operators' tokens: the first one is needed before a gateway
may open its operator port to other machines.
"""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path

from gateway.core.directory import Directory, Token
from gateway.edge.guard import COMMAND
from gateway.edge.journal import Journal
from gateway.edge.recorder import END_OPERATOR, appointment, operators
from gateway.edge.schema import APPLICATION
from gateway.edge.store import Statement, Store, StoreRefused


class Offline:
    """The operators of a store, and its audit log."""

    def __init__(self, store: Store) -> None:
        self.directory = Directory()
        self._store = store
        self._journal = Journal(store, time.time)

    async def open(self) -> None:
        """Read what is there.

        Raises `StoreUnavailable`.
        """
        await self._journal.open()
        self.directory.operators.update(await operators(self._store))

    async def appoint(self, name: str, scope: str) -> str:
        """Give an operator a token; returns the secret.

        Raises `StoreUnavailable`.
        """
        secret = secrets.token_urlsafe(32)
        token = self.directory.appoint(name, scope, secret, time.time())
        self._journal.enter(COMMAND, "operator.added", name, {"fingerprint": token.fingerprint, "scope": scope})
        await self._write(name)
        return secret

    async def dismiss(self, name: str, fingerprint: str | None) -> int:
        """Take one token from an operator, or all; returns how many it had of those.

        Raises `StoreUnavailable`.
        """
        revoked = self.directory.dismiss(name, fingerprint)
        if revoked:
            self._journal.enter(COMMAND, "operator.revoked", name, {"fingerprint": fingerprint or "all"})
            await self._write(name)
        return revoked

    async def _write(self, name: str) -> None:
        kept: tuple[Token, ...] = self.directory.operators.get(name, ())
        await self._journal.write([Statement(END_OPERATOR, (name,)), *(appointment(name, each) for each in kept)])


@contextlib.asynccontextmanager
async def offline(path: Path) -> AsyncIterator[Offline]:
    """The store at `path`, made where there is none.

    Raises `StoreRefused` where a gateway holds it, or it is no store, and `StoreUnavailable`.
    """
    _ours(path)
    store = Store(str(path), tuple, time.monotonic)
    await store.open()
    try:
        found = Offline(store)
        await found.open()
        yield found
    finally:
        await store.close()


def _ours(path: Path) -> None:
    """Refuse what is no store: a gateway would set it aside and begin anew, a command must not."""
    if not path.exists() or not path.stat().st_size:
        return
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as file:
            (owner,) = file.execute("PRAGMA application_id").fetchone()
    except sqlite3.Error as fault:
        raise StoreRefused(f"{path}: {fault}") from fault
    if owner != APPLICATION:
        raise StoreRefused(f"{path}: it belongs to another program")
