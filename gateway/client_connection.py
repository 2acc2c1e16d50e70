"""One connection to the gateway, from the client's side: messages out, messages in, how it ended.

A `ClientConnection` is an `asyncio.Protocol` that owns no task, no timer and no queue: a program may hold thousands.
Its `Codec` knows the bytes of a transport and no socket: `LineCodec` for TCP, `WebSocketCodec` for WebSocket. What it
hears goes to its `ConnectionListener`; a lone literal `ack`, which is nearly all there is, is recognized by its bytes.
`ConnectionEnd` says why a connection is gone, and whether to come back (`PROTOCOL.md`, Closing).
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from dataclasses import dataclass
from random import Random
from typing import Literal, Protocol, cast

from gateway.core.wire import json_lines, websocket_frames, websocket_handshake
from gateway.core.wire.answers import Answer, Closing, DeniedAnswer, ErrorAnswer, seconds
from gateway.core.wire.close_codes import ENDINGS, ERRORS, FINAL_CODES, reconnects_after_denial
from gateway.core.wire.json_lines import Message

Transport = Literal["tcp", "websocket"]

PORTS: dict[Transport, int] = {"tcp": 4307, "websocket": 4308}
LIMIT = 1 << 20
"""Longest message taken from the gateway, in bytes: a `welcome` after a resume lists every conference."""


class ServerProtocolError(ConnectionError):
    """The other side does not speak the protocol; `status` is that of a refused WebSocket upgrade, else None."""

    def __init__(self, detail: str, status: int | None = None) -> None:
        super().__init__(detail)
        self.status = status


@dataclass(frozen=True, slots=True)
class ConnectionEnd:
    """How a connection ended: the WebSocket close code if one came, the gateway's last message, the fault if any."""

    code: int | None = None
    last: Answer | None = None
    error: Exception | None = None

    @property
    def _last_word(self) -> Closing | DeniedAnswer | ErrorAnswer | None:
        """The last message if it explains the end."""
        last = self.last
        if last is None:
            return None
        if last["type"] == "closing":
            return last
        if last["type"] == "denied":
            return last if last.get("request") == "hello" else None
        if last["type"] == "error":
            return last if str(last.get("code")) in ERRORS else None
        return None

    @property
    def reason(self) -> str:
        """The gateway's reason in one word, or what happened to the connection."""
        word = self._last_word
        if word is not None:
            return str(word.get("reason") or word.get("code"))
        if self.error is not None:
            return str(self.error) or type(self.error).__name__
        return f"code {self.code}" if self.code is not None else "closed"

    @property
    def reconnect(self) -> bool:
        """Whether to come back."""
        word = self._last_word
        if word is not None and word["type"] == "denied":
            return reconnects_after_denial(str(word.get("reason")))
        if word is not None and word["type"] == "error":
            return ENDINGS[ERRORS[word["code"]]].reconnect
        if word is not None and isinstance(word.get("reconnect"), bool):
            return word["reconnect"]
        if isinstance(self.error, ServerProtocolError) and self.error.status is not None:
            return not 400 <= self.error.status < 500 or self.error.status in {408, 429}
        return self.code not in FINAL_CODES

    @property
    def retry_after(self) -> float:
        """Seconds the gateway asked to wait before coming back; 0 where it named no time."""
        word = self._last_word
        return 0.0 if word is None else seconds(word.get("retry_after_seconds")) or 0.0


