"""The running gateway: its state, its connections, and the time that passes over them.

Messages are the dispatcher's business; here is what happens by itself. Time comes in ticks. Each tick the timer wheel
hands out the connections that may be due; once a second a command lets the state know that time has passed.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from collections.abc import Callable, Iterable, Mapping

from config.settings import Settings
from gateway.core.admission.commands import Command, End, EndResumables, SetGranting, SetTerms, Tick
from gateway.core.admission.decision import Decision
from gateway.core.admission.snapshot import Snapshot, snapshot
from gateway.core.admission.state import State
from gateway.core.counting.session import Instant
from gateway.core.registration.registrar import Registrar
from gateway.core.wire.close_codes import farewell
from gateway.edge.cluster.node import ClusterNode
from gateway.edge.machine import Clock
from gateway.edge.server import registrar_service, tcp, websocket
from gateway.edge.server.cluster_registration import registration_of
from gateway.edge.server.connection import BaseConnection, Connection, Shared
from gateway.edge.server.dispatcher import Dispatcher
from gateway.edge.server.epoll_transport import Epoll
from gateway.edge.server.limits import LINGER_LOOK, LINGER_TICKS, Limits, SocketBudget, retry_seconds
from gateway.edge.server.listener import Listener
from gateway.edge.server.pending_commits import PendingReplies
from gateway.edge.server.recent_activity import RecentActivity
from gateway.edge.server.registrar_service import RegistrarService
from gateway.edge.server.replicated_sequencer import Carriers, ReplicatedSequencer
from gateway.edge.server.sequencer import LocalSequencer, Sequencer, warn_of_small_pool
from gateway.edge.server.sign_in import SignIn
from gateway.edge.server.ticker import TICK, Ticker
from gateway.edge.server.timer_wheel import TimerWheel
from gateway.edge.storage.command_recorder import CommandRecorder
from gateway.edge.storage.history_store import HistoryStore
from gateway.edge.storage.persistence import Persistence
from gateway.edge.terms import counting_models, terms_of, with_grant
from gateway.licensing import MODELS

log = logging.getLogger("tallygate.runtime")


class Runtime:
    """The parts of a running gateway, put together in order; each is given what it needs and no more.

    `files` is how many files the process may open. Without `clients` there are no client listeners, whose connections
    it owns. In a cluster the state is that of `node`, and `token_key` makes the resume tokens. `state` is that of a run
    which goes on. `configured` are the settings as written, `settings` under the license of a registrar.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        *,
        files: int,
        clients: bool = True,
        node: ClusterNode | None = None,
        token_key: bytes | None = None,
        state: State | None = None,
    ) -> None:
        self.clients = clients
        self.node = node
        self.clock = clock
        self.started = clock.wall()
        self.settings = self.configured = settings
        self._models = counting_models(settings)
        self._recorder: CommandRecorder | None = None
        self._instant: Instant | None = None
        self.on_tick: Callable[[], object] = int
        self.certificate_ends: Mapping[str, float] = {}
        self.timer_wheel: TimerWheel[BaseConnection] = TimerWheel()
        self.budget = SocketBudget(settings.listen, files)
        self.tcp = self._listener("tcp", tcp.TcpConnection, tcp.refusal)
        self.websocket = self._listener("websocket", websocket.WebSocketConnection, websocket.refusal)
        self.client_listeners = (self.tcp, self.websocket)
        if node is None:
            terms = terms_of(settings, None, self._models, self.budget.max_connections)
            self.state = state or State(terms, MODELS, self.now(), f"{int(self.started):x}")
            self.sequencer: Sequencer = LocalSequencer(self.state, self.now)
        else:
            self.state = node.replica.state
            self.replicated = ReplicatedSequencer(node, clock.mono, settings.store.deadline, settings.cluster.share)
            self.sequencer = self.replicated
        registrar = Registrar(lambda: secrets.token_hex(16), max(math.ceil(settings.registrar.interval), 1))
        self.persistence = Persistence(
            settings.store.path,
            self.state,
            registrar,
            lambda: Instant(clock.mono(), clock.wall()),
            settings,
            log_version=None if node is None else lambda: node.replica.version,
        )
        salt = self.state.run.encode() if node is not None else None
        self.history_store = HistoryStore(self.state.history, self.persistence.store, settings.history, salt)
        self.history_store.protect(settings.denials.keep, self.persistence.pseudonyms)
        most = registrar_service.limits_of(settings, registrar.interval)
        self.registrar = RegistrarService(registrar, self.persistence, clock.wall, most, self.budget, self.timer_wheel)
        self.listeners = (*self.client_listeners, self.registrar.listener)
        self.registration = registration_of(
            settings.registration,
            clock,
            self.persistence,
            self.sequencer,
            on_license=self.apply_license,
            is_draining=lambda: self.draining,
        )
        self.sign_in = SignIn(self.sequencer, settings, clock, self.budget, key=token_key)
        self.pending_replies = PendingReplies(
            self.sequencer,
            self.persistence,
            clock.mono,
            deadline=settings.store.deadline,
            on_distrust=self.registrar.release_pending,
        )
        self.dispatcher = Dispatcher(
            self.sequencer,
            self.persistence,
            self.sign_in,
            self.pending_replies,
            self.connection_of,
            self.connections,
            max_deferred=settings.listen.message_burst,
        )
        self.epoll: Epoll | None = None
        """Who serves plain sockets, while they are open; None where the event loop does."""
        self.ticker = Ticker(clock.mono, self.advance)
        recent = RecentActivity(settings, self.state, self.client_listeners, self.ticker, self.persistence, self.now)
        self.recent = recent
        self.dispatcher.on_refused = recent.events.refused
        if node is not None:
            node.on_entered = self.persistence.keep_incarnation
            self.replicated.carriers = Carriers(
                self.dispatcher.commit_and_deliver,
                self.persistence.commit,
                self.pending_replies.hold,
                self.pending_replies.release,
                self.close,
                self.sign_in.refuse,
                lambda: self.close_all("store_unavailable"),
            )

    def _listener(
        self, transport: str, make: Callable[[Shared[Connection], str], Connection], word: Callable[[str, int], bytes]
    ) -> Listener[Connection]:
        """Return a listener of clients, whose owner this is."""
        return Listener(
            transport,
            make,
            self,
            Limits.of(self.settings),
            self.budget,
            self.timer_wheel,
            lambda reason: word(reason, retry_seconds(reason, self.retry_after)),
        )

    # -- terms ---------------------------------------------------------------------------------------------------------

    def apply_settings(self, settings: Settings) -> None:
        """Take the limits of the settings; nobody is dropped by it."""
        self._take_limits(settings)
        grant = self.registration.grant if self.node is None else None
        ceiling = self.budget.max_connections if self.node is None else None
        terms = terms_of(settings, grant, self._models, ceiling)
        if self.node is None or terms != self.state.configured:
            self.commit_and_deliver(SetTerms(terms))

    def _take_limits(self, settings: Settings) -> None:
        self.configured = settings
        self.settings = settings = with_grant(settings, self.registration.grant)
        self.budget.apply_settings(settings.listen)
        limits = Limits.of(settings)
        for listener in self.client_listeners:
            listener.apply_limits(limits)
        self.registrar.listener.apply_limits(registrar_service.limits_of(settings, self.registrar.registrar.interval))
        self.dispatcher.max_deferred = settings.listen.message_burst
        self.sign_in.apply_settings(settings)

    def apply_license(self) -> None:
        """Take what the license of a registrar grants in place of what is configured; nobody is dropped by it."""
        if self.node is None:
            self.apply_settings(self.configured)
        else:
            self._take_limits(self.configured)
        self.persistence.follow_model()

    @property
    def retry_after(self) -> float:
        """Seconds after which a client that was refused may come back, where nothing else is known."""
        return self.settings.heartbeat.interval

    # -- what is read --------------------------------------------------------------------------------------------------

    def record(self, recorder: CommandRecorder) -> None:
        """Have every command recorded from now on."""
        self._recorder = self.sequencer.observer = recorder

    def snapshot(self) -> Snapshot:
        """Return what is counted at this instant."""
        return snapshot(self.state, self.now().mono)

    def connection_of(self, session: int) -> Connection | None:
        """Return the connection of a session by its number; None where it has none."""
        for listener in self.client_listeners:
            connection = listener.connections.connected.get(session)
            if connection is not None:
                return connection
        return None

    def connections(self) -> Iterable[Connection]:
        """Yield every open connection of a client."""
        for listener in self.client_listeners:
            yield from listener.connections

    def now(self) -> Instant:
        """Return the present instant: in a cluster that of the log, by which is counted."""
        if self.node is not None:
            return self.node.replica.instant
        return Instant(self.clock.mono(), self.clock.wall())

    def instant(self) -> Instant:
        """Return one instant for all that come and go in this turn of the loop; thousands may, when a network does."""
        if self._instant is None:
            self._instant = self.now()
            asyncio.get_running_loop().call_soon(setattr, self, "_instant", None)
        return self._instant

    # -- time ----------------------------------------------------------------------------------------------------------

    async def restore(self) -> None:
        """Take up what the last run left, end what has run out since, and redistribute.

        Raises `StoreRefused`, `StoreUnavailable` or `KeyRefused`.
        """
        stored = await self.persistence.open()
        self.registrar.restore(stored.licenses, stored.installations)
        self.registration.restore(stored.meta)
        await self.history_store.open()
        if self.node is None:
            self.tick()
        self.persistence.record_alive(self.clock.mono())

    def advance(self, ticks: int) -> None:
        """Live through `ticks` ticks: close who is silent, and once a second end what has run out."""
        if ticks > 1 and self.epoll is not None:
            self.epoll.serve_all()  # a turn of the loop has read no more than a part of what came during a stall
        for _ in range(ticks):
            for connection in self.timer_wheel.advance():
                try:
                    connection.check_silence()
                except Exception:
                    log.exception("the check of a connection failed; the connection is cut off")
                    connection.transport.abort()
            self.dispatcher.activity.advance()
            tick = self.timer_wheel.tick
            for listener in self.listeners:
                listener.shared.tick = tick
            try:
                if tick % round(1 / TICK) == 0:
                    self._every_second()
                else:
                    self.history_store.take_ended(self.now())
            except Exception:
                log.exception("the work of this second failed; it is tried again in the next second")
        try:
            self.registration.poll()
            self.follow_registration()
        except Exception:
            log.exception("the check of the registration failed; it is tried again in the next tick")
        self.pending_replies.check_deadlines(self.clock.mono())
        if self.node is not None:
            self.replicated.check_deadlines(self.clock.mono())
        self.on_tick()

    def _every_second(self) -> None:
        now = self.tick()
        self.recent.look(now)
        self.history_store.poll(now)
        self.dispatcher.waiting_clients.tell(self.now())
        self.persistence.poll(now)
        self.registrar.poll()
        if self._recorder is not None:
            self._recorder.flush()

    def tick(self) -> Instant:
        """Let the state know that time has passed, and return the instant."""
        self.follow_registration()
        now = self.now()
        warn_of_small_pool(self.commit_and_deliver(Tick(), now))
        return now

    def follow_registration(self) -> None:
        """Let the state know whether the registration lets anything be granted at this instant."""
        if (grants := self.registration.grants) is not self.state.granting:
            self.commit_and_deliver(SetGranting(grants))

    # -- connections of clients ----------------------------------------------------------------------------------------

    def received(self, connection: Connection, payload: bytes) -> None:
        """Act upon one message of a client."""
        if self.registration.grants is not self.state.granting:
            self.follow_registration()
        self.dispatcher.receive(connection, payload)

    def flooded(self, connection: Connection, *, again: bool) -> None:
        """Tell a client that messages were dropped; one that goes on is sent away."""
        self.dispatcher.answer_flood(connection, again=again)

    def expired(self, connection: Connection, cause: str) -> None:
        """Close a connection that was silent for too long, if it was."""
        self.dispatcher.close_silent(connection, cause)

    def hung_up(self, connection: Connection, cause: str) -> None:
        """The client has ended it, or the network: it is over when what it said before has been acted upon."""
        if not self.pending_replies.finish_later(connection, cause):
            connection.finish(cause)

    def ended(self, connection: Connection, cause: str) -> None:
        """A connection is over for `cause`: so is its session, unless it may be resumed."""
        session, connection.session = connection.session, None
        now = self.instant()
        self.dispatcher.forget(connection, now)
        if session is not None:
            self.recent.ended(session, connection.address, cause, now)
            self.commit_and_deliver(End(session.number, cause), now)

    def close(self, connection: Connection, cause: str, *, retry_after: float | None = None) -> None:
        """End a connection from here with the closing message of its cause; `retry_after` is in seconds."""
        connection.close(cause, farewell(cause, retry_after))

    # -- commands ------------------------------------------------------------------------------------------------------

    def commit_and_deliver(self, command: Command, at: Instant | None = None) -> Decision | None:
        """Apply a command that nobody waits for, and carry out what was decided.

        Returns None where the decision comes later, and is carried out then.
        """
        decision = self.sequencer.submit(command, at)
        if decision is not None:
            self.dispatcher.commit_and_deliver(decision)
        return decision

    async def act(self, command: Command, actor: str) -> Decision:
        """Apply a command of an operator and carry it out; done when what it changed is durable.

        Raises `StoreUnavailable`: it is in effect all the same; `NotDecided` in a cluster.
        """
        self.follow_registration()
        return await self.dispatcher.act(command, actor)

    # -- the end -------------------------------------------------------------------------------------------------------

    @property
    def draining(self) -> bool:
        """Whether nobody is let in any more."""
        return self.budget.draining

    def close_all(self, cause: str) -> None:
        """Close the client listeners and send everybody away for `cause`; where no cluster counts on, sessions end."""
        for listener in self.client_listeners:
            listener.close()
        for connection in list(self.connections()):
            spread = 1.0 if self.node is None else secrets.randbelow(1000) / 1000
            self.close(connection, cause, retry_after=self.retry_after * spread)
        if self.node is None:
            self.commit_and_deliver(EndResumables())

    async def stop_accepting(self) -> None:
        """Let nobody in any more; servers that are registered here stay until their registrar is closed."""
        self.budget.draining = True
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
        for _ in range(round((LINGER_TICKS + 1) * TICK / LINGER_LOOK)):
            if not any(len(listener.connections) for listener in self.listeners):
                return
            await asyncio.sleep(LINGER_LOOK)
        for connection in [each for listener in self.listeners for each in listener.connections]:
            connection.transport.abort()
        await asyncio.sleep(0)
