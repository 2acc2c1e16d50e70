"""The doors: who is let in, who is turned away politely, and what is known of those who come through a proxy."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import resource
import socket
import ssl
import struct
from collections.abc import Iterator
from itertools import pairwise, product
from typing import Any

import pytest

from gateway.edge.server import listener as listeners
from gateway.edge.server.connection import Connection
from gateway.edge.server.epoll_transport import Epoll, EpollTransport
from tests.conftest import House, Serve, until
from tests.edge.conftest import CERTIFICATE, PRIVATE_KEY, Connect
from tests.edge.raw import HELLO, Peer, WebSocketPeer, request
from tests.wire_client import PATIENCE

pytestmark = pytest.mark.usefixtures("each_transport")

BOTH = pytest.mark.parametrize("transport", ["tcp", "websocket"])
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
TLS = {"listen__tls_certificate": CERTIFICATE, "listen__tls_key": PRIVATE_KEY}


def rejected(house: House) -> dict[str, int]:
    """Sockets turned away at both doors, by reason."""
    found: dict[str, int] = {}
    for listener in house.runtime.client_listeners:
        for reason, count in listener.rejected.items():
            found[reason] = found.get(reason, 0) + count
    return found


async def refusal(house: House, transport: str, address: str = "127.0.0.1") -> dict[str, Any]:
    """What a client hears that is turned away: the denial, or over WebSocket the status, reason and Retry-After."""
    if transport == "tcp":
        async with await Peer.to(house.tcp, address) as turned:
            (denial,) = await turned.gone()
            return denial
    async with await WebSocketPeer.to(house.websocket, address) as asking:
        await asking.send(request())
        head = await asking.head()
        body = (await asking.rest()).decode().strip()
        return {
            "status": int(head.split()[1]),
            "reason": body,
            "retry_after_seconds": int(head.partition("Retry-After: ")[2].split()[0]),
        }


async def only(listener: listeners.Listener[Connection]) -> Connection:
    """The one connection of a listener, once it is there."""
    await until(lambda: bool(listener.connections))
    (connection,) = listener.connections
    return connection


def knocks(port: int, count: int) -> list[socket.socket]:
    """Connections that wait in the kernel's queue: the loop has had no turn in which to accept them."""
    return [socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) for _ in range(count)]


@BOTH
async def test_above_max_connections_a_client_is_refused_politely_and_the_others_live_on(
    transport: str, serve: Serve
) -> None:
    house = await serve(listen__max_connections=2)
    first, second = await house.welcomed("tcp"), await house.welcomed("websocket")
    told = await refusal(house, transport)
    assert told["reason"] == "too_many_connections"
    assert told["retry_after_seconds"] == 30
    assert told.get("type", "denied") == "denied"
    assert told.get("request", "hello") == "hello"
    assert told.get("status", 503) == 503
    assert rejected(house) == {"too_many_connections": 1}
    for wire in (first, second):
        assert (await wire.ask("heartbeat"))["type"] == "ack"
    await first.close()
    await until(lambda: not house.runtime.tcp.connections)
    await house.welcomed(transport)


async def test_max_connections_never_exceeds_the_open_files_less_a_reserve(serve: Serve) -> None:
    house = await serve(files=200, listen__max_connections=5000)
    assert house.runtime.budget.max_connections == 200 - 64