class Codec(Protocol):
    """Bytes of one transport to messages and back; owns no socket."""

    ack: bytes
    """The literal `ack`, as it arrives when it arrives alone."""

    @property
    def ready(self) -> bool:
        """Whether messages may be sent."""

    @property
    def code(self) -> int | None:
        """The close code of the other side; None until it closed."""

    @property
    def fault(self) -> ServerProtocolError | None:
        """What the other side did against the protocol; nothing is read after it."""

    def opening(self) -> bytes:
        """Return what is sent before anything else."""

    def encode(self, text: bytes) -> bytes:
        """Return one message for the wire."""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the messages that are complete now; a fault comes after them. Raises nothing."""

    def replies(self) -> bytes:
        """Return what the transport itself has to say since the last call (pongs, a close frame)."""

    def farewell(self) -> bytes:
        """Return what is sent before the connection is closed from this side."""


class LineCodec:
    """One JSON object per line (TCP)."""

    __slots__ = ("_tail", "fault")

    ack = json_lines.ACK + b"\n"
    ready = True
    code: int | None = None

    def __init__(self) -> None:
        self._tail = b""
        self.fault: ServerProtocolError | None = None

    def opening(self) -> bytes:
        """Return nothing: the first line may be sent at once."""
        return b""

    def encode(self, text: bytes) -> bytes:
        """Return one line."""
        return text + b"\n"

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that are complete now."""
        lines, self._tail = json_lines.split(self._tail, data)
        if len(self._tail) > LIMIT:
            self.fault = ServerProtocolError(f"a line of more than {LIMIT} bytes")
        return [line for line in lines if line]

    def replies(self) -> bytes:
        """Return nothing: TCP speaks for itself."""
        return b""

    def farewell(self) -> bytes:
        """Return nothing: TCP speaks for itself."""
        return b""


class WebSocketCodec:
    """One JSON object per text frame, after an HTTP/1.1 upgrade (RFC 6455, client role)."""

    __slots__ = ("_decoder", "_head", "_host", "_key", "_random", "_replies", "code", "fault", "ready")

    ack = websocket_frames.text(json_lines.ACK)

    def __init__(self, host: str, random: Random) -> None:
        self._host = host
        self._random = random
        self._key = b64encode(random.randbytes(16)).decode()
        self._head = b""
        self._decoder = websocket_frames.Decoder(masked=False, limit=LIMIT)
        self._replies = b""
        self.ready = False
        self.code: int | None = None
        self.fault: ServerProtocolError | None = None

    def opening(self) -> bytes:
        """Return the upgrade request."""
        return (
            f"GET {websocket_handshake.PATH} HTTP/1.1\r\nHost: {self._host}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {self._key}\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Protocol: {websocket_handshake.SUBPROTOCOL}\r\n\r\n"
        ).encode()

    def encode(self, text: bytes) -> bytes:
        """Return one text frame, masked."""
        return websocket_frames.text(text, self._random.randbytes(4))

    def feed(self, data: bytes) -> list[bytes]:
        """Return the messages that are complete now; first of all, the answer to the upgrade."""
        if not self.ready:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                if len(head) > websocket_handshake.HEAD_LIMIT:
                    self.fault = ServerProtocolError("the answer to the upgrade does not end")
                return []
            self._head = b""
            self.fault = _refusal(head, self._key)
            if self.fault is not None:
                return []
            self.ready = True
        texts = []
        for event in self._decoder.feed(data):
            if isinstance(event, websocket_frames.ProtocolError):
                self.fault = ServerProtocolError(event.detail)
                self._replies += self._closing(event.code)
            elif event.opcode == websocket_frames.CLOSE:
                self.code = event.code
                self._replies += self._closing(event.code)
            elif event.opcode == websocket_frames.PING:
                self._replies += websocket_frames.pong(event.payload, self._random.randbytes(4))
            elif event.opcode == websocket_frames.TEXT:
                texts.append(event.payload)
        return texts

    def replies(self) -> bytes:
        """Pongs and the close frame."""
        replies, self._replies = self._replies, b""
        return replies

    def farewell(self) -> bytes:
        """Return a close frame."""
        return self._closing(websocket_frames.NORMAL) if self.ready else b""

    def _closing(self, code: int) -> bytes:
        return websocket_frames.close(code, mask=self._random.randbytes(4))


