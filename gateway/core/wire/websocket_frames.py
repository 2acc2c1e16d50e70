"""WebSocket frames (RFC 6455, section 5) without IO: bytes in, events out, in either role.

The rule: a `Decoder` holds what the peer has said and nothing else. `feed` takes whatever the socket gave, cut
anywhere, and returns the events that are whole. It never raises. A peer that breaks the protocol yields one
`ProtocolError` as the *last* element of that list, after the events that came before the fault, so nothing is lost or
out of order; its `code` is the close code to answer with. After a fault, as after a Close frame, the decoder is spent:
what still arrives is ignored, as the RFC asks.

Theory of operation. Nearly every read holds whole frames, so `feed` walks the bytes by offset and copies only payloads.
A short text of ASCII alone in a read, as clients send it, is known by its first two bytes. The bytes of an unfinished
frame are kept together with the length at which parsing can go on, so a frame cut into single bytes costs an append for
each and is parsed three times at most. A declared length is judged before its payload arrives. Text is checked as UTF-8
once per frame, in fragments by an incremental decoder: it fails at the frame that holds the bad byte. An idle decoder
owns no buffer. Masks are undone by one XOR of two integers, never byte by byte. No extension is spoken, so every
reserved bit is a fault.

The hot path: tens of thousands of clients send one literal heartbeat and nothing else. `is_heartbeat` knows the frame
from its bytes alone. XOR with the unmasked frame leaves two zero bytes and the mask six times over if, and only if, the
read was that frame: such a number equals itself shifted by one mask.
"""

from __future__ import annotations

from codecs import IncrementalDecoder, getincrementaldecoder
from typing import Final, NamedTuple

from gateway.core.wire.json_lines import ACK, HEARTBEAT, LIMIT

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

NORMAL: Final = 1000  # the purpose is fulfilled
BROKEN: Final = 1002  # frames against the protocol
UNSUPPORTED: Final = 1003  # a kind of data that is not taken
NO_CODE: Final = 1005  # stands for the code of a Close frame that carries none; never sent
NOT_UTF8: Final = 1007
TOO_BIG: Final = 1009

CONTROL_LIMIT: Final = 125
"""Bytes the payload of a control frame may have (RFC 6455, 5.5)."""

FRAGMENTS: Final = 128
"""Frames that one message may come in: empty ones would cost work without ever reaching the limit of bytes."""

_FINAL: Final = 0x80
_RESERVED: Final = 0x70
_MASKED: Final = 0x80
_SHORT_HEAD: Final = 6
"""Bytes of a short frame of a client before its payload."""
_SHORT_TEXTS: Final = [bytes((_FINAL | TEXT, _MASKED | size)) for size in range(CONTROL_LIMIT + 1)]
"""How a short text of a client in one frame begins, by its size."""
_CLOSE_CODES: Final = frozenset((1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014))
_Utf8: Final = getincrementaldecoder("utf-8")


class ProtocolError(Exception):
    """The peer broke the protocol: close with `code` (1002, 1007 or 1009); `detail` is for a programmer."""

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(f"{code} {detail}")
        self.code: Final = code
        self.detail: Final = detail


class Event(NamedTuple):
    """A whole message or control frame.

    `opcode` is TEXT, BINARY, CLOSE, PING or PONG. `payload` is its content, unmasked: valid UTF-8 if it is text, the
    reason (valid UTF-8) if it is a close. `code` is the close code, NO_CODE if the frame had none, 0 if it is no close.
    """

    opcode: int
    payload: bytes
    code: int = 0


class _Fragments:
    """A message whose last frame has not come."""

    __slots__ = ("count", "decoder", "opcode", "payload")

    def __init__(self, opcode: int) -> None:
        self.opcode = opcode
        self.count = 0
        self.payload = bytearray()
        self.decoder: IncrementalDecoder | None = _Utf8() if opcode == TEXT else None

    def add(self, payload: bytes, final: bool) -> None:
        """Appends one frame's payload.

        Raises UnicodeDecodeError as soon as text can no longer become UTF-8, ProtocolError for a frame too many.
        """
        self.count += 1
        if self.count > FRAGMENTS:
            raise ProtocolError(TOO_BIG, f"message in more than {FRAGMENTS} frames")
        if self.decoder is not None:
            self.decoder.decode(payload, final)
        self.payload += payload


