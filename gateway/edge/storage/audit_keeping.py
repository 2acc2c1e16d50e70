"""Forgets entries of the audit log that are too old, from the first one on.

First an entry is made of which the last one will be that is forgotten, with its hash; by that the chain of those that
are left is known to be whole. When it is durable, the entries are deleted, those of a day at once: so that a wall clock
that is wrong costs no more than some days before somebody sees it.
"""

from __future__ import annotations

import asyncio
import logging
import math

from gateway.core.counting.session import Instant
from gateway.core.formats import timestamp
from gateway.core.reporting import audit_chain
from gateway.edge.storage.audit_entries import GATEWAY
from gateway.edge.storage.audit_log import AuditLog
from gateway.edge.storage.steady_clock import SteadyClock
from gateway.edge.storage.store import Statement, Store, StoreUnavailable

EVERY = 600.0
"""Seconds between two looks at the first entry."""
SPAN = 86400.0
"""Seconds of entries that are forgotten at once; nothing is, until so many are too old."""
MOST = 8000
"""Entries that are deleted at once."""
LAST_BEFORE = """SELECT seq, hash FROM audit WHERE seq < (SELECT seq FROM audit WHERE time >= ? ORDER BY seq LIMIT 1)
    ORDER BY seq DESC LIMIT 1"""
FORGET_NAMES = "DELETE FROM audit_name WHERE seq <= ?"
FORGET_ENTRIES = "DELETE FROM audit WHERE seq <= ?"

log = logging.getLogger("tallygate.store")


class AuditKeeping:
    """Keeps the entries of `audit_log` for `keep` seconds, for ever if that is 0."""

    def __init__(self, audit_log: AuditLog, store: Store, keep: float) -> None:
        self._audit_log = audit_log
        self._store = store
        self._keep = keep
        self._clock = SteadyClock()
        self._looked = -math.inf
        self._task: asyncio.Task[None] | None = None

    def poll(self, now: Instant) -> None:
        """Forget what is too old, where that is due; called once a second."""
        if not self._keep or not self._clock.is_steady(now) or now.mono - self._looked < EVERY:
            return
        if self._store.available and (self._task is None or self._task.done()):
            self._looked = now.mono
            self._task = asyncio.create_task(self._forget(now.wall - self._keep), name="audit keeping")

    async def close(self) -> None:
        """Wait for what is under way."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def _forget(self, before: float) -> None:
        try:
            for (oldest,) in await self._store.read("SELECT time FROM audit ORDER BY seq LIMIT 1"):
                end = timestamp(oldest) + SPAN
                if end <= before:
                    await self._forget_before(audit_chain.timestamp(end))
        except StoreUnavailable as fault:
            log.warning("the audit log could not be shortened, and will be tried again: %s", fault)

    async def _forget_before(self, time: str) -> None:
        for seq, hash in await self._store.read(LAST_BEFORE, (time,)):
            self._audit_log.add(GATEWAY, audit_chain.FORGOTTEN, "", {"through": seq, "hash": hash})
            await self._audit_log.write()
            ((first,),) = await self._store.read("SELECT min(seq) FROM audit")
            for through in (*range(first + MOST, seq, MOST), seq):
                await self._audit_log.write(
                    [Statement(FORGET_NAMES, (through,)), Statement(FORGET_ENTRIES, (through,))]
                )