def _refusal(head: bytes, key: str) -> ServerProtocolError | None:
    """What is wrong with the answer to an upgrade, if anything."""
    status, *lines = head.decode("latin-1").split("\r\n")
    words = status.split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdecimal():
        return ServerProtocolError("the answer to the upgrade is not HTTP/1.1")
    if words[1] != "101":
        return ServerProtocolError(f"upgrade refused: HTTP {' '.join(words[1:])}", int(words[1]))
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("sec-websocket-accept") != websocket_handshake.accept(key):
        return ServerProtocolError("the answer to the upgrade does not prove that it was read")
    if headers.get("sec-websocket-protocol", websocket_handshake.SUBPROTOCOL) != websocket_handshake.SUBPROTOCOL:
        return ServerProtocolError("the gateway chose another subprotocol")
    return None


class ConnectionListener(Protocol):
    """Who hears what a `ClientConnection` hears. Called from the event loop; must not block."""

    def opened(self, link: ClientConnection) -> None:
        """The connection stands; messages may be sent."""

    def acked(self, link: ClientConnection) -> None:
        """A heartbeat was answered."""

    def received(self, link: ClientConnection, message: Answer) -> None:
        """Any other message came."""

    def ended(self, link: ClientConnection, end: ConnectionEnd) -> None:
        """The connection is gone; nothing follows."""


class ClientConnection(asyncio.Protocol):
    """One connection to the gateway: messages out, messages in, how it ended. No task, no timer, no queue."""

    __slots__ = ("_codec", "_error", "_last", "_listener", "_open", "_transport")

    def __init__(self, codec: Codec, listener: ConnectionListener) -> None:
        self._codec = codec
        self._listener = listener
        self._open = False
        self._transport: asyncio.Transport | None = None
        self._last: Answer | None = None
        self._error: Exception | None = None

    def send(self, message: Message) -> None:
        """Send one message; nothing happens when the connection is closing already."""
        self._write(self._codec.encode(json_lines.encode(message)))

    def beat(self) -> None:
        """Send the literal heartbeat."""
        self._write(self._codec.encode(json_lines.HEARTBEAT))

    def close(self) -> None:
        """Close in order: what was sent is delivered first."""
        if self._transport is not None and not self._transport.is_closing():
            self._write(self._codec.farewell())
            self._transport.close()

    def abort(self, error: Exception | None = None) -> None:
        """Drop the connection at once; `error` becomes that of its `ConnectionEnd`."""
        self._error = self._error or error
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin: the WebSocket upgrade, or at once."""
        self._transport = cast(asyncio.Transport, transport)
        self._write(self._codec.opening())
        self._open_if_ready()

    def data_received(self, data: bytes) -> None:
        """Hear what has arrived; a lone literal `ack` is not parsed."""
        if data == self._codec.ack:
            self._listener.acked(self)
            return
        texts = self._codec.feed(data)
        self._open_if_ready()
        try:
            for text in texts:
                message = _message(text)
                if message["type"] == "ack":
                    self._listener.acked(self)
                else:
                    self._last = message
                    self._listener.received(self, message)
        except ServerProtocolError as fault:
            self.abort(fault)
            return
        self._write(self._codec.replies())
        if self._codec.fault is not None:
            self._error = self._codec.fault
        if self._transport is not None and (self._codec.fault is not None or self._codec.code is not None):
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Tell how it ended, once."""
        self._transport = None
        self._listener.ended(self, ConnectionEnd(self._codec.code, self._last, self._error or error))

    def _open_if_ready(self) -> None:
        if not self._open and self._codec.ready:
            self._open = True
            self._listener.opened(self)

    def _write(self, data: bytes) -> None:
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


def _message(text: bytes) -> Answer:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as fault:
        raise ServerProtocolError(f"not a message: {fault}") from None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise ServerProtocolError("not a message: an object with a type was expected")
    return cast(Answer, message)


def codec(transport: Transport, host: str, port: int, random: Random) -> Codec:
    """Return the codec of a transport; host and port go into the WebSocket upgrade, `random` makes keys and masks."""
    if transport == "websocket":
        return WebSocketCodec(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", random)
    return LineCodec()
