"""The registrar's door: agents of other gateways keep a connection here, on the same lean protocol as the clients.

The door, its limits, its deadlines and the flood rule are those of the clients; only the words are others. An answer is
sent when what it promises is on disk. Where the disk fails, or does not answer, it is sent all the same: memory is what
counts until the store is back, and a server that is told nothing would run out for a fault that is not its own.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

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
from gateway.edge.server.listener import Listener
from gateway.edge.server.tcp import TcpConnection
from gateway.edge.storage.audit_log import GATEWAY
from gateway.licensing import OFFERS

if TYPE_CHECKING:
    from gateway.edge.server.runtime import Runtime

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
OURS = frozenset({"refused", "revoked"})
"""Last messages that an agent understands."""

log = logging.getLogger("tallygate.registrar")


class AgentConnection(TcpConnection):
    """A connection of another gateway's agent."""

    __slots__ = ("registrar_service", "talk")

    def __init__(self, listener: Listener, address: str, registrar_service: RegistrarService) -> None:
        super().__init__(listener, address)
        self.registrar_service = registrar_service
        self.talk = RegistrarConversation(address)

    def receive(self, payload: bytes) -> None:
        """Act upon one message."""
        self.registrar_service.receive(self, payload)

    def overrun(self) -> None:
        """An agent that sends so much is none."""
        self.registrar_service.reject(self, "too_fast")

    def lose(self, cause: str) -> None:
        """It is over, for whatever reason."""
        super().lose(cause)
        self.registrar_service.left(self, cause)

    def close(self, cause: str, message: dict[str, Any] | None = None, code: int | None = None) -> None:
        """End it from here; what is said to clients only is not said."""
        super().close(cause, message if message is not None and message["type"] in OURS else None, code)


class RegistrarService:
    """The registrar of this process: its licenses, its door, and who is connected."""

    def __init__(self, runtime: Runtime, interval: int) -> None:
        self._runtime = runtime
        self.registrar = Registrar(lambda: secrets.token_hex(16), interval)
        self.listener = Listener(
            "registrar", lambda listener, address: AgentConnection(listener, address, self), runtime
        )
        self.results = dict.fromkeys(RESULTS, 0)
        self._connections: dict[RegistrarConversation | None, AgentConnection] = {}
        self._promised: dict[asyncio.Future[None], tuple[AgentConnection, Reply]] = {}
        """Answers that wait for the disk."""

    # -- agents ------------------------------------------------------------------------------------------------------

    def receive(self, connection: AgentConnection, payload: bytes) -> None:
        """Act upon one message of an agent."""
        talk = connection.talk
        try:
            message = json_lines.parse(payload)
        except ValueError:
            self.reject(connection, "malformed")
            return
        reply = self.registrar.receive(talk, message, self._runtime.clock.wall())
        if talk.step is ConversationStep.SERVED:
            connection.last_heard_tick = connection.listener.tick
            if connection.state is SessionState.PENDING:
                self._seat(connection)
        self._carry_out(connection, reply)

    def reject(self, connection: AgentConnection, reason: str) -> None:
        """Hang up on who has not said what an agent says."""
        told = "rate_limited" if reason == "too_fast" else reason
        self._carry_out(connection, self.registrar.reject(connection.talk, told)._replace(result=reason))

    def left(self, connection: AgentConnection, cause: str) -> None:
        """A connection is over for `cause`."""
        self._connections.pop(connection.talk, None)
        if cause == "heartbeat_timeout":
            self.results["silent"] += 1
        self.registrar.end(connection.talk)

    def _seat(self, connection: AgentConnection) -> None:
        connection.state = SessionState.AWAKE
        connection.listener.pending.discard(connection)
        self._runtime.timer_wheel.put(
            connection, connection.last_heard_tick + connection.listener.silence_limits[SessionState.AWAKE]
        )
        self._connections[connection.talk] = connection

    def _carry_out(self, connection: AgentConnection, reply: Reply) -> None:
        if reply.result:
            self.results[reply.result] += 1
        if reply.replaced is not None and (old := self._connections.get(reply.replaced)) is not None:
            old.close("replaced")
        if reply.clone and reply.changed is not None:
            self._suspect(connection, reply.changed, reply.clone)
        if reply.forgotten is not None:
            self._runtime.persistence.installation(reply.forgotten)
        if reply.changed is None:
            self._say(connection, reply)
            return
        done = self._runtime.persistence.installation(reply.changed)
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
            "other": connection.talk.register["server"],
            "address": connection.address,
        }
        log.warning("clone suspected: license %s, %s", installation.serial, detail)
        self._runtime.persistence.audit_log.add(GATEWAY, "clone.suspected", installation.serial, detail)

    # -- licenses ----------------------------------------------------------------------------------------------------

    def restore(
        self, licenses: Mapping[str, SoldLicense], installations: Mapping[tuple[str, str], Installation]
    ) -> None:
        """Take up what the store kept."""
        self.registrar.licenses.update(licenses)
        self.registrar.installations.update(installations)

    def issue(self, serial: str, terms: Mapping[str, object]) -> bool:
        """Sell a license, or change its terms; whether it is new. A connected server registers anew, and hears of it.

        Raises `Fault`.
        """
        before = self.registrar.licenses.get(serial)
        fresh = self.registrar.issue(serial, terms, OFFERS, secrets.token_bytes(KEY_BYTES), self._runtime.clock.wall())
        connection = self._connections.get(self.registrar.talks.get(serial))
        if connection is not None and self.registrar.licenses[serial] != before:
            connection.close("drained")
        return fresh

    def revoke(self, serial: str) -> None:
        """Revoke a license; its server is told at once.

        Raises `LookupError`.
        """
        self._tell(self.registrar.revoke(serial, self._runtime.clock.wall()))

    def remove(self, serial: str) -> None:
        """Forget a license; its server is told at once.

        Raises `LookupError`.
        """
        self._tell(self.registrar.remove(serial))

    def poll(self) -> None:
        """Tell the servers whose licenses have ended."""
        for told in self.registrar.ended(self._runtime.clock.wall()):
            self._tell(told)

    def _tell(self, told: tuple[RegistrarConversation, Reply] | None) -> None:
        if told is not None and (connection := self._connections.get(told[0])) is not None:
            self._carry_out(connection, told[1])

    # -- the end -----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Hang up; the hub has closed the door."""
        for connection in list(self.listener.connections):
            connection.close("drained")