class Decoder:
    """Makes events of one peer's frames.

    `masked` says which peer: True for a client's frames (a server requires the mask), False for a server's (a client
    refuses it). `limit` is what one message may have, in bytes, fragments together. `close_code` is that of the peer's
    Close frame, None before it.
    """

    __slots__ = ("_done", "_fragments", "_limit", "_masked", "_need", "_partial", "_short_limit", "close_code")

    def __init__(self, *, masked: bool = True, limit: int = LIMIT) -> None:
        self._masked = masked
        self._limit = limit
        self._short_limit = min(limit, CONTROL_LIMIT) if masked else -1
        self._partial: bytearray | None = None
        self._need = 0
        self._fragments: _Fragments | None = None
        self._done = False
        self.close_code: int | None = None

    @property
    def idle(self) -> bool:
        """Whether the next byte begins a frame that is not part of another message."""
        return self._partial is None and self._fragments is None and not self._done

    def feed(self, data: bytes) -> list[Event | ProtocolError]:
        """Return the events that `data` completes, in order; a fault of the peer is the last one. Raises nothing."""
        size = len(data) - _SHORT_HEAD
        if 0 <= size <= self._short_limit and data[:2] == _SHORT_TEXTS[size] and self.idle:
            payload = apply_mask(data[_SHORT_HEAD:], data[2:_SHORT_HEAD])
            if payload.isascii():
                return [Event(TEXT, payload)]
        events: list[Event | ProtocolError] = []
        if self._done:
            return events
        partial = self._partial
        if partial is not None:
            partial += data
            if len(partial) < self._need:
                return events
            data = bytes(partial)
            self._partial = None
        try:
            offset = self._read(data, events)
        except (ProtocolError, UnicodeDecodeError) as fault:
            self._done = True
            events.append(fault if isinstance(fault, ProtocolError) else ProtocolError(NOT_UTF8, fault.reason))
        if self._done:
            self._fragments = None
        elif offset < len(data):
            self._partial = bytearray(data[offset:])
        return events

    def _read(self, data: bytes, events: list[Event | ProtocolError]) -> int:
        """Append what the whole frames of `data` make. Return where the unfinished one starts; `_need` is its size."""
        offset = 0
        size = len(data)
        while size >= offset + 2:
            first = data[offset]
            start = offset + 2
            length = self._head(first, data[offset + 1])
            if length > CONTROL_LIMIT:
                start += 2 if length == 126 else 8
                if size < start:
                    self._need = start - offset
                    return offset
                length = _long(data[offset + 2 : start])
            if not first & 0x8:
                held = self._fragments
                if length + (0 if held is None else len(held.payload)) > self._limit:
                    raise ProtocolError(TOO_BIG, f"message above {self._limit} bytes")
            if self._masked:
                start += 4
            end = start + length
            if size < end:
                self._need = end - offset
                return offset
            payload = data[start:end]
            event = self._event(first, apply_mask(payload, data[start - 4 : start]) if self._masked else payload)
            offset = end
            if event is not None:
                events.append(event)
                if event.opcode == CLOSE:
                    self._done = True
                    self.close_code = event.code
                    return offset
        self._need = 2
        return offset

    def _head(self, first: int, second: int) -> int:
        """Return the seven-bit length of a frame. Raises `ProtocolError` for first bytes that may not stand here."""
        opcode = first & 0xF
        length = second & 0x7F
        if first & _RESERVED:
            raise ProtocolError(BROKEN, "reserved bits are set")
        if (second >= _MASKED) is not self._masked:
            raise ProtocolError(BROKEN, "frame is not masked" if self._masked else "frame is masked")
        if opcode > PONG or BINARY < opcode < CLOSE:
            raise ProtocolError(BROKEN, f"reserved opcode {opcode}")
        if opcode >= CLOSE:
            if first < _FINAL:
                raise ProtocolError(BROKEN, "control frame is fragmented")
            if length > CONTROL_LIMIT:
                raise ProtocolError(BROKEN, f"control frame above {CONTROL_LIMIT} bytes")
        elif (opcode == CONTINUATION) is (self._fragments is None):
            raise ProtocolError(BROKEN, "continuation of nothing" if opcode == CONTINUATION else "message in a message")
        return length

    def _event(self, first: int, payload: bytes) -> Event | None:
        """Return the event that a whole frame completes; None where more fragments must follow."""
        opcode = first & 0xF
        if opcode == CLOSE:
            return _closing(payload)
        if opcode > CLOSE:
            return Event(opcode, payload)
        final = first >= _FINAL
        if final and opcode:
            if opcode == TEXT:
                payload.decode()
            return Event(opcode, payload)
        fragments = self._fragments
        if fragments is None:
            fragments = self._fragments = _Fragments(opcode)
        fragments.add(payload, final)
        if not final:
            return None
        self._fragments = None
        return Event(fragments.opcode, bytes(fragments.payload))


