"""The running gateway: its state, its connections, and the time that passes over them.

Messages are the dispatcher's business; here is what happens by itself. Time comes in ticks. Each tick the timer wheel
hands out the connections that may be due; once a second a command lets the state know that time has passed.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import secrets
from collections import Counter
from collections.abc import Iterable

from config.settings import Settings
from gateway.core.admission.commands import Command, End, EndResumables, SetGranting, SetTerms, Tick
from gateway.core.admission.decision import Decision
from gateway.core.admission.requests import SessionState
from gateway.core.admission.snapshot import Snapshot, snapshot
from gateway.core.admission.state import State
from gateway.core.counting.session import Instant
from gateway.core.wire.close_codes import farewell
from gateway.edge.machine import Clock
from gateway.edge.server.connection import LINGER_TICKS, Connection
from gateway.edge.server.dispatcher import Dispatcher
from gateway.edge.server.listener import Listener
from gateway.edge.server.pending_commits import PendingReplies
from gateway.edge.server.registrar_service import SILENT_INTERVALS, RegistrarService
from gateway.edge.server.registration import Registration
from gateway.edge.server.sequencer import Sequencer
from gateway.edge.server.sign_in import SignIn
from gateway.edge.server.tcp import TcpConnection
from gateway.edge.server.ticker import TICK, Ticker
from gateway.edge.server.timer_wheel import TimerWheel
from gateway.edge.server.websocket import WebSocketConnection
from gateway.edge.storage.command_recorder import CommandRecorder
from gateway.edge.storage.history_store import HistoryStore
from gateway.edge.storage.persistence import Persistence
from gateway.edge.terms import counting_models, terms_of, with_grant
from gateway.licensing import MODELS

FREEZE_EVERY = 1024
"""Connections of growth after which what is alive is taken out of the garbage collector's sight."""

log = logging.getLogger("tallygate.runtime")


