"""One client connection: what TCP and WebSocket share.

A connection owns its transport and nothing else: no task, no timer, no future. It notes the tick in which it was last
heard; the hub's ring of deadlines does the rest. The literal heartbeat is recognized by comparing bytes (in the
subclass), and costs one assignment and one count; everything else goes through `receive`.

The end comes in two steps. `close` decides it: the session is over at once, the last message is written, and the
sending half is shut. The socket stays until the client has closed its half too, or for `LINGER` ticks, so that the last
message is not lost to a reset by data still under way.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any, cast

from gateway.core.admission.requests import SessionState
from gateway.core.wire import json_lines
from gateway.core.wire.close_codes import ENDINGS

if TYPE_CHECKING:
    from gateway.core.counting.session import Session
    from gateway.edge.server.listener import Listener

ASYNCIO_OUTBOUND_LIMIT = 65536
"""Bytes that asyncio lets wait unless told otherwise; over TLS it has another number."""
LINGER_TICKS = 4
"""Ticks that a closed connection may take to close its own half."""


class Connection(asyncio.Protocol):
    """A client's connection from accept to the end of its socket."""

    __slots__ = (
        "accepted",
        "address",
        "cause",
        "credit",
        "credited",
        "due",
        "last_heard_tick",
        "listener",
        "ready",
        "session",
        "state",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(self, listener: Listener, address: str) -> None:
        self.listener = listener
        self.address = address
        self.state = SessionState.PENDING
        self.ready = False
        """Whether the next read may be taken for a whole message."""
        self.session: Session | None = None
        self.cause: str | None = None
        self.due = 0
        self.last_heard_tick = listener.tick
        self.credit = listener.burst
        self.credited = listener.tick
        self.accepted = listener.tick

    # -- asyncio ---------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first message."""
        self.transport = transport = cast(asyncio.Transport, transport)
        if self.listener.outbound_limit != ASYNCIO_OUTBOUND_LIMIT or self.listener.tls is not None:
            transport.set_write_buffer_limits(self.listener.outbound_limit)
        self.listener.runtime.opened(self)

    def pause_writing(self) -> None:
        """More waits for the client than the outbound limit: it does not read, and is cut off."""
        self.close("slow_consumer")

    def eof_received(self) -> bool:
        """The client has shut its half; the transport closes after what is still to be sent."""
        if self.cause is None:
            self.lose("closed")
            if self.transport.get_write_buffer_size():
                self.linger()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        if self.cause is None:
            self.lose("closed" if exc is None else "reset")
        self.listener.runtime.gone(self)

    # -- messages --------------------------------------------------------------------------------------------------

    def receive(self, payload: bytes) -> None:
        """Act upon one message."""
        if self.state is SessionState.PENDING:
            self.listener.runtime.receive(self, payload)
            return
        self.last_heard_tick = self.listener.tick
        if payload == json_lines.HEARTBEAT:
            self.listener.heartbeats += 1
            self.write_ack()
        else:
            self.listener.runtime.receive(self, payload)

    def allowance(self, count: int) -> int:
        """How many of `count` messages are within the rate: a bucket of `burst`, refilled by `refill` each tick."""
        listener = self.listener
        if listener.burst == math.inf:
            return count
        credit = min(self.credit + (listener.tick - self.credited) * listener.refill, listener.burst)
        self.credited = listener.tick
        if count <= credit:
            self.credit = credit - count
            return count
        self.credit = -1.0 if credit >= 0 else credit - count
        return max(int(credit), 0)

    def overrun(self) -> None:
        """Say that messages were dropped; a client that goes on for another burst is sent away."""
        if self.credit < -self.listener.burst:
            self.close("too_fast", {"type": "error", "code": "too_fast", "detail": "still too many messages"})
        elif self.credit == -1.0 and self.state is not SessionState.CLOSED:
            self.send({"type": "error", "code": "too_fast", "detail": "messages above the rate were dropped"})

    def send(self, message: dict[str, Any]) -> None:
        """Send one message."""
        self.write(json_lines.encode(message))

    def write(self, payload: bytes) -> None:
        """Send the bytes of one message."""
        raise NotImplementedError  # pragma: no cover - each door says how

    def write_ack(self) -> None:
        """Send the constant acknowledgment."""
        raise NotImplementedError  # pragma: no cover - each door says how

    def write_close(self, code: int, reason: str) -> None:
        """Say at the level of the transport that nothing more will be sent."""
        raise NotImplementedError  # pragma: no cover - each door says how

    # -- the end ---------------------------------------------------------------------------------------------------

    def lose(self, cause: str) -> None:
        """The client has ended it, or the network."""
        self.cause = cause
        self.ready = False
        self.state = SessionState.CLOSED
        self.listener.runtime.ended(self, cause)

    def close(self, cause: str, message: dict[str, Any] | None = None, code: int | None = None) -> None:
        """End it from here: `message` is the last one, `code` overrides that of the cause."""
        if self.cause is not None:
            return
        ending = ENDINGS[cause]
        self.lose(cause)
        if ending.abort:
            self.transport.abort()
            return
        if message is not None:
            self.send(message)
        self.write_close(ending.code if code is None else code, cause)
        self.linger()

    def linger(self) -> None:
        """Give what is still to be sent, and the client's own end, `LINGER` ticks from now."""
        self.last_heard_tick = self.listener.tick
        self.listener.runtime.timer_wheel.put(self, self.last_heard_tick + LINGER_TICKS)


def shut_sending(transport: asyncio.Transport) -> None:
    """Shut the sending half; over TLS, which has no halves, all of it."""
    if not transport.can_write_eof():
        transport.close()
        return
    try:
        transport.write_eof()
    except OSError:  # reset by the client, and not yet known to the loop
        transport.abort()
