"""What a listener allows, as one value that is swapped whole; and the sockets that all listeners share."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from config.settings import ListenSettings, Settings
from gateway.core.addresses import IPNetwork
from gateway.core.admission.requests import SessionState
from gateway.core.wire import json_lines
from gateway.core.wire.websocket_handshake import Origins
from gateway.edge.server.connection_table import ConnectionTable
from gateway.edge.server.ticker import MAX_CATCH_UP, TICK

LINGER_TICKS = 2 * MAX_CATCH_UP
"""Ticks that a closed connection may take to close its own half: after a stall, for which one late look may make up
`MAX_CATCH_UP`, there is a second left to read the last message."""
LINGER_LOOK = 0.01
"""Seconds between two looks whether all have closed, when the gateway ends."""

PENDING_PARTS = 4
"""What is waiting at one listener takes no more of the connections than one of so many parts."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one listener and its connections.

    `burst` is in messages (infinite without a rate), `refill` in messages per tick, `outbound_limit` and
    `message_limit` in bytes, `silence` in ticks by the state of a connection, `hello_deadline` in seconds,
    `accept_rate` in sockets per second (0 for no limit). `max_pending` is how many may wait at once without having said
    who they are. IPv6 addresses that share `ipv6_prefix` bits are one address where limits are those of an address.
    `proxies` are the networks that must send a PROXY header.
    """

    burst: float
    refill: float
    outbound_limit: int
    message_limit: int
    silence: Mapping[SessionState, int]
    hello_deadline: float
    accept_rate: int
    max_pending: int
    ipv6_prefix: int
    origins: Origins
    proxies: tuple[IPNetwork, ...]

    @property
    def unmetered(self) -> bool:
        """Whether messages have no rate."""
        return self.burst == math.inf

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Return the limits of the client listeners."""
        listen, heartbeat = settings.listen, settings.heartbeat
        return cls(
            burst=float(listen.message_burst) if listen.message_rate else math.inf,
            refill=listen.message_rate * TICK,
            outbound_limit=listen.outbound_limit,
            message_limit=json_lines.LIMIT,
            silence={
                SessionState.PENDING: ticks(heartbeat.hello_deadline),
                SessionState.QUEUED: ticks(heartbeat.timeout),
                SessionState.AWAKE: ticks(heartbeat.timeout),
                SessionState.ASLEEP: ticks(max(heartbeat.asleep_timeout, heartbeat.timeout)),
                SessionState.CLOSED: LINGER_TICKS,
            },
            hello_deadline=heartbeat.hello_deadline,
            accept_rate=listen.accept_rate,
            max_pending=listen.max_pending,
            ipv6_prefix=listen.ipv6_prefix,
            origins=Origins(listen.allowed_origins),
            proxies=tuple(ipaddress.ip_network(each) for each in listen.proxy_protocol_from),
        )


class SocketBudget:
    """How many sockets all listeners together may hold, and how many they do; each asks before it lets one in.

    `files` is how many files the process may open. While `draining`, nobody is let in.
    """

    def __init__(self, listen: ListenSettings, files: int) -> None:
        self._files = files
        self._tables: list[ConnectionTable[Any]] = []
        self.draining = False
        self.max_connections = listen.ceiling(files)
        self.max_per_address = listen.max_connections_per_address

    def apply_settings(self, listen: ListenSettings) -> None:
        """Take the limits of the settings; nobody is dropped by it."""
        self.max_connections = listen.ceiling(self._files)
        self.max_per_address = listen.max_connections_per_address
        for table in self._tables:
            table.index_addresses(limited=self.max_per_address > 0)

    def share(self, table: ConnectionTable[Any]) -> None:
        """Count the sockets of one more listener."""
        table.index_addresses(limited=self.max_per_address > 0)
        self._tables.append(table)

    @property
    def held(self) -> int:
        """Sockets that are open."""
        return sum(table.held for table in self._tables)

    @property
    def room(self) -> int:
        """How many more sockets may be let in; below zero where the limit is lower than it was."""
        return self.max_connections - self.held

    @property
    def pending_part(self) -> int:
        """The most sockets that may wait at one listener: those who say nothing take no more, whatever the limits."""
        return max(self.max_connections // PENDING_PARTS, 1)

    def crowded(self, address: str) -> bool:
        """Return whether one address has all the connections that it may have."""
        limit = self.max_per_address
        return limit > 0 and sum(table.held_by(address) for table in self._tables) >= limit


def ticks(seconds: float) -> int:
    """Return a span of time in whole ticks, rounded up; at least one."""
    return max(math.ceil(seconds / TICK), 1)


def retry_seconds(reason: str, usual: float) -> int:
    """Return the seconds after which a refused client may come back: 1 where its rate was too high, else `usual`."""
    return 1 if reason == "rate_limited" else math.ceil(usual)
