"""A client's connection over WebSocket: the same messages in RFC 6455 frames, after an HTTP/1.1 upgrade."""

from __future__ import annotations

import math
from typing import Any

from gateway.core.admission.requests import SessionState
from gateway.core.wire import websocket_frames
from gateway.core.wire.websocket_frames import ACK_FRAME, BEAT_LOW, BEAT_PLAIN, BEAT_SIZE, Decoder, Event, ProtocolError
from gateway.core.wire.websocket_handshake import TOO_SLOW, Accepted, Upgrade, refuse
from gateway.edge.server.connection import Connection, Shared, shut_sending

_NO_TEXT = {"type": "error", "code": "malformed", "detail": "a message is a text frame"}


def refusal(reason: str, retry_after: int) -> bytes:
    """Return what a client that is not let in is told; it may come back after so many seconds."""
    return refuse(503, reason, f"Retry-After: {retry_after}").response


class WebSocketConnection(Connection):
    """A client that speaks frames. It has an `upgrade` first, and a `decoder` once that was accepted."""

    __slots__ = ("decoder", "upgrade")

    def __init__(self, shared: Shared[Connection], address: str) -> None:
        super().__init__(shared, address)
        self.upgrade: Upgrade | None = Upgrade(shared.limits.origins, address)
        self.decoder: Decoder | None = None

    def data_received(self, data: bytes) -> None:
        """Take what has arrived; a lone heartbeat, the first of its tick, is answered without another look."""
        if self.ready and len(data) == BEAT_SIZE and (key := int.from_bytes(data) ^ BEAT_PLAIN) >> 32 == key & BEAT_LOW:
            shared = self.shared
            if self.last_heard_tick != shared.tick or shared.unmetered or self.allowance(1):
                self.last_heard_tick = shared.tick
                shared.heartbeats += 1
                self.transport.write(ACK_FRAME)
            else:
                self.overrun()
            return
        if self.decoder is not None:
            self._feed(self.decoder, data)
        elif self.upgrade is not None:
            self._upgrade(self.upgrade, data)

    def _upgrade(self, upgrade: Upgrade, data: bytes) -> None:
        answer = upgrade.feed(data)
        if answer is None:
            return
        self.upgrade = None
        self.transport.write(answer.response)
        if isinstance(answer, Accepted):
            self.decoder = Decoder(limit=self.shared.limits.message_limit)
            if answer.rest:
                self._feed(self.decoder, answer.rest)
        else:
            self.close("rejected")

    def _feed(self, decoder: Decoder, data: bytes) -> None:
        events = decoder.feed(data)
        allowed = self.allowance(len(events)) if self.cause is None else len(events)
        for event in events[:allowed]:
            self._take(event)
        if allowed < len(events):
            self.overrun(len(events) - allowed)
            for event in events[allowed:]:
                if isinstance(event, ProtocolError) or event.opcode == websocket_frames.CLOSE:
                    self._take(event)
        self.ready = decoder.idle and self.session is not None

    def _take(self, event: Event | ProtocolError) -> None:
        if isinstance(event, ProtocolError):
            fault = "too_long" if event.code == websocket_frames.TOO_BIG else "malformed"
            self.close("protocol_error", {"type": "error", "code": fault, "detail": event.detail}, event.code)
            shut_sending(self.transport)  # frames can no longer be told apart, so the client's Close would not be seen
        elif event.opcode == websocket_frames.CLOSE:
            if self.cause is None:
                self.shared.owner.hung_up(self, "closed")
            else:
                self.transport.close()
        elif self.cause is not None:
            return
        elif event.opcode == websocket_frames.TEXT:
            self.receive(event.payload)
        elif event.opcode == websocket_frames.BINARY:
            self.close("protocol_error", _NO_TEXT, websocket_frames.UNSUPPORTED)
        else:
            if self.state is not SessionState.PENDING:
                self.last_heard_tick = self.shared.tick
            if event.opcode == websocket_frames.PING:
                self.transport.write(websocket_frames.pong(event.payload))

    def finish(self, cause: str) -> None:
        """Answer the client's Close frame, if it sent one, and end it."""
        code = self.decoder.close_code if self.decoder is not None else None
        if code is not None and self.cause is None and not self.gone:
            self.transport.write(websocket_frames.close(code))
        super().finish(cause)

    def write(self, payload: bytes) -> None:
        """Send one text frame; nothing to a client that speaks HTTP still."""
        if self.decoder is not None:
            self.transport.write(websocket_frames.text(payload))

    def write_ack(self) -> None:
        """Send the constant acknowledgment."""
        self.transport.write(ACK_FRAME)

    def close(self, cause: str, message: dict[str, Any] | None = None, code: int | None = None) -> None:
        """End it from here; a request that is not complete is answered by HTTP, with what `message` says."""
        if self.upgrade is not None and self.cause is None and not self.gone:
            self.upgrade = None
            retry_after = (message or {}).get("retry_after_seconds")
            if retry_after is None:  # only who was too slow is told no time
                self.transport.write(TOO_SLOW.response)
            else:
                self.transport.write(refusal("draining" if cause == "drained" else cause, math.ceil(retry_after)))
        super().close(cause, message, code)

    def write_close(self, code: int, reason: str) -> None:
        """Send the Close frame; the client answers with its own, which ends the connection."""
        if self.decoder is not None:
            self.transport.write(websocket_frames.close(code, reason))
        else:
            shut_sending(self.transport)
