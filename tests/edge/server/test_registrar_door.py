"""The registrar's door: its limits and deadlines are those of the clients' doors, and shared with them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from typing import Any

import pytest

from gateway.edge.server.limits import LINGER_TICKS
from tests.conftest import House, Serve, until
from tests.edge.conftest import CERTIFICATE, PRIVATE_KEY, Call
from tests.edge.disk import broken
from tests.edge.raw import send_little
from tests.edge.registering import sold

pytestmark = pytest.mark.usefixtures("each_transport")

REFUSED = {"type": "refused", "reason": "malformed"}
REGISTER = (
    b'{"type":"register","protocol":1,"server":"i","serial":"S-1","version":"v",'
    b'"nonce":"00000000000000000000000000000000"}'
)


def counted(house: House) -> dict[str, int]:
    """How checks and connections ended, without what did not occur."""
    service = house.runtime.registrar
    return {result: count for result, count in {**service.results, **service.listener.rejected}.items() if count}


async def empty(house: House) -> None:
    """Wait until nobody is at the registrar's door."""
    await until(lambda: not house.runtime.registrar.listener.connections.held)
    assert not house.runtime.registrar.listener.connections.pending
    assert not house.runtime.registrar.listener.connections.connected
    assert not house.runtime.registrar.registrar.conversations


# -- words -----------------------------------------------------------------------------------------------------------

LINES = {
    "binary": bytes(range(1, 256)).replace(b"\n", b""),
    "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(200),
    "HTTP": b"GET / HTTP/1.1\r",
    "empty": b"",
    "no object": b"[]",
    "deep": b'{"type":"register","x":' + b"[" * 8 + b"]" * 8 + b"}",
    "duplicate": b'{"type":"register","type":"register"}',
    "NaN": REGISTER[:-1] + b',"x":NaN}',
    "float": REGISTER[:-1] + b',"x":1.0}',
    "float inside": REGISTER[:-1] + b',"x":{"y":[1e3]}}',
    "surrogate": REGISTER[:-1] + b',"x":"\\ud800"}',
    "BOM": b"\xef\xbb\xbf" + REGISTER,
    "UTF-8": REGISTER[:-1] + b',"x":"\xff"}',
    "oversize": REGISTER[:-1] + b',"x":"' + b"x" * 4096 + b'"}',
    "unknown type": b'{"type":"hello","protocol":1}',
    "type of a type": b'{"type":["register"]}',
    "a registrar's word": b'{"type":"challenge","nonce":"00000000000000000000000000000000"}',
    "an inner word": b'{"type":"terms","model":"trueconf"}',
    "a document": b'{"type":"request","server":"i","serial":"S-1","nonce":"00000000000000000000000000000000"}',
    "proof first": b'{"type":"proof","mac":"00"}',
    "verify first": b'{"type":"verify","seq":1,"used":{},"mac":"00"}',
    "protocol 2": REGISTER.replace(b'"protocol":1', b'"protocol":2'),
    "protocol true": REGISTER.replace(b'"protocol":1', b'"protocol":true'),
    "no nonce": REGISTER.replace(b"nonce", b"once"),
    "short nonce": REGISTER.replace(b"0000", b""),
    "serial": REGISTER.replace(b"S-1", b".."),
    "version": REGISTER.replace(b'"v"', b'"\\n"'),
}


@pytest.mark.parametrize("name", LINES)
async def test_what_is_no_first_message_is_refused(name: str, serve: Serve, call: Call) -> None:
    house = await serve()
    agent = await call(house)
    await agent.say(LINES[name])
    assert await agent.gone() == [REFUSED]
    await empty(house)
    assert counted(house) == {"malformed": 1}


@pytest.mark.parametrize("name", LINES)
async def test_and_so_it_is_from_who_has_registered(name: str, serve: Serve, call: Call) -> None:
    house = await serve()
    agent = await call(house, await sold(house))
    await agent.registered()
    await agent.say(LINES[name])
    left = [] if name == "verify first" else [REFUSED]
    assert await agent.gone() == left
    await empty(house)


@pytest.mark.parametrize("again", [REGISTER, b'{"type":"verify","seq":1,"used":{},"mac":"00"}'])
async def test_who_was_challenged_says_the_proof(again: bytes, serve: Serve, call: Call) -> None:
    house = await serve()
    agent = await call(house, await sold(house))
    await agent.challenged()
    await agent.say(again)
    assert await agent.gone() == [REFUSED]
    await empty(house)


async def test_a_message_cut_anywhere_is_one_message(serve: Serve, call: Call) -> None:
    house = await serve()
    agent = await call(house, await sold(house))
    for byte in json.dumps(agent.opening()).encode() + b"\r\n":
        await agent.send(bytes([byte]))
    agent.theirs = (await agent.hear())["nonce"]
    await agent.utter(agent.proof())
    assert (await agent.hear())["type"] == "registered"


