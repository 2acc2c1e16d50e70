"""The store: one SQLite file, one connection that writes, one writer.

Whatever is to be written joins the current group commit: while one transaction is on its way to the disk, the next one
gathers, so the price of a sync is shared by everybody who waits for it. A transaction is whole or not at all. The file
is in WAL mode with `synchronous=FULL`: what was committed survives a loss of power. Queries and backups have a
connection of their own, so a long report does not hold up a commit. A store in memory has one connection for all, which
they use in turn: a backup queued between BEGIN and COMMIT would wait for ever for the COMMIT behind it.

A write that fails (disk full, locked, read-only) fails everything that waits for it, and the store is unavailable. So
does one into a file that was taken away; where nothing is written, that is seen within `LOOK_EVERY`. From then on
memory is the truth: `retry` is asked for all of it, again and again, until a commit has made the file the same; what is
written while that commit is on its way comes after it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from gateway.edge.storage.store_connections import Statement, StoreConnections, StoreDamaged, StoreUnavailable
from gateway.edge.storage.store_file import MARK_REWRITE, set_aside
from gateway.edge.storage.store_lock import MEMORY, StoreRefused
from metrics.histogram import Histogram

__all__ = ["MEMORY", "Statement", "Store", "StoreDamaged", "StoreRefused", "StoreUnavailable"]

LOOK_EVERY = 0.5
"""Seconds between two looks at the file while nothing is written."""
RETRY = 1.0
"""Seconds between two attempts to write again after a failure."""
REWRITE = 64 * 2**20
"""Bytes of a file that is rewritten while it is in use: it takes about a second."""
COMMITS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
"""Buckets of the time a commit takes, in seconds."""

FAULTS = (sqlite3.Error, OSError, StoreRefused, StoreUnavailable)
"""Why nothing can be written."""

log = logging.getLogger("tallygate.store")


class _Waiting(NamedTuple):
    statements: tuple[Statement, ...]
    trail: tuple[Statement, ...]
    done: asyncio.Future[None]


class Store:
    """The file at `path`. `retry` gives the statements that make any file the same as memory.

    `patience` is how long a commit waits for somebody else's lock, in seconds.
    """

    def __init__(
        self,
        path: str,
        retry: Callable[[], Iterable[Statement]],
        clock: Callable[[], float],
        *,
        patience: float = 5.0,
    ) -> None:
        self.path = path
        self.patience = patience
        self.file = StoreConnections(path, patience)
        self.errors = 0
        self.commits = Histogram(COMMITS)
        self.available = True
        self._retry = retry
        self._clock = clock
        self._rewriting = False
        self._waiting: list[_Waiting] = []
        self._under_way: list[_Waiting] = []
        self._began: float | None = None
        self._wake = asyncio.Event()
        self._closing = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    @property
    def pending(self) -> int:
        """Writes that have not been committed yet."""
        return len(self._waiting) + len(self._under_way)

    @property
    def stalled(self) -> bool:
        """Whether a commit takes longer than it may: the disk does not answer."""
        # By the loop's own clock: one that is set from outside may leap over a commit that is only under way.
        now = asyncio.get_running_loop().time()
        return self.available and self._began is not None and now - self._began >= self.patience

    async def hold(self) -> None:
        """Keep the file from every other process until it is closed, without opening it yet.

        Raises `StoreRefused`.
        """
        await self.file.hold()

    async def open(self) -> None:
        """Open the file, make it or bring its schema up to date, and begin to write.

        Raises `StoreRefused`.
        """
        await self.file.open()
        self._writer = asyncio.create_task(self._write_all(), name="store writer")
        self._writer.add_done_callback(_ended)

    async def begin_anew(self, why: str) -> None:
        """Set the open file aside, since it cannot be understood, and open a new one.

        Raises `StoreRefused`.
        """
        await self.close()
        set_aside(self.path, why)
        self._closing.clear()
        await self.open()

    async def close(self) -> None:
        """Write what waits, and close the file; a store that is unavailable is tried once more."""
        if self._writer is not None:
            self._closing.set()
            self._wake.set()
            await asyncio.wait({self._writer})
        await self.file.close()
        if self._writer is not None:
            writer, self._writer = self._writer, None
            await writer

    def write(self, statements: Sequence[Statement], trail: Sequence[Statement] = ()) -> asyncio.Future[None]:
        """Join the next commit. The future is done when the statements are durable.

        `trail` comes after the statements of the whole commit, so that runs of the same statement stay together.
        It fails with `StoreUnavailable`; nobody need await it.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.add_done_callback(_retrieved)
        if self._writer is None or self._writer.done() or not (self.available or self._rewriting):
            done.set_exception(StoreUnavailable("the store is unavailable"))
            return done
        self._waiting.append(_Waiting(tuple(statements), tuple(trail), done))
        self._wake.set()
        return done

    async def read(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query.

        Raises `StoreUnavailable`; `StoreDamaged` where trying again will not help.
        """
        return await self.file.read(sql, values)

    async def backup(self, target: str) -> None:
        """Copy the file as it is now, while it is in use.

        Raises `StoreUnavailable`.
        """
        try:
            await self.file.copy(target)
        except sqlite3.Error as fault:
            raise StoreUnavailable(str(fault)) from fault

    async def rewrite(self, *, large: bool = False) -> bool:
        """Write the file anew, so that nothing of what was deleted is left in it. One that is larger than `REWRITE`
        is left for the next start, unless `large`: commits wait meanwhile. Returns whether it was done.

        Raises `StoreUnavailable`.
        """
        try:
            if not large and await self.file.size() > REWRITE:
                await self.write([Statement(MARK_REWRITE)])
                return False
            await self.file.rewrite()
        except sqlite3.Error as fault:
            raise StoreUnavailable(f"the file could not be rewritten: {fault}") from fault
        return True

    def mistrust(self, why: str) -> None:
        """Memory and file may differ (a decision was undone while its write was under way): write all of it again.
        What is under way may still come to pass; what waits behind it fails.
        """
        self._lose(why)
        self._rewriting = False
        self._refuse()
        self._wake.set()

    async def _write_all(self) -> None:
        while self._waiting or not (self.available and self._closing.is_set()):
            if self.available and not self._waiting:
                await self._look_while_idle()
            elif self.available:
                if not await self._commit():
                    await self._pause()
            elif not await self._rewrite():
                if self._closing.is_set():
                    return
                await self._pause()

    async def _look_while_idle(self) -> None:
        """Wait until something is to be written, or look whether the file is still there."""
        try:
            async with asyncio.timeout(LOOK_EVERY):
                await self._wake.wait()
        except TimeoutError:
            try:
                await self.file.look()
            except OSError as fault:
                self._lose(str(fault))
                self._refuse()
        else:
            self._wake.clear()

    async def _pause(self) -> None:
        """Wait before the next attempt, unless the store is being closed."""
        await asyncio.sleep(0)  # those who waited undo what has failed
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RETRY):
                await self._closing.wait()

    async def _commit(self) -> bool:
        batch, self._waiting = self._waiting, []
        self._under_way = batch
        began, self._began = self._clock(), asyncio.get_running_loop().time()
        try:
            first = [statement for waiting in batch for statement in waiting.statements]
            last = [statement for waiting in batch for statement in waiting.trail]
            await self.file.write(first + last)
        except FAULTS as fault:
            self._lose(str(fault))
            _fail(batch, str(fault))
            self._refuse()
            return False
        finally:
            self._under_way, self._began = [], None
        self.commits.observe(self._clock() - began)
        for waiting in batch:
            if not waiting.done.done():
                waiting.done.set_result(None)
        return True

    async def _rewrite(self) -> bool:
        """Make the file the same as memory is now, and the file itself where it is gone."""
        self._refuse()
        try:
            await self.file.make_again()
            self._rewriting = True
            await self.file.write(list(self._retry()))
        except FAULTS as fault:
            self._rewriting = False
            self._lose(str(fault))
            self._refuse()
            return False
        if not self._rewriting:
            return False
        self.available, self._rewriting = True, False
        log.warning("the store is available again")
        return True

    def _lose(self, why: str) -> None:
        self.errors += 1
        if self.available:
            log.error("the store is unavailable: %s", why)
        self.available = False

    def _refuse(self) -> None:
        batch, self._waiting = self._waiting, []
        _fail(batch, "the store is unavailable")


def _fail(batch: Iterable[_Waiting], why: str) -> None:
    for waiting in batch:
        if not waiting.done.done():
            waiting.done.set_exception(StoreUnavailable(why))


def _ended(writer: asyncio.Task[None]) -> None:
    fault = None if writer.cancelled() else writer.exception()
    if fault is not None:
        log.critical("the store's writer has failed; nothing more is written", exc_info=fault)


def _retrieved(done: asyncio.Future[None]) -> None:
    """Take the failure of a write that nobody awaits; the state of the store shows it."""
    if not done.cancelled():
        done.exception()
