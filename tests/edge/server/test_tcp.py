"""Lines: a client's connection over TCP, its limits and its clock."""

from __future__ import annotations

import asyncio
import json
import ssl

import pytest

from gateway.edge.server.limits import LINGER_TICKS
from gateway.edge.server.tcp import TcpConnection
from tests.conftest import House, Serve, until
from tests.edge.conftest import CERTIFICATE, PRIVATE_KEY, Connect
from tests.edge.raw import BEAT, HELLO, Peer, send_little
from tests.wire_client import TcpWire

pytestmark = pytest.mark.usefixtures("each_transport")

TICKS = 4
"""Ticks of a second."""


def padded(size: int) -> bytes:
    """A heartbeat of exactly `size` bytes."""
    empty = len(json.dumps({"type": "heartbeat", "pad": ""}))
    return json.dumps({"type": "heartbeat", "pad": "x" * (size - empty)}).encode()


async def heard(house: House, beginning: bytes) -> TcpConnection:
    """The one connection, once the gateway has read this beginning of a line."""
    await until(lambda: bool(house.runtime.tcp.connections))
    (connection,) = house.runtime.tcp.connections
    assert isinstance(connection, TcpConnection)
    await until(lambda: connection.tail == beginning)
    return connection


async def test_a_literal_heartbeat_is_acknowledged_literally(serve: Serve, greet: Connect) -> None:
    house = await serve()
    client = await greet(house)
    await client.send(BEAT + b"\n")
    assert await client.reader.readline() == b'{"type":"ack"}\n'
    assert house.runtime.tcp.heartbeats == 1


@pytest.mark.parametrize("beat", [BEAT + b"\r\n", b'{ "type" : "heartbeat" }\n', b'{"type":"heartbeat","more":1}\n'])
async def test_a_heartbeat_written_otherwise_is_one_too(beat: bytes, serve: Serve, greet: Connect) -> None:
    house = await serve()
    client = await greet(house)
    await client.send(beat)
    assert await client.hear() == {"type": "ack"}
    assert house.runtime.tcp.heartbeats == 1


async def test_a_heartbeat_cut_anywhere_is_one_heartbeat(serve: Serve, greet: Connect) -> None:
    house = await serve(listen__message_burst=100)
    client = await greet(house)
    line = BEAT + b"\n"
    for cut in range(1, len(line)):
        await client.send(line[:cut])
        await heard(house, line[:cut])
        await client.send(line[cut:])
        assert await client.hear() == {"type": "ack"}
    assert house.runtime.tcp.heartbeats == len(line) - 1


async def test_several_messages_in_one_read_are_answered_in_order(serve: Serve, peer: Connect) -> None:
    house = await serve()
    client = await peer(house)
    await client.send(
        HELLO + b"\n" + BEAT + b'\n{"type":"heartbeat","seq":2}\n{"type":"nonsense","id":3}\n' + BEAT + b"\n"
    )
    answers = [await client.hear() for _ in range(5)]
    assert [answer["type"] for answer in answers] == ["welcome", "ack", "ack", "error", "ack"]
    assert answers[2]["seq"] == 2
    assert (answers[3]["code"], answers[3]["id"]) == ("unknown_type", 3)


async def test_a_message_of_4096_bytes_is_taken_and_one_more_byte_closes(serve: Serve, greet: Connect) -> None:
    house = await serve()
    client = await greet(house)
    for end in (b"\n", b"\r\n"):
        await client.send(padded(4096) + end)
        assert await client.hear() == {"type": "ack"}
    await client.send(padded(4097) + b"\n")
    (error,) = await client.gone()
    assert (error["type"], error["code"]) == ("error", "too_long")
    await until(lambda: not house.runtime.tcp.connections)
    assert house.runtime.tcp.closed == {"protocol_error": 1}


