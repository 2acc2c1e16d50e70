"""What clients say of whether somebody uses them: heartbeats come in, changes go on to the state.

A client says so with every heartbeat, or now and then. What it said last is noted at its connection; a command is made
only where that changes what the state knows. One that has said that somebody uses it and says nothing of that for
`license.idle_timeout` is taken for unused since (COUNTING.md, Idle sessions); a timer wheel finds those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from gateway.core.admission.commands import Activity
from gateway.core.admission.decision import Decision
from gateway.edge.server.connection import Connection, SaidActivity
from gateway.edge.server.limits import ticks
from gateway.edge.server.sequencer import Sequencer
from gateway.edge.server.ticker import TICK
from gateway.edge.server.timer_wheel import TimerWheel


class ClientActivity:
    """Follows what the clients among `connections` say; `carry_out` has a decision told, `is_held` says of whom input
    is deferred: what such a one says goes on later, by `follow`.
    """

    def __init__(
        self,
        sequencer: Sequencer,
        connections: Callable[[], Iterable[Connection]],
        carry_out: Callable[[Decision, Connection | None], None],
        is_held: Callable[[Connection], bool],
    ) -> None:
        self._sequencer = sequencer
        self._connections = connections
        self._carry_out = carry_out
        self._is_held = is_held
        self._wheel: TimerWheel[SaidActivity] = TimerWheel()
        self._longest = sequencer.state.terms.idle_timeout

    def heard(self, connection: Connection, active: bool, wait: int | None) -> None:
        """Take what a client says; to be woken it may wait in line for `wait` seconds."""
        self._note(connection, active)
        if not self._is_held(connection):
            self._tell(connection, active, wait)

    def follow(self, connection: Connection) -> None:
        """Tell the state what a client has said while its input was deferred."""
        said, session = connection.said, connection.session
        if said is not None and session is not None and said.active is not session.active:
            self._tell(connection, said.active, None)

    def resumed(self, connection: Connection) -> None:
        """Go on with what the client of a session has said on another connection, if it did."""
        active = connection.session.active if connection.session is not None else None
        if active is not None:
            self._note(connection, active)

    def forget(self, connection: Connection) -> None:
        """Let go of a connection that is over."""
        if connection.said is not None:
            self._wheel.drop(connection.said)
            connection.said = None

    def advance(self) -> None:
        """Called with every tick: take those for unused that have said nothing of it for too long."""
        longest = self._sequencer.state.terms.idle_timeout
        if longest != self._longest:
            self._longest = longest
            for connection in self._connections():
                if connection.said is not None:
                    self._watch(connection.said)
        for said in self._wheel.advance():
            if not said.active:
                said.watched = False
            elif said.tick + ticks(longest) > self._wheel.tick:
                self._wheel.put(said, said.tick + ticks(longest))
            else:
                self._fell_silent(said)

    def _note(self, connection: Connection, active: bool) -> None:
        said = connection.said
        if said is None:
            said = connection.said = SaidActivity(connection)
        said.active, said.tick = active, self._wheel.tick
        if active and not said.watched:
            self._watch(said)

    def _watch(self, said: SaidActivity) -> None:
        self._wheel.drop(said)
        said.watched = said.active and self._longest > 0
        if said.watched:
            self._wheel.put(said, said.tick + ticks(self._longest))

    def _tell(self, connection: Connection, active: bool, wait: int | None) -> None:
        session = connection.session
        if session is None or (session.active is active and (session.awake or not active)):
            return
        decision = self._sequencer.submit(Activity(session.number, active, wait), None, connection)
        if decision is not None and not (decision.refused is not None and session.awake):  # it is told again soon
            self._carry_out(decision, connection)

    def _fell_silent(self, said: SaidActivity) -> None:
        said.active = said.watched = False
        session = said.connection.session
        if session is not None:
            ago = (self._wheel.tick - said.tick) * TICK
            decision = self._sequencer.submit(Activity(session.number, active=False, ago=ago))
            if decision is not None:
                self._carry_out(decision, None)