async def test_all_words_at_once_are_answered_in_order(serve: Serve, call: Call) -> None:
    house = await serve()
    agent = await call(house, await sold(house))
    await agent.registered()
    said = [agent.sealed({"type": "verify", "seq": seq, "used": {}}) for seq in range(1, 9)]
    await agent.send(b"".join(json.dumps(each).encode() + b"\n" for each in said))
    assert [(await agent.hear())["seq"] for _ in said] == list(range(1, 9))


# -- deadlines -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("challenged", [False, True])
async def test_dripping_does_not_move_the_hello_deadline(challenged: bool, serve: Serve, call: Call) -> None:
    house = await serve(listen__accept_rate=0)
    house.tick_by_hand()
    agent = await call(house, await sold(house))
    if challenged:
        await agent.challenged()
    await until(lambda: bool(house.runtime.registrar.listener.connections))
    (connection,) = house.runtime.registrar.listener.connections
    for sent in range(1, 20):
        await agent.send(b"{")
        await until(lambda: connection.cause is not None or len(getattr(connection, "tail", b"")) == sent)  # noqa: B023
        house.runtime.advance(1)
    house.runtime.advance(1)
    assert connection.cause == "hello_timeout"
    assert await agent.gone() == [], "what only clients understand is not said"
    await empty(house)


async def test_who_never_closes_its_half_is_aborted(serve: Serve, call: Call) -> None:
    house = await serve()
    house.tick_by_hand()
    agent = await call(house)
    await agent.say(b"{}")
    assert await agent.hear() == REFUSED
    assert len(house.runtime.registrar.listener.connections) == 1
    house.runtime.advance(LINGER_TICKS + 1)
    await empty(house)


@pytest.mark.parametrize("registered", [False, True])
async def test_who_shuts_its_half_is_let_go(registered: bool, serve: Serve, call: Call) -> None:
    house = await serve()
    agent = await call(house, await sold(house))
    if registered:
        await agent.registered()
    agent.writer.write_eof()
    assert await agent.rest() == b""
    await empty(house)


async def test_who_hangs_up_before_the_answer_is_written_leaves_nothing(serve: Serve, call: Call) -> None:
    house = await serve()
    agent = await call(house, await sold(house))
    await agent.challenged()
    await agent.utter(agent.proof())
    agent.reset()
    await until(lambda: house.runtime.registrar.results["registered"] == 1)
    await empty(house)


# -- limits ----------------------------------------------------------------------------------------------------------


async def test_agents_that_have_proven_nothing_are_pending_like_clients(serve: Serve, call: Call) -> None:
    house = await serve(listen__max_pending=2)
    key = await sold(house)
    first, silent = await call(house, key), await call(house, address="127.0.0.2")
    await first.challenged()
    await until(lambda: len(house.runtime.registrar.listener.connections.pending) == 2)
    assert await (await call(house)).gone() == [{"type": "refused", "reason": "rate_limited"}]
    await first.utter(first.proof())
    assert (await first.hear())["type"] == "registered"
    await (await call(house)).challenged()
    await silent.close()


async def test_one_address_may_have_so_many_connections_over_all_doors(serve: Serve, call: Call) -> None:
    house = await serve(listen__max_connections_per_address=2)
    await house.welcomed()
    agent = await call(house, await sold(house))
    await agent.registered()
    assert await (await call(house)).gone() == [{"type": "refused", "reason": "too_many_connections"}]
    await (await call(house, address="127.0.0.2")).challenged()
    assert counted(house) == {"registered": 1, "too_many_connections": 1}


async def test_all_doors_share_the_most_connections(serve: Serve, call: Call) -> None:
    house = await serve(listen__max_connections=2)
    await house.welcomed()
    await (await call(house)).challenged()
    assert await (await call(house)).gone() == [{"type": "refused", "reason": "too_many_connections"}]


