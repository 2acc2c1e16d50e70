"""The sockets of a port: every address of a host, and the same port with each."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gateway.edge.server.listening_sockets import listening_sockets

Listen = Callable[[str, int], list[socket.socket]]


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Listens, and closes what it listened on after the test."""
    opened: list[socket.socket] = []

    def opening(host: str, port: int) -> list[socket.socket]:
        made = listening_sockets(host, port)
        opened.extend(made)
        for each in made:
            each.listen()
        return made

    yield opening
    for each in opened:
        each.close()


def reached(port: int) -> set[str]:
    """The loopback addresses of this machine with which the port can be reached."""
    found = set()
    for host in ("127.0.0.1", "::1"):
        try:
            socket.create_connection((host, port), timeout=2).close()
        except OSError:
            continue
        found.add(host)
    return found


@pytest.fixture
def two_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the name `both.example` have 127.0.0.1 and ::1, as `localhost` has on most machines."""
    known = socket.getaddrinfo

    def resolve(host: str, *rest: Any, **options: Any) -> list[Any]:
        names = ("127.0.0.1", "::1") if host == "both.example" else (host,)
        return [found for name in names for found in known(name, *rest, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


def test_an_address_is_one_socket(listen: Listen) -> None:
    (bound,) = listen("127.0.0.1", 0)
    assert reached(bound.getsockname()[1]) == {"127.0.0.1"}


def test_any_address_of_ipv6_is_any_address_of_both_families(listen: Listen) -> None:
    (bound,) = listen("::", 0)
    assert reached(bound.getsockname()[1]) == {"127.0.0.1", "::1"}


@pytest.mark.usefixtures("two_addresses")
def test_a_name_is_listened_on_with_all_its_addresses_and_one_port(listen: Listen) -> None:
    first, second = listen("both.example", 0)
    assert first.getsockname()[1] == second.getsockname()[1]
    assert reached(first.getsockname()[1]) == {"127.0.0.1", "::1"}


@pytest.mark.usefixtures("two_addresses")
def test_a_port_that_is_taken_with_one_address_is_taken(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    (other,) = listen("::1", 0)
    made: list[socket.socket] = []

    class Remembered(socket.socket):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            made.append(self)

    monkeypatch.setattr(socket, "socket", Remembered)
    with pytest.raises(OSError, match="Address already in use"):
        listen("both.example", other.getsockname()[1])
    assert made
    assert all(each.fileno() == -1 for each in made)  # nothing was left bound


@pytest.mark.usefixtures("two_addresses")
def test_a_free_port_is_free_with_every_address(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = listen("::1", 0)[0].getsockname()[1]
    bind, picked = socket.socket.bind, iter([taken])
    monkeypatch.setattr(
        socket.socket,
        "bind",
        lambda self, address: bind(self, (address[0], address[1] or next(picked, 0), *address[2:])),
    )
    first, second = listen("both.example", 0)
    assert first.getsockname()[1] == second.getsockname()[1] != taken


def test_an_address_that_this_machine_lacks_is_left_out(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    known = socket.getaddrinfo
    addresses = ["192.0.2.1", "127.0.0.1"]
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda _, *rest, **how: [each for a in addresses for each in known(a, *rest, **how)],
    )
    (bound,) = listen("half.example", 0)
    assert bound.getsockname()[0] == "127.0.0.1"
    addresses.remove("127.0.0.1")
    with pytest.raises(OSError) as refused:  # noqa: PT011 - the number says it
        listen("nowhere.example", 0)
    assert refused.value.errno == errno.EADDRNOTAVAIL
