"""Hostile peers at both doors, while honest clients beat: none of those misses an answer, and nothing is left behind.

An attack is a generator that does one round of harm at a time. After each round every honest client must get its
acknowledgment, and what the gateway holds for the attackers must stay within what a connection may cost.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.core.wire import json_lines
from gateway.edge.server.runtime import Runtime
from tests.conftest import House, Serve, until
from tests.edge.raw import BEAT, CONTINUATION, HELLO, PING, TEXT, Peer, WebSocketPeer, frame, request
from tests.wire_client import Wire

pytestmark = pytest.mark.usefixtures("each_transport")

ROUNDS = 4
CROWD = 20
"""Attackers of a round."""
HONEST = 10
"""Honest clients at each door."""
OUTBOUND = 8192
GROWTH = 24 << 20
"""Bytes that the process may grow in a test, clients and all."""
PAGE = resource.getpagesize()

Attack = Callable[[House, contextlib.AsyncExitStack], AsyncIterator[None]]


async def arrive(house: House, stack: contextlib.AsyncExitStack, transport: str, **options: Any) -> Any:
    """An attacker at a door; at the WebSocket door it has not said a word."""
    kind, port = (Peer, house.tcp) if transport == "tcp" else (WebSocketPeer, house.websocket)
    return await stack.enter_async_context(await kind.to(port, **options))


async def welcomed(house: House, stack: contextlib.AsyncExitStack, transport: str, **options: Any) -> Any:
    """An attacker that was polite so far."""
    attacker = await arrive(house, stack, transport, **options)
    if isinstance(attacker, WebSocketPeer):
        await attacker.upgrade()
    await attacker.say(HELLO)
    assert (await attacker.hear())["type"] == "welcome"
    return attacker


async def shout(attacker: Peer, data: bytes) -> None:
    """Send, whether the gateway still listens or not."""
    with contextlib.suppress(ConnectionError):
        await attacker.send(data)


def sending(transport: str, data: bytes, *, greeted: bool) -> Attack:
    """An attack of clients that send these bytes."""

    async def attack(house: House, stack: contextlib.AsyncExitStack) -> AsyncIterator[None]:
        for _ in range(ROUNDS):
            for _ in range(CROWD):
                attacker = await (welcomed if greeted else arrive)(house, stack, transport)
                await shout(attacker, data)
            yield

    return attack


async def half_open(house: House, stack: contextlib.AsyncExitStack) -> AsyncIterator[None]:
    """Clients that shut their half at once, or say nothing at all."""
    for turn in range(ROUNDS):
        for number in range(CROWD):
            attacker = await arrive(house, stack, "tcp" if number % 2 else "websocket")
            if turn % 2:
                attacker.writer.write_eof()
        yield


async def slowloris(house: House, stack: contextlib.AsyncExitStack) -> AsyncIterator[None]:
    """Clients that send a byte a round and never finish."""
    crowd = [await arrive(house, stack, "tcp" if number % 2 else "websocket") for number in range(CROWD)]
    for turn in range(ROUNDS):
        for attacker in crowd:
            words = request() if isinstance(attacker, WebSocketPeer) else HELLO
            await shout(attacker, words[turn : turn + 1])
        yield


async def deaf(house: House, stack: contextlib.AsyncExitStack) -> AsyncIterator[None]:
    """Clients that ask much and never read; the rate is off, so that only the outbound limit can stop them."""
    question = json.dumps({"type": "heartbeat", "seq": int("9" * 4000)}).encode()
    crowd = [await welcomed(house, stack, kind, room=4096) for kind in ("tcp", "websocket")]
    for attacker in crowd:
        attacker.writer.transport.pause_reading()
    for _ in range(ROUNDS):
        for attacker in crowd:
            for _ in range(100):
                with contextlib.suppress(ConnectionError):
                    await attacker.say(question)
        yield


async def churn(house: House, stack: contextlib.AsyncExitStack) -> AsyncIterator[None]:
    """Clients that come, are welcomed, and are reset."""
    for _ in range(ROUNDS):
        for number in range(CROWD):
            attacker = await welcomed(house, stack, "tcp" if number % 2 else "websocket")
            attacker.reset()
        yield


GARBAGE = bytes(range(256)) * 64
CLIENT_HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(200)
ATTACKS: dict[str, Attack] = {
    "garbage at the TCP door": sending("tcp", GARBAGE, greeted=False),
    "garbage at the WebSocket door": sending("websocket", GARBAGE, greeted=False),
    "garbage after hello": sending("tcp", GARBAGE, greeted=True),
    "garbage after the upgrade": sending("websocket", GARBAGE, greeted=True),
    "a TLS hello at the TCP door": sending("tcp", CLIENT_HELLO, greeted=False),
    "a TLS hello at the WebSocket door": sending("websocket", CLIENT_HELLO, greeted=False),
    "HTTP at the TCP door": sending("tcp", request(), greeted=False),
    "lines at the WebSocket door": sending("websocket", HELLO + b"\n", greeted=False),
    "half-open": half_open,
    "slowloris": slowloris,
    "oversized lines": sending("tcp", b"x" * 200_000, greeted=True),
    "oversized requests": sending("websocket", b"GET /ws HTTP/1.1\r\n" + b"X: y\r\n" * 40_000, greeted=False),
    "oversized messages": sending("websocket", frame(TEXT, b"x" * 200_000), greeted=True),
    "deep nesting": sending("tcp", b"[" * 4000 + b"\n", greeted=True),
    "a flood of lines": sending("tcp", (BEAT + b"\n") * 5000, greeted=True),
    "a flood of empty lines": sending("tcp", b"\n" * 50_000, greeted=True),
    "a flood of frames": sending("websocket", frame(TEXT, BEAT) * 5000, greeted=True),
    "a flood of pings": sending("websocket", frame(PING, b"x" * 125) * 2000, greeted=True),
    "a flood of fragments": sending(
        "websocket", frame(TEXT, b"", final=False) + frame(CONTINUATION, b"", final=False) * 20_000, greeted=True
    ),
    "frames without a mask": sending("websocket", frame(TEXT, BEAT, masked=False), greeted=True),
    "a length of 64 bits": sending("websocket", b"\x81\xff" + (1 << 40).to_bytes(8) + b"x" * 4096, greeted=True),
    "deaf clients": deaf,
    "churn": churn,
}


def memory() -> int:
    """Bytes of memory that the process has resident."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def burden(runtime: Runtime) -> int:
    """The most bytes that one connection makes the gateway hold."""
    most = 0
    for connection in runtime.connections():
        tail = len(getattr(connection, "tail", b""))
        most = max(most, connection.transport.get_write_buffer_size(), tail)
    return most