async def test_above_the_accept_rate_agents_are_told(serve: Serve, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    house = await serve(listen__accept_rate=1)
    monkeypatch.setattr(house.runtime.registrar.listener, "_refill", lambda: 0.0)
    assert await (await call(house)).gone() == [{"type": "refused", "reason": "rate_limited"}]
    assert counted(house) == {"rate_limited": 1}
    _, metrics = await house.http("GET", "/metrics")
    assert 'tallygate_registrar_checks_total{result="rate_limited"} 1.0' in metrics


@pytest.mark.parametrize("registered", [False, True])
async def test_a_flood_is_turned_away(registered: bool, serve: Serve, call: Call) -> None:
    house = await serve(listen__message_burst=5)
    agent = await call(house, await sold(house))
    if registered:
        await agent.registered()
        flood = [agent.sealed({"type": "verify", "seq": seq, "used": {}}) for seq in range(1, 30)]
        await agent.send(b"".join(json.dumps(each).encode() + b"\n" for each in flood))
        assert (await agent.gone())[-1] == {"type": "refused", "reason": "rate_limited"}
        assert counted(house)["too_fast"] == 1
    else:
        await agent.send((REGISTER + b"\n") * 10_000)
        assert (await agent.gone())[-1] == REFUSED
    await empty(house)


async def test_an_agent_that_does_not_read_is_cut_off(serve: Serve, call: Call) -> None:
    house = await serve(listen__message_rate=0, listen__outbound_limit=1024)
    send_little(house.runtime.registrar.listener)
    agent = await call(house, await sold(house), room=2048)
    await agent.registered()
    agent.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket has it
    (connection,) = house.runtime.registrar.listener.connections
    seq = 0
    while connection.cause is None:
        lines = []
        for _ in range(200):
            seq += 1
            lines.append(json.dumps(agent.sealed({"type": "verify", "seq": seq, "used": {}})).encode() + b"\n")
        with contextlib.suppress(ConnectionError):
            await agent.send(b"".join(lines))
        await asyncio.sleep(0)
        await until(lambda: not house.runtime.persistence.store.pending)  # what is answered waits for the disk
        assert seq < 100_000
    assert connection.cause == "slow_consumer"
    await empty(house)


async def test_hostile_agents_disturb_neither_clients_nor_servers(serve: Serve, call: Call) -> None:
    house = await serve(listen__accept_rate=0)
    client, good = await house.welcomed(), await call(house, await sold(house))
    await good.registered()
    for turn in range(1, 6):
        crowd = [await call(house) for _ in range(20)]
        for number, each in enumerate(crowd):
            line = list(LINES.values())[(turn * 20 + number) % len(LINES)]
            with contextlib.suppress(ConnectionError):
                await each.send(line + b"\n" if number % 2 else line)
            if number % 3 == 0:
                each.reset()
        assert (await client.ask("heartbeat"))["type"] == "ack"
        await good.verified(turn)
        for each in crowd:
            await each.close()
        await until(lambda: len(house.runtime.registrar.listener.connections) == 1)


async def test_the_proxies_of_clients_are_not_those_of_agents(serve: Serve, call: Call) -> None:
    house = await serve(listen__proxy_protocol_from='["127.0.0.0/8"]')
    agent = await call(house, await sold(house))
    await agent.registered()


# -- the end, and TLS ------------------------------------------------------------------------------------------------


async def test_a_registrar_that_is_closed_hangs_up_after_its_clients_have_gone(serve: Serve, call: Call) -> None:
    house = await serve()
    agent, fresh = await call(house, await sold(house)), await call(house)
    await agent.registered()
    await fresh.challenged()
    await house.runtime.drain(0)
    await agent.verified(1)
    closing = asyncio.ensure_future(house.gateway.close(drain=0))
    assert await agent.gone() == await fresh.gone() == []
    await closing
    assert house.gateway.ports()["registrar"] is None
    await empty(house)


async def test_a_registrar_may_be_off(serve: Serve) -> None:
    house = await serve(registrar__enabled="false")
    assert house.gateway.ports()["registrar"] is None
    assert (await house.http("GET", "/api/registrations"))[0] == 200


async def test_tls_is_that_of_the_other_doors(serve: Serve, call: Call, trust: ssl.SSLContext) -> None:
    house = await serve(
        listen__tls_certificate=CERTIFICATE, listen__tls_key=PRIVATE_KEY, listen__max_connections_per_address=3
    )
    agent = await call(house, await sold(house), tls=trust)
    await agent.registered()
    await agent.verified(1)
    plain = await call(house)
    await plain.say(REGISTER)
    assert b"challenge" not in await plain.rest()
    await until(lambda: counted(house).get("handshake") == 1)
    await agent.verified(2)
    house.runtime.registrar.revoke("S-1")
    assert (await agent.hear())["type"] == "revoked"


async def test_a_stalled_disk_holds_the_answer_and_a_failed_one_does_not(
    serve: Serve, call: Call, tmp_path: Any
) -> None:
    house = await serve(store__path=tmp_path / "t.db")
    agent = await call(house, await sold(house))
    await agent.registered()
    async with broken(house, "stalled"):
        await agent.utter(agent.sealed({"type": "verify", "seq": 1, "used": {}}))
        await until(lambda: bool(house.runtime.persistence.store._under_way))
        assert house.runtime.registrar.results["verified"] == 1
        assert not agent.reader._buffer  # type: ignore[attr-defined]  # nothing may be told that is not kept
    assert (await agent.hear())["type"] == "verified"
