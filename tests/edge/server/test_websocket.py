"""Frames: a client's connection over WebSocket, from the HTTP request to the Close frame."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from itertools import product

import pytest

from config.settings import Settings
from gateway.core.admission.requests import SessionState
from gateway.core.wire.json_lines import HEARTBEAT
from gateway.core.wire.websocket_frames import BEAT_SIZE, Decoder, Event, encode
from gateway.edge.server.connection import Connection, Shared
from gateway.edge.server.limits import Limits
from gateway.edge.server.timer_wheel import TimerWheel
from gateway.edge.server.websocket import WebSocketConnection
from tests.conftest import House, Serve, until
from tests.edge.conftest import Connect
from tests.edge.raw import (
    BEAT,
    BINARY,
    CLOSE,
    CONTINUATION,
    HELLO,
    KEY,
    PING,
    PONG,
    TEXT,
    Frame,
    WebSocketPeer,
    frame,
    request,
    send_little,
)
from tests.wire_client import WebSocketWire

pytestmark = pytest.mark.usefixtures("each_transport")

REFUSALS = {
    "another path": (request("/chat"), 404),
    "another method": (request(method="POST"), 405),
    "another version": (request(Sec_WebSocket_Version="8"), 426),
    "no upgrade": (request(Upgrade=None), 426),
    "no key": (request(Sec_WebSocket_Key=None), 400),
    "a short key": (request(Sec_WebSocket_Key="c2hvcnQ="), 400),
    "another site's page": (request(Origin="https://evil.example"), 403),
    "an oversized head": (request(X_Long="x" * 9000), 431),
    "no HTTP": (HELLO + b"\n", 400),
}


async def heard(house: House, size: int) -> WebSocketConnection:
    """The one connection, once the gateway has read so many bytes of its request."""
    await until(lambda: bool(house.runtime.websocket.connections))
    (connection,) = house.runtime.websocket.connections
    assert isinstance(connection, WebSocketConnection)
    await until(lambda: connection.upgrade is not None and len(connection.upgrade._head) == size)
    return connection


async def test_the_handshake_proves_that_the_key_was_read(serve: Serve, peer: Connect) -> None:
    house = await serve()
    client: WebSocketPeer = await peer(house, "websocket", bare=True)
    head = await client.upgrade(Sec_WebSocket_Protocol="chat, tallygate.v1")
    proof = base64.b64encode(hashlib.sha1((KEY + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())  # noqa: S324 - RFC 6455
    assert head.startswith("HTTP/1.1 101 ")
    assert f"Sec-WebSocket-Accept: {proof.decode()}" in head
    assert "Sec-WebSocket-Protocol: tallygate.v1" in head


async def test_a_client_without_a_subprotocol_is_taken_too(serve: Serve, peer: Connect) -> None:
    house = await serve()
    client: WebSocketPeer = await peer(house, "websocket", bare=True)
    assert "Sec-WebSocket-Protocol" not in await client.upgrade()


@pytest.mark.parametrize("fault", REFUSALS)
async def test_a_bad_request_is_answered_with_its_status(fault: str, serve: Serve, peer: Connect) -> None:
    house = await serve()
    client: WebSocketPeer = await peer(house, "websocket", bare=True)
    sent, status = REFUSALS[fault]
    await client.send(sent)
    assert (await client.head()).startswith(f"HTTP/1.1 {status} ")
    await client.rest()
    await client.close()
    await until(lambda: not house.runtime.websocket.connections)
    assert house.runtime.websocket.closed == {"rejected": 1}


@pytest.mark.parametrize(
    ("allowed", "origin", "status"),
    [
        ("[]", "http://localhost", 101),
        ("[]", "https://evil.example", 403),
        ('["https://app.example"]', "https://app.example", 101),
        ('["https://app.example"]', "http://localhost", 403),
        ('["*"]', "https://anywhere.example", 101),
    ],
)
async def test_the_list_of_origins_decides_whose_pages_may_connect(
    allowed: str, origin: str, status: int, serve: Serve, peer: Connect
) -> None:
    house = await serve(listen__allowed_origins=allowed)
    client: WebSocketPeer = await peer(house, "websocket", bare=True)
    assert (await client.upgrade(Origin=origin)).startswith(f"HTTP/1.1 {status} ")


@pytest.mark.parametrize(
    ("allowed", "status"), [("[]", 403), ('["http://evil.example:4308"]', 101), ('["http://elsewhere"]', 403)]
)
async def test_a_name_of_the_web_that_was_made_to_mean_this_machine_opens_nothing_to_its_pages(
    allowed: str, status: int, serve: Serve, peer: Connect
) -> None:
    house = await serve(listen__allowed_origins=allowed)
    client: WebSocketPeer = await peer(house, "websocket", bare=True)
    head = await client.upgrade(Host="evil.example:4308", Origin="http://evil.example:4308")
    assert head.startswith(f"HTTP/1.1 {status} ")


async def test_a_page_that_came_through_a_proxy_has_its_own_name_for_the_host(serve: Serve, peer: Connect) -> None:
    house = await serve(listen__proxy_protocol_from='["127.0.0.1/32"]')
    client: WebSocketPeer = await peer(house, "websocket", bare=True)
    await client.send(b"PROXY TCP4 203.0.113.7 198.51.100.1 40000 4308\r\n")
    head = await client.upgrade(Host="gate.example", Origin="https://gate.example")
    assert head.startswith("HTTP/1.1 101 ")


async def test_the_first_frames_may_come_with_the_request(serve: Serve, peer: Connect) -> None:
    house = await serve()
    client: WebSocketPeer = await peer(house, "websocket", bare=True)
    await client.send(request() + frame(TEXT, HELLO) + frame(TEXT, BEAT))
    assert " 101 " in await client.head()
    assert (await client.hear())["type"] == "welcome"
    assert await client.hear() == {"type": "ack"}


async def test_a_literal_heartbeat_is_acknowledged_literally(serve: Serve, greet: Connect) -> None:
    house = await serve()
    client: WebSocketPeer = await greet(house, "websocket")
    await client.say(BEAT)
    assert await client.frame() == Frame(TEXT, b'{"type":"ack"}')
    assert house.runtime.websocket.heartbeats == 1


class Silent:
    """An owner that is told of a connection, and a transport that keeps what is written to it."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def received(self, connection: Connection, payload: bytes) -> None: ...
    def flooded(self, connection: Connection, *, again: bool) -> None: ...
    def expired(self, connection: Connection, cause: str) -> None: ...
    def hung_up(self, connection: Connection, cause: str) -> None: ...
    def ended(self, connection: Connection, cause: str) -> None: ...
    def write(self, data: bytes) -> None:
        self.written.append(data)


