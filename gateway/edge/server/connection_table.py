"""The connections of one listener, each in exactly one collection: `pending` until its peer has said who it is,
`queued` while that one waits to be welcomed, `connected` under the key by which its owner knows it, `closing` once its
end is decided and its socket still open.

How many there are is read from here, never counted beside it.
"""

from __future__ import annotations

import gc
from collections.abc import Hashable, Iterator
from itertools import chain
from typing import Generic, Protocol, TypeVar

from gateway.core.addresses import network
from gateway.core.counting.multimap import Multimap

FREEZE_EVERY = 1024
"""Connections of growth after which what is alive is taken out of the garbage collector's sight."""


class Held(Protocol):
    """What a table holds: `address` is the peer's, `key` what its owner knows it by, None before it is connected."""

    address: str
    key: Hashable


C = TypeVar("C", bound=Held)


class ConnectionTable(Generic[C]):
    """`arriving` maps what is not yet connected (the socket, then the connection made for it) to its network, "" for a
    proxy that has not named its client. `by_network` has every socket of a network, and is kept only while addresses
    are limited; IPv6 addresses that share so many bits are one network.
    """

    __slots__ = (
        "_frozen",
        "_ipv6_prefix",
        "_limited",
        "_waiting",
        "arriving",
        "by_network",
        "closing",
        "connected",
        "pending",
        "queued",
    )

    def __init__(self, ipv6_prefix: int) -> None:
        self._ipv6_prefix = ipv6_prefix
        self.arriving: dict[object, str] = {}
        self.pending: set[C] = set()
        self.queued: set[C] = set()
        self.connected: dict[Hashable, C] = {}
        self.closing: set[C] = set()
        self.by_network: Multimap[str, object] = Multimap()
        self._waiting: Multimap[str, object] = Multimap()
        """What is arriving or pending, by network."""
        self._frozen = 0
        self._limited = False

    def __len__(self) -> int:
        return len(self.pending) + len(self.queued) + len(self.connected) + len(self.closing)

    def __iter__(self) -> Iterator[C]:
        return chain(self.pending, self.queued, self.connected.values(), self.closing)

    @property
    def held(self) -> int:
        """Sockets that are open: connections, and what is arriving."""
        return len(self) + len(self.arriving)

    @property
    def waiting(self) -> int:
        """Sockets whose peer has not said who it is."""
        return len(self.pending) + len(self.arriving)

    def waiting_from(self, address: str) -> int:
        """Sockets of one network whose peer has not said who it is, less proxies that have not named their client."""
        return len(self._waiting.values_of(network(address, self._ipv6_prefix)))

    def held_by(self, address: str) -> int:
        """Sockets of one network; 0 while addresses are not limited."""
        return len(self.by_network.values_of(network(address, self._ipv6_prefix)))

    def arrive(self, thing: object, address: str) -> None:
        """A socket has been accepted, or what is arriving has got its address."""
        self.arriving[thing] = place = network(address, self._ipv6_prefix)
        if place:
            self._waiting.add(place, thing)
            if self._limited:
                self.by_network.add(place, thing)

    def attach(self, sock: object, connection: C) -> None:
        """A connection has been made for a socket that is arriving; it is still to be connected."""
        self.abandon(sock)
        self.arrive(connection, connection.address)

    def abandon(self, thing: object) -> None:
        """What was arriving is not let in; nothing happens where it has been connected meanwhile."""
        place = self.arriving.pop(thing, "")
        if place:
            self._waiting.discard(place, thing)
            if self._limited:
                self.by_network.discard(place, thing)

    def add(self, connection: C) -> None:
        """What was arriving is connected; it is pending."""
        if self.arriving.pop(connection, None) is None:
            place = network(connection.address, self._ipv6_prefix)
            self._waiting.add(place, connection)
            if self._limited:
                self.by_network.add(place, connection)
        self.pending.add(connection)

    def queue(self, connection: C) -> None:
        """The peer of a pending connection has said who it is, and waits to be welcomed."""
        self._forget(connection)
        self.queued.add(connection)

    def welcome(self, connection: C, key: Hashable) -> None:
        """The owner knows the peer of a pending connection by `key`; the last that had this key is closing by now."""
        self._forget(connection)
        connection.key = key
        self.connected[key] = connection
        if len(self.connected) >= self._frozen + FREEZE_EVERY:
            self._frozen = len(self.connected)
            gc.freeze()

    def retire(self, connection: C) -> None:
        """The end of a connection is decided."""
        self._forget(connection)
        self.closing.add(connection)

    def remove(self, connection: C) -> None:
        """The socket of a connection is gone."""
        if connection in self.closing:
            self.closing.remove(connection)
        else:
            self._forget(connection)
        if self._limited:
            self.by_network.discard(network(connection.address, self._ipv6_prefix), connection)

    def _forget(self, connection: C) -> None:
        if connection in self.pending:
            self.pending.remove(connection)
            self._waiting.discard(network(connection.address, self._ipv6_prefix), connection)
        elif connection in self.queued:
            self.queued.remove(connection)
        elif self.connected.get(connection.key) is connection:
            del self.connected[connection.key]

    def index_addresses(self, *, limited: bool) -> None:
        """Begin to keep sockets by network, or stop."""
        self._limited = limited
        self.by_network = Multimap()
        if limited:
            for connection in self:
                self.by_network.add(network(connection.address, self._ipv6_prefix), connection)
            for thing, place in self.arriving.items():
                if place:
                    self.by_network.add(place, thing)
