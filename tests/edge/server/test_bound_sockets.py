"""The sockets of a host: every address of its name, one port."""

from __future__ import annotations

import contextlib
import errno
import gc
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.edge.server import bound_sockets as module
from gateway.edge.server.bound_sockets import bound_sockets

Names = dict[str, list[str]]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """Names of this test and the addresses that they mean."""
    found: Names = {}
    look_up = socket.getaddrinfo

    def known(host: str, *args: Any, **options: Any) -> Any:
        return [each for address in found.get(host, [host]) for each in look_up(address, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", known)
    return found


@contextlib.contextmanager
def bound(host: str, port: int = 0) -> Iterator[list[tuple[str, int]]]:
    """The addresses and ports of bound sockets, which are closed afterwards."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(each) for each in bound_sockets(host, port)]
        yield [each.getsockname()[:2] for each in sockets]


def test_a_name_with_two_addresses_is_bound_at_both_on_one_port(names: Names) -> None:
    names["both.test"] = ["127.0.0.1", "::1", "127.0.0.1"]
    with bound("both.test") as found:
        assert [address for address, _ in found] == ["127.0.0.1", "::1"]
        assert len({port for _, port in found}) == 1
        assert found[0][1] != 0


def test_the_address_of_both_families_is_one_socket_that_takes_both() -> None:
    (made,) = bound_sockets("::", 0)
    with made:
        made.listen()
        for address in ("127.0.0.1", "::1"):
            socket.create_connection((address, made.getsockname()[1]), 5).close()


def test_a_free_port_is_sought_until_it_is_free_at_every_address(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    names["both.test"] = ["127.0.0.1", "::1"]
    tried: list[int] = []
    bind = module._bind

    def taken_twice(*args: Any, **options: Any) -> Any:
        tried.append(1)
        if len(tried) <= 2:
            raise OSError(errno.EADDRINUSE, "Address already in use")
        return bind(*args, **options)

    monkeypatch.setattr(module, "_bind", taken_twice)
    with bound("both.test") as found:
        assert len(found) == 2
    assert len(tried) == 3


@pytest.mark.parametrize("place", [0, 1])
def test_a_port_that_is_taken_at_one_address_cannot_be_had_and_nothing_stays_open(names: Names, place: int) -> None:
    names["both.test"] = ["127.0.0.1", "::1"]
    family = (socket.AF_INET, socket.AF_INET6)[place]
    with socket.create_server((names["both.test"][place], 0), family=family) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(OSError, match="Address already in use"):
            bound_sockets("both.test", port)
        gc.collect()  # a socket that was left open would say so here, and warnings are errors


def test_an_address_that_this_machine_has_not_is_left_out_if_there_is_another(names: Names) -> None:
    # 192.0.2.0/24 is reserved for documentation: no machine has such an address.
    names["some.test"], names["none.test"] = ["192.0.2.1", "127.0.0.1"], ["192.0.2.1"]
    with bound("some.test") as found:
        assert [address for address, _ in found] == ["127.0.0.1"]
    with pytest.raises(OSError, match="Cannot assign requested address"):
        bound_sockets("none.test", 0)


def test_a_name_that_means_nothing_is_a_fault() -> None:
    with pytest.raises(OSError, match=r"not known|No address|failure"):
        bound_sockets("no.such.name.invalid", 0)