def changed(frame: bytes, start: int, period: int, change: int) -> bytes:
    """A frame with the same change in one byte of each period: what a comparison of the wrong bytes does not see."""
    data = bytearray(frame)
    for place in range(start, len(frame), period):
        data[place] ^= change
    return bytes(data)


def test_the_short_way_of_a_heartbeat_is_taken_for_a_heartbeat_and_for_nothing_else() -> None:
    owner = Silent()
    shared: Shared[Connection] = Shared("websocket", owner, TimerWheel(), Limits.of(Settings()))
    connection = WebSocketConnection(shared, "192.0.2.1")
    connection.transport = owner  # type: ignore[assignment]  # it is written to, and nothing else
    connection.upgrade = None  # and without a decoder: what is no heartbeat goes nowhere
    connection.state, connection.ready = SessionState.AWAKE, True
    expected = 0
    for mask in (bytes(4), b"\x12\xf4\x56\x78"):
        frame = encode(TEXT, HEARTBEAT, mask)
        for period, change in product((1, 2, 3, 4, 6, 8, 12, 16, BEAT_SIZE), (0, 1, 0x20, 0x80, 0xFF)):
            for start in range(BEAT_SIZE):
                data = changed(frame, start, period, change)
                expected += Decoder().feed(data) == [Event(TEXT, HEARTBEAT)]
                shared.tick += 1
                connection.data_received(data)
                assert shared.heartbeats == expected, data
    assert len(owner.written) == expected