@pytest.mark.parametrize(("batch", "before"), [(64, 17), (1, 19)])
async def test_exactly_max_connections_that_come_at_once_are_let_in(
    batch: int, before: int, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.edge.server.listener.ACCEPT_BATCH", batch)
    house = await serve(listen__max_connections=20)
    for _ in range(before):
        await house.welcomed()
    with contextlib.ExitStack() as stack:
        for each in knocks(house.tcp, 21 - before):
            stack.enter_context(each)
        await until(lambda: len(house.runtime.tcp.connections) + sum(rejected(house).values()) == 21)
        assert len(house.runtime.tcp.connections) == 20
        assert rejected(house) == {"too_many_connections": 1}


@BOTH
async def test_one_address_may_have_so_many_connections_over_both_doors(transport: str, serve: Serve) -> None:
    house = await serve(listen__max_connections_per_address=2)
    first = await house.welcomed("tcp")
    await house.welcomed("websocket")
    assert (await refusal(house, transport))["reason"] == "too_many_connections"
    await house.welcomed("tcp", "127.0.0.2")
    await first.close()
    await until(lambda: len(house.runtime.tcp.connections) == 1)
    await house.welcomed(transport)


async def test_one_address_that_knocks_often_at_once_gets_exactly_its_share(serve: Serve) -> None:
    house = await serve(listen__max_connections_per_address=70)
    with contextlib.ExitStack() as stack:
        for each in knocks(house.tcp, 80):
            stack.enter_context(each)
        await until(lambda: len(house.runtime.tcp.connections) + sum(rejected(house).values()) == 80)
        assert rejected(house) == {"too_many_connections": 10}
    await until(lambda: not house.runtime.tcp.connections)
    assert house.runtime.tcp.connections.by_network == {}


@BOTH
async def test_those_who_have_not_said_hello_are_limited_at_each_listener(
    transport: str, serve: Serve, peer: Connect
) -> None:
    house = await serve(listen__max_pending=2)
    silent = [await peer(house, transport, f"127.0.0.{number}", bare=True) for number in (2, 3)]
    listener = house.runtime.tcp if transport == "tcp" else house.runtime.websocket
    await until(lambda: len(listener.connections.pending) == 2)
    told = await refusal(house, transport)
    assert told["reason"] == "rate_limited"
    assert told["retry_after_seconds"] == 1
    await house.welcomed("websocket" if transport == "tcp" else "tcp")
    if isinstance(silent[0], WebSocketPeer):
        assert " 101 " in await silent[0].upgrade()
    await silent[0].say(HELLO)
    assert (await silent[0].hear())["type"] == "welcome"
    await house.welcomed(transport)


@BOTH
async def test_one_address_may_have_as_many_who_have_not_said_hello_as_there_are_places_left(
    transport: str, serve: Serve, peer: Connect
) -> None:
    house = await serve(listen__max_pending=4)
    silent = [await peer(house, transport, "127.0.0.2", bare=True) for _ in range(2)]
    listener = house.runtime.tcp if transport == "tcp" else house.runtime.websocket
    await until(lambda: len(listener.connections.pending) == 2)
    assert (await refusal(house, transport, "127.0.0.2"))["reason"] == "rate_limited"
    await house.welcomed(transport)
    if isinstance(silent[0], WebSocketPeer):
        assert " 101 " in await silent[0].upgrade()
    await silent[0].say(HELLO)
    assert (await silent[0].hear())["type"] == "welcome"
    await house.welcomed(transport, "127.0.0.2")


async def test_many_idle_sockets_at_one_listener_keep_nobody_out_at_it_or_at_the_others(serve: Serve) -> None:
    house = await serve(listen__max_connections=384, listen__accept_rate=0)
    ports = {"tcp": house.tcp, "registrar": house.gateway.ports()["registrar"] or 0}
    with contextlib.ExitStack() as stack:
        for port in ports.values():
            for number in range(600):
                source = (f"127.0.0.{2 + number % 5}", 0)
                stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE, source))
        await until(lambda: sum(rejected(house).values()) == 600 - 5 * 16)
        assert house.runtime.tcp.connections.waiting == 5 * 16, "of the places each has what is left: a sixth"
        assert house.runtime.registrar.listener.connections.waiting == 5 * 16
        for transport in ("tcp", "websocket"):
            for _ in range(20):
                await house.welcomed(transport)
    await until(lambda: not house.runtime.tcp.connections.pending)


async def test_those_who_say_nothing_never_take_more_than_a_quarter_of_the_connections(serve: Serve) -> None:
    house = await serve(listen__max_connections=40, listen__accept_rate=0)
    with contextlib.ExitStack() as stack:
        for number in range(30):
            stack.enter_context(socket.create_connection(("127.0.0.1", house.tcp), PATIENCE, (f"127.0.1.{number}", 0)))
        await until(lambda: rejected(house) == {"rate_limited": 20})
        assert house.runtime.tcp.connections.waiting == 10
        await house.welcomed("websocket")


async def test_a_proxy_is_no_crowd_but_the_client_that_it_names_may_be_one(serve: Serve, peer: Connect) -> None:
    house = await serve(listen__proxy_protocol_from='["127.0.0.1/32"]', listen__max_pending=4)
    first, second, third = [await peer(house) for _ in range(3)]
    await until(lambda: house.runtime.tcp.connections.waiting == 3)
    await first.send(HEADERS["version 1, IPv4"][0])
    await until(lambda: len(house.runtime.tcp.connections) == 1)
    await second.send(HEADERS["version 1, IPv4 in IPv6"][0])
    assert [each["reason"] for each in await second.gone()] == ["rate_limited"]
    await third.send(HEADERS["version 1, IPv6"][0] + HELLO + b"\n")
    assert (await third.hear())["type"] == "welcome"


