"""The log of a cluster as the order of commands, and what this node tells of what comes back from it.

Every node applies every command; told is only what concerns the connections of this node, and only while it may speak.
What was not applied within `store.deadline` is given up: its client is sent away. Should it be applied later all the
same, nobody has heard of it, and it is undone by further commands.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple

from gateway.core.admission.commands import (
    Command,
    End,
    EndHellos,
    GiveUp,
    Hello,
    Leave,
    Resume,
    SetTerms,
    Sleep,
    Tick,
    Wait,
)
from gateway.core.admission.decision import Decision, Withdraw
from gateway.core.admission.state import State
from gateway.core.cluster.entries import ACTOR, LogEntry, Proposed
from gateway.core.cluster.replica import OF_SESSIONS, Outcome
from gateway.core.counting.license_model import Refusal
from gateway.core.counting.session import Instant
from gateway.edge.cluster.node import ClusterNode
from gateway.edge.cluster.proposer import Outstanding
from gateway.edge.server.connection import Connection
from gateway.edge.server.paced_log import PacedLog
from gateway.edge.server.sequencer import NotDecided, Observer, warn_of_small_pool

RELEASES = (End, EndHellos, GiveUp, Leave, Sleep, Withdraw)
"""Commands that give seats back: they go first, and whatever the share; a client has one command under way."""
BURST_SECONDS = 1.0
"""Seconds of its share that a node may ask for at once."""

log = logging.getLogger("tallygate.cluster")


class Ticket:
    """Who asked for a command, and until which monotonic instant the answer may take; `given_up` when that is over."""

    __slots__ = ("actor", "applied", "asker", "command", "given_up", "id", "otherwise", "until")

    def __init__(
        self,
        command: Command,
        asker: Connection | None,
        id: str | int | None,
        actor: str,
        applied: asyncio.Future[Decision] | None,
        otherwise: Command | None,
        until: float,
    ) -> None:
        self.command = command
        self.asker = asker
        self.id = id
        self.actor = actor
        self.applied = applied
        self.otherwise = otherwise
        self.until = until
        self.given_up = False


class Carriers(NamedTuple):
    """Who carries decisions out: `deliver` has one told to who asked and all others, `hold` and `release` keep what a
    client says until its answer is told, `send_away` closes a connection for a cause, `refuse` words a refusal that no
    license decides, `fall_silent` sends everybody away.
    """

    deliver: Callable[[Decision, Connection | None, str | int | None, str], object]
    project: Callable[[Decision, str], object]
    hold: Callable[[Connection], None]
    release: Callable[[Connection], None]
    send_away: Callable[[Connection, str], None]
    refuse: Callable[[str, Refusal, str | None], Decision]
    fall_silent: Callable[[], None]


class ReplicatedSequencer:
    """Puts commands into the log of `node`. `deadline` is in seconds, `share` in commands a second.

    `late` counts the commands that were given up, `over_share` those that were refused unasked.
    """

    def __init__(self, node: ClusterNode, mono: Callable[[], float], deadline: float, share: int) -> None:
        self.node = node
        self.observer: Observer | None = None
        self.is_shared = True
        self.late = 0
        self.over_share = 0
        self.carriers: Carriers | None = None
        self._mono = mono
        self._deadline = deadline
        self._share = share
        self._credit = float(share)
        self._credited = mono()
        self._tickets: dict[Ticket, None] = {}
        self._slow_since: float | None = None
        """Since when the log is slow, in monotonic seconds; None where it is not."""
        self._slowness = PacedLog(log)
        self._terms: SetTerms | None = None
        """Terms that are proposed when this node is in the cluster again."""
        node.on_outcomes = self._outcomes
        node.on_fenced = self._fenced

    @property
    def incarnation(self) -> str:
        """By what the state knows this node."""
        return self.node.incarnation

    @property
    def state(self) -> State:
        """The state after all entries of the log so far."""
        return self.node.replica.state

    # -- asking --------------------------------------------------------------------------------------------------------

    def submit(
        self,
        command: Command,
        at: Instant | None = None,  # noqa: ARG002 - the log has its own time
        asker: Connection | None = None,
        id: str | int | None = None,
        *,
        actor: str = ACTOR,
        applied: asyncio.Future[Decision] | None = None,
        otherwise: Command | None = None,
    ) -> Decision | None:
        """Propose a command; returns a decision only where it is refused without being asked."""
        if isinstance(command, Tick):  # time passes with the log
            return None
        release = isinstance(command, RELEASES)
        if not self.node.entered:
            return self._unavailable(command, asker, applied)
        if asker is not None:
            if self.node.is_lagging and not release:
                return self._refused(command, "store_unavailable")
            if not release and not self._within_share():
                self.over_share += 1
                return self._refused(command, "rate_limited")
        generation = self._generation(command)
        ticket = Ticket(command, asker, id, actor or ACTOR, applied, otherwise, self._mono() + self._deadline)
        self._tickets[ticket] = None
        if asker is not None and self.carriers is not None:
            self.carriers.hold(asker)
        self.node.propose(Proposed(command, generation, actor or ACTOR), ticket, release=release)
        return None

    def _generation(self, command: Command) -> int | None:
        command = _asked(command)
        if not isinstance(command, OF_SESSIONS):
            return None
        session = self.state.sessions.by_number.get(command.session)
        return session.generation if session is not None else None

    def _unavailable(
        self, command: Command, asker: Connection | None, applied: asyncio.Future[Decision] | None
    ) -> Decision | None:
        if applied is not None:
            applied.set_exception(NotDecided("this gateway cannot reach the log of the cluster"))
            return None
        if isinstance(command, SetTerms):
            log.warning("this gateway is not in the cluster now: it proposes the new terms when it is back")
            self._terms = command
        return self._refused(command, "store_unavailable") if asker is not None else None

    def _refused(self, command: Command, reason: str) -> Decision | None:
        if self.carriers is None:
            return None
        command = _asked(command)
        request = _request_of(command)
        return self.carriers.refuse(request, Refusal(reason, retry_after=1.0), getattr(command, "conference", None))

    def _within_share(self) -> bool:
        now = self._mono()
        self._credit = min(self._credit + (now - self._credited) * self._share, self._share * BURST_SECONDS)
        self._credited = now
        if self._credit < 1.0:
            return False
        self._credit -= 1.0
        return True

    # -- what comes back -----------------------------------------------------------------------------------------------

    def _outcomes(self, _: LogEntry, outcomes: list[Outcome], own: Outstanding[Ticket] | None) -> None:
        speaks = self.node.may_speak
        for outcome in outcomes:
            ticket = own.tickets[outcome.place] if own is not None and outcome.place is not None else None
            if self.observer is not None and outcome.decision is not None and outcome.command is not None:
                self.observer(outcome.command, self.node.replica.instant, outcome.decision)
            try:
                self._outcome(outcome, ticket, speaks=speaks)
            except Exception:
                log.exception("a decision could not be carried out; its client is sent away")
                if ticket is not None and ticket.asker is not None and self.carriers is not None:
                    self._send_away(ticket.asker, self.carriers)

    def _send_away(self, asker: Connection, carriers: Carriers) -> None:
        """Send a client away of which something has failed already: whatever fails now is its own."""
        try:
            carriers.send_away(asker, "store_unavailable")
            carriers.release(asker)
        except Exception:
            log.exception("a client could not be sent away; it is cut off")
            asker.transport.abort()

    def _outcome(self, outcome: Outcome, ticket: Ticket | None, *, speaks: bool) -> None:
        carriers, decision = self.carriers, outcome.decision
        if carriers is None:
            return
        warn_of_small_pool(decision)
        if ticket is not None:
            self._tickets.pop(ticket, None)
        if not speaks or ticket is None:
            if decision is not None:
                if speaks:
                    carriers.deliver(decision, None, None, outcome.actor)
                else:
                    for each in decision.with_served():
                        carriers.project(each, outcome.actor)
            return
        if decision is None:
            self._unanswered(ticket, carriers, moved=outcome.ignored == "stale")
        else:
            self._answer(decision, ticket, carriers)

    def _answer(self, decision: Decision, ticket: Ticket, carriers: Carriers) -> None:
        asker = ticket.asker
        gone = asker is not None and (ticket.given_up or asker.cause is not None)
        carriers.deliver(decision, None if gone else asker, ticket.id, ticket.actor)
        if gone:
            self._undo(decision, ticket)
        if asker is not None:
            carriers.release(asker)
        if ticket.applied is not None and not ticket.applied.done():
            ticket.applied.set_result(decision)

    def _undo(self, decision: Decision, ticket: Ticket) -> None:
        """Take back what a client asked for that will never hear of it."""
        if ticket.given_up and decision.withdraw is not None and decision.changes:
            self.submit(decision.withdraw)
        if decision.queue is not None and decision.queue.place is not None:
            self.submit(GiveUp(decision.queue.place))
        if isinstance(_asked(ticket.command), Hello | Resume) and decision.session is not None:
            cause = ticket.asker.cause if ticket.asker is not None else None
            self.submit(End(decision.session, cause if cause in _ENDS else "store_unavailable"))

    def _unanswered(self, ticket: Ticket, carriers: Carriers, *, moved: bool) -> None:
        """Answer a command that counted for nothing: a `resume` that came too late is a `hello`. Whose session has
        `moved` is told of that by the decision about it; who asked for what cannot be decided is sent away.
        """
        asker = ticket.asker
        if asker is not None and asker.cause is None and ticket.otherwise is not None:
            decision = self.submit(ticket.otherwise, None, asker, ticket.id)
            if decision is not None:
                carriers.deliver(decision, asker, ticket.id, ticket.actor)
                carriers.release(asker)
            return
        if asker is not None and asker.cause is None and (asker.session is None or not moved):
            carriers.send_away(asker, "store_unavailable")
        if asker is not None:
            carriers.release(asker)
        if ticket.applied is not None and not ticket.applied.done():
            ticket.applied.set_exception(NotDecided("the command failed"))

    # -- time ----------------------------------------------------------------------------------------------------------

    def check_deadlines(self, mono: float) -> None:
        """Called with every tick: fall silent in time, give up what was not applied in time, and propose what waits for
        this node to be in the cluster.
        """
        self.node.check()
        self._tell_slowness(mono)
        if self._terms is not None and self.node.entered:
            terms, self._terms = self._terms, None
            self.submit(terms)
        while self._tickets and (oldest := next(iter(self._tickets))).until <= mono:
            self._give_up(oldest)

    def _tell_slowness(self, mono: float) -> None:
        slow = self.node.entered and self.node.is_lagging
        if slow and self._slow_since is None:
            self._slow_since = mono
        elif not slow and self._slow_since is not None:
            seconds, self._slow_since = mono - self._slow_since, None
            end = "it answers again" if self.node.entered else "this node is out"
            self._slowness.record(f"for {seconds:.1f} s the log was so slow that nothing was granted; {end}", mono)

    def _give_up(self, ticket: Ticket) -> None:
        del self._tickets[ticket]
        if ticket.given_up or self.carriers is None:
            return
        ticket.given_up = True
        self.late += 1
        asker = ticket.asker
        if ticket.applied is not None and not ticket.applied.done():
            ticket.applied.set_exception(NotDecided("the cluster did not decide in time"))
        if asker is None:
            return
        if asker.session is None and asker.cause is None:
            decision = self._refused(ticket.command, "store_unavailable")
            if decision is not None:
                self.carriers.deliver(decision, asker, ticket.id, ticket.actor)
        elif asker.cause is None:
            self.carriers.send_away(asker, "store_unavailable")
        self.carriers.release(asker)

    def _fenced(self, why: str) -> None:
        log.debug("everybody is sent away: %s", why)
        tickets, self._tickets = list(self._tickets), {}
        for ticket in tickets:
            ticket.given_up = True
            if ticket.applied is not None and not ticket.applied.done():
                ticket.applied.set_exception(NotDecided("this gateway cannot reach the log of the cluster"))
        if self.carriers is not None:
            self.carriers.fall_silent()
            for ticket in tickets:
                if ticket.asker is not None:
                    self.carriers.release(ticket.asker)


_ENDS = frozenset({"bye", "closed", "reset", "heartbeat_timeout", "protocol_error", "too_fast", "slow_consumer"})
"""Causes for which a session can end whose client is gone before it was welcomed."""
_REQUESTS = {"Hello": "hello", "Resume": "hello", "RequestPro": "request_pro", "Activity": "wake"}


def _asked(command: Command) -> Command:
    """Return what a command asks for: one that waits, what it waits for."""
    request: Command = command.request if isinstance(command, Wait) else command
    return request


def _request_of(command: Command) -> str:
    """Return the message that a command came from."""
    name = type(command).__name__
    return _REQUESTS.get(name, name.lower())
