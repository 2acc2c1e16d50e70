"""From bytes to a decision, and from a decision to bytes.

A message is read, the table of requests says whether it is due, its command goes to the sequencer and comes back as a
decision; what that changed is committed, and when it is durable the answer goes to who asked, the notices to the
others. Nothing is awaited on the way: what must wait for the disk is left to `pending_commits`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any

from gateway.core.admission.administration import sent_away_by
from gateway.core.admission.commands import Command, End, EndHellos, GiveUp, Join, Wait
from gateway.core.admission.conference_requests import refusal_before_license
from gateway.core.admission.decision import Decision, QueueNews
from gateway.core.admission.requests import REQUESTS, Expected, SessionState, expected, read
from gateway.core.counting.session import Instant
from gateway.core.names import folded
from gateway.core.wire import json_lines
from gateway.core.wire.close_codes import DENIED, ENDINGS, farewell
from gateway.core.wire.messages import Request, RequestFault
from gateway.edge.server.activity import ClientActivity
from gateway.edge.server.connection import Connection
from gateway.edge.server.pending_commits import PendingReplies
from gateway.edge.server.sequencer import NotDecided, Sequencer
from gateway.edge.server.sign_in import SignIn
from gateway.edge.server.waiting_clients import WaitingClients
from gateway.edge.storage.audit_entries import GATEWAY
from gateway.edge.storage.persistence import Persistence

UNWELCOMED = frozenset({SessionState.PENDING, SessionState.QUEUED})
"""The states in which a refusal closes the connection."""

log = logging.getLogger("tallygate.dispatcher")


class Dispatcher:
    """Acts upon the messages of clients, and carries decisions out.

    `connection_of` gives the connection of a session by its number, `connections` gives all. `max_deferred` is how many
    messages of a client are kept while an answer of it waits.
    """

    def __init__(
        self,
        sequencer: Sequencer,
        persistence: Persistence,
        sign_in: SignIn,
        pending_replies: PendingReplies,
        connection_of: Callable[[int], Connection | None],
        connections: Callable[[], Iterable[Connection]],
        *,
        max_deferred: int,
    ) -> None:
        self.max_deferred = max_deferred
        self._sequencer = sequencer
        self._persistence = persistence
        self._sign_in = sign_in
        self._pending_replies = pending_replies
        self._connection_of = connection_of
        is_held = pending_replies.deferred_input.__contains__
        self.waiting_clients = WaitingClients(sequencer, connection_of, is_held)
        self.activity = ClientActivity(sequencer, connections, self._carry_out, is_held)
        self.refusals: dict[str, int] = {}
        """How many refusals that are not the license's were told to clients here, by reason."""
        self.on_refused: Callable[[str, str, str, int | None, tuple[str, str] | None], None] = lambda *_: None
        """Who is told of a refusal that is not the license's: request, reason, address, number of the session."""
        pending_replies.caught_up = self.activity.follow
        pending_replies.deliver = self.deliver
        pending_replies.receive = self.receive
        pending_replies.follow_presence = self._follow_presence

    # -- from bytes to a decision --------------------------------------------------------------------------------------

    def receive(self, connection: Connection, payload: bytes) -> None:
        """Act upon one message of a client; a fault is answered, and closes where the protocol says so."""
        try:
            request = read(json_lines.parse(payload))
        except (json_lines.TooLong, json_lines.Malformed) as fault:
            code = "too_long" if isinstance(fault, json_lines.TooLong) else "malformed"
            connection.close("protocol_error", {"type": "error", "code": code, "detail": str(fault)})
            return
        except RequestFault as fault:
            self._answer_fault(connection, fault, payload)
            return
        due = expected(connection.state, request.type)
        if connection in self._pending_replies.deferred_input and request.type != "heartbeat":
            self._defer(connection, payload)
        elif due is Expected.ACT:
            self._act(connection, request)
        elif due is Expected.HELLO_EXPECTED:
            _close_unwelcomed(connection, request.id)
        elif due is Expected.ALREADY_WELCOMED:
            connection.send(_already_welcomed(request.id))
        elif due is Expected.QUEUED:
            connection.send(_waits(request.id))

    def _act(self, connection: Connection, request: Request) -> None:
        if request.type == "heartbeat":
            self._acknowledge(connection, request)
            return
        connection.last_asked_tick = connection.shared.tick
        make_command = REQUESTS[request.type].command
        if request.type == "hello":
            self._welcome(connection, request)
        elif request.type == "bye":
            connection.close("bye")
        elif make_command is not None and connection.session is not None:
            command = make_command(connection.session.number, request.fields)
            seconds = request.fields.get("wait")
            if seconds is not None:
                command = Wait(command, seconds, request.id)
            decision = self._refused_beforehand(command) or self._sequencer.submit(
                command, None, connection, request.id
            )
            if decision is not None:
                self.commit_and_deliver(decision, connection, request.id)
                self._follow_presence(connection)

    def _refused_beforehand(self, command: Command) -> Decision | None:
        """Refuse a `join` without a command for it: in a cluster, where each costs all nodes. What it rests upon is
        asked again when a command is applied.
        """
        asked = command.request if isinstance(command, Wait) else command
        if not self._sequencer.is_shared or not isinstance(asked, Join):
            return None
        state = self._sequencer.state
        if asked.session not in state.sessions.by_number:
            return None
        refusal = refusal_before_license(state, asked)
        return self._sign_in.refuse("join", refusal, asked.conference) if refusal is not None else None

    def _welcome(self, connection: Connection, request: Request) -> None:
        decision = self._sign_in.decide(connection, request)
        if isinstance(decision, RequestFault):
            connection.send(_worded(decision))
        elif decision is not None:
            if decision.refused is not None and request.fields["account"] is not None:
                decision.claimed = folded(request.fields["account"]), folded(request.fields["home"] or "")
            self.commit_and_deliver(decision, connection, request.id)

    def _acknowledge(self, connection: Connection, request: Request) -> None:
        connection.shared.heartbeats += 1
        answer: dict[str, Any] = {"type": "ack"}
        if request.fields["seq"] is not None:
            answer["seq"] = request.fields["seq"]
        self.deliver(Decision(answer), connection, request.id)
        if request.fields["active"] is not None:
            self.activity.heard(connection, request.fields["active"], request.fields["wait"])

    def _carry_out(self, decision: Decision, asker: Connection | None) -> None:
        """Tell a decision that nobody matches by an `id`."""
        self.commit_and_deliver(decision, asker)
        if asker is not None:
            self._follow_presence(asker)

    def _follow_presence(self, connection: Connection) -> None:
        session = connection.session
        if session is None:
            return
        state = SessionState.AWAKE if session.awake else SessionState.ASLEEP
        if state is not connection.state:
            connection.enter(state)

    def _defer(self, connection: Connection, payload: bytes) -> None:
        """Keep what a client says until its last answer has been told; no more than it may say at once."""
        said = self._pending_replies.deferred_input[connection]
        if len(said) < self.max_deferred:
            said.append(payload)
        else:
            fault = RequestFault("too_fast", "too many messages while an answer waits for the store")
            connection.send(_worded(fault))

    def close_silent(self, connection: Connection, cause: str) -> None:
        """Close a connection that was silent for too long; one that waits for the answer to its `hello` was not."""
        if connection.session is None and connection in self._pending_replies.deferred_input:
            connection.wait_on()
        else:
            connection.close(cause, farewell(cause))

    def answer_flood(self, connection: Connection, *, again: bool) -> None:
        """Tell a client that messages above the rate were dropped; one that goes on is sent away."""
        if again:
            connection.close("too_fast", _worded(RequestFault("too_fast", "still too many messages")))
        else:
            connection.send(_worded(RequestFault("too_fast", "messages above the rate were dropped")))

    def _answer_fault(self, connection: Connection, fault: RequestFault, payload: bytes) -> None:
        if connection in self._pending_replies.deferred_input:
            self._defer(connection, payload)
        elif connection.state is SessionState.QUEUED:
            connection.send(_waits(fault.id))
        elif fault.hello and connection.state is not SessionState.PENDING:
            connection.send(_already_welcomed(fault.id))
        elif fault.code == "unsupported_protocol":
            connection.close("protocol_error", _worded(fault))
        elif connection.state is SessionState.PENDING and not fault.hello:
            _close_unwelcomed(connection, fault.id)
        else:
            connection.send(_worded(fault))

    # -- from a decision to bytes --------------------------------------------------------------------------------------

    async def act(self, command: Command, actor: str) -> Decision:
        """Apply a command of an operator and carry it out; done when what it changed is durable.

        Raises `StoreUnavailable`: it is in effect all the same; `NotDecided` in a cluster.
        """
        applied: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        decision = self._sequencer.submit(command, actor=actor, applied=applied)
        if decision is None:
            try:
                return await applied
            except NotDecided:
                self._send_away_here(command)
                raise
        done = self.commit_and_deliver(decision, actor=actor)
        if done is not None:
            await asyncio.shield(done)
        return decision

    def _send_away_here(self, command: Command) -> None:
        """Close the connections here of whom an operator sends away, though the cluster has not decided."""
        for number in sent_away_by(self._sequencer.state, command):
            connection = self._connection_of(number)
            if connection is not None:
                connection.close("kicked", farewell("kicked"))

    def commit_and_deliver(
        self,
        decision: Decision,
        asker: Connection | None = None,
        id: str | int | None = None,
        actor: str = GATEWAY,
    ) -> asyncio.Future[None] | None:
        """Close whose session is over, write what was changed, and tell everybody when that is durable.

        Returns what is waited for; None where nothing is.
        """
        if decision.closings:
            self._close_ended(decision)
        if asker is not None and asker.session is None and decision.session is not None:
            goes_on = self._sign_in.attach(asker, decision)
            if goes_on:
                self.waiting_clients.follow(asker)
                self.activity.resumed(asker)
        if decision.queue is not None and asker is not None and decision.queue.place is not None:
            self._enter_line(decision, decision.queue.place, asker)
        # Most decisions change nothing that is kept, while no answer waits: no call for those.
        done = self._persistence.commit(decision, actor) if decision.changes or decision.audit else None
        if done is None and self._pending_replies.waiting and self._pending_replies.must_precede(decision, asker):
            self._pending_replies.add(self._persistence.barrier(), decision, asker, id)
        elif done is not None:
            self._pending_replies.add(done, decision, asker, id)
        else:
            self.deliver(decision, asker, id)
        if decision.queue is not None:
            self._serve(decision.queue)
        return done

    def forget(self, connection: Connection, at: Instant) -> None:
        """Forget a client that is gone, and take it out of the line in which it waited to be welcomed, if it did."""
        self.activity.forget(connection)
        place = self.waiting_clients.leave(connection)
        if place is not None:
            self._submit_and_deliver(GiveUp(place), at)

    def refuse_waiting(self, reason: str) -> None:
        """Refuse those who wait to be welcomed, if there are any."""
        if self._sequencer.state.lines:
            self._submit_and_deliver(EndHellos(reason, self._sequencer.incarnation))

    def _submit_and_deliver(self, command: Command, at: Instant | None = None) -> None:
        decision = self._sequencer.submit(command, at)
        if decision is not None:
            self.commit_and_deliver(decision)

    def _enter_line(self, decision: Decision, place: int, asker: Connection) -> None:
        """Have a client wait; one that is not welcomed yet must know how often to send heartbeats."""
        if decision.answer is None:
            return
        position = decision.answer["position"]
        self.waiting_clients.enter(place, position, asker, self._sequencer.state.at.mono)
        if asker.session is None and asker.cause is None:
            asker.queue()
            self._sign_in.state_times(decision.answer)

    def _serve(self, news: QueueNews) -> None:
        """Carry out what was decided about those who waited."""
        for place, cause in news.closings:
            waiting = self.waiting_clients.take(place)
            if waiting is not None:
                waiting.close(cause, farewell(cause))
        for served in news.served:
            if served.session is None:
                asker = self.waiting_clients.take(served.place)
            else:
                asker = self._connection_of(served.session)
            self.commit_and_deliver(served.decision, asker, served.id)
            if asker is not None:
                self._follow_presence(asker)
            elif served.session is None:
                self._end_unwelcomed(served.decision.session)

    def _end_unwelcomed(self, number: int | None) -> None:
        """End the session of a client that was gone when its turn came, if it waited here."""
        session = self._sequencer.state.sessions.by_number.get(number or 0)
        if session is not None and session.node == self._sequencer.incarnation:
            self._submit_and_deliver(End(session.number, "closed"))

    def _close_ended(self, decision: Decision) -> None:
        """Close the connections of sessions that are over, or go on with another."""
        for number, cause in decision.closings:
            connection = self._connection_of(number)
            if connection is not None:
                connection.session = None
                connection.close(cause, farewell(cause))

    def deliver(self, decision: Decision, asker: Connection | None = None, id: str | int | None = None) -> None:
        """Send the answer to who asked, and the notices to the others."""
        answer = decision.answer
        if asker is not None and answer is not None and asker.cause is None:
            if decision.refused is not None:
                refused = " of ".join(filter(None, (decision.refused.reason, decision.refused.pool)))
                log.debug(
                    "%s: %s was refused %s: %s", asker.shared.transport, asker.address, answer.get("request"), refused
                )
                if not decision.refused.pool:
                    reason = decision.refused.reason
                    self.refusals[reason] = self.refusals.get(reason, 0) + 1
                    session = asker.session.number if asker.session is not None else None
                    self.on_refused(answer["request"], reason, asker.address, session, decision.claimed)
            if id is not None:
                answer = {"type": answer["type"], "id": id, **answer}
            if decision.refused is not None and asker.session is None and asker.state in UNWELCOMED:
                reason = decision.refused.reason
                cause = {"unregistered": "unregistered", "draining": "rejected"}.get(reason, "denied")
                asker.close(cause, answer, DENIED.get(reason, ENDINGS[cause].code))
            else:
                asker.send(answer)
        for number, message in decision.notices:
            connection = self._connection_of(number)
            if connection is not None:
                connection.send(message)
                if message["type"] == "asleep":
                    self._follow_presence(connection)


def _waits(id: str | int | None) -> dict[str, Any]:
    return _worded(RequestFault("queued", "this client waits for a seat: heartbeat and bye only", id))


def _close_unwelcomed(connection: Connection, id: str | int | None) -> None:
    fault = RequestFault("hello_expected", "the first message is hello", id)
    connection.close("protocol_error", _worded(fault))


def _already_welcomed(id: str | int | None) -> dict[str, Any]:
    return _worded(RequestFault("already_welcomed", "hello is said once", id))


def _worded(fault: RequestFault) -> dict[str, Any]:
    message: dict[str, Any] = {"type": "error"}
    if fault.id is not None:
        message["id"] = fault.id
    return {**message, "code": fault.code, "detail": fault.detail}