async def test_the_hello_deadline_includes_the_handshake_and_drips_do_not_extend_it(
    serve: Serve, peer: Connect
) -> None:
    house = await serve()
    house.tick_by_hand()
    client: WebSocketPeer = await peer(house, "websocket", bare=True)
    for byte in range(19):
        await client.send(request()[byte : byte + 1])
        connection = await heard(house, byte + 1)
        house.runtime.advance(1)
        assert connection.cause is None
    house.runtime.advance(1)
    assert (await client.head()).startswith("HTTP/1.1 408 ")
    await client.rest()
    await client.close()
    await until(lambda: not house.runtime.websocket.connections)
    assert house.runtime.websocket.closed == {"hello_timeout": 1}


async def test_pings_do_not_replace_hello(serve: Serve, peer: Connect) -> None:
    house = await serve()
    house.tick_by_hand()
    client: WebSocketPeer = await peer(house, "websocket")
    house.runtime.advance(19)
    await client.send(frame(PING, b"here"))
    assert await client.frame() == Frame(PONG, b"here")
    house.runtime.advance(1)
    heard = await client.frames()
    assert heard[0].message["reason"] == "hello_timeout"
    assert heard[1].code == 4408


@pytest.mark.parametrize(
    "sign",
    [frame(PING, b""), frame(PONG, b"x"), frame(TEXT, BEAT), frame(TEXT, b'{"type":"x"}')],
    ids=["ping", "pong", "heartbeat", "another message"],
)
async def test_a_ping_or_pong_or_any_message_proves_life(sign: bytes, serve: Serve, greet: Connect) -> None:
    house = await serve(heartbeat__interval="30s", heartbeat__timeout="75s")
    client: WebSocketPeer = await greet(house, "websocket")
    (connection,) = house.runtime.websocket.connections
    house.tick_by_hand()
    house.runtime.advance(299)
    await client.send(sign)
    await until(lambda: connection.last_heard_tick == house.runtime.timer_wheel.tick)
    house.runtime.advance(299)
    assert connection.cause is None
    house.runtime.advance(1)
    assert connection.cause == "heartbeat_timeout"


async def test_a_message_of_4096_bytes_is_taken_and_one_more_byte_closes_with_1009(
    serve: Serve, greet: Connect
) -> None:
    house = await serve()
    client: WebSocketPeer = await greet(house, "websocket")
    message = json.dumps({"type": "heartbeat", "pad": ""}).encode()
    await client.say(message[:-2] + b"x" * (4096 - len(message)) + message[-2:])
    assert await client.hear() == {"type": "ack"}
    await client.say(message[:-2] + b"x" * (4097 - len(message)) + message[-2:])
    heard = await client.frames()
    assert heard[0].message["code"] == "too_long"
    assert heard[-1].code == 1009
    await until(lambda: not house.runtime.websocket.connections)
    assert house.runtime.websocket.closed == {"protocol_error": 1}