@BOTH
@pytest.mark.parametrize("per_address", [0, 100])
async def test_above_the_accept_rate_clients_are_told_to_come_back_soon(
    per_address: int, transport: str, serve: Serve
) -> None:
    house = await serve(listen__accept_rate=1, listen__max_connections_per_address=per_address)
    port = house.tcp if transport == "tcp" else house.websocket
    with contextlib.ExitStack() as stack:
        for each in knocks(port, 3):
            stack.enter_context(each)
        listener = house.runtime.tcp if transport == "tcp" else house.runtime.websocket
        await until(lambda: rejected(house) == {"rate_limited": 2} and listener.accepted == 1)


async def test_without_an_accept_rate_a_crowd_is_let_in(serve: Serve) -> None:
    house = await serve(listen__accept_rate=0)
    with contextlib.ExitStack() as stack:
        for each in knocks(house.tcp, 100):
            stack.enter_context(each)
        await until(lambda: len(house.runtime.tcp.connections) == 100)


async def test_a_turn_of_the_loop_accepts_one_batch_and_no_more(serve: Serve) -> None:
    house = await serve(files=4096)
    listener = house.runtime.tcp
    with contextlib.ExitStack() as stack:
        for each in knocks(house.tcp, 150):
            stack.enter_context(each)
        taken = [0]
        async with asyncio.timeout(5):
            while taken[-1] < 150:
                await asyncio.sleep(0)
                taken.append(listener.connections.held)
        steps = [after - before for before, after in pairwise(taken)]
        assert max(steps) == listeners.ACCEPT_BATCH
        assert min(steps) >= 0
        await until(lambda: len(listener.connections) == 150)


async def test_nobody_is_counted_twice_while_coming_in(serve: Serve) -> None:
    house = await serve()
    listener = house.runtime.tcp
    with contextlib.ExitStack() as stack:
        for each in knocks(house.tcp, 60):
            stack.enter_context(each)
        while len(listener.connections) < 60:
            await asyncio.sleep(0)
            assert listener.connections.held in {0, 60}
            assert listener.connections.waiting == listener.connections.held
        assert not listener.connections.arriving


async def test_accepted_sockets_have_keepalive_inside_the_heartbeat_timeout(
    serve: Serve, peer: Connect, each_transport: str
) -> None:
    house = await serve()
    for transport, listener in (("tcp", house.runtime.tcp), ("websocket", house.runtime.websocket)):
        await peer(house, transport, bare=True)
        connection = await only(listener)
        served = connection.transport
        assert isinstance(served, EpollTransport) == (each_transport == "epoll")
        descriptor = (
            served.descriptor if isinstance(served, EpollTransport) else served.get_extra_info("socket").fileno()
        )
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
        with socket.socket(fileno=os.dup(descriptor)) as sock:
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert [sock.getsockopt(socket.IPPROTO_TCP, option) for option in options] == [30, 10, 3, 60_000]


async def test_two_gateways_share_ports_where_both_are_told_to(serve: Serve, greet: Connect) -> None:
    one = await serve(listen__reuse_port="true")
    two = await serve(listen__reuse_port="true", listen__tcp=one.tcp, listen__websocket=one.websocket)
    assert (two.tcp, two.websocket) == (one.tcp, one.websocket)
    for _ in range(40):
        await greet(one)
    held = [len(house.runtime.tcp.connections) for house in (one, two)]
    assert sum(held) == 40
    assert all(held), held


async def test_a_port_in_use_is_named(serve: Serve) -> None:
    house = await serve()
    with pytest.raises(OSError, match=f"websocket listener on 127.0.0.1 port {house.tcp}: Address already in use"):
        await serve(listen__websocket=house.tcp)


async def test_a_door_that_closes_lets_go_of_sockets_that_were_on_their_way_in(serve: Serve) -> None:
    house = await serve(**TLS)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(each) for each in knocks(house.tcp, 3)]
        listener = house.runtime.tcp
        listener._accept(*listener._server_sockets)
        assert len(listener.connections.arriving) == 3
        listener.close()
        await listener.finish()
        assert not listener.connections.arriving
        assert [client.recv(1) for client in clients] == [b"", b"", b""]


