"""Answers that wait for the disk.

What was granted is told only when it is durable. Until then everything else that its client says waits too, so that
answers keep the order of the messages, and so does what the other clients of its account are told: it may rest upon the
same license. Heartbeats alone are answered at once.

A commit that fails, or is not done within the store's deadline, ends all trust in the disk: whatever nobody has heard
of is undone, the last decision first, and the answer is `store_unavailable`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from gateway.core.admission.outcome import Decision
from gateway.core.admission.session_states import SessionState
from gateway.core.counting.license_model import Refusal
from gateway.core.counting.multimap import Multimap
from gateway.core.counting.session import Key, Session
from gateway.edge.server.connection import Connection

if TYPE_CHECKING:
    from gateway.edge.server.runtime import Runtime


class PendingReply(NamedTuple):
    """An outcome nobody has heard of yet, and the monotonic instant until which it may wait.

    `session` is that of the asker, wherever it is connected by now.
    """

    asker: Connection | None
    session: Session | None
    outcome: Decision
    id: str | int | None
    until: float


class PendingReplies:
    """What has been decided and not been told."""

    def __init__(self, runtime: Runtime) -> None:
        self.deferred_input: dict[Connection, list[bytes]] = {}
        """What clients have said while an answer of theirs waits."""
        self._runtime = runtime
        self._given: dict[asyncio.Future[None], PendingReply] = {}
        self._about: Multimap[Key, asyncio.Future[None]] = Multimap()

    def __len__(self) -> int:
        return len(self._given)

    def covers(self, asker: Connection) -> bool:
        """Whether something about the account of this client has not been told yet."""
        session = asker.session
        return session is not None and session.identity is not None and session.identity in self._about

    def add(
        self, done: asyncio.Future[None], asker: Connection | None, outcome: Decision, id: str | int | None
    ) -> None:
        """Tell the outcome when `done` is."""
        if asker is not None:
            self.deferred_input.setdefault(asker, [])
        for change in outcome.changes:
            self._about.add(change.key, done)
        until = self._runtime.clock.mono() + self._runtime.settings.store.deadline
        self._given[done] = PendingReply(asker, asker.session if asker is not None else None, outcome, id, until)
        done.add_done_callback(self._settled)

    def check_deadlines(self, mono: float) -> None:
        """Break the promises if the time of the first is over, or of a commit in which there is none of them: the disk
        does not answer.
        """
        store = self._runtime.persistence.store
        done, promise = next(iter(self._given.items()), (None, None))
        late = done is not None and promise is not None and promise.until <= mono and not done.done()
        if late or store.stalled:
            store.mistrust(f"it has not answered for {self._runtime.settings.store.deadline:g} s")
            self._break()
            self._runtime.registrar.release_pending()

    def _settled(self, done: asyncio.Future[None]) -> None:
        if done not in self._given:
            return
        if done.cancelled() or done.exception() is not None:
            self._break()
            return
        promise = self._given.pop(done)
        for change in promise.outcome.changes:
            self._about.discard(change.key, done)
        self._tell(promise)

    def _break(self) -> None:
        """Undo all that nobody has heard of; of what granted nothing, what happened, happened."""
        broken = list(self._given.values())
        self._given.clear()
        self._about = Multimap()
        for promise in reversed(broken):
            if promise.outcome.undo is not None:
                self._undo(promise, promise.outcome.undo(self._runtime.now()))
        for promise in broken:
            self._tell(promise._replace(outcome=self._refused(promise.outcome) or self._true(promise)))

    def _undo(self, promise: PendingReply, undone: Decision) -> None:
        if undone.changes:
            self._runtime.persistence.record(undone.changes)
        session = promise.session
        if session is not None and isinstance(session.connection, Connection):
            session.connection.state = SessionState.AWAKE if session.awake else SessionState.ASLEEP

    def _refused(self, outcome: Decision) -> Decision | None:
        answer = outcome.answer
        if outcome.undo is None or answer is None:
            return None
        request = {"joined": "join", "waiting": "join", "started": "start"}.get(answer["type"], "request_pro")
        return self._runtime.admission.refuse(request, Refusal("store_unavailable"), answer.get("conference"))

    def _true(self, promise: PendingReply) -> Decision:
        """What happened, told as things stand now that others' grants are undone."""
        outcome, sessions = promise.outcome, self._runtime.admission.sessions
        told = list(outcome.notices)
        if promise.session is not None and outcome.answer is not None:
            told.append((promise.session, outcome.answer))
        for session, message in told:
            if session.number in sessions.by_number:
                now = {"conferences": [each.id for each in session.conferences]}
                now |= self._runtime.admission.entitlements(session)
                message.update({name: value for name, value in now.items() if name in message})
        return outcome

    def _tell(self, promise: PendingReply) -> None:
        self._runtime.deliver(promise.asker, promise.outcome, promise.id)
        asker = promise.asker
        if asker is None:
            return
        said = self.deferred_input.pop(asker, [])
        while said and asker not in self.deferred_input:
            self._runtime.received(asker, said.pop(0))
        if said:
            self.deferred_input[asker] += said