FAULTS = {
    "no mask": (frame(TEXT, BEAT, masked=False), 1002),
    "a reserved bit": (frame(TEXT, BEAT, reserved=0x40), 1002),
    "a reserved opcode": (frame(0x3, b""), 1002),
    "a continuation of nothing": (frame(CONTINUATION, b""), 1002),
    "a ping in pieces": (frame(PING, b"", final=False), 1002),
    "a huge length": (bytes([0x81, 0xFF]) + (1 << 62).to_bytes(8), 1009),
    "a negative length": (bytes([0x81, 0xFF]) + b"\xff" * 8, 1002),
    "bytes that are no text": (frame(TEXT, b"\xff"), 1007),
    "fragments above the limit": (frame(TEXT, b"x" * 4000, final=False) + frame(CONTINUATION, b"x" * 4000), 1009),
    "more fragments than any message needs": (
        frame(TEXT, b"", final=False) + frame(CONTINUATION, b"", final=False) * 128,
        1009,
    ),
    "a binary message": (frame(BINARY, BEAT), 1003),
    "text that is no message": (frame(TEXT, b"nonsense"), 4400),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_has_its_error_and_its_close_code(fault: str, serve: Serve, greet: Connect) -> None:
    house = await serve()
    client: WebSocketPeer = await greet(house, "websocket")
    sent, code = FAULTS[fault]
    await client.send(sent)
    heard = await client.frames()
    assert [each.opcode for each in heard] == [TEXT, CLOSE]
    assert heard[0].message["code"] == ("too_long" if code == 1009 else "malformed")
    assert heard[1].code == code
    await until(lambda: not house.runtime.websocket.connections)
    assert house.runtime.websocket.closed == {"protocol_error": 1}


async def test_a_close_frame_is_answered_with_its_code(serve: Serve, greet: Connect) -> None:
    house = await serve()
    client: WebSocketPeer = await greet(house, "websocket")
    await client.send(frame(CLOSE, (1001).to_bytes(2) + b"tab closed"))
    (last,) = await client.frames()
    assert (last.opcode, last.code) == (CLOSE, 1001)
    await until(lambda: not house.runtime.websocket.connections)
    assert house.runtime.websocket.closed == {"closed": 1}


async def test_bye_closes_with_1000(serve: Serve) -> None:
    house = await serve()
    wire = await house.welcomed("websocket")
    assert isinstance(wire, WebSocketWire)
    await wire.say("bye")
    assert await wire.gone() == []
    assert wire.code == 1000


async def test_above_the_burst_frames_are_dropped_and_going_on_closes_with_4429(serve: Serve, greet: Connect) -> None:
    house = await serve(listen__message_burst=20)
    client: WebSocketPeer = await greet(house, "websocket")
    await client.send(frame(TEXT, BEAT) * 100)
    await until(lambda: house.runtime.websocket.heartbeats > 0)
    await client.send(frame(TEXT, BEAT) * 100)
    heard = await client.frames()
    assert heard[-2].message["code"] == "too_fast"
    assert heard[-1].code == 4429
    await until(lambda: not house.runtime.websocket.connections)
    assert house.runtime.websocket.closed == {"too_fast": 1}


async def test_a_flood_of_pings_is_too_fast_as_well(serve: Serve, greet: Connect) -> None:
    house = await serve(listen__message_burst=20)
    client: WebSocketPeer = await greet(house, "websocket")
    (connection,) = house.runtime.websocket.connections
    for _ in range(3):
        await client.send(frame(PING, b"x" * 125) * 100)
    await until(lambda: connection.cause is not None)
    assert connection.cause == "too_fast"


async def test_a_close_frame_behind_a_flood_is_seen(serve: Serve, greet: Connect) -> None:
    house = await serve(listen__message_burst=20)
    client: WebSocketPeer = await greet(house, "websocket")
    await client.send(frame(TEXT, BEAT) * 30 + frame(CLOSE, (1000).to_bytes(2)))
    heard = await client.frames()
    assert heard[-2].message["code"] == "too_fast"
    assert heard[-1].code == 1000
    await until(lambda: not house.runtime.websocket.connections)
    assert house.runtime.websocket.closed == {"closed": 1}


async def test_a_client_that_does_not_read_is_cut_off(serve: Serve, greet: Connect) -> None:
    house = await serve(listen__message_rate=0, listen__outbound_limit=4096)
    send_little(house.runtime.websocket)
    client: WebSocketPeer = await greet(house, "websocket", room=4096)
    (connection,) = house.runtime.websocket.connections
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport can
    beat = frame(TEXT, json.dumps({"type": "heartbeat", "seq": int("9" * 4000)}).encode())
    try:
        while connection.cause is None:
            await client.send(beat)
            await asyncio.sleep(0)  # it is read, and answered
    except ConnectionError:
        assert connection.cause is not None
    assert connection.cause == "slow_consumer"
    await until(lambda: not house.runtime.websocket.connections)
    assert house.runtime.websocket.closed == {"slow_consumer": 1}