@contextlib.contextmanager
def no_files_left() -> Iterator[None]:
    """Let the process open no further file."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_out_of_files_the_door_pauses_and_comes_back(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listeners, "OUT_OF_FILES_PAUSE", 0.05)
    house = await serve()
    listener = house.runtime.tcp
    (client,) = knocks(house.tcp, 1)
    with client:
        with no_files_left():
            await until(lambda: listener._resume is not None)
        await until(lambda: bool(listener.connections))
        client.sendall(HELLO + b"\n")
        await until(lambda: bool(listener.connections.connected))
    assert [record.message.count("out of files") for record in caplog.records] == [1]


async def test_where_the_kernel_watches_no_more_sockets_the_door_pauses_and_comes_back(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listeners, "OUT_OF_FILES_PAUSE", 0.05)
    house = await serve(listen__transport="epoll")
    listener = house.runtime.tcp
    first, second = knocks(house.tcp, 2)
    with first, second:
        with monkeypatch.context() as full:
            full.setattr(Epoll, "attach", refuse_to_watch)
            await until(lambda: listener._resume is not None)
        assert first.recv(1) == b""
        assert listener.connections.held == 0
        await until(lambda: bool(listener.connections))
        second.sendall(HELLO + b"\n")
        await until(lambda: bool(listener.connections.connected))
    assert [record.message.count("No space left") for record in caplog.records] == [1]


def refuse_to_watch(*_: object) -> None:
    """Fail as the kernel does above `fs.epoll.max_user_watches`."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# -- addresses -------------------------------------------------------------------------------------------------------


