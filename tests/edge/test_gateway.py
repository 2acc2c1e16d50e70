"""The gateway as one thing: opening, closing, reloading, and telling its ports."""

from __future__ import annotations

import asyncio
import ssl
from asyncio import sslproto

import pytest

from gateway.edge.gateway import READ_SIZE, Gateway, tls_context
from tests.conftest import Serve, settings_of, until
from tests.edge.conftest import CERTIFICATE, PRIVATE_KEY, Connect
from tests.edge.raw import Peer
from tests.wire_client import PATIENCE


async def test_it_opens_its_ports_and_closes_them(serve: Serve) -> None:
    house = await serve()
    ports = house.gateway.ports()
    assert house.gateway.runtime.registrar.listener.port == ports["registrar"]
    assert len(set(ports.values())) == 4
    await house.gateway.close(drain=0)
    assert set(house.gateway.ports().values()) == {None}


async def test_closing_twice_is_closing_once(serve: Serve) -> None:
    house = await serve()
    await house.gateway.close(drain=0)
    await house.gateway.close(drain=0)


async def test_use_that_is_over_is_written_while_clients_are_sent_away(serve: Serve) -> None:
    house = await serve(listen__drain="1h")
    house.runtime.persistence.usage_store.poll(house.runtime.now())  # what is due in this hour is written by now
    wires = [await house.welcomed(account=name) for name in ("ann", "bob", "cid")]
    await wires[0].say("bye")
    await wires[0].gone()
    closing = asyncio.create_task(house.gateway.close())
    async with asyncio.timeout(PATIENCE):
        while not await house.runtime.persistence.store.read("SELECT 1 FROM usage WHERE account = 'ann'"):
            assert not closing.done()
    closing.cancel()
    await asyncio.wait({closing})
    assert "use that is over" not in {task.get_name() for task in asyncio.all_tasks()}


async def test_a_port_that_cannot_be_had_leaves_nothing_open(serve: Serve) -> None:
    house = await serve()
    gateway = Gateway(settings_of(listen__websocket=house.tcp), files=1024)
    with pytest.raises(OSError, match="Address already in use"):
        await gateway.open()
    assert set(gateway.ports().values()) == {None}


async def test_limits_change_without_dropping_anybody(serve: Serve) -> None:
    house = await serve(license__epop__users=2)
    first, second = await house.welcomed(), await house.welcomed("websocket")
    for wire in (first, second):
        await wire.ask("join", conference="c")
    changed = house.gateway.reload(settings_of(license__epop__users=1, listen__max_connections=3, listen__drain="1s"))
    assert set(changed.live) == {"license.epop.users", "listen.max_connections"}
    third = await house.welcomed()
    denied = await third.ask("join", conference="c")
    assert (denied["reason"], denied["used"], denied["limit"]) == ("pool_full", 2, 1)
    await first.ask("leave", conference="c")
    assert (await third.ask("join", conference="c"))["reason"] == "pool_full"
    await second.ask("leave", conference="c")
    assert (await third.ask("join", conference="c"))["type"] == "joined"
    assert (await (await house.connect()).hear())["reason"] == "too_many_connections"


async def test_how_much_one_client_may_take_changes_without_dropping_anybody(serve: Serve) -> None:
    house = await serve(license__model="epop")
    wire = await house.welcomed(account="ann")
    assert (await wire.ask("join", conference="a"))["type"] == "joined"
    changed = house.gateway.reload(settings_of(conferences__max_per_session=1, license__shadow_leases=1))
    assert {"conferences.max_per_session", "license.shadow_leases"} <= set(changed.live)
    denied = await wire.ask("join", conference="b")
    assert (denied["reason"], denied["used"], denied["limit"]) == ("conference_limit", 1, 1)
    assert house.runtime.state.ledger_of("trueconf").leases.kept == 1


async def test_the_limit_of_an_address_may_be_switched_on_while_its_connections_are_open(serve: Serve) -> None:
    house = await serve()
    first = await house.welcomed()
    house.gateway.reload(settings_of(listen__max_connections_per_address=1))
    assert (await (await house.connect()).hear())["reason"] == "too_many_connections"
    await first.close()
    await until(lambda: not house.runtime.tcp.connections)
    assert house.runtime.tcp.connections.by_network == {}
    await house.welcomed()


async def test_a_shorter_timeout_waits_for_the_next_start_so_that_nobody_is_dropped(serve: Serve) -> None:
    house = await serve()
    wire = await house.welcomed()
    changed = house.gateway.reload(settings_of(heartbeat__interval="2s", heartbeat__timeout="5s"))
    assert {"heartbeat.interval", "heartbeat.timeout"} <= set(changed.restart)
    house.runtime.advance(40)
    await wire.say("heartbeat")
    assert await wire.hear() == {"type": "ack"}


async def test_certificates_change_for_those_who_come(serve: Serve, greet: Connect, trust: ssl.SSLContext) -> None:
    pair = {"listen__tls_certificate": CERTIFICATE, "listen__tls_key": PRIVATE_KEY}
    house = await serve(**pair)
    old: Peer = await greet(house, tls=trust)
    before = house.runtime.tcp.tls
    house.gateway.reload(settings_of(**pair))
    assert house.runtime.tcp.tls is house.runtime.websocket.tls
    assert house.runtime.tcp.tls is not before
    new: Peer = await greet(house, tls=trust)
    for client in (old, new):
        await client.say(b'{"type":"heartbeat"}')
        assert await client.hear() == {"type": "ack"}


def test_a_file_that_is_no_certificate_is_an_error() -> None:
    with pytest.raises(ssl.SSLError):
        tls_context(__file__, __file__)
    assert tls_context("", "") is None


async def test_tls_of_many_connections_has_small_buffers(serve: Serve) -> None:
    await serve()
    assert sslproto.SSLProtocol.max_size == READ_SIZE
