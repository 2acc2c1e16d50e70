"""Writes the node down every minute, so that its file and the log after that are all a node needs.

The log is not applied meanwhile: its entries wait. Everything else goes on, since a dump is written in turns.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from gateway.core.cluster import dump
from gateway.edge.cluster.node import ClusterNode
from gateway.edge.storage.node_file import pack, put_dump
from gateway.edge.storage.store import Statement, StoreUnavailable

DUMP_EVERY = 60.0
"""Seconds between two dumps at least."""
RARELY = 100.0
"""How many times as long as a dump took the next one waits at least."""

log = logging.getLogger("tallygate.cluster")


class DumpWriter:
    """Writes `node` by `write`, which puts statements into the store's next commit."""

    def __init__(self, node: ClusterNode, write: Callable[[list[Statement]], asyncio.Future[None]]) -> None:
        self._node = node
        self._write = write
        self._due = 0.0
        self._version = -1
        self._task: asyncio.Task[None] | None = None

    def poll(self) -> None:
        """Write the node down if that is due; called once a second."""
        now = asyncio.get_running_loop().time()
        if self._task is not None and self._task.done():
            task, self._task = self._task, None
            if not task.cancelled() and (fault := task.exception()) is not None:
                log.error("the node could not be stored", exc_info=fault)
        if self._task is None and now >= self._due and self._node.replica.version != self._version:
            self._due = now + DUMP_EVERY
            self._task = asyncio.create_task(self.write(), name="dump of the node")

    async def write(self) -> None:
        """Write the node down, and wait until that is durable; not one that is half changed, by an entry that could not
        be applied to its end.

        Raises `StoreUnavailable`.
        """
        loop, replica, follower = asyncio.get_running_loop(), self._node.replica, self._node.follower
        began = loop.time()
        async with follower.applying:
            if not replica.is_whole:
                return
            packed = await pack(dump.lines(replica))
            self._version = replica.version
            done = self._write([put_dump(follower.etcd_cluster, replica.version, replica.revision, packed)])
        took = loop.time() - began
        self._due = max(self._due, loop.time() + RARELY * took)
        await done

    async def close(self) -> None:
        """Write the node down once more, so that it need not follow much when it is started again."""
        if self._task is not None:
            await asyncio.wait({self._task})
        if self._node.replica.version != self._version:
            try:
                await self.write()
            except StoreUnavailable as fault:
                log.warning("the node could not be stored: %s", fault)
