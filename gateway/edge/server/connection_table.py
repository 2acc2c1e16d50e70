"""The connections of one listener, each in exactly one collection: `pending` until its peer has said who it is,
`connected` under the key by which its owner knows it, `closing` once its end is decided and its socket still open.

How many there are is read from here, never counted beside it.
"""

from __future__ import annotations

import gc
from collections.abc import Hashable, Iterator
from itertools import chain
from typing import Generic, Protocol, TypeVar

FREEZE_EVERY = 1024
"""Connections of growth after which what is alive is taken out of the garbage collector's sight."""


class Held(Protocol):
    """What a table holds: `address` is the peer's, `key` what its owner knows it by, None before it is connected."""

    address: str
    key: Hashable


C = TypeVar("C", bound=Held)


class ConnectionTable(Generic[C]):
    """`arriving` maps what is not yet connected (the socket, then the connection made for it) to its address, "" for a
    proxy that has not named its client. `by_address` is kept only while addresses are limited.
    """

    __slots__ = ("_frozen", "_limited", "arriving", "by_address", "closing", "connected", "pending")

    def __init__(self) -> None:
        self.arriving: dict[object, str] = {}
        self.pending: set[C] = set()
        self.connected: dict[Hashable, C] = {}
        self.closing: set[C] = set()
        self.by_address: dict[str, set[C]] = {}
        self._frozen = 0
        self._limited = False

    def __len__(self) -> int:
        return len(self.pending) + len(self.connected) + len(self.closing)

    def __iter__(self) -> Iterator[C]:
        return chain(self.pending, self.connected.values(), self.closing)

    @property
    def held(self) -> int:
        """Sockets that are open: connections, and what is arriving."""
        return len(self) + len(self.arriving)

    @property
    def waiting(self) -> int:
        """Sockets whose peer has not said who it is."""
        return len(self.pending) + len(self.arriving)

    def held_by(self, address: str) -> int:
        """Sockets of one address; only what is arriving while addresses are not limited."""
        arriving = sum(each == address for each in self.arriving.values())
        return arriving + len(self.by_address.get(address, ()))

    def add(self, connection: C) -> None:
        """A connection has been made; it is pending."""
        self.arriving.pop(connection, None)
        self.pending.add(connection)
        if self._limited:
            self.by_address.setdefault(connection.address, set()).add(connection)
        if len(self) >= self._frozen + FREEZE_EVERY:
            self._frozen = len(self)
            gc.freeze()

    def welcome(self, connection: C, key: Hashable) -> None:
        """The owner knows the peer of a pending connection by `key`; the last that had this key is closing by now."""
        self.pending.discard(connection)
        connection.key = key
        self.connected[key] = connection

    def retire(self, connection: C) -> None:
        """The end of a connection is decided."""
        self._forget(connection)
        self.closing.add(connection)

    def remove(self, connection: C) -> None:
        """The socket of a connection is gone."""
        self._forget(connection)
        self.closing.discard(connection)
        if self._limited:
            same = self.by_address[connection.address]
            same.discard(connection)
            if not same:
                del self.by_address[connection.address]

    def _forget(self, connection: C) -> None:
        self.pending.discard(connection)
        if self.connected.get(connection.key) is connection:
            del self.connected[connection.key]

    def index_addresses(self, *, limited: bool) -> None:
        """Begin to keep connections by address, or stop."""
        self._limited = limited
        self.by_address = {}
        for connection in self if limited else ():
            self.by_address.setdefault(connection.address, set()).add(connection)
