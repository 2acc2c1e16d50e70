"""The table of connections: each is in exactly one collection, from accept to the end of its socket."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import pytest

from gateway.core.admission.requests import SessionState
from gateway.edge.server import connection_table as module
from gateway.edge.server.connection_table import ConnectionTable
from tests.conftest import Serve, until
from tests.edge.conftest import Connect
from tests.edge.raw import HELLO


class Peer:
    """What a table holds, without a socket."""

    def __init__(self, address: str = "192.0.2.1") -> None:
        self.address = address
        self.key: Hashable = None


def places(table: ConnectionTable[Peer], peer: Peer) -> list[str]:
    """The collections in which a connection is."""
    return [
        name
        for name, held in (
            ("pending", table.pending),
            ("connected", table.connected.values()),
            ("closing", table.closing),
        )
        if peer in held
    ]


def test_a_connection_goes_from_one_collection_to_the_next() -> None:
    table: ConnectionTable[Peer] = ConnectionTable(64)
    peer, other = Peer(), Peer()
    table.arrive(peer, peer.address)
    assert (table.held, table.waiting, len(table)) == (1, 1, 0)
    table.add(peer)
    table.add(other)
    assert (table.held, table.waiting, len(table)) == (2, 2, 2)
    assert places(table, peer) == ["pending"]
    table.welcome(peer, 7)
    assert (table.held, table.waiting) == (2, 1)
    assert places(table, peer) == ["connected"]
    assert table.connected[7] is peer
    table.retire(peer)
    assert (table.held, table.waiting) == (2, 1)
    assert places(table, peer) == ["closing"]
    assert table.connected == {}
    assert set(table) == {peer, other}
    table.remove(peer)
    assert (table.held, places(table, peer), places(table, other)) == (1, [], ["pending"])


@pytest.mark.parametrize("place", ["pending", "connected", "closing"])
def test_a_socket_may_go_from_any_collection(place: str) -> None:
    table: ConnectionTable[Peer] = ConnectionTable(64)
    peer = Peer()
    table.add(peer)
    if place != "pending":
        table.welcome(peer, 7)
    if place == "closing":
        table.retire(peer)
    assert places(table, peer) == [place]
    table.remove(peer)
    assert table.held == 0
    assert table.connected == {}


def test_the_end_of_a_connection_leaves_the_key_to_the_one_that_has_it_now() -> None:
    table: ConnectionTable[Peer] = ConnectionTable(64)
    old, new = Peer(), Peer()
    for peer in (old, new):
        table.add(peer)
    table.welcome(old, 7)
    table.retire(old)
    table.welcome(new, 7)
    table.remove(old)
    assert table.connected == {7: new}


def test_addresses_are_indexed_while_they_are_limited() -> None:
    table: ConnectionTable[Peer] = ConnectionTable(64)
    here, there = Peer("192.0.2.1"), Peer("192.0.2.2")
    table.add(here)
    assert table.by_network == {}
    table.index_addresses(limited=True)
    table.add(there)
    arriving, proxy = object(), object()
    table.arrive(arriving, "192.0.2.1")
    table.arrive(proxy, "")
    assert [table.held_by(address) for address in ("192.0.2.1", "192.0.2.2", "192.0.2.3")] == [2, 1, 0]
    table.remove(there)
    assert list(table.by_network) == ["192.0.2.1"]
    table.index_addresses(limited=False)
    assert table.by_network == {}
    table.index_addresses(limited=True)
    table.arrive(proxy, "192.0.2.1")
    assert [table.held_by(address) for address in ("192.0.2.1", "")] == [3, 0]
    table.add(there)
    table.abandon(arriving)
    table.abandon(proxy)
    assert [table.held_by(address) for address in ("192.0.2.1", "192.0.2.2")] == [1, 1]
    table.index_addresses(limited=False)
    for peer in (here, there):
        table.remove(peer)
    assert table.by_network == {}


def test_a_socket_counts_once_from_its_accept_until_it_is_gone() -> None:
    table: ConnectionTable[Peer] = ConnectionTable(64)
    table.index_addresses(limited=True)
    peer, socket = Peer("192.0.2.1"), object()
    steps: list[Callable[[], None]] = [
        lambda: table.arrive(socket, "192.0.2.1"),
        lambda: table.attach(socket, peer),
        lambda: table.add(peer),
        lambda: table.abandon(peer),
        lambda: table.welcome(peer, 1),
        lambda: table.retire(peer),
        lambda: table.remove(peer),
    ]
    held = []
    for step in steps:
        step()
        held.append(table.held_by("192.0.2.1"))
    assert held == [1] * (len(steps) - 1) + [0]
    assert table.by_network == {}


def test_how_long_an_accept_looks_does_not_grow_with_those_that_are_arriving(monkeypatch: pytest.MonkeyPatch) -> None:
    table: ConnectionTable[Peer] = ConnectionTable(64)
    table.index_addresses(limited=True)
    for number in range(50):
        table.arrive(object(), f"2001:db8:0:{number}::1")
    asked: list[str] = []

    def network(address: str, _: int) -> str:
        asked.append(address)
        return address

    monkeypatch.setattr(module, "network", network)
    table.held_by("2001:db8::1")
    assert asked == ["2001:db8::1"]


def test_connections_from_one_network_of_ipv6_are_counted_as_those_of_one_address() -> None:
    table: ConnectionTable[Peer] = ConnectionTable(56)
    table.index_addresses(limited=True)
    first, second = Peer("2001:db8:0:1::1"), Peer("2001:db8:0:ff:7::")
    table.add(first)
    table.add(second)
    arriving = object()
    table.arrive(arriving, "2001:db8:0:2::3")
    assert [table.held_by(address) for address in ("2001:db8::", "2001:db8:0:ff::1", "2001:db8:0:100::1")] == [3, 3, 0]
    table.remove(first)
    assert table.held_by("2001:db8:0:1::1") == 2
    table.remove(second)
    table.abandon(arriving)
    assert table.by_network == {}


def test_who_waits_is_counted_by_network_from_its_accept_until_it_has_said_who_it_is() -> None:
    table: ConnectionTable[Peer] = ConnectionTable(64)
    here, there, six = "192.0.2.1", "192.0.2.2", "2001:db8:0:1::1"
    socket, proxy, failed = object(), object(), object()
    peer, neighbor, guest = Peer(here), Peer(there), Peer(six)

    def waiting() -> list[int]:
        return [table.waiting_from(address) for address in (here, there, "2001:db8:0:1:ffff::", "2001:db8:0:2::1")]

    table.arrive(socket, here)
    table.arrive(proxy, "")
    table.arrive(failed, there)
    table.arrive(guest, six)
    assert waiting() == [1, 1, 1, 0]
    table.attach(socket, peer)
    table.arrive(proxy, here)
    table.abandon(failed)
    assert waiting() == [2, 0, 1, 0]
    table.add(peer)
    table.add(guest)
    table.add(neighbor)
    table.abandon(peer)
    assert waiting() == [2, 1, 1, 0]
    table.welcome(peer, 1)
    table.retire(neighbor)
    table.remove(guest)
    assert waiting() == [1, 0, 0, 0]
    table.abandon(proxy)
    assert waiting() == [0, 0, 0, 0]
    assert table.held == 2


@pytest.mark.parametrize("transport", ["tcp", "websocket"])
async def test_a_client_is_pending_then_found_by_the_number_of_its_session_then_closing(
    transport: str, serve: Serve, peer: Connect
) -> None:
    house = await serve()
    table = (house.runtime.tcp if transport == "tcp" else house.runtime.websocket).connections
    client = await peer(house, transport)
    await until(lambda: len(table.pending) == 1)
    await client.say(HELLO)
    assert (await client.hear())["type"] == "welcome"
    assert not table.pending
    ((number, connection),) = table.connected.items()
    assert house.runtime.state.sessions.by_number[int(str(number))] is connection.session
    await client.say(b'{"type":"bye"}')
    await until(lambda: not table.connected)
    assert table.closing == {connection}
    assert connection.state is SessionState.CLOSED
    await client.gone()
    await until(lambda: not table.held)


async def test_a_resumed_session_is_found_at_its_new_connection(serve: Serve) -> None:
    house = await serve()
    old = await house.connect()
    token = (await old.hello())["resume"]
    ((number, _),) = house.runtime.tcp.connections.connected.items()
    new = await house.connect("websocket")
    assert (await new.hello(resume=token))["type"] == "welcome"
    assert house.runtime.tcp.connections.connected == {}
    assert list(house.runtime.websocket.connections.connected) == [number]