async def test_a_line_without_an_end_is_too_long_before_it_ends(serve: Serve, greet: Connect) -> None:
    house = await serve()
    client = await greet(house)
    await client.send(b"x" * 4097)
    (error,) = await client.gone()
    assert error["code"] == "too_long"


@pytest.mark.parametrize(
    "line", [b"", b"nonsense", b"[1]", b'{"type":"hello","type":"hello"}', b"\xff", b'{"a":NaN}', b'"\\ud800"']
)
async def test_what_is_no_message_closes(line: bytes, serve: Serve, greet: Connect) -> None:
    house = await serve()
    client = await greet(house)
    await client.say(line)
    (error,) = await client.gone()
    assert error["code"] == "malformed"
    await until(lambda: not house.runtime.tcp.connections)
    assert house.runtime.tcp.closed == {"protocol_error": 1}


@pytest.mark.parametrize("word", ["heartbeat", "join", "bye", "nonsense"])
async def test_the_first_message_is_hello(word: str, serve: Serve, peer: Connect) -> None:
    house = await serve()
    client = await peer(house)
    await client.say(json.dumps({"type": word, "conference": "c", "id": 9}).encode())
    (error,) = await client.gone()
    assert (error["code"], error["id"]) == ("hello_expected", 9)


async def test_a_hello_with_a_bad_field_may_be_said_again(serve: Serve, peer: Connect) -> None:
    house = await serve()
    client = await peer(house)
    await client.say(b'{"type":"hello","protocol":1,"account":" ann"}')
    assert (await client.hear())["code"] == "bad_field"
    await client.say(HELLO)
    assert (await client.hear())["type"] == "welcome"


async def test_another_protocol_is_refused(serve: Serve, peer: Connect) -> None:
    house = await serve()
    client = await peer(house)
    await client.say(b'{"type":"hello","protocol":2}')
    (error,) = await client.gone()
    assert error["code"] == "unsupported_protocol"


async def test_the_hello_deadline_is_not_extended_by_a_byte_now_and_then(serve: Serve, peer: Connect) -> None:
    house = await serve()
    house.tick_by_hand()
    client = await peer(house)
    for place in range(19):
        await client.send(HELLO[place : place + 1])
        connection = await heard(house, HELLO[: place + 1])
        house.runtime.advance(1)
        assert connection.cause is None
    house.runtime.advance(1)
    (closing,) = await client.gone()
    assert closing == {"type": "closing", "reason": "hello_timeout", "code": 4408, "reconnect": True}
    await until(lambda: not house.runtime.tcp.connections)
    assert house.runtime.tcp.closed == {"hello_timeout": 1}


async def test_within_the_burst_pipelined_messages_are_all_answered(serve: Serve, greet: Connect) -> None:
    house = await serve()
    house.tick_by_hand()
    client = await greet(house)
    house.runtime.advance(1)
    await client.send((BEAT + b"\n") * 50)
    assert [await client.hear() for _ in range(50)] == [{"type": "ack"}] * 50


async def test_above_the_burst_messages_are_dropped_with_one_error(serve: Serve, greet: Connect) -> None:
    house = await serve(listen__message_burst=20)
    house.tick_by_hand()
    client = await greet(house)
    house.runtime.advance(1)
    await client.send((BEAT + b"\n") * 30)
    heard = [await client.hear() for _ in range(21)]
    assert heard[:20] == [{"type": "ack"}] * 20
    assert (heard[20]["type"], heard[20]["code"]) == ("error", "too_fast")
    house.runtime.advance(2 * TICKS)
    await client.say(b'{"type":"heartbeat","seq":1}')
    assert await client.hear() == {"type": "ack", "seq": 1}


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize(
    "line", [BEAT, b'{"type":"heartbeat","seq":1}', b'{"type":"leave","conference":"c"}', b"nonsense"]
)
@pytest.mark.parametrize("cut", [False, True])
async def test_a_message_above_the_burst_that_comes_alone_is_dropped_with_an_error_too(
    cut: bool, line: bytes, end: bytes, serve: Serve, greet: Connect
) -> None:
    house = await serve(listen__message_burst=3)
    house.tick_by_hand()
    client = await greet(house)
    house.runtime.advance(1)
    for seq in range(3):
        await client.say(json.dumps({"type": "heartbeat", "seq": seq}).encode())
        assert await client.hear() == {"type": "ack", "seq": seq}
    if cut:
        await client.send(line[:5])
        await heard(house, line[:5])
    await client.send(line[5 if cut else 0 :] + end)
    told = await client.hear()
    assert (told["type"], told["code"]) == ("error", "too_fast")
    house.runtime.advance(TICKS)
    await client.say(BEAT)
    assert await client.hear() == {"type": "ack"}