async def beat(clients: list[Wire], seq: int) -> None:
    """Every client beats and gets its acknowledgment."""
    for client in clients:
        await client.say("heartbeat", seq=seq)
    for client in clients:
        assert await client.hear() == {"type": "ack", "seq": seq}


@pytest.mark.parametrize("name", ATTACKS)
async def test_honest_clients_lose_no_beat_and_nothing_is_left(name: str, serve: Serve) -> None:
    settings = {"listen__message_rate": 0} if name == "deaf clients" else {}
    house = await serve(listen__outbound_limit=OUTBOUND, listen__accept_rate=0, **settings)
    runtime = house.runtime
    honest = [await house.welcomed(transport) for transport in ("tcp", "websocket") for _ in range(HONEST)]
    before = memory()
    async with contextlib.AsyncExitStack() as stack:
        seq = 0
        async for _ in ATTACKS[name](house, stack):
            seq += 1
            await beat(honest, seq)
            assert burden(runtime) <= max(OUTBOUND, json_lines.LIMIT + 2)
    assert seq == ROUNDS
    assert memory() - before < GROWTH
    await until(lambda: sum(listener.connections.held for listener in runtime.client_listeners) <= len(honest))
    assert len(runtime.state.sessions) == len(honest)
    await beat(honest, seq + 1)
    for client in honest:
        await client.close()
    await until(lambda: not any(listener.connections.held for listener in runtime.client_listeners))
    assert len(runtime.timer_wheel) == len(runtime.state.sessions) == len(runtime.state.resumable) == 0
    _, license = await house.http("GET", "/api/license")
    assert {pool["used"] for model in license["models"].values() for pool in model["pools"].values()} == {0}


async def test_a_storm_of_connections_delays_nobody_for_long(serve: Serve) -> None:
    house = await serve(listen__accept_rate=0, listen__max_pending=100)
    honest = [await house.welcomed(transport) for transport in ("tcp", "websocket") for _ in range(HONEST)]

    async def storm() -> None:
        for _ in range(4):
            peers = await asyncio.gather(*(Peer.to(house.tcp) for _ in range(150)))
            for peer in peers:
                peer.reset()
            await asyncio.gather(*(peer.close() for peer in peers))

    storming = asyncio.ensure_future(storm())
    seq = 0
    while not storming.done():
        seq += 1
        await beat(honest, seq)
        house.runtime.advance(8)  # the time in which so many beats are allowed
    await storming
    await until(lambda: sum(listener.connections.held for listener in house.runtime.client_listeners) == len(honest))
    assert not any(
        listener.connections.pending or listener.connections.arriving for listener in house.runtime.client_listeners
    )