class Runtime:
    """The parts of a running gateway, put together in order; each is given what it needs and no more.

    `files` is how many files the process may open. Without `clients` there are no client listeners: a registrar alone
    has none.
    """

    def __init__(self, settings: Settings, clock: Clock, *, files: int, clients: bool = True) -> None:
        self.clients = clients
        self.clock = clock
        self.draining = False
        self.started = clock.wall()
        self._files = files
        self._recorder: CommandRecorder | None = None
        self._instant: Instant | None = None
        self._configured = self.settings = settings
        self._models = counting_models(settings)
        self.timer_wheel: TimerWheel[Connection] = TimerWheel()
        self.tcp = Listener("tcp", TcpConnection, self)
        self.websocket = Listener("websocket", WebSocketConnection, self)
        self.client_listeners = (self.tcp, self.websocket)
        self.registrar = RegistrarService(self, max(math.ceil(settings.registrar.interval), 1))
        self.listeners = (*self.client_listeners, self.registrar.listener)
        terms = terms_of(settings, None, self._models, settings.listen.ceiling(files))
        self.state = State(terms, MODELS, self.now(), f"{int(self.started):x}")
        self.sequencer = Sequencer(self.state, self.now)
        self.persistence = Persistence(
            settings.store.path, self.state, self.registrar.registrar, self.now, deadline=settings.store.deadline
        )
        self.history_store = HistoryStore(self.state.history, self.persistence.store, settings.history.keep)
        self.registration = Registration(
            settings.registration,
            clock,
            self.persistence,
            free=self.state.primary.model.edition == "free",
            on_license=self.apply_license,
            is_draining=lambda: self.draining,
        )
        self.sign_in = SignIn(self.sequencer, settings, on_welcome=self._welcomed, is_draining=lambda: self.draining)
        self.pending_replies = PendingReplies(
            self.sequencer,
            self.persistence,
            clock.mono,
            deadline=settings.store.deadline,
            on_distrust=self.registrar.release_pending,
        )
        self.dispatcher = Dispatcher(
            self.sequencer, self.persistence, self.sign_in, self.pending_replies, self._state_changed
        )
        self.ticker = Ticker(clock.mono, self.advance)
        self.silence_limits: dict[SessionState, int] = {}
        self._apply_to_listeners(settings)

    # -- terms ---------------------------------------------------------------------------------------------------------

    def apply_settings(self, settings: Settings) -> None:
        """Take the limits of the settings; nobody is dropped by it."""
        self._configured = settings
        grant = self.registration.grant
        self.settings = with_grant(settings, grant)
        self._apply_to_listeners(self.settings)
        self.commit_and_deliver(SetTerms(terms_of(settings, grant, self._models, self.max_connections)))
        self.sign_in.apply_settings(self.settings)

    def apply_license(self) -> None:
        """Take what the license of a registrar grants in place of what is configured; nobody is dropped by it."""
        model = self.state.terms.model
        self.apply_settings(self._configured)
        if self.state.terms.model != model:
            self.persistence.follow_primary()

    def _apply_to_listeners(self, settings: Settings) -> None:
        listen, heartbeat = settings.listen, settings.heartbeat
        self.hello_deadline = heartbeat.hello_deadline
        self.retry_after = heartbeat.interval
        self.max_connections = listen.ceiling(self._files)
        self.max_pending = listen.max_pending
        self.max_per_address = listen.max_connections_per_address
        self.dispatcher.max_deferred = listen.message_burst
        self.silence_limits = {
            SessionState.PENDING: _ticks(heartbeat.hello_deadline),
            SessionState.AWAKE: _ticks(heartbeat.timeout),
            SessionState.ASLEEP: _ticks(max(heartbeat.asleep_timeout, heartbeat.timeout)),
            SessionState.CLOSED: LINGER_TICKS,
        }
        for listener in self.listeners:
            listener.apply_settings(listen, TICK)
            listener.limit_addresses(limited=self.max_per_address > 0)
            listener.silence_limits = self.silence_limits
        silence = _ticks(SILENT_INTERVALS * self.registrar.registrar.interval)
        self.registrar.listener.silence_limits = {**self.silence_limits, SessionState.AWAKE: silence}
        self.registrar.listener.proxies = []  # they stand before the client doors; an agent says no PROXY header

    def record(self, recorder: CommandRecorder) -> None:
        """Have every command recorded from now on."""
        self._recorder = self.sequencer.observer = recorder

    def snapshot(self) -> Snapshot:
        """Return what is counted at this instant, with the requests refused before any decision among the refusals."""
        seen = snapshot(self.state, self.clock.mono())
        refusals = Counter(seen.refusals)
        refusals.update(self.sign_in.refusals)
        return seen._replace(refusals=refusals)

    def now(self) -> Instant:
        """Return the present instant."""
        return Instant(self.clock.mono(), self.clock.wall())

    def instant(self) -> Instant:
        """Return one instant for all that come and go in this turn of the loop; thousands may, when a network does."""
        if self._instant is None:
            self._instant = self.now()
            asyncio.get_running_loop().call_soon(self._forget_instant)
        return self._instant

    def _forget_instant(self) -> None:
        self._instant = None

    # -- time ----------------------------------------------------------------------------------------------------------

    async def restore(self) -> None:
        """Take up what the last run left, end what has run out since, and redistribute.

        Raises `StoreRefused`, `StoreUnavailable` or `KeyRefused`.
        """
        stored = await self.persistence.open()
        self.registrar.restore(stored.licenses, stored.installations)
        self.registration.restore(stored.meta)
        await self.history_store.open()
        self.follow_registration()
        self.tick()
        self.persistence.record_alive(self.clock.mono())

    def advance(self, ticks: int) -> None:
        """Live through `ticks` ticks: close who is silent, and once a second end what has run out."""
        for _ in range(ticks):
            for connection in self.timer_wheel.advance():
                try:
                    self._close_if_silent(connection)
                except Exception:
                    log.exception("a connection could not be looked at; it is cut off")
                    connection.transport.abort()
            tick = self.timer_wheel.tick
            for listener in self.listeners:
                listener.tick = tick
            if tick % round(1 / TICK) == 0:
                try:
                    self._every_second()
                except Exception:
                    log.exception("the work of a second failed; it is tried again in the next one")
        try:
            self.registration.poll()
            self.follow_registration()
        except Exception:
            log.exception("the registration could not be looked at; it is tried again in the next tick")
        self.pending_replies.check_deadlines(self.clock.mono())

    def _close_if_silent(self, connection: Connection) -> None:
        due = connection.last_heard_tick + connection.listener.silence_limits[connection.state]
        if due > self.timer_wheel.tick:
            self.timer_wheel.put(connection, due)
        elif connection.state is SessionState.CLOSED:
            connection.transport.abort()
        elif connection.state is SessionState.PENDING:
            self.close(connection, "hello_timeout")
        else:
            self.close(connection, "heartbeat_timeout")

    def _every_second(self) -> None:
        now = self.tick()
        self.persistence.record_alive(now.mono)
        self.history_store.poll(now)
        if self._recorder is not None:
            self._recorder.flush()
        self.registrar.poll()

    def tick(self) -> Instant:
        """Let the state know that time has passed, and return the instant."""
        self.follow_registration()
        now = self.now()
        decision = self.commit_and_deliver(Tick(), now)
        if decision.beyond_pool:
            names = ", ".join(decision.beyond_pool)
            log.warning("the PRO pool is too small for the permanent licenses of %s", names)
        return now

    def follow_registration(self) -> None:
        """Let the state know whether the registration lets anything be granted at this instant."""
        grants = self.registration.grants
        if grants is not self.state.granting:
            self.commit_and_deliver(SetGranting(grants))

    # -- connections ---------------------------------------------------------------------------------------------------

    def opened(self, connection: Connection) -> None:
        """A connection has been made; it has until the hello deadline to say who it is."""
        listener = connection.listener
        listener.accepted += 1
        listener.arriving.pop(connection, None)
        listener.connections.add(connection)
        listener.pending.add(connection)
        if self.max_per_address:
            listener.by_address.setdefault(connection.address, set()).add(connection)
        self.timer_wheel.put(connection, connection.last_heard_tick + listener.silence_limits[SessionState.PENDING])
        if len(listener.connections) >= listener.frozen_connections + FREEZE_EVERY:
            listener.frozen_connections = len(listener.connections)
            gc.freeze()

    def receive(self, connection: Connection, payload: bytes) -> None:
        """Act upon one message of a client."""
        self.follow_registration()
        self.dispatcher.receive(connection, payload)

    def _welcomed(self, connection: Connection) -> None:
        """A connection has a session; its hello deadline no longer counts."""
        connection.last_heard_tick = self.timer_wheel.tick
        connection.listener.pending.discard(connection)
        if self.silence_limits[connection.state] < self.silence_limits[SessionState.PENDING]:
            self._state_changed(connection)

    def _state_changed(self, connection: Connection) -> None:
        self.timer_wheel.put(connection, connection.last_heard_tick + self.silence_limits[connection.state])

    def ended(self, connection: Connection, cause: str) -> None:
        """A connection is over for `cause`: so is its session, unless it may be resumed."""
        connection.listener.pending.discard(connection)
        session, connection.session = connection.session, None
        if session is not None:
            self.sign_in.connected.pop(session.number, None)
            self.commit_and_deliver(End(session.number, cause), self.instant())

    def gone(self, connection: Connection) -> None:
        """The socket of a connection is gone."""
        listener = connection.listener
        self.timer_wheel.drop(connection)
        listener.connections.discard(connection)
        listener.pending.discard(connection)
        same = listener.by_address.get(connection.address)
        if same is not None:
            same.discard(connection)
            if not same:
                del listener.by_address[connection.address]
        cause = connection.cause or "closed"
        listener.closed[cause] = listener.closed.get(cause, 0) + 1
        listener.durations.observe((self.timer_wheel.tick - connection.accepted) * TICK)

    def close(self, connection: Connection, cause: str, *, retry_after: float | None = None) -> None:
        """End a connection from here with the closing message of its cause; `retry_after` is in seconds."""
        connection.close(cause, farewell(cause, retry_after))

    def connections(self) -> Iterable[Connection]:
        """Yield every open connection of a client."""
        for listener in self.client_listeners:
            yield from listener.connections

    def commit_and_deliver(self, command: Command, at: Instant | None = None) -> Decision:
        """Apply a command that nobody waits for, and carry out what was decided."""
        decision = self.sequencer.submit(command, at)
        self.dispatcher.commit_and_deliver(decision)
        return decision

    async def act(self, command: Command, actor: str) -> Decision:
        """Apply a command of an operator and carry it out; done when what it changed is durable.

        Raises `StoreUnavailable`: it is in effect all the same.
        """
        self.follow_registration()
        return await self.dispatcher.act(command, actor)

    # -- the end -------------------------------------------------------------------------------------------------------

    def close_all(self, cause: str) -> None:
        """Close the client listeners and end every session for `cause`."""
        for listener in self.client_listeners:
            listener.close()
        for connection in list(self.connections()):
            self.close(connection, cause, retry_after=self.retry_after)
        self.commit_and_deliver(EndResumables())

    async def stop_accepting(self) -> None:
        """Let nobody in any more; servers that are registered here stay until their registrar is closed."""
        self.draining = True
        for listener in self.listeners:
            listener.close()
            await listener.finish()

    async def drain(self, seconds: float) -> None:
        """Send everybody away, spread over `seconds`, so that they do not all come back at once."""
        await self.stop_accepting()
        everybody = list(self.connections())
        rounds = max(min(math.ceil(seconds / TICK), len(everybody)), 1)
        for turn in range(rounds):
            for connection in everybody[turn::rounds]:
                self.close(connection, "drained", retry_after=secrets.randbelow(1000) / 1000 * max(seconds, 1.0))
            if turn + 1 < rounds:
                await asyncio.sleep(seconds / rounds)

    async def abort_remaining(self) -> None:
        """Drop what has not closed after the drain."""
        for _ in range(LINGER_TICKS + 1):
            if not any(listener.connections for listener in self.listeners):
                return
            await asyncio.sleep(TICK)
        for connection in [each for listener in self.listeners for each in listener.connections]:
            connection.transport.abort()
        await asyncio.sleep(0)


def _ticks(seconds: float) -> int:
    return max(math.ceil(seconds / TICK), 1)