async def test_a_client_that_goes_on_too_fast_is_sent_away_and_an_honest_one_is_not(
    serve: Serve, greet: Connect
) -> None:
    house = await serve(listen__message_burst=20)
    honest, flood = await greet(house), await greet(house)
    await flood.send((BEAT + b"\n") * 200)
    await until(lambda: house.runtime.tcp.heartbeats > 0)
    await flood.send((BEAT + b"\n") * 200)
    heard = await flood.gone()
    assert heard[-1]["code"] == "too_fast"
    await until(lambda: len(house.runtime.tcp.connections) == 1)
    assert house.runtime.tcp.closed == {"too_fast": 1}
    await honest.say(BEAT)
    assert await honest.hear() == {"type": "ack"}


async def test_each_message_above_the_burst_is_charged_once(serve: Serve, greet: Connect) -> None:
    house = await serve(listen__message_burst=10)
    house.tick_by_hand()
    client = await greet(house)
    house.runtime.advance(1)
    (connection,) = house.runtime.tcp.connections
    for number in range(20):
        await client.say(b'{"type":"heartbeat","seq":1}')
        await until(lambda: connection.credit == 9 - number)  # noqa: B023
    assert connection.cause is None
    await client.say(b'{"type":"heartbeat","seq":1}')
    assert (await client.gone())[-1]["detail"] == "still too many messages"


async def test_the_rate_can_be_kept_up_forever(serve: Serve, greet: Connect) -> None:
    house = await serve(listen__message_burst=5, listen__message_rate=8)
    house.tick_by_hand()
    client = await greet(house)
    for _ in range(40):
        house.runtime.advance(1)
        await client.send((BEAT + b"\n") * 2)
        assert [await client.hear() for _ in range(2)] == [{"type": "ack"}] * 2


