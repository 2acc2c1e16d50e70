"""The sockets of a host and a port: one for each address that the host's name means, all on the same port."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from typing import Any

ATTEMPTS = 20
"""Free ports that are tried before one is free at every address."""
ABSENT = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
"""How a family of addresses fails that this machine does not have, though its tables of names do."""
EVERY_ADDRESS = "::"
"""The address by which both families are meant."""


def bound_sockets(host: str, port: int, *, reuse_port: bool = False) -> list[socket.socket]:
    """Sockets that are bound and do not listen yet, for whoever closes them; port 0 picks one that is free.

    An address of a name that this machine does not have is left out, if there is another. Raises `OSError` where an
    address or the port cannot be had; nothing stays open then.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    addresses = list(dict.fromkeys((family, address) for family, _, _, _, address in found))
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _bind(addresses, port, reuse_port=reuse_port)
        except OSError as fault:
            if port or len(addresses) == 1 or fault.errno != errno.EADDRINUSE or attempt == ATTEMPTS:
                raise
    raise AssertionError("the last attempt returns or raises")


def _bind(addresses: Sequence[tuple[int, tuple[Any, ...]]], port: int, *, reuse_port: bool) -> list[socket.socket]:
    bound: list[socket.socket] = []
    absent: OSError | None = None
    try:
        for family, address in addresses:
            try:
                made = socket.socket(family, socket.SOCK_STREAM)
            except OSError as fault:
                absent = fault
                continue
            bound.append(made)
            made.setblocking(False)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if reuse_port:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address[0] != EVERY_ADDRESS)
            try:
                made.bind((address[0], port, *address[2:]))
            except OSError as fault:
                if fault.errno not in ABSENT:
                    raise
                absent = fault
                bound.pop().close()
            else:
                port = made.getsockname()[1]
        if absent is not None and not bound:
            raise absent
    except BaseException:
        for each in bound:
            each.close()
        raise
    return bound
