"""The hub: it owns every connection and the admission behind them, and carries decisions out.

Decide, record, reply: a message becomes a request, the state table names the verb, admission decides, and the outcome
is carried out here - the answer to who asked, then what others are told, then the closings. Nothing is awaited in
between.

Time comes in ticks from the clockwork. Each tick the ring hands out the connections that may be due.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, NamedTuple

from config.settings import Settings
from gateway.core.admission import session_states as table
from gateway.core.admission.decisions import Admission
from gateway.core.admission.directory import Directory
from gateway.core.admission.lease_administration import LeaseAdministration
from gateway.core.admission.outcome import Decision, GatewayRules
from gateway.core.admission.session_states import MOVES, Action, SessionState
from gateway.core.counting.license_model import Refusal
from gateway.core.counting.session import ABRUPT, Instant, Session
from gateway.core.registration.registrar import Registrar
from gateway.core.reporting.history import History
from gateway.core.wire import json_lines, messages
from gateway.core.wire.close_codes import DENIED, ENDINGS, farewell
from gateway.core.wire.messages import Request, RequestFault
from gateway.edge.server import registrar_service, tcp, websocket
from gateway.edge.server.connection import BaseConnection, Connection, Shared
from gateway.edge.server.limits import LINGER_TICKS, Limits, SocketBudget, retry_seconds
from gateway.edge.server.listener import Listener
from gateway.edge.server.pending_commits import PendingReplies
from gateway.edge.server.registrar_service import RegistrarService
from gateway.edge.server.registration import Registration, boottime
from gateway.edge.server.sign_in import SignIn
from gateway.edge.server.tcp import TcpConnection
from gateway.edge.server.ticker import TICK, Ticker
from gateway.edge.server.timer_wheel import TimerWheel
from gateway.edge.server.websocket import WebSocketConnection
from gateway.edge.storage.history_store import HistoryStore
from gateway.edge.storage.persistence import Persistence
from gateway.licensing import MODELS, extended, under
from gateway.licensing.trueconf import TrueConf

GRANTING = frozenset({Action.JOIN, Action.START, Action.WAKE, Action.REQUEST_PRO})
"""What may grant a seat to who is in already."""

log = logging.getLogger("tallygate.hub")


class Clock(NamedTuple):
    """Where time comes from: monotonic seconds, seconds UTC, and seconds since the machine was started."""

    mono: Callable[[], float]
    wall: Callable[[], float]
    boot: Callable[[], float] = boottime


class ResumableSession(NamedTuple):
    """A session that lost its connection abruptly and may be resumed until a monotonic instant."""

    session: Session
    until: float
    cause: str


class Runtime:
    """All live state, and everything that happens to it."""

    def __init__(self, settings: Settings, clock: Clock, *, files: int, clients: bool = True) -> None:
        self.clients = clients
        """Whether there are client doors; a registrar alone has none."""
        self.clock = clock
        self.directory = Directory()
        self.timer_wheel: TimerWheel[BaseConnection] = TimerWheel()
        self.budget = SocketBudget(settings.listen, files)
        self.retry_after = settings.heartbeat.interval
        self.tcp = self._listener("tcp", TcpConnection, settings, tcp.refusal)
        self.websocket = self._listener("websocket", WebSocketConnection, settings, websocket.refusal)
        self.client_listeners = (self.tcp, self.websocket)
        """The doors of clients."""
        self.resumable: dict[int, ResumableSession] = {}
        self._instant: Instant | None = None
        self.started = clock.wall()
        self.sign_in = SignIn(self, int(self.started))
        self.pending_replies = PendingReplies(self)
        self.ticker = Ticker(clock.mono, self.advance)
        license = settings.license
        agent = settings.registration.role == "agent"  # its license may name any model
        names = dict.fromkeys((license.model, *license.shadows, *(MODELS if agent else ())))
        models = [MODELS[name].model(license.terms[name]) for name in names]
        self.admission = Admission(
            models,
            _terms(settings),
            self.now(),
            enforce=license.enforce,
            overdraft=license.overdraft,
            window=settings.metrics.high_water_window,
        )
        self.lease_administration = LeaseAdministration(self.admission)
        registrar = Registrar(lambda: secrets.token_hex(16), max(math.ceil(settings.registrar.interval), 1))
        self.persistence = Persistence(
            settings.store.path,
            self.admission,
            self.directory,
            registrar,
            self.now,
            deadline=settings.store.deadline,
        )
        limits = registrar_service.limits_of(settings, registrar.interval)
        self.registrar = RegistrarService(
            registrar, self.persistence, clock.wall, limits, self.budget, self.timer_wheel
        )
        self.listeners = (*self.client_listeners, self.registrar.listener)
        self.settings = settings
        self.registration = Registration(self, free=models[0].edition == "free")
        self.apply_settings(settings)
        history = History(self.admission.ledgers, settings.history.true_denial_window)
        self.history_store = HistoryStore(history, self.persistence.store, settings.history.keep)
        self._redistribute_at = -math.inf
        self._verbs: dict[Action, Callable[[Connection, Session, Request], Decision]] = {
            Action.JOIN: lambda _, session, request: self.admission.join(session, request, self.now()),
            Action.START: lambda _, session, request: self.admission.start(session, request, self.now()),
            Action.LEAVE: lambda _, session, request: self.admission.leave(session, request, self.now()),
            Action.SLEEP: lambda _, session, __: self.admission.sleep(session, self.now()),
            Action.WAKE: lambda _, session, __: self.admission.wake(session, self.now()),
            Action.REQUEST_PRO: lambda _, session, __: self.admission.request_pro(session, self.now()),
        }

    def _listener(
        self,
        transport: str,
        make: Callable[[Shared[Connection], str], Connection],
        settings: Settings,
        word: Callable[[str, int], bytes],
    ) -> Listener[Connection]:
        """A listener of clients, whose owner this is."""
        return Listener(
            transport,
            make,
            self,
            Limits.of(settings),
            self.budget,
            self.timer_wheel,
            lambda reason: word(reason, retry_seconds(reason, self.retry_after)),
        )

    def apply_settings(self, settings: Settings) -> None:
        """Take the limits of the settings, at the start and again on every reload; nobody is dropped by it."""
        self._configured = settings
        grant = self.registration.grant
        if grant is not None:
            terms = {**settings.license.terms, grant.model: under(grant, settings.license.terms[grant.model])}
            settings = replace(settings, license=replace(settings.license, model=grant.model, terms=terms))
        self.settings = settings
        self.retry_after = settings.heartbeat.interval
        limits = Limits.of(settings)
        self.silence_limits = limits.silence
        self.sign_in.apply_settings(settings, self.admission.primary.model.name)
        self.budget.apply_settings(settings.listen)
        for listener in self.client_listeners:
            listener.apply_limits(limits)
        self.registrar.listener.apply_limits(registrar_service.limits_of(settings, self.registrar.registrar.interval))
        self.admission.terms = _terms(settings)
        for ledger in self.admission.ledgers:
            model = MODELS[ledger.model.name].model(settings.license.terms[ledger.model.name])
            if grant is not None and model.name == grant.model:
                model = extended(model, grant)
            ledger.apply_terms(model, settings.license.overdraft, self.now())

    def now(self) -> Instant:
        """The present instant."""
        return Instant(self.clock.mono(), self.clock.wall())

    def instant(self) -> Instant:
        """One instant for all that come and go in this turn of the loop; thousands may, when a network does."""
        if self._instant is None:
            self._instant = self.now()
            asyncio.get_running_loop().call_soon(self._turn_over)
        return self._instant

    def _turn_over(self) -> None:
        self._instant = None

    # -- time ------------------------------------------------------------------------------------------------------

    async def restore(self) -> None:
        """Take up what the last run left, end what has run out since, and redistribute.

        Raises `StoreRefused`, `StoreUnavailable` or `KeyRefused`.
        """
        kept = await self.persistence.open()
        self.registrar.restore(kept.licenses, kept.installations)
        self.registration.restore(kept.meta)
        await self.history_store.open(self.now())
        now = self.now()
        self.commit_and_deliver(None, self.lease_administration.expire(now))
        if self.registration.grants:
            self.redistribute(now)
        self.persistence.record_alive(now.mono)

    def advance(self, ticks: int) -> None:
        """Live through `ticks` ticks: reap who is due, and once a second end what has run out."""
        for _ in range(ticks):
            for connection in self.timer_wheel.advance():
                try:
                    connection.check_silence()
                except Exception:
                    log.exception("a connection could not be looked at; it is cut off")
                    connection.transport.abort()
            tick = self.timer_wheel.tick
            for listener in self.listeners:
                listener.shared.tick = tick
            if tick % round(1 / TICK) == 0:
                try:
                    self._every_second()
                except Exception:
                    log.exception("the work of a second failed; it is tried again in the next one")
        try:
            self.registration.poll()
        except Exception:
            log.exception("the registration could not be looked at; it is tried again in the next tick")
        self.pending_replies.check_deadlines(self.clock.mono())

    def _every_second(self) -> None:
        now = self.now()
        self.commit_and_deliver(None, self.lease_administration.expire(now))
        self.persistence.record_alive(now.mono)
        self.history_store.poll(now)
        self.registrar.poll()
        if now.mono >= self._redistribute_at and self.registration.grants:
            self.redistribute(now)
        self.directory.forget_bans(now.wall)
        for parting in [each for each in self.resumable.values() if each.until <= now.mono]:
            self._end(parting.session, parting.cause)

    @property
    def redistribute_at(self) -> float:
        """The monotonic instant at which permanent licenses are put into effect the next time."""
        return self._redistribute_at

    def redistribute(self, now: Instant) -> None:
        """Put the groups' permanent licenses into effect; TrueConf licensing, PRO step 5."""
        trueconf: TrueConf = self.settings.license.terms["trueconf"]
        self._redistribute_at = now.mono + trueconf.redistribute_every
        outcome, beyond = self.lease_administration.redistribute(self.directory.permanent_accounts(), now)
        if beyond:
            log.warning("the PRO pool is too small for the permanent licenses of %s", ", ".join(beyond))
        self.commit_and_deliver(None, outcome)

    # -- connections -----------------------------------------------------------------------------------------------

    @property
    def draining(self) -> bool:
        """Whether nobody is let in any more."""
        return self.budget.draining

    def ended(self, connection: Connection, cause: str) -> None:
        """A connection is over for `cause`: so is its session, unless it may be resumed."""
        session, connection.session = connection.session, None
        if session is None:
            return
        session.connection = None
        window = self.settings.heartbeat.resume_window
        if window and cause in ABRUPT:
            self.resumable[session.number] = ResumableSession(session, self.clock.mono() + window, cause)
        else:
            self._end(session, cause)

    def flooded(self, connection: Connection, *, again: bool) -> None:
        """Tell a client that messages were dropped; one that goes on is sent away."""
        if again:
            connection.close("too_fast", _worded(RequestFault("too_fast", "still too many messages")))
        else:
            connection.send(_worded(RequestFault("too_fast", "messages above the rate were dropped")))

    def expired(self, connection: Connection, cause: str) -> None:
        """Close a connection that was silent for too long."""
        self.close(connection, cause)

    def close(self, connection: Connection, cause: str, *, retry_after: float | None = None) -> None:
        """End a connection from here with the closing message of its cause; `retry_after` is in seconds."""
        connection.close(cause, farewell(cause, retry_after))

    def kick(self, session: Session, cause: str = "kicked") -> None:
        """End a session, connected or not."""
        if isinstance(session.connection, Connection):
            self.close(session.connection, cause)
        else:
            self._end(session, cause)

    def end_resumable(self, session: Session) -> None:
        """End the wait of a lost session for somebody to resume it."""
        parting = self.resumable.get(session.number)
        if parting is not None:
            self._end(session, parting.cause)

    def _end(self, session: Session, cause: str) -> None:
        self.resumable.pop(session.number, None)
        outcome = self.admission.end(session, cause, self.instant())
        if outcome.notices or outcome.changes:
            outcome.ended.clear()
            self.commit_and_deliver(None, outcome)

    # -- messages --------------------------------------------------------------------------------------------------

    def received(self, connection: Connection, payload: bytes) -> None:
        """Act upon one message of a client; a fault is answered, and closes where the protocol says so."""
        try:
            request = messages.read(json_lines.parse(payload))
        except (json_lines.TooLong, json_lines.Malformed) as fault:
            code = "too_long" if isinstance(fault, json_lines.TooLong) else "malformed"
            connection.close("protocol_error", {"type": "error", "code": code, "detail": str(fault)})
            return
        except RequestFault as fault:
            self._fault(connection, fault, payload)
            return
        move = MOVES[connection.state, request.type]
        if connection in self.pending_replies.deferred_input and move.action is not Action.ACK:
            self._defer(connection, payload)
        elif move.action is Action.SIGN_IN:
            self._greet(connection, request)
        elif move.action is Action.EXPECT_HELLO:
            self._hello_expected(connection, request.id)
        elif move.action is Action.ALREADY_WELCOMED:
            self._already_welcomed(connection, request.id)
        elif move.action is Action.ACK:
            self.deliver(connection, self._ack(connection, request), request.id)
        elif move.action is Action.BYE:
            connection.close("bye")
        elif connection.session is not None:
            session = connection.session
            decide = self._verbs[move.action]
            if move.action in GRANTING and not self.registration.grants:
                decide = self._unregistered
            self.commit_and_deliver(connection, decide(connection, session, request), request.id)
            if connection.session is not None:
                after = SessionState.AWAKE if session.awake else SessionState.ASLEEP
                if table.check(move, after) is not connection.state:
                    connection.state = after
                    self.timer_wheel.put(connection, connection.last_heard_tick + self.silence_limits[after])

    def _unregistered(self, _: Connection, __: Session, request: Request) -> Decision:
        refusal = Refusal("unregistered", retry_after=self.retry_after)
        return self.admission.refuse(request.type, refusal, request.fields.get("conference"))

    def _greet(self, connection: Connection, request: Request) -> None:
        outcome = self.sign_in.hello(connection, request)
        if isinstance(outcome, RequestFault):
            connection.send(_worded(outcome))
        else:
            self.commit_and_deliver(connection, outcome, request.id)

    def _defer(self, connection: Connection, payload: bytes) -> None:
        """Keep what a client says until its last answer has been told; no more than it may say at once."""
        said = self.pending_replies.deferred_input[connection]
        if len(said) < self.settings.listen.message_burst:
            said.append(payload)
        else:
            connection.send(_worded(RequestFault("too_fast", "too many messages while an answer waits for the store")))

    def _fault(self, connection: Connection, fault: RequestFault, payload: bytes) -> None:
        if connection in self.pending_replies.deferred_input:
            self._defer(connection, payload)
        elif fault.hello and connection.state is not SessionState.PENDING:
            self._already_welcomed(connection, fault.id)
        elif fault.code == "unsupported_protocol":
            connection.close("protocol_error", _worded(fault))
        elif connection.state is SessionState.PENDING and not fault.hello:
            self._hello_expected(connection, fault.id)
        else:
            connection.send(_worded(fault))

    def _hello_expected(self, connection: Connection, id: str | int | None) -> None:
        connection.close("protocol_error", _worded(RequestFault("hello_expected", "the first message is hello", id)))

    def _already_welcomed(self, connection: Connection, id: str | int | None) -> None:
        connection.send(_worded(RequestFault("already_welcomed", "hello is said once", id)))

    def _ack(self, connection: Connection, request: Request) -> Decision:
        connection.shared.heartbeats += 1
        answer: dict[str, Any] = {"type": "ack"}
        if request.fields["seq"] is not None:
            answer["seq"] = request.fields["seq"]
        return Decision(answer=answer)

    # -- outcomes --------------------------------------------------------------------------------------------------

    async def decided(self, outcome: Decision) -> None:
        """Carry out what an operator decided; done when it is durable.

        Raises `StoreUnavailable`: it is in effect all the same.
        """
        done = self.commit_and_deliver(None, outcome)
        if done is not None:
            await asyncio.shield(done)

    def commit_and_deliver(
        self, asker: Connection | None, outcome: Decision, id: str | int | None = None
    ) -> asyncio.Future[None] | None:
        """Record, then tell: what must be durable is told when it is; returns what is waited for."""
        for session, cause in outcome.ended:
            self.resumable.pop(session.number, None)
            self.replace(session, cause)
        if outcome.changes:
            done = self.persistence.record(outcome.changes)
            primary = self.admission.primary.model.name
            if any(change.model == primary for change in outcome.changes):
                self.pending_replies.add(done, asker, outcome, id)
                return done
        if asker is not None and self.pending_replies.covers(asker):
            self.pending_replies.add(self.persistence.record(()), asker, outcome, id)
            return None
        self.deliver(asker, outcome, id)
        return None

    def deliver(self, asker: Connection | None, outcome: Decision, id: str | int | None) -> None:
        """Send the answer to who asked, and the news to the others."""
        answer = outcome.answer
        if asker is not None and answer is not None and asker.cause is None:
            if id is not None:
                answer = {"type": answer["type"], "id": id, **answer}
            if outcome.refused is not None and asker.state is SessionState.PENDING:
                reason = outcome.refused.reason
                cause = {"unregistered": "unregistered", "draining": "rejected"}.get(reason, "denied")
                asker.close(cause, answer, DENIED.get(reason, ENDINGS[cause].code))
            else:
                asker.send(answer)
        for session, message in outcome.notices:
            if isinstance(session.connection, Connection):
                session.connection.send(message)

    def replace(self, session: Session, cause: str = "replaced") -> None:
        """Close the connection of a session that is over, or goes on with another."""
        old = session.connection
        if isinstance(old, Connection):
            old.session = session.connection = None
            self.close(old, cause)

    def apply_license(self) -> None:
        """Take what the license of a registrar grants in place of what is configured; nobody is dropped by it."""
        grant = self.registration.grant
        if grant is not None and self.admission.switch_primary(grant.model):
            self.persistence.follow()
        self.apply_settings(self._configured)

    # -- the end ---------------------------------------------------------------------------------------------------

    def close_all(self, cause: str) -> None:
        """Close the client doors and end every session for `cause`."""
        for listener in self.client_listeners:
            listener.close()
        for connection in list(self.connections()):
            self.close(connection, cause, retry_after=self.retry_after)
        for parting in list(self.resumable.values()):
            self._end(parting.session, cause)

    def connections(self) -> Iterable[Connection]:
        """Every open connection."""
        for listener in self.client_listeners:
            yield from listener.connections

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
        for _ in range(LINGER_TICKS + 1):
            if not any(listener.connections for listener in self.listeners):
                return
            await asyncio.sleep(TICK)
        for connection in [each for listener in self.listeners for each in listener.connections]:
            connection.transport.abort()
        await asyncio.sleep(0)


def _worded(fault: RequestFault) -> dict[str, Any]:
    message: dict[str, Any] = {"type": "error"}
    if fault.id is not None:
        message["id"] = fault.id
    return {**message, "code": fault.code, "detail": fault.detail}


def _terms(settings: Settings) -> GatewayRules:
    return GatewayRules(
        on_duplicate=settings.license.on_duplicate,
        trusted=settings.accounts.mode == "open",
        homes=frozenset(settings.federation.homes),
        home=settings.accounts.home,
        declared_only=settings.conferences.declared_only,
        retry_after=settings.heartbeat.interval,
    )
