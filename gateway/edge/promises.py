"""Answers that wait for the disk.

What was granted is told only when it is durable. Until then everything else that its client says waits too, so that
answers keep the order of the messages; heartbeats alone are answered at once. A commit that fails, or is not done
within the store's deadline, undoes the decision, and the answer is `store_unavailable`.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, NamedTuple

from gateway.core.license import Refusal
from gateway.core.outcome import Outcome
from gateway.edge.store import StoreUnavailable

if TYPE_CHECKING:
    from gateway.edge.connection import Connection
    from gateway.edge.hub import Hub

log = logging.getLogger("tallygate.promises")


class Promise(NamedTuple):
    """An outcome nobody has heard of yet, and the monotonic instant until which it may wait."""

    asker: Connection | None
    outcome: Outcome
    id: str | int | None
    until: float


class Promises:
    """What has been decided and not been told."""

    def __init__(self, hub: Hub) -> None:
        self.waiting: dict[Connection, list[bytes]] = {}
        """What clients have said while an answer of theirs waits."""
        self._hub = hub
        self._given: dict[asyncio.Future[None], Promise] = {}

    def __len__(self) -> int:
        return len(self._given)

    def give(
        self, done: asyncio.Future[None], asker: Connection | None, outcome: Outcome, id: str | int | None
    ) -> None:
        """Tell the outcome when `done` is."""
        if asker is not None:
            self.waiting.setdefault(asker, [])
        until = self._hub.clock.mono() + self._hub.settings.store.deadline
        self._given[done] = Promise(asker, outcome, id, until)
        done.add_done_callback(self._kept)

    def look(self, mono: float) -> None:
        """Break the promises whose time is over: the disk does not answer."""
        while self._given:
            done, promise = next(iter(self._given.items()))
            if promise.until > mono:
                return
            log.error("the store has not answered for %g s", self._hub.settings.store.deadline)
            self._hub.recorder.store.mistrust()
            self._break(self._given.pop(done))

    def _kept(self, done: asyncio.Future[None]) -> None:
        promise = self._given.pop(done, None)
        if promise is None:
            return
        fault = done.exception() if not done.cancelled() else StoreUnavailable("the store is closed")
        if fault is None:
            self._tell(promise)
        else:
            self._break(promise)

    def _break(self, promise: Promise) -> None:
        outcome, answer = promise.outcome, promise.outcome.answer
        if outcome.retract is None or answer is None:
            self._tell(promise)  # nothing was granted: what happened, happened
            return
        undone = outcome.retract(self._hub.now())
        self._hub.recorder.record(undone.changes)
        request = {"joined": "join", "waiting": "join", "started": "start"}.get(answer["type"], "request_pro")
        refused = self._hub.admission.refuse(request, Refusal("store_unavailable"), answer.get("conference"))
        self._tell(promise._replace(outcome=refused))

    def _tell(self, promise: Promise) -> None:
        self._hub.tell(promise.asker, promise.outcome, promise.id)
        asker = promise.asker
        if asker is None:
            return
        said = self.waiting.pop(asker, [])
        while said and asker not in self.waiting:
            self._hub.receive(asker, said.pop(0))
        if said:
            self.waiting[asker] += said
