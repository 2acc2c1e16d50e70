"""The journal: the audit log on its way to the store.

Every entry is made at once and becomes durable with the commit of what it is about: all writes of the recorder go
through here, and take the new entries along. Nobody waits for an entry. While the store is away entries queue in
memory; what does not fit is lost, and said so by an entry of its own, `gap`, as soon as there is room again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from gateway.core.reporting import audit_chain
from gateway.core.reporting.audit_chain import AuditEntry, ChainPosition
from gateway.edge.storage.store import Statement, Store

MAX_BACKLOG = 65_536
"""Entries that wait for the store at most; about 40 MB."""
OLDEST = "SELECT * FROM audit WHERE seq > ? AND time >= ? ORDER BY seq LIMIT ?"
NEWEST = "SELECT * FROM audit WHERE seq < ? AND time >= ? ORDER BY seq DESC LIMIT ?"
LAST_NUMBER = (1 << 63) - 1
"""The largest number that SQLite has for an entry."""
PUT_ENTRY = "INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
GATEWAY = "gateway"
"""The actor of what happens by itself."""
LOOPBACK = "loopback"
"""Who asks on loopback without a token."""
UNKNOWN = "unknown"
"""Who asks without being let in."""
COMMAND = "command"
"""Who works on a store that no gateway holds."""
RESERVED = frozenset({GATEWAY, LOOPBACK, UNKNOWN, COMMAND})
"""Names that no operator may have: the log would not tell them apart."""


class AuditLog:
    """The audit log in `store`; `wall` tells the present instant in seconds UTC."""

    def __init__(self, store: Store, wall: Callable[[], float]) -> None:
        self._store = store
        self._wall = wall
        self._last = audit_chain.BEGINNING
        self._queue: dict[int, AuditEntry] = {}
        """Entries not known to be durable."""
        self._new: list[AuditEntry] = []
        """Those of the queue that were made since the last write."""
        self._lost = 0
        self.behind = False
        """Whether entries wait that a write should have taken along and did not; the next one takes them all."""

    @property
    def seq(self) -> int:
        """The number of the latest entry, durable or not."""
        return self._last.seq

    async def open(self) -> str:
        """Go on from the last entry of the store; returns how the last run is said to have ended.

        That is `stop`, `start` where it has not said so, or `` where there was none. Raises `StoreUnavailable`.
        """
        self._last = audit_chain.BEGINNING
        for seq, hash in await self._store.read("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1"):
            self._last = ChainPosition(seq, hash)
        runs = "SELECT action FROM audit WHERE action IN ('start', 'stop') ORDER BY seq DESC LIMIT 1"
        return "".join([action for (action,) in await self._store.read(runs)])

    def add(self, actor: str, action: str, subject: str = "", detail: Mapping[str, Any] | None = None) -> None:
        """Make an entry; the next write takes it along."""
        if len(self._queue) >= MAX_BACKLOG:
            self._lost += 1
            return
        if self._lost:
            lost, self._lost = self._lost, 0
            self.add(GATEWAY, "gap", "", {"lost": lost})
        entry = audit_chain.next_entry(self._last, self._wall(), actor, action, subject, detail or {})
        self._last = ChainPosition(entry.seq, entry.hash)
        self._queue[entry.seq] = entry
        self._new.append(entry)

    def write(self, statements: Sequence[Statement] = ()) -> asyncio.Future[None]:
        """Write statements, and the entries made since the last write, in one transaction."""
        taken, self._new = self._new, []
        if not self._store.available:
            self.behind = self.behind or bool(taken)
            return self._store.write(statements)
        if self.behind:
            taken, self.behind = list(self._queue.values()), False
        done = self._store.write(statements, trail=[Statement(PUT_ENTRY, entry) for entry in taken])
        if taken:
            done.add_done_callback(lambda done: self._written(done, taken))
        return done

    async def read(
        self, most: int, *, since: float = 0.0, after: int | None = None, newest_first: bool = False
    ) -> list[AuditEntry]:
        """At most `most` durable entries from `since` (seconds UTC) on, in their order or the opposite one.

        `after` is the number of the entry after which they begin. Raises `StoreUnavailable`.
        """
        query = NEWEST if newest_first else OLDEST
        beginning = LAST_NUMBER if newest_first else 0
        parameters = (beginning if after is None else after, audit_chain.timestamp(since), most)
        return [AuditEntry(*row) for row in await self._store.read(query, parameters)]

    def backlog(self) -> Iterator[Statement]:
        """Everything that is not known to be durable; what the file has already is not written twice."""
        return (Statement(PUT_ENTRY, entry) for entry in list(self._queue.values()))

    def _written(self, done: asyncio.Future[None], taken: Sequence[AuditEntry]) -> None:
        if done.cancelled() or done.exception() is not None:
            self.behind = True
            return
        for entry in taken:
            self._queue.pop(entry.seq, None)
        if self._lost and len(self._queue) < MAX_BACKLOG:
            lost, self._lost = self._lost, 0
            self.add(GATEWAY, "gap", "", {"lost": lost})
            self.write()