@pytest.fixture
def localhost(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of this machine in both families, as it is on most."""
    name, look_up = "localhost", socket.getaddrinfo

    def both(host: str | None, *args: Any, **options: Any) -> Any:
        hosts = ("::1", "127.0.0.1") if host == name else (host,)
        return [found for each in hosts for found in look_up(each, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    return name


@pytest.mark.parametrize("host", ["localhost", "::"])
async def test_every_port_is_open_at_every_address_of_its_host(host: str, serve: Serve, localhost: str) -> None:
    key = {"accounts__trust_claims": "true"}
    house = await serve(listen__host=host, registrar__host=host, listen__operator_host=localhost, **key)
    ports = house.gateway.ports()
    assert all(ports.values())
    for port, address in product(ports.values(), ("127.0.0.1", "::1")):
        socket.create_connection((address, port or 0), PATIENCE).close()
    for address in ("127.0.0.1", "::1"):
        reader, writer = await asyncio.open_connection(address, house.tcp)
        writer.write(HELLO + b"\n")
        await reader.readline()
        _, listed = await house.http("GET", "/api/connections")
        assert [each["address"] for each in listed["items"]] == [address]
        writer.close()
        await writer.wait_closed()
        await until(lambda: not house.runtime.tcp.connections)
    house.runtime.tcp.close()
    for address in ("127.0.0.1", "::1"):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address, house.tcp), PATIENCE)


# -- proxies -------------------------------------------------------------------------------------------------------


def version_2(address: str, command: int = 1, extra: bytes = b"") -> bytes:
    """A PROXY header of version 2."""
    packed = socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
    family = 0x21 if ":" in address else 0x11
    body = packed + packed + struct.pack("!HH", 40000, 4307) + extra
    return SIGNATURE + bytes([0x20 | command, family]) + struct.pack("!H", len(body)) + body


HEADERS = {
    "version 1, IPv4": (b"PROXY TCP4 203.0.113.7 198.51.100.1 40000 4307\r\n", "203.0.113.7"),
    "version 1, IPv6": (b"PROXY TCP6 2001:db8::7 2001:db8::1 40000 4307\r\n", "2001:db8::7"),
    "version 2, IPv4": (version_2("203.0.113.8"), "203.0.113.8"),
    "version 2, IPv6": (version_2("2001:db8::8"), "2001:db8::8"),
    "version 1, IPv4 in IPv6": (b"PROXY TCP6 ::ffff:203.0.113.7 ::ffff:198.51.100.1 40000 4307\r\n", "203.0.113.7"),
    "version 2, IPv4 in IPv6": (version_2("::ffff:203.0.113.8"), "203.0.113.8"),
    "version 2, extensions": (version_2("203.0.113.9", extra=b"\x03\x00\x04abcd"), "203.0.113.9"),
    "version 1, a health check": (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    "version 2, a health check": (version_2("203.0.113.8", command=0), "127.0.0.1"),
}


@BOTH
@pytest.mark.parametrize("header", HEADERS)
async def test_a_listed_proxy_names_the_client(header: str, transport: str, serve: Serve, peer: Connect) -> None:
    house = await serve(listen__proxy_protocol_from='["127.0.0.0/8"]')
    head, address = HEADERS[header]
    client: Peer = await peer(house, transport, bare=True)
    if isinstance(client, WebSocketPeer):
        await client.send(head + request())
        assert " 101 " in await client.head()
    else:
        await client.send(head)
    await client.say(HELLO)
    assert (await client.hear())["type"] == "welcome"
    _, listed = await house.http("GET", "/api/connections")
    assert [each["address"] for each in listed["items"]] == [address]


@pytest.mark.parametrize("header", HEADERS)
async def test_a_proxys_header_may_come_byte_by_byte(header: str, serve: Serve, peer: Connect) -> None:
    house = await serve(listen__proxy_protocol_from='["127.0.0.1/32"]')
    head, address = HEADERS[header]
    client = await peer(house)
    for place in range(len(head)):
        await client.send(head[place : place + 1])
        await asyncio.sleep(0)
    await client.say(HELLO)
    assert (await client.hear())["type"] == "welcome"
    assert [each.address for each in house.runtime.connections()] == [address]


@pytest.mark.parametrize(
    "begin",
    [
        HELLO + b"\n",
        b"GET /ws HTTP/1.1\r\n",
        b"PROXY TCP4 a b 1 2\r\n",
        b"PROXY " + b"x" * 200,
        SIGNATURE + b"\x31" * 4,
    ],
)
async def test_a_listed_proxy_without_a_header_is_refused(begin: bytes, serve: Serve, peer: Connect) -> None:
    house = await serve(listen__proxy_protocol_from='["127.0.0.1/32"]')
    client = await peer(house)
    await client.send(begin)
    assert await client.rest() == b""
    assert rejected(house) == {"handshake": 1}
    assert not house.runtime.tcp.connections.held


async def test_a_listed_proxy_that_hangs_up_before_its_header_leaves_nothing(serve: Serve, peer: Connect) -> None:
    house = await serve(listen__proxy_protocol_from='["127.0.0.1/32"]')
    client = await peer(house)
    await client.send(b"PROXY TC")
    await client.close()
    await until(lambda: rejected(house) == {"handshake": 1})
    assert not house.runtime.tcp.connections.held


async def test_a_listed_proxy_has_until_the_hello_deadline_for_its_header(serve: Serve, peer: Connect) -> None:
    house = await serve(listen__proxy_protocol_from='["127.0.0.1/32"]', heartbeat__hello_deadline="100ms")
    client = await peer(house)
    await client.send(b"PROXY ")
    assert await client.rest() == b""
    assert rejected(house) == {"handshake": 1}


async def test_others_than_listed_proxies_name_nobody(serve: Serve, peer: Connect) -> None:
    house = await serve(listen__proxy_protocol_from='["127.0.0.9/32"]')
    forger = await peer(house)
    await forger.send(HEADERS["version 1, IPv4"][0])
    (error,) = await forger.gone()
    assert error["code"] == "malformed"
    await until(lambda: not house.runtime.tcp.connections.held)
    honest = await peer(house)
    await honest.say(HELLO)
    assert (await honest.hear())["type"] == "welcome"
    assert [each.address for each in house.runtime.connections()] == ["127.0.0.1"]


async def test_the_limit_of_an_address_is_that_of_the_proxied_one(serve: Serve, peer: Connect) -> None:
    house = await serve(listen__proxy_protocol_from='["127.0.0.1/32"]', listen__max_connections_per_address=1)
    for name in ("version 1, IPv4", "version 2, IPv4"):
        client = await peer(house)
        await client.send(HEADERS[name][0] + HELLO + b"\n")
        assert (await client.hear())["type"] == "welcome"
    crowd = [await peer(house) for _ in range(3)]
    for client, name in zip(
        crowd, ("version 1, IPv4", "version 1, IPv4 in IPv6", "version 2, IPv4 in IPv6"), strict=True
    ):
        await client.send(HEADERS[name][0])
    assert [(await client.gone())[0]["reason"] for client in crowd] == ["too_many_connections"] * 3


@pytest.mark.parametrize(("prefix", "others"), [(64, "too_many_connections"), (128, None)])
async def test_the_limit_of_an_address_is_that_of_its_network_in_ipv6(
    prefix: int, others: str | None, serve: Serve, peer: Connect
) -> None:
    house = await serve(
        listen__proxy_protocol_from='["127.0.0.1/32"]',
        listen__max_connections_per_address=1,
        listen__ipv6_prefix=prefix,
    )
    heard = []
    for name in ("version 1, IPv6", "version 2, IPv6"):
        client = await peer(house)
        await client.send(HEADERS[name][0] + HELLO + b"\n")
        heard.append((await client.hear()).get("reason"))
    assert heard == [None, others]


# -- TLS -----------------------------------------------------------------------------------------------------------


@BOTH
async def test_tls_is_spoken_on_both_doors(transport: str, serve: Serve, greet: Connect, trust: ssl.SSLContext) -> None:
    house = await serve(**TLS)
    client: Peer = await greet(house, transport, tls=trust)
    await client.say(b'{"type":"heartbeat","seq":7}')
    assert await client.hear() == {"type": "ack", "seq": 7}
    await client.say(b'{"type":"bye"}')
    assert await client.gone() == []
    await until(lambda: not any(listener.connections.held for listener in house.runtime.client_listeners))
    listener = house.runtime.tcp if transport == "tcp" else house.runtime.websocket
    assert listener.closed == {"bye": 1}


@BOTH
async def test_a_plain_client_at_a_tls_door_does_no_harm(
    transport: str, serve: Serve, peer: Connect, greet: Connect, trust: ssl.SSLContext
) -> None:
    house = await serve(**TLS)
    honest = await greet(house, transport, tls=trust)
    plain = await peer(house, transport, bare=True)
    await plain.send(request() if transport == "websocket" else HELLO + b"\n")
    assert b"welcome" not in await plain.rest()
    await until(lambda: rejected(house) == {"handshake": 1})
    await honest.say(b'{"type":"heartbeat"}')
    assert (await honest.hear())["type"] == "ack"
    assert sum(listener.connections.held for listener in house.runtime.client_listeners) == 1


@BOTH
async def test_a_tls_handshake_has_a_deadline(transport: str, serve: Serve, peer: Connect) -> None:
    house = await serve(heartbeat__hello_deadline="100ms", **TLS)
    silent = await peer(house, transport, bare=True)
    assert await silent.rest() == b""
    assert rejected(house) == {"handshake": 1}
    assert not any(listener.connections.held for listener in house.runtime.client_listeners)


async def test_a_tls_handshake_counts_as_pending(serve: Serve, peer: Connect) -> None:
    house = await serve(listen__max_pending=1, **TLS)
    await peer(house)
    await until(lambda: house.runtime.tcp.connections.waiting == 1)
    refused = await peer(house)
    assert await refused.rest() == b""
    assert rejected(house) == {"rate_limited": 1}


async def test_the_hello_deadline_runs_from_before_the_tls_handshake(
    serve: Serve, peer: Connect, trust: ssl.SSLContext
) -> None:
    house = await serve(**TLS)
    client = await peer(house, tls=trust)
    house.runtime.advance(20)
    (closing,) = await client.gone()
    assert closing["reason"] == "hello_timeout"


async def test_behind_a_proxy_tls_begins_after_the_header(serve: Serve, trust: ssl.SSLContext) -> None:
    house = await serve(listen__proxy_protocol_from='["127.0.0.1/32"]', **TLS)
    plain = await Peer.to(house.tcp)
    await plain.send(HEADERS["version 2, IPv4"][0])
    loop = asyncio.get_running_loop()
    transport = plain.writer.transport
    secured = await loop.start_tls(transport, transport.get_protocol(), trust, server_hostname="localhost")
    assert secured is not None
    secured.write(HELLO + b"\n")
    await until(lambda: bool(len(house.runtime.state.sessions)))
    assert [each.address for each in house.runtime.connections()] == ["203.0.113.8"]
    secured.abort()
    await until(lambda: not house.runtime.tcp.connections.held)


async def test_what_a_turned_away_client_hears_is_one_json_object(serve: Serve) -> None:
    house = await serve(listen__max_connections=1)
    await house.welcomed()
    async with await Peer.to(house.tcp) as turned:
        line = await turned.rest()
    assert json.loads(line) == {
        "type": "denied",
        "request": "hello",
        "reason": "too_many_connections",
        "retry_after_seconds": 30,
    }
