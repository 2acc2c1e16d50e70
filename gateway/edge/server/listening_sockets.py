"""The sockets that a port is listened on: one for each address that its host has, all with the same port number."""

from __future__ import annotations

import errno
import ipaddress
import socket

ATTEMPTS = 16
"""How often a free port is picked: what is free with one address may be taken with another."""
NOT_HERE = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
"""What binding fails with where this machine lacks an address that a name has, such as `::1` without IPv6."""

SocketAddress = tuple[socket.AddressFamily, tuple[object, ...]]


def listening_sockets(host: str, port: int, *, reuse_port: bool = False) -> list[socket.socket]:
    """Bind every address of `host`; 0 picks a port that is free with all of them. `::` takes IPv4 as well.

    With `reuse_port` other processes may bind it too. Raises `OSError` where the host has no address here, or the port
    cannot be bound with one of them.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    addresses: list[SocketAddress] = list(dict.fromkeys((family, address) for family, _, _, _, address in found))
    for attempt in range(ATTEMPTS):
        try:
            return _bound(addresses, port, reuse_port=reuse_port)
        except OSError as fault:
            if port or fault.errno != errno.EADDRINUSE or attempt + 1 == ATTEMPTS:
                raise
    raise OSError(errno.EADDRINUSE, f"no port is free with every address of {host}")


def _bound(addresses: list[SocketAddress], port: int, *, reuse_port: bool) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    missing: OSError | None = None
    try:
        for family, address in addresses:
            try:
                sockets.append(_bind(family, (address[0], port, *address[2:]), reuse_port=reuse_port))
            except OSError as fault:
                if fault.errno not in NOT_HERE:
                    raise
                missing = fault
                continue
            port = sockets[0].getsockname()[1]
        if missing is not None and not sockets:
            raise missing
    except OSError:
        for each in sockets:
            each.close()
        raise
    return sockets


def _bind(family: socket.AddressFamily, address: tuple[object, ...], *, reuse_port: bool) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setblocking(False)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            both = ipaddress.ip_address(str(address[0]).partition("%")[0]).is_unspecified
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if both else 1)
        bound.bind(address)
    except BaseException:
        bound.close()
        raise
    return bound


def plain_address(address: str) -> str:
    """Return an IPv4 address as itself, also where a socket of both families has written it as one of IPv6."""
    return address.removeprefix("::ffff:") if "." in address else address
