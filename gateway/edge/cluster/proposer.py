"""Puts the commands of this node into the log, one batch at a time, until each was seen there.

The answer of a put is only a hint: one that failed may be in the log all the same. So the same batch goes to one member
after the other until the log has it; on the way back a repeated one counts for nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

from gateway.core.cluster.entries import MOST_BYTES, MOST_COMMANDS, Batch, Proposed, encode, plain, size
from gateway.edge.cluster.etcd import PUT_TIMEOUT, Etcd, EtcdFailed

TICK = 1.0
"""Seconds after which a node that has nothing to say puts an empty batch: it lives, and time goes on."""
PAUSE = 0.05
"""Seconds before the next member is asked, where one refused at once."""

T = TypeVar("T")
log = logging.getLogger("tallygate.cluster")


class Queued(NamedTuple, Generic[T]):
    """A command that waits to be put, and who asked for it."""

    proposed: Proposed
    written: list[Any]
    ticket: T


class Outstanding(NamedTuple, Generic[T]):
    """A batch on its way: `sent` is the boot time and `mono` the monotonic instant of its first put."""

    batch: Batch
    tickets: list[T]
    sent: float
    mono: float
    seen: asyncio.Event


class Proposer(Generic[T]):
    """Puts batches of one node. `frame` makes an empty batch with a number; `boot` and `mono` tell the instants.

    `on_put` is told the identity of the etcd cluster with every answer; `pause` tells for how many seconds the others
    are to be waited for before more is asked of them.
    """

    def __init__(
        self,
        etcd: Etcd,
        frame: Callable[[int], Batch],
        boot: Callable[[], float],
        mono: Callable[[], float],
        on_put: Callable[[str], None],
        pause: Callable[[], float],
    ) -> None:
        self.outstanding: Outstanding[T] | None = None
        self.seq = 0
        self.put_failures = 0
        self._etcd = etcd
        self._url = etcd.urls[0]
        self._frame = frame
        self._boot = boot
        self._mono = mono
        self._on_put = on_put
        self._pause = pause
        self._releases: deque[Queued[T]] = deque()
        self._requests: deque[Queued[T]] = deque()
        self._wake = asyncio.Event()
        self.departing = False
        """Whether the last batch of this node is on its way."""
        self._answers: set[asyncio.Task[bool]] = set()
        """Puts whose batch may have been seen before they were answered."""

    @property
    def waiting(self) -> int:
        """Commands that have not been put yet."""
        return len(self._releases) + len(self._requests)

    def add(self, proposed: Proposed, ticket: T, *, release: bool = False) -> None:
        """Have a command put with the next batch; a release before all requests."""
        queue = self._releases if release else self._requests
        queue.append(Queued(proposed, plain(proposed), ticket))
        self._wake.set()

    def drop_waiting(self) -> list[T]:
        """Forget everything that has not been seen in the log; returns who asked for it."""
        tickets = [each.ticket for queue in (self._releases, self._requests) for each in queue]
        if self.outstanding is not None:
            tickets = [*self.outstanding.tickets, *tickets]
        self._releases.clear()
        self._requests.clear()
        self.outstanding = None
        return tickets

    def saw(self, batch: Batch) -> Outstanding[T] | None:
        """Note that a batch was applied; returns it if it is the one on its way."""
        outstanding = self.outstanding
        if outstanding is None or (outstanding.batch.node, outstanding.batch.seq) != (batch.node, batch.seq):
            return None
        self.outstanding = None
        outstanding.seen.set()
        return outstanding

    async def put(self, batch: Batch, tickets: list[T]) -> None:
        """Put a batch until it is seen in the log."""
        seen = asyncio.Event()
        self.outstanding = Outstanding(batch, tickets, self._boot(), self._mono(), seen)
        value = encode(batch)
        waiting = asyncio.create_task(seen.wait())
        try:
            while not seen.is_set():
                putting = asyncio.create_task(self._put_once(value))
                self._answers.add(putting)
                putting.add_done_callback(self._answers.discard)
                await asyncio.wait({putting, waiting}, return_when=asyncio.FIRST_COMPLETED)
                if not seen.is_set():
                    await asyncio.wait({waiting}, timeout=PUT_TIMEOUT if await putting else PAUSE)
                if not seen.is_set():
                    self._url = self._etcd.after(self._url)
        finally:
            waiting.cancel()

    async def close(self) -> None:
        """Wait no longer for answers of members."""
        answers = set(self._answers)
        for each in answers:
            each.cancel()
        if answers:
            await asyncio.wait(answers)

    async def _put_once(self, value: bytes) -> bool:
        try:
            self._on_put(await self._etcd.put(self._url, value))
        except EtcdFailed as fault:
            self.put_failures += 1
            log.info("a batch was not taken: %s", fault)
            return False
        return True

    def depart(self) -> None:
        """Let the last batch, after everything that waits, say that this node goes."""
        self.departing = True
        self._wake.set()

    async def run(self) -> None:
        """Put batches as long as this node lives; its `enter` was number 1."""
        self.seq = 1
        while True:
            if not self.waiting and not self.departing:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), TICK)
            pause = self._pause() if self._requests else 0.0
            if pause > 0.0:
                await asyncio.sleep(pause)
            self._wake.clear()
            self.seq += 1
            taken = self._take()
            last = self.departing and not self.waiting
            batch = self._frame(self.seq)._replace(commands=tuple(each.written for each in taken), depart=last)
            await self.put(batch, [each.ticket for each in taken])
            if last:
                return

    def _take(self) -> list[Queued[T]]:
        """Return the commands that fit into one batch, releases first."""
        taken: list[Queued[T]] = []
        room = MOST_BYTES
        for queue in (self._releases, self._requests):
            while queue and len(taken) < MOST_COMMANDS:
                room -= size(queue[0].written)
                if room < 0 and taken:
                    return taken
                taken.append(queue.popleft())
        return taken
