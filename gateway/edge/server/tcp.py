"""The TCP door's connection: one JSON object per line."""

from __future__ import annotations

from gateway.core.admission.requests import SessionState
from gateway.core.wire import json_lines
from gateway.edge.server.connection import Connection, shut_sending
from gateway.edge.server.listener import Listener

BEAT_LINE = json_lines.HEARTBEAT + b"\n"
ACK_LINE = json_lines.ACK + b"\n"


class TcpConnection(Connection):
    """A client that speaks lines. `tail` is the beginning of a line whose end has not come."""

    __slots__ = ("tail",)

    def __init__(self, listener: Listener, address: str) -> None:
        super().__init__(listener, address)
        self.tail = b""

    def data_received(self, data: bytes) -> None:
        """Take what has arrived; a lone heartbeat, the first of its tick, is answered without another look."""
        if data == BEAT_LINE and self.ready:
            listener = self.listener
            if self.last_heard_tick != listener.tick or listener.unmetered or self.allowance(1):
                self.last_heard_tick = listener.tick
                listener.heartbeats += 1
                self.transport.write(ACK_LINE)
            else:
                self.overrun()
            return
        self._feed(data)

    def _feed(self, data: bytes) -> None:
        if self.state is SessionState.CLOSED:
            return
        if not self.tail and data.find(b"\n") == len(data) - 1 and self.allowance(1):
            self.receive(data[:-2] if data.endswith(b"\r\n") else data[:-1])
            self.ready = self.session is not None
            return
        lines, self.tail = json_lines.split(self.tail, data)
        if json_lines.overlong(self.tail):
            lines.append(self.tail)
            self.tail = b""
        allowed = self.allowance(len(lines))
        for line in lines[:allowed]:
            self.receive(line)
            if self.cause is not None:
                return
        if allowed < len(lines):
            self.overrun()
        self.ready = not self.tail and self.session is not None

    def write(self, payload: bytes) -> None:
        """Send one line."""
        self.transport.write(payload + b"\n")

    def write_ack(self) -> None:
        """Send the constant acknowledgment."""
        self.transport.write(ACK_LINE)

    def write_close(self, code: int, reason: str) -> None:  # noqa: ARG002 - lines have no close codes
        """Send nothing more."""
        shut_sending(self.transport)
