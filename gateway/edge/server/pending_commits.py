"""Answers that wait for the disk.

What was granted is told only when it is durable. Until then everything else that its client says waits too, so that
answers keep the order of the messages, and so does what the other clients of its account are told: it may rest upon the
same license. What others are told of it waits too, and so does what they are told after it: each client hears of
decisions in their order. Heartbeats alone are answered at once.

A commit that fails, or is not done within the store's deadline, ends all trust in the disk: whatever nobody has been
told is undone, the last decision first, and the answer is `store_unavailable`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, Protocol

from gateway.core.admission.decision import Decision
from gateway.core.admission.replies import refreshed
from gateway.core.counting.leases import LeaseChange
from gateway.core.counting.license_model import PREEMPTED
from gateway.core.counting.multimap import Multimap
from gateway.core.counting.session import Key, Session
from gateway.edge.server.connection import Connection
from gateway.edge.server.sequencer import Sequencer
from gateway.edge.storage.persistence import Persistence

log = logging.getLogger("tallygate.commits")


class Deliver(Protocol):
    """Sends what was decided."""

    def __call__(  # noqa: D102
        self, decision: Decision, asker: Connection | None = None, id: str | int | None = None
    ) -> None: ...


class PendingReply(NamedTuple):
    """A decision nobody has been told yet, and the monotonic instant until which it may wait.

    `session` is that of the asker, wherever it is connected by now. `generations` says how often each session that the
    decision notifies had been resumed by then.
    """

    decision: Decision
    asker: Connection | None
    session: Session | None
    generations: Mapping[int, int]
    id: str | int | None
    until: float


class PendingReplies:
    """What has been decided and not been told. `deadline` (seconds) is how long a commit may take.

    `deliver`, `receive`, `follow_presence` and `caught_up` are handed in by who acts upon messages; `on_distrust` is
    called when the disk does not answer.
    """

    def __init__(
        self,
        sequencer: Sequencer,
        persistence: Persistence,
        mono: Callable[[], float],
        *,
        deadline: float,
        on_distrust: Callable[[], None],
    ) -> None:
        self.deferred_input: dict[Connection, list[bytes]] = {}
        """What clients have said while an answer of theirs waits."""
        self._hung_up: dict[Connection, str] = {}
        """Connections that their clients have ended while input of theirs is deferred, and the cause."""
        self.deliver: Deliver = _not_yet
        self.receive: Callable[[Connection, bytes], None] = _not_yet
        self.follow_presence: Callable[[Connection], None] = _not_yet
        self.caught_up: Callable[[Connection], None] = _not_yet
        self._sequencer = sequencer
        self._persistence = persistence
        self._mono = mono
        self._deadline = deadline
        self._on_distrust = on_distrust
        self.waiting: dict[asyncio.Future[None], PendingReply] = {}
        """The replies that wait, by the commit that each waits for, the oldest first."""
        self._leases: Multimap[Key, asyncio.Future[None]] = Multimap()
        """The commits that are about a key."""
        self._news: Multimap[int, asyncio.Future[None]] = Multimap()
        """The commits until which a session, by its number, is not told something."""

    def __len__(self) -> int:
        return len(self.waiting)

    def must_precede(self, decision: Decision, asker: Connection | None) -> bool:
        """Return whether something has not been told yet that comes before a decision: to somebody who is told of it,
        or about the account of who asked.
        """
        session = asker.session if asker is not None else None
        if session is not None and session.identity is not None and session.identity in self._leases:
            return True
        return any(number in self._news for number in _told(decision, session))

    def hold(self, asker: Connection) -> None:
        """Keep what a client says from now on until it is released."""
        self.deferred_input.setdefault(asker, [])

    def release(self, asker: Connection) -> None:
        """Act upon what a client has said since it was held."""
        self.follow_presence(asker)
        self._go_on(asker)

    def add(
        self,
        done: asyncio.Future[None],
        decision: Decision,
        asker: Connection | None = None,
        id: str | int | None = None,
    ) -> None:
        """Tell a decision when `done` is."""
        if asker is not None:
            self.deferred_input.setdefault(asker, [])
        for change in decision.changes:
            if isinstance(change, LeaseChange):
                self._leases.add(change.key, done)
        session = asker.session if asker is not None else None
        for number in _told(decision, session):
            self._news.add(number, done)
        sessions = self._sequencer.state.sessions.by_number
        notified = (number for number, _ in decision.notices)
        generations = {number: sessions[number].generation for number in notified if number in sessions}
        until = self._mono() + self._deadline
        self.waiting[done] = PendingReply(decision, asker, session, generations, id, until)
        done.add_done_callback(self._settled)

    def finish_later(self, connection: Connection, cause: str) -> bool:
        """Return whether input of a client that has hung up is deferred; if so, it is finished after that.

        What was said before the end counts: who said goodbye or left has done so.
        """
        if not self.deferred_input.get(connection):
            return False
        self._hung_up.setdefault(connection, cause)
        return True

    def check_deadlines(self, mono: float) -> None:
        """Undo everything if the oldest pending reply is past its time, or a commit stalls in which there is none.

        Called with every tick; `mono` is in monotonic seconds (PROTOCOL.md, Limits).
        """
        done, reply = next(iter(self.waiting.items()), (None, None))
        late = done is not None and reply is not None and reply.until <= mono and not done.done()
        if late or self._persistence.store.stalled:
            self._persistence.store.mistrust(f"it has not answered for {self._deadline:g} s")
            self._undo_all()
            self._on_distrust()

    def _settled(self, done: asyncio.Future[None]) -> None:
        if done not in self.waiting:
            return
        if done.cancelled() or done.exception() is not None:
            self._undo_all()
            return
        reply = self.waiting.pop(done)
        for change in reply.decision.changes:
            if isinstance(change, LeaseChange):
                self._leases.discard(change.key, done)
        for number in _told(reply.decision, reply.session):
            self._news.discard(number, done)
        self._tell(reply)

    def _undo_all(self) -> None:
        """Undo all grants that nobody has been told of. What granted nothing, such as an end, stands, and is told."""
        waiting = list(self.waiting.values())
        self.waiting.clear()
        self._leases = Multimap()
        self._news = Multimap()
        undone: dict[int, Decision] = {}
        for place in reversed(range(len(waiting))):
            withdraw = waiting[place].decision.withdraw
            decision = self._sequencer.submit(withdraw) if withdraw is not None else None
            if decision is not None:
                undone[place] = decision
                decision.notices.clear()  # nobody has heard of what they would take back
                self._persistence.commit(decision)
        for place, reply in enumerate(waiting):
            if place in undone:  # whose seat was taken for what is undone has lost it all the same
                told = reply.decision.notices
                undone[place].notices += [each for each in told if each[1].get("reason") == PREEMPTED]
            self._tell(self._refreshed(reply._replace(decision=undone.get(place, reply.decision))))

    def _refreshed(self, reply: PendingReply) -> PendingReply:
        """Return a reply that stands, worded by what everybody holds after others' grants were undone."""
        decision, state = reply.decision, self._sequencer.state
        if reply.session is not None and decision.answer is not None:
            decision.answer = refreshed(state, reply.session, decision.answer)
        decision.notices = [
            (number, refreshed(state, state.sessions.by_number[number], message))
            for number, message in decision.notices
            if number in state.sessions.by_number
        ]
        return reply

    def _tell(self, reply: PendingReply) -> None:
        """Deliver a decision, then act upon what its client has said meanwhile; a failure is that client's own."""
        asker, decision = reply.asker, reply.decision
        if decision.notices:
            decision.notices = [each for each in decision.notices if self._is_news(each[0], reply)]
        try:
            self.deliver(decision, asker, reply.id)
            if asker is not None:
                self.follow_presence(asker)
                self._go_on(asker)
        except Exception:
            log.exception("the answer to a client that waited for the store failed; the client is cut off")
            if asker is not None:
                self.deferred_input.pop(asker, None)
                asker.transport.abort()
                if asker in self._hung_up:
                    asker.finish(self._hung_up.pop(asker))  # its socket may be gone: nothing else would end it

    def _is_news(self, number: int, reply: PendingReply) -> bool:
        """Return whether a session has not been resumed since a decision: its `welcome` says how things stand."""
        session = self._sequencer.state.sessions.by_number.get(number)
        return session is not None and session.generation == reply.generations.get(number)

    def _go_on(self, asker: Connection) -> None:
        said = self.deferred_input.pop(asker, [])
        while said and asker not in self.deferred_input and asker.cause is None:
            self.receive(asker, said.pop(0))
        if said and asker.cause is None:
            self.deferred_input[asker] += said
        if asker not in self.deferred_input:
            if asker in self._hung_up:
                asker.finish(self._hung_up.pop(asker))
            elif asker.cause is None:
                self.caught_up(asker)


def _told(decision: Decision, asker: Session | None) -> Iterator[int]:
    """The numbers of the sessions that are told of a decision; one may come twice."""
    if asker is not None:
        yield asker.number
    for number, _ in decision.notices:
        yield number


def _not_yet(*_: object, **__: object) -> None:
    raise RuntimeError("nothing is decided before the gateway is put together")
