"""Reads the log and applies it: from one member after the other, from the next entry on, and nothing twice.

A watch that is silent is dead, since living nodes put something every second. An entry that a member leaves out is read
from another one. What cannot be mended so - the past is gone, no member has an entry, this is another log - raises
`LogLost`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from gateway.core.cluster.entries import LogEntry
from gateway.core.cluster.replica import Gap, Outcome, Replica
from gateway.edge.cluster.etcd import Etcd, EtcdFailed, Head, Watched

PAUSE = 0.1
"""Seconds before the next member is asked, where one failed."""
SLICE = 0.005
"""Seconds for which entries are applied before everything else has its turn."""

log = logging.getLogger("tallygate.cluster")

EntryHandler = Callable[[LogEntry, list[Outcome]], Awaitable[None]]


class LogLost(Exception):
    """The log cannot be followed any further from where this node stands; the text is for a person."""


class Behind(LogLost):
    """The log goes on without what this node needs next: it must go on from a newer file."""


class Follower:
    """Applies the log to `replica`. `on_entry` is told of each entry and its outcomes, after all of it was applied.

    `skipped` are the revisions whose commands are left out. `etcd_cluster` is the identity of the etcd cluster, empty
    before one is known.
    """

    def __init__(self, etcd: Etcd, replica: Replica, on_entry: EntryHandler, etcd_cluster: str = "") -> None:
        self.replica = replica
        self.etcd_cluster = etcd_cluster
        self.skipped: frozenset[int] = frozenset()
        self.caught_up = asyncio.Event()
        self.applying = asyncio.Lock()
        """Held while an entry is applied and carried out; who holds it finds the state between two of them."""
        self._etcd = etcd
        self._on_entry = on_entry
        self._url = etcd.urls[0]
        self._head = 0
        self._last: bytes | None = None
        """The entry that was applied last, unless that was in another process."""

    async def look(self) -> Head:
        """Return where the log stands, from the first member that answers.

        Raises `EtcdFailed` where none does, `LogLost`.
        """
        fault: EtcdFailed | None = None
        for _ in self._etcd.urls:
            try:
                head = await self._etcd.head(self._url)
            except EtcdFailed as failed:
                fault, self._url = failed, self._etcd.after(self._url)
                continue
            self._check(head)
            return head
        raise fault if fault is not None else EtcdFailed("there is no member")

    def _check(self, head: Head) -> None:
        self._same_cluster(head.cluster)
        if head.version < self.replica.version or head.modified < self.replica.revision:
            raise LogLost(
                f"etcd was set back: its log has {head.version} entries, this node has applied {self.replica.version}"
            )

    def _same_cluster(self, cluster: str) -> None:
        if self.etcd_cluster and cluster != self.etcd_cluster:
            raise LogLost(f"this is another etcd: its cluster is {cluster}, that of the log was {self.etcd_cluster}")
        self.etcd_cluster = cluster

    async def run(self) -> None:
        """Follow the log until `LogLost` is raised."""
        trouble, gaps = "", 0
        while True:
            try:
                head = await self.look()
                self._head = head.version
                self._note_head()
                async with contextlib.aclosing(self._etcd.watch(self._url, self._next(head))) as messages:
                    async for message in messages:
                        if trouble:
                            log.warning("the log is followed again, at %s", self._url)
                        trouble = ""
                        gaps = 0 if await self._take(message) else gaps
            except (EtcdFailed, Gap) as fault:
                gaps += isinstance(fault, Gap)
                if gaps > len(self._etcd.urls):
                    raise Behind(f"an entry of the log is missing: {fault}") from fault
                if not trouble:
                    log.warning("the log cannot be read, another member is asked: %s", fault)
                trouble = str(fault)
                self._url = self._etcd.after(self._url)
            await asyncio.sleep(PAUSE)

    def _next(self, head: Head) -> int:
        """Return from which revision to watch: that of the last entry, of which a log that was set back has another."""
        if not self.replica.version:
            return max(head.created, 1)
        return self.replica.revision + (self._last is None)

    async def _take(self, message: Watched) -> bool:
        """Apply what is new in a message, and return whether anything was.

        Raises `Gap` or `LogLost`.
        """
        before = self.replica.version
        self._same_cluster(message.cluster)
        if message.compacted is not None:
            raise Behind(f"the log before revision {message.compacted} is gone: this node must take a newer file")
        loop = asyncio.get_running_loop()
        until = loop.time() + SLICE
        for entry in message.entries:
            if entry.revision == self.replica.revision and self._last not in {None, entry.value}:
                raise LogLost(
                    f"etcd was set back: its log has another entry {entry.version} than this node has applied"
                )
            if entry.revision <= self.replica.revision:
                continue
            outcomes: list[Outcome] = []
            async with self.applying:
                for outcome in self.replica.apply(entry, entry.revision in self.skipped):
                    outcomes.append(outcome)
                    if loop.time() > until:
                        await asyncio.sleep(0)
                        until = loop.time() + SLICE
                if self.replica.needs_file:
                    raise Behind("this cluster goes on from a file: take a backup of one of its nodes")
                self._last = entry.value
                await self._on_entry(entry, outcomes)
            self._note_head()
            if loop.time() > until:
                await asyncio.sleep(0)
                until = loop.time() + SLICE
        return self.replica.version > before

    def _note_head(self) -> None:
        if self.replica.version >= self._head:
            self.caught_up.set()