def _long(field: bytes) -> int:
    """Return an extended length. Raises `ProtocolError` where a shorter form would hold it (RFC 6455, 5.2)."""
    length = int.from_bytes(field)
    if length < (126 if len(field) == 2 else 1 << 16):
        raise ProtocolError(BROKEN, "length is not in its shortest form")
    if length >> 63:
        raise ProtocolError(BROKEN, "length is negative")
    return length


def _closing(payload: bytes) -> Event:
    """A Close frame's event (RFC 6455, 5.5.1 and 7.4; 1012 to 1014 are IANA's additions)."""
    if not payload:
        return Event(CLOSE, b"", NO_CODE)
    code = int.from_bytes(payload[:2])
    if len(payload) == 1 or not (code in _CLOSE_CODES or 3000 <= code <= 4999):
        raise ProtocolError(BROKEN, "close code is not valid")
    reason = payload[2:]
    reason.decode()
    return Event(CLOSE, reason, code)


def apply_mask(payload: bytes, mask: bytes) -> bytes:
    """`payload` with the four bytes of `mask` laid over it, or taken off again."""
    size = len(payload)
    key = (mask * (size + 3 >> 2))[:size]
    return (int.from_bytes(payload) ^ int.from_bytes(key)).to_bytes(size)


def encode(opcode: int, payload: bytes, mask: bytes = b"", *, final: bool = True) -> bytes:
    """Return one frame. `mask` is four random bytes in the client's role, nothing in the server's.

    `final=False` begins or goes on with a fragmented message, whose later frames are CONTINUATION.
    """
    size = len(payload)
    first = opcode | _FINAL if final else opcode
    bit = _MASKED if mask else 0
    if size <= 125:
        head = bytes((first, bit | size))
    elif size < 1 << 16:
        head = bytes((first, bit | 126)) + size.to_bytes(2)
    else:
        head = bytes((first, bit | 127)) + size.to_bytes(8)
    return head + mask + apply_mask(payload, mask) if mask else head + payload


def text(payload: bytes, mask: bytes = b"") -> bytes:
    """Return a text message in one frame; `payload` is UTF-8."""
    return encode(TEXT, payload, mask)


def binary(payload: bytes, mask: bytes = b"") -> bytes:
    """Return a binary message in one frame."""
    return encode(BINARY, payload, mask)


def ping(payload: bytes = b"", mask: bytes = b"") -> bytes:
    """Return a Ping; `payload` is at most CONTROL_LIMIT bytes."""
    return encode(PING, payload, mask)


def pong(payload: bytes = b"", mask: bytes = b"") -> bytes:
    """Return a Pong; it carries the payload of the Ping it answers."""
    return encode(PONG, payload, mask)


def close(code: int = NORMAL, reason: str = "", mask: bytes = b"") -> bytes:
    """Return a Close frame; NO_CODE makes it empty. A reason above 123 bytes of UTF-8 is cut between characters."""
    if code == NO_CODE:
        return encode(CLOSE, b"", mask)
    words = reason.encode()[: CONTROL_LIMIT - 2].decode(errors="ignore").encode()
    return encode(CLOSE, code.to_bytes(2) + words, mask)


ACK_FRAME: Final = text(ACK)
"""What answers a literal heartbeat."""
BEAT_SIZE: Final = 26
"""Bytes of the masked frame that holds the literal HEARTBEAT."""
BEAT_PLAIN: Final = int.from_bytes(encode(TEXT, HEARTBEAT, bytes(4)))
"""That frame under a mask of zeros, as a big-endian integer."""
BEAT_LOW: Final = (1 << 160) - 1
"""The bits of five masks: those that remain when a sixth is shifted out."""


def is_heartbeat(data: bytes) -> bool:
    """Return whether one read, made by an `idle` decoder, is a masked frame of HEARTBEAT.

    Connections have this expression in their own code, which saves a call.
    """
    return len(data) == BEAT_SIZE and (key := int.from_bytes(data) ^ BEAT_PLAIN) >> 32 == key & BEAT_LOW
