"""The audit log on its way to the store.

An entry is made at once and becomes durable with the commit of what it is about: all writes of `Persistence` go through
here, and take the new entries along. Nobody waits for an entry. While the store is unavailable, entries queue in
memory; those that do not fit are lost, and an entry `gap` says how many as soon as there is room again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from gateway.core.reporting import audit_chain
from gateway.core.reporting.audit_chain import AuditEntry, ChainPosition
from gateway.edge.storage.audit_entries import (
    ENTRIES,
    GATEWAY,
    PUT_ENTRY,
    PUT_NAME,
    entry_of,
    entry_row,
    make_key,
    name_rows,
)
from gateway.edge.storage.store import Statement, Store

MAX_BACKLOG = 65_536
"""Entries that wait for the store at most; about 40 MB."""
MATCHES = """time >= ? AND (? IS NULL OR time < ?) AND (? IS NULL OR (action LIKE 'lease.%') = ?)
    AND (? IS NULL OR seq IN (SELECT seq FROM audit_name WHERE account = ? AND home = ?))"""
OLDEST = f"{ENTRIES} WHERE seq > ? AND {MATCHES} ORDER BY seq LIMIT ?"
NEWEST = f"{ENTRIES} WHERE seq < ? AND {MATCHES} ORDER BY seq DESC LIMIT ?"
LAST_SIGN = f"""SELECT action FROM audit WHERE action IN ('start', 'stop', '{audit_chain.FORGOTTEN}')
    ORDER BY seq DESC LIMIT 1"""  # noqa: S608 - a constant
"""The last sign that a run had begun or ended; its start may be forgotten."""
LAST_NUMBER = (1 << 63) - 1
"""The largest number that SQLite has for an entry."""
LOOPBACK = "loopback"
"""The actor of requests on loopback without a token."""
UNKNOWN = "unknown"
"""The actor of requests that were refused for their token."""
COMMAND = "command"
"""The actor of commands on a store that no gateway holds."""
FROM_FILE = "token-file"
"""The actor of requests with the token of `listen.operator_token_file`."""
RESERVED = frozenset({GATEWAY, LOOPBACK, UNKNOWN, COMMAND, FROM_FILE})
PROXIED = "proxy:"
"""What the actor begins with where a proxy has signed the operator in."""


def is_reserved(name: str) -> bool:
    """Return whether no operator may have this name, because the log has another use for it."""
    return name in RESERVED or name.startswith(PROXIED)


class AuditObserver(Protocol):
    """Is told of an entry of `at` (seconds UTC); `decided` says that it comes of the log of a cluster."""

    def __call__(  # noqa: D102
        self, actor: str, action: str, subject: str, detail: Mapping[str, Any], at: float, *, decided: bool
    ) -> None: ...


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
        self.observer: AuditObserver | None = None
        """Who is told of each entry as it is made."""
        self.behind = False
        """Whether a write failed to take entries along; the next one takes all that wait."""

    @property
    def seq(self) -> int:
        """The number of the latest entry, durable or not."""
        return self._last.seq

    @property
    def durable(self) -> int:
        """The number of the latest entry that is known to be durable, and so is read."""
        return self._last.seq - len(self._queue)

    async def open(self) -> str:
        """Go on from the last entry of the store, and return how the last run ended.

        That is `stop`, something else where it did not end in order, or an empty text where there was none. Raises
        `StoreUnavailable`.
        """
        self._last = audit_chain.BEGINNING
        for seq, hash in await self._store.read("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1"):
            self._last = ChainPosition(seq, hash)
        return "".join([action for (action,) in await self._store.read(LAST_SIGN)])

    def add(
        self,
        actor: str,
        action: str,
        subject: str = "",
        detail: Mapping[str, Any] | None = None,
        at: float | None = None,
    ) -> None:
        """Make an entry, of `at` (seconds UTC) or of now; the next write takes it along."""
        if len(self._queue) >= MAX_BACKLOG:
            self._lost += 1
            return
        if self._lost:
            lost, self._lost = self._lost, 0
            self.add(GATEWAY, "gap", "", {"lost": lost})
        decided, at = at is not None, self._wall() if at is None else at
        entry = audit_chain.next_entry(self._last, at, actor, action, subject, detail or {}, make_key)
        self._last = ChainPosition(entry.seq, entry.hash)
        self._queue[entry.seq] = entry
        self._new.append(entry)
        if self.observer is not None:
            self.observer(actor, action, subject, detail or {}, at, decided=decided)

    def write(self, statements: Sequence[Statement] = ()) -> asyncio.Future[None]:
        """Write statements, and the entries made since the last write, in one transaction."""
        taken, self._new = self._new, []
        if not self._store.available:
            self.behind = self.behind or bool(taken)
            return self._store.write(statements)
        if self.behind:
            taken, self.behind = list(self._queue.values()), False
        done = self._store.write(statements, trail=list(_puts(taken)))
        if taken:
            done.add_done_callback(lambda done: self._written(done, taken))
        return done

    async def read(
        self,
        most: int,
        *,
        since: float = 0.0,
        until: float | None = None,
        after: int | None = None,
        newest_first: bool = False,
        leases: bool | None = None,
        who: tuple[str, str] | None = None,
    ) -> list[AuditEntry]:
        """Return at most `most` durable entries from `since` to before `until` (seconds UTC), in their order or the
        opposite one.

        `after` is the number of the entry after which they begin; `leases` asks for those about leases or for all
        others, `who`, an account and its home, for those that name it. Raises `StoreUnavailable`.
        """
        query = NEWEST if newest_first else OLDEST
        beginning = LAST_NUMBER if newest_first else 0
        end = None if until is None else audit_chain.timestamp(until)
        account, home = who or (None, "")
        parameters = (
            beginning if after is None else after, audit_chain.timestamp(since), end, end, leases, leases,
            account, account, home, most,
        )  # fmt: skip
        return [entry_of(row) for row in await self._store.read(query, parameters)]

    def backlog(self) -> Iterator[Statement]:
        """Return what writes all entries not known to be durable; an entry that the file has is not written twice."""
        return _puts(list(self._queue.values()))

    def forget_person(self, account: str, home: str) -> None:
        """Take the names of an account from the entries that are on their way to the store."""
        for seq, entry in self._queue.items():
            names = tuple(each for each in entry.names if not each.names(account, home))
            self._queue[seq] = entry._replace(names=names)
        self._new = [self._queue[entry.seq] for entry in self._new]

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


def _puts(entries: Sequence[AuditEntry]) -> Iterator[Statement]:
    yield from (Statement(PUT_ENTRY, entry_row(entry)) for entry in entries)
    yield from (Statement(PUT_NAME, row) for entry in entries for row in name_rows(entry))