async def test_five_times_the_rate_is_held_to_the_rate_and_then_sent_away(serve: Serve, greet: Connect) -> None:
    rate, burst, seconds = 8, 20, 3
    house = await serve(listen__message_burst=burst, listen__message_rate=rate)
    house.tick_by_hand()
    client = await greet(house)
    (connection,) = house.runtime.tcp.connections
    for _ in range(seconds * TICKS):
        house.runtime.advance(1)
        await client.send((BEAT + b"\n") * (5 * rate // TICKS))
        await until(lambda: connection.credited == house.runtime.timer_wheel.tick or connection.cause is not None)
    assert connection.cause == "too_fast"
    assert house.runtime.tcp.heartbeats <= burst + seconds * rate
    heard = await client.gone()
    assert [each["code"] for each in heard if each["type"] == "error"] == ["too_fast", "too_fast"]


@pytest.mark.parametrize("reloaded", [False, True])
async def test_without_a_rate_nothing_is_too_fast(reloaded: bool, serve: Serve, greet: Connect) -> None:
    house = await serve(listen__message_rate=10 if reloaded else 0, listen__message_burst=5)
    client: Peer = await greet(house)
    if reloaded:
        other = await serve(listen__message_rate=0, listen__message_burst=5)
        house.gateway.reload(other.gateway.settings)
    await client.send((BEAT + b"\n") * 500)
    assert [await client.hear() for _ in range(500)] == [{"type": "ack"}] * 500


async def test_a_client_that_does_not_read_is_cut_off(serve: Serve, greet: Connect) -> None:
    house = await serve(listen__message_rate=0, listen__outbound_limit=4096)
    send_little(house.runtime.tcp)
    client: Peer = await greet(house, room=4096)
    (connection,) = house.runtime.tcp.connections
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport can
    beat = json.dumps({"type": "heartbeat", "seq": int("9" * 4000)}).encode() + b"\n"
    heaviest = 0
    try:
        while connection.cause is None:
            await client.send(beat)
            await asyncio.sleep(0)  # it is read, and answered
            heaviest = max(heaviest, connection.transport.get_write_buffer_size())
    except ConnectionError:
        assert connection.cause is not None
    assert connection.cause == "slow_consumer"
    assert heaviest <= 4096
    await until(lambda: not house.runtime.tcp.connections)
    assert house.runtime.tcp.closed == {"slow_consumer": 1}
    assert len(house.runtime.state.sessions) == 0


async def test_a_client_that_does_not_read_over_tls_is_cut_off(
    serve: Serve, greet: Connect, trust: ssl.SSLContext
) -> None:
    pair = {"listen__tls_certificate": CERTIFICATE, "listen__tls_key": PRIVATE_KEY}
    house = await serve(listen__message_rate=0, listen__outbound_limit=4096, **pair)
    send_little(house.runtime.tcp)
    client: Peer = await greet(house, tls=trust, room=4096)
    (connection,) = house.runtime.tcp.connections
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport can
    beat = json.dumps({"type": "heartbeat", "seq": int("9" * 4000)}).encode() + b"\n"
    try:
        while connection.cause is None:
            await client.send(beat)
            await asyncio.sleep(0)  # it is read, and answered
    except ConnectionError:
        assert connection.cause is not None
    assert connection.cause == "slow_consumer"
    await until(lambda: not house.runtime.tcp.connections)
    client.writer.transport.abort()


async def test_a_client_that_shuts_its_half_and_does_not_read_is_held_for_the_linger_only(
    serve: Serve, greet: Connect
) -> None:
    house = await serve(listen__message_rate=0, listen__outbound_limit=64 << 20)
    house.tick_by_hand()
    send_little(house.runtime.tcp)
    client: Peer = await greet(house, room=4096)
    (connection,) = house.runtime.tcp.connections
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport can
    beat = json.dumps({"type": "heartbeat", "seq": int("9" * 4000)}).encode() + b"\n"
    while not connection.transport.get_write_buffer_size():
        await client.send(beat)
        await asyncio.sleep(0)  # it is read, and answered
    client.writer.write_eof()
    await until(lambda: connection.cause == "closed")
    assert len(house.runtime.state.sessions) == 0
    assert house.runtime.tcp.connections.held == 1
    house.runtime.advance(LINGER_TICKS + 2)
    await until(lambda: not house.runtime.tcp.connections.held)
    assert not len(house.runtime.timer_wheel)


async def test_the_last_message_arrives_though_the_client_goes_on_sending(serve: Serve) -> None:
    house = await serve()
    wire = await house.welcomed()
    assert isinstance(wire, TcpWire)
    wire.writer.write(b'{"type":"bye"}\n' + (BEAT + b"\n") * 2000)
    assert await wire.gone() == []
    assert house.runtime.tcp.heartbeats == 0


async def test_a_client_that_never_closes_its_half_is_aborted_after_the_linger(serve: Serve, greet: Connect) -> None:
    house = await serve()
    house.tick_by_hand()
    client = await greet(house)
    await client.say(b'{"type":"bye"}')
    assert await client.rest() == b""
    assert len(house.runtime.tcp.connections) == 1
    house.runtime.advance(LINGER_TICKS + 2)
    await until(lambda: not house.runtime.tcp.connections)
    assert house.runtime.tcp.closed == {"bye": 1}
