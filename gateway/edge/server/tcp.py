"""Lines: one JSON object per line, as the clients of the TCP listener speak them, and the registrar's agents."""

from __future__ import annotations

from gateway.core.admission.requests import SessionState
from gateway.core.wire import json_lines
from gateway.edge.server.connection import BaseConnection, Connection, Shared, shut_sending

BEAT_LINE = json_lines.HEARTBEAT + b"\n"
ACK_LINE = json_lines.ACK + b"\n"


def refusal(reason: str, retry_after: int) -> bytes:
    """Return what a client that is not let in is told; it may come back after so many seconds."""
    message = {"type": "denied", "request": "hello", "reason": reason, "retry_after_seconds": retry_after}
    return json_lines.encode(message) + b"\n"


def feed_lines(connection: BaseConnection, tail: bytes, data: bytes) -> bytes:
    """Have `connection` receive the lines that `data`, cut anywhere, completes; what is above the rate is dropped.

    `tail` is the beginning of a line whose end had not come before; returns that of the next one.
    """
    if connection.state is SessionState.CLOSED:
        return b""
    if not tail and data.find(b"\n") == len(data) - 1:
        if connection.allowance(1):
            connection.receive(data[:-2] if data.endswith(b"\r\n") else data[:-1])
        else:
            connection.overrun()
        return b""
    lines, tail = json_lines.split(tail, data)
    if json_lines.overlong(tail):
        lines.append(tail)
        tail = b""
    allowed = connection.allowance(len(lines))
    for line in lines[:allowed]:
        connection.receive(line)
        if connection.cause is not None:
            return b""
    if allowed < len(lines):
        connection.overrun(len(lines) - allowed)
    return tail


class TcpConnection(Connection):
    """A client that speaks lines. `tail` is the beginning of a line whose end has not come."""

    __slots__ = ("tail",)

    def __init__(self, shared: Shared[Connection], address: str) -> None:
        super().__init__(shared, address)
        self.tail = b""

    def data_received(self, data: bytes) -> None:
        """Take what has arrived; a lone heartbeat, the first of its tick, is answered without another look."""
        if data == BEAT_LINE and self.ready:
            shared = self.shared
            if self.last_heard_tick != shared.tick or shared.unmetered or self.allowance(1):
                self.last_heard_tick = shared.tick
                shared.heartbeats += 1
                self.transport.write(ACK_LINE)
            else:
                self.overrun()
            return
        self.tail = feed_lines(self, self.tail, data)
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
