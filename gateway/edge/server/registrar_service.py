"""The registration server: agents of other gateways keep a connection here, on the same lean protocol as the clients.

The listener, its limits, its deadlines and the flood rule are those of the clients; only the words are others. An
answer is sent when what it promises is on disk. Where the disk fails, or does not answer, it is sent all the same:
memory is what counts until the store is back, and a server that is told nothing would run out for a fault that is not
its own.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace

from config.settings import Settings
from gateway.core.admission.requests import SessionState
from gateway.core.registration.authentication import KEY_BYTES
from gateway.core.registration.registrar import (
    ConversationStep,
    Installation,
    Registrar,
    RegistrarConversation,
    Reply,
    SoldLicense,
)
from gateway.core.wire import json_lines
from gateway.edge.server.connection import BaseConnection, Shared, shut_sending
from gateway.edge.server.limits import Limits, SocketBudget, ticks
from gateway.edge.server.listener import Listener
from gateway.edge.server.paced_log import PacedLog
from gateway.edge.server.tcp import feed_lines
from gateway.edge.server.timer_wheel import TimerWheel
from gateway.edge.storage.audit_entries import GATEWAY
from gateway.edge.storage.persistence import Persistence
from gateway.licensing import OFFERS

RESULTS = (
    "registered",
    "verified",
    "bad_credential",
    "expired",
    "revoked",
    "in_use",
    "malformed",
    "bad_mac",
    "bad_sequence",
    "silent",
    "too_fast",
)
"""How checks can end, each counted."""
SILENT_INTERVALS = 3
"""Intervals of silence after which a server is taken for lost."""

log = logging.getLogger("tallygate.registrar")


def limits_of(settings: Settings, interval: int) -> Limits:
    """Return the limits of agents, which are verified every `interval` seconds.

    No PROXY header is asked of them: the proxies of the settings stand before the client listeners.
    """
    limits = Limits.of(settings)
    silence = {**limits.silence, SessionState.AWAKE: ticks(SILENT_INTERVALS * interval)}
    return replace(limits, silence=silence, proxies=())


def refusal(reason: str) -> bytes:
    """Return what an agent that is not let in is told."""
    return json_lines.encode({"type": "refused", "reason": reason}) + b"\n"


class AgentConnection(BaseConnection):
    """A connection of another gateway's agent, which speaks lines, and how far the conversation with it has come."""

    __slots__ = ("conversation", "tail")

    def __init__(self, shared: Shared[AgentConnection], address: str) -> None:
        super().__init__(shared, address)
        self.conversation = RegistrarConversation(address)
        self.tail = b""

    def data_received(self, data: bytes) -> None:
        """Take what has arrived."""
        self.tail = feed_lines(self, self.tail, data)

    def write(self, payload: bytes) -> None:
        """Send one line."""
        self.transport.write(payload + b"\n")

    def write_close(self, code: int, reason: str) -> None:  # noqa: ARG002 - lines have no close codes
        """Send nothing more."""
        shut_sending(self.transport)


