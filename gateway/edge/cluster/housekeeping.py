"""Keeps etcd small: any node lets it forget what is long past, and looks how large its database is.

No node waits for another one: who is behind by more than `KEPT` entries takes the backup of a peer.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque

from gateway.edge.cluster.etcd import EtcdFailed
from gateway.edge.cluster.node import ClusterNode

EVERY = 60.0
"""Seconds between two looks."""
KEPT = 500_000
"""Entries of the log that are kept."""
MARK_EVERY = 10_000
"""Entries between two whose revisions are noted."""

log = logging.getLogger("tallygate.cluster")


class Housekeeping:
    """Looks after the log of `node`. `size` is that of the largest database among the members, in bytes."""

    def __init__(self, node: ClusterNode, *, kept: int = KEPT, mark_every: int = MARK_EVERY) -> None:
        self.size = 0
        self.alarms: tuple[str, ...] = ()
        self._node = node
        self._kept = kept
        self._mark_every = mark_every
        self._marks: deque[tuple[int, int]] = deque()
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
                log.info("a member does not say how it is: %s", fault)
                continue
            sizes.append(status.size)
            alarms.update(status.alarms)
        self.size, self.alarms = max(sizes), tuple(sorted(alarms))
        if self.alarms:
            log.error("etcd complains: %s", "; ".join(self.alarms))
        revision = self._past()
        if revision is not None:
            try:
                await etcd.compact(etcd.urls[0], revision)
            except EtcdFailed as fault:
                log.debug("another node was first, or nobody answers: %s", fault)

    def _past(self) -> int | None:
        """Return the revision before which nothing is needed any more; None where all is."""
        replica = self._node.replica
        if not self._marks or replica.version - self._marks[-1][0] >= self._mark_every:
            self._marks.append((replica.version, replica.revision))
        past = None
        while self._marks and replica.version - self._marks[0][0] > self._kept:
            past = self._marks.popleft()[1]
        return past
