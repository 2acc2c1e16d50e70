"""Keeps etcd small: any node lets it forget what is long past, and looks how large its database is.

No node waits for another one: who is behind by more than `KEPT` entries takes the backup of a peer. What may go etcd
itself is asked, so that a node which was started just now lets it forget as much as one that has run for long.
"""

from __future__ import annotations

import asyncio
import logging

from gateway.edge.cluster.etcd import EtcdFailed, EtcdHealth
from gateway.edge.cluster.node import ClusterNode

EVERY = 60.0
"""Seconds between two looks."""
KEPT = 500_000
"""Entries of the log that are kept."""
MOST_STEPS = 20
"""Revisions that etcd is asked about in one look, at most."""

log = logging.getLogger("tallygate.cluster")


class Housekeeping:
    """Looks after the log of `node`, and after the health of its etcd."""

    def __init__(self, node: ClusterNode, *, kept: int = KEPT) -> None:
        self._node = node
        self._kept = kept
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._run(), name="housekeeping of etcd")

    async def close(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(EVERY)

    async def look(self) -> None:
        """Ask the members how they are, and let them forget what is past."""
        etcd, sizes, alarms = self._node.etcd, [0], set[str]()
        for url in etcd.urls:
            try:
                status = await etcd.status(url)
            except EtcdFailed as fault:
                log.info("an etcd member does not report its status: %s", fault)
                continue
            sizes.append(status.size)
            alarms.update(status.alarms, filter(None, [status.flaw]))
        etcd.health = EtcdHealth(max(sizes), tuple(sorted(alarms)))
        if alarms:
            log.error("etcd complains: %s", "; ".join(etcd.health.alarms))
        for url in etcd.urls:
            try:
                await self._forget(url)
            except EtcdFailed as fault:
                log.debug("another node was first, or this etcd member does not answer: %s", fault)
            else:
                return

    async def _forget(self, url: str) -> None:
        """Let the members forget all but the last entries.

        Raises `EtcdFailed`, also where that was done before.
        """
        replica, etcd = self._node.replica, self._node.etcd
        version, revision = replica.version, replica.revision
        missing = self._kept
        for _ in range(MOST_STEPS):
            if revision <= missing:
                return
            revision -= missing  # each entry takes a revision, and more where others write to etcd too
            missing = self._kept - (version - (await etcd.head(url, revision)).version)
            if missing <= 0:
                await etcd.compact(url, revision)
                return