class RegistrarService:
    """The registrar of this process: its licenses, its listener, and who is connected; `wall` is seconds UTC."""

    def __init__(
        self,
        registrar: Registrar,
        persistence: Persistence,
        wall: Callable[[], float],
        limits: Limits,
        budget: SocketBudget,
        wheel: TimerWheel[BaseConnection],
    ) -> None:
        self.registrar = registrar
        self.listener = Listener("registrar", AgentConnection, self, limits, budget, wheel, refusal)
        self.results = dict.fromkeys(RESULTS, 0)
        self._unproven = PacedLog(log)
        self._persistence = persistence
        self._wall = wall
        self._promised: dict[asyncio.Future[None], tuple[AgentConnection, Reply]] = {}
        """Answers that wait for the disk."""

    # -- agents ------------------------------------------------------------------------------------------------------

    def received(self, connection: AgentConnection, payload: bytes) -> None:
        """Act upon one message of an agent."""
        conversation = connection.conversation
        try:
            message = json_lines.parse(payload)
        except ValueError:
            self._reject(connection, "malformed")
            return
        reply = self.registrar.receive(conversation, message, self._wall())
        if conversation.step is ConversationStep.SERVED:
            if connection.state is SessionState.PENDING:
                connection.welcome(conversation, SessionState.AWAKE)
            connection.last_heard_tick = connection.shared.tick
        self._carry_out(connection, reply)

    def flooded(self, connection: AgentConnection, *, again: bool) -> None:  # noqa: ARG002 - once is enough
        """Hang up: no agent sends so much."""
        self._reject(connection, "too_fast")

    def expired(self, connection: AgentConnection, cause: str) -> None:
        """Hang up on who was silent for too long; an agent has no word for it."""
        connection.close(cause)

    def hung_up(self, connection: AgentConnection, cause: str) -> None:
        """The agent has ended it, or the network; what it said is acted upon at once."""
        connection.finish(cause)

    def ended(self, connection: AgentConnection, cause: str) -> None:
        """A connection is over for `cause`."""
        if cause == "heartbeat_timeout":
            self.results["silent"] += 1
        self.registrar.end(connection.conversation)

    def _reject(self, connection: AgentConnection, reason: str) -> None:
        """Refuse a peer that does not speak as an agent does, and close its connection."""
        told = "rate_limited" if reason == "too_fast" else reason
        self._carry_out(connection, self.registrar.reject(connection.conversation, told)._replace(result=reason))

    def _connection(self, conversation: RegistrarConversation | None) -> AgentConnection | None:
        return self.listener.connections.connected.get(conversation)

    def _carry_out(self, connection: AgentConnection, reply: Reply) -> None:
        if reply.result:
            self.results[reply.result] += 1
        if reply.result == "bad_credential":
            serial = connection.conversation.register["serial"]
            line = f"{connection.address} has not proven {serial}: no such license is sold here, or the key is another"
            self._unproven.record(line, asyncio.get_running_loop().time())
        if (old := self._connection(reply.replaced)) is not None:
            old.close("replaced")
        if reply.clone and reply.changed is not None:
            self._suspect(connection, reply.changed, reply.clone)
        if reply.forgotten is not None:
            self._persistence.installation(reply.forgotten)
        if reply.changed is None:
            self._say(connection, reply)
            return
        done = self._persistence.installation(reply.changed)
        self._promised[done] = connection, reply
        done.add_done_callback(self._written)

    def _written(self, done: asyncio.Future[None]) -> None:
        promised = self._promised.pop(done, None)
        if promised is not None:
            self._say(*promised)

    def release_pending(self) -> None:
        """The disk does not answer: say all that waits for it."""
        promised, self._promised = self._promised, {}
        for connection, reply in promised.values():
            self._say(connection, reply)

    def _say(self, connection: AgentConnection, reply: Reply) -> None:
        if connection.cause is not None:
            return
        if reply.over:
            connection.close("denied", reply.answer)
        elif reply.answer is not None:
            connection.send(reply.answer)

    def _suspect(self, connection: AgentConnection, installation: Installation, how: str) -> None:
        detail = {
            "how": how,
            "server": installation.server,
            "other": connection.conversation.register["server"],
            "address": connection.address,
        }
        log.warning("clone suspected: license %s, %s", installation.serial, detail)
        self._persistence.audit_log.add(GATEWAY, "clone.suspected", installation.serial, detail)

    # -- licenses ----------------------------------------------------------------------------------------------------

    def restore(
        self, licenses: Mapping[str, SoldLicense], installations: Mapping[tuple[str, str], Installation]
    ) -> None:
        """Take up what the store kept."""
        self.registrar.licenses.update(licenses)
        self.registrar.installations.update(installations)

    def issue(self, serial: str, terms: Mapping[str, object]) -> bool:
        """Sell a license, or change its terms; whether it is new. A connected server registers anew, and hears of it.

        Raises `RequestFault`.
        """
        before = self.registrar.licenses.get(serial)
        fresh = self.registrar.issue(serial, terms, OFFERS, secrets.token_bytes(KEY_BYTES), self._wall())
        connection = self._connection(self.registrar.conversations.get(serial))
        if connection is not None and self.registrar.licenses[serial] != before:
            connection.close("drained")
        return fresh

    def revoke(self, serial: str) -> None:
        """Revoke a license; its server is told at once.

        Raises `LookupError`.
        """
        self._tell(self.registrar.revoke(serial, self._wall()))

    def remove(self, serial: str) -> None:
        """Forget a license; its server is told at once.

        Raises `LookupError`.
        """
        self._tell(self.registrar.remove(serial))

    def poll(self) -> None:
        """Tell the servers whose licenses have ended."""
        for told in self.registrar.ended(self._wall()):
            self._tell(told)

    def _tell(self, told: tuple[RegistrarConversation, Reply] | None) -> None:
        if told is not None and (connection := self._connection(told[0])) is not None:
            self._carry_out(connection, told[1])

    # -- the end -----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Hang up on every agent; the listener is closed by now."""
        for connection in list(self.listener.connections):
            connection.close("drained")
