"""One connection: what TCP and WebSocket share, and clients and agents.

A connection owns its transport and nothing else: no task, no timer, no future. It notes the tick in which it was last
heard; the timer wheel does the rest. The literal heartbeat is recognized by comparing bytes (in the subclass), and
costs one assignment and one count; everything else goes through `receive`. What a message means, and what is said last,
is the business of its owner.

The end comes in two steps. `close` decides it: the owner is told at once, the last message is written, and the sending
half is shut. The socket stays until the peer has closed its half too, or for `LINGER_TICKS`, so that the last message
is not lost to a reset by data still under way.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Hashable
from typing import Any, Generic, Protocol, TypeVar

from gateway.core.admission.requests import SessionState
from gateway.core.counting.session import Session
from gateway.core.wire import json_lines
from gateway.core.wire.close_codes import ENDINGS
from gateway.edge.server.connection_table import ConnectionTable
from gateway.edge.server.limits import LINGER_TICKS, Limits
from gateway.edge.server.ticker import TICK
from gateway.edge.server.timer_wheel import TimerWheel
from metrics.histogram import Histogram

DURATIONS = (1, 10, 60, 600, 3600, 6 * 3600, 24 * 3600)
"""Buckets of connection durations, in seconds."""

log = logging.getLogger("tallygate.connection")

C = TypeVar("C", bound="BaseConnection")
C_contra = TypeVar("C_contra", bound="BaseConnection", contravariant=True)


class ConnectionOwner(Protocol[C_contra]):
    """Whoever the connections of a listener belong to: it acts upon what they say, and words what is said last."""

    def received(self, connection: C_contra, payload: bytes) -> None:
        """Act upon one message."""

    def flooded(self, connection: C_contra, *, again: bool) -> None:
        """Messages above the rate were dropped, for the first time or `again` for as much as a whole burst."""

    def expired(self, connection: C_contra, cause: str) -> None:
        """Close a connection that was silent for too long."""

    def hung_up(self, connection: C_contra, cause: str) -> None:
        """The peer has ended it, or the network: `finish` the connection, once what it said before is acted upon."""

    def ended(self, connection: C_contra, cause: str) -> None:
        """A connection is over for `cause`, though its socket may be open for a moment."""


class Shared(Generic[C]):
    """What the connections of one listener share: their owner, limits, clock and totals.

    `tick` is the present one, `unmetered` whether the limits have no message rate: the heartbeat reads both.
    `heartbeats`, `accepted` and `closed` (by cause) are totals.
    """

    __slots__ = (
        "accepted",
        "closed",
        "connections",
        "durations",
        "heartbeats",
        "limits",
        "owner",
        "tick",
        "transport",
        "unmetered",
        "wheel",
    )

    def __init__(
        self, transport: str, owner: ConnectionOwner[C], wheel: TimerWheel[BaseConnection], limits: Limits
    ) -> None:
        self.transport = transport
        self.owner = owner
        self.wheel = wheel
        self.limits = limits
        self.unmetered = limits.unmetered
        self.tick = wheel.tick
        self.connections: ConnectionTable[C] = ConnectionTable(limits.ipv6_prefix)
        self.heartbeats = 0
        self.accepted = 0
        self.closed: dict[str, int] = {}
        self.durations = Histogram(DURATIONS)

    def apply_limits(self, limits: Limits) -> None:
        """Put other limits in force, for those who are connected too; only `outbound_limit` is for new ones."""
        self.limits = limits
        self.unmetered = limits.unmetered


class BaseConnection(asyncio.Protocol):
    """A connection from accept to the end of its socket.

    `key` is what its owner knows it by once its peer has said who it is; `cause` is why it is over, None before; `gone`
    is whether its socket is.
    """

    __slots__ = (
        "accepted",
        "address",
        "cause",
        "credit",
        "credited",
        "due",
        "gone",
        "key",
        "last_heard_tick",
        "shared",
        "state",
        "transport",
    )

    shared: Shared[Any]
    transport: asyncio.Transport

    def __init__(self, shared: Shared[Any], address: str) -> None:
        self.shared = shared
        self.address = address
        self.state = SessionState.PENDING
        self.key: Hashable = None
        self.cause: str | None = None
        self.gone = False
        self.due = 0
        self.last_heard_tick = shared.tick
        self.credit = shared.limits.burst
        self.credited = shared.tick
        self.accepted = shared.tick

    # -- asyncio ---------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first message."""
        self.transport = transport  # type: ignore[assignment]  # of a stream, as its server is
        shared = self.shared
        limits = shared.limits
        self.transport.set_write_buffer_limits(limits.outbound_limit)
        shared.accepted += 1
        shared.connections.add(self)
        shared.wheel.put(self, self.last_heard_tick + limits.silence[SessionState.PENDING])
        log.debug("%s: %s connected", shared.transport, self.address)

    def pause_writing(self) -> None:
        """More waits for the peer than the outbound limit: it does not read, and is cut off."""
        self.close("slow_consumer")

    def eof_received(self) -> bool:
        """The peer has shut its half; the transport stays open for what is still to be answered, but over TLS."""
        if self.cause is None:
            self.shared.owner.hung_up(self, "closed")
        return self.cause is None and self.transport.can_write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone; the connection too, unless what its peer said before is still to be acted upon."""
        self.gone = True
        if self.cause is not None:
            self._forget(self.cause)
        else:
            self.shared.owner.hung_up(self, "closed" if exc is None else "reset")

    def _forget(self, cause: str) -> None:
        shared = self.shared
        shared.wheel.drop(self)
        shared.connections.remove(self)
        shared.closed[cause] = shared.closed.get(cause, 0) + 1
        seconds = (shared.wheel.tick - self.accepted) * TICK
        shared.durations.observe(seconds)
        log.debug("%s: %s closed after %g s: %s", shared.transport, self.address, seconds, cause)

    # -- messages --------------------------------------------------------------------------------------------------

    def receive(self, payload: bytes) -> None:
        """Have the owner act upon one message."""
        self.shared.owner.received(self, payload)

    def welcome(self, key: Hashable, state: SessionState) -> None:
        """The peer has said who it is: it is in `state`, and may be silent for as long as that allows."""
        shared = self.shared
        self.state = state
        self.last_heard_tick = shared.wheel.tick
        shared.connections.welcome(self, key)
        silence = shared.limits.silence
        if silence[state] < silence[SessionState.PENDING]:
            shared.wheel.put(self, self.last_heard_tick + silence[state])

    def queue(self) -> None:
        """The peer has said who it is, and waits to be welcomed."""
        self.shared.connections.queue(self)
        self.last_heard_tick = self.shared.wheel.tick
        self.enter(SessionState.QUEUED)

    def enter(self, state: SessionState) -> None:
        """Be in another state, and wait as long as that allows."""
        self.state = state
        self.shared.wheel.put(self, self.last_heard_tick + self.shared.limits.silence[state])

    def wait_on(self) -> None:
        """It is not silent: it waits for us, and may do so as long again."""
        self.last_heard_tick = self.shared.wheel.tick
        self.enter(self.state)

    def allowance(self, count: int) -> int:
        """Return how many of `count` messages are within the rate: a bucket of `burst`, refilled by `refill` each tick.

        Those above it are charged too, so that it makes no difference how the bytes were cut on the way.
        """
        shared = self.shared
        if shared.unmetered:
            return count
        limits, tick = shared.limits, shared.tick
        credit = min(self.credit + (tick - self.credited) * limits.refill, limits.burst)
        self.credited = tick
        self.credit = credit - count
        return count if count <= credit else max(int(credit), 0)

    def overrun(self, dropped: int = 1) -> None:
        """Tell the owner that messages were dropped: when the bucket is empty, and when a burst more has come."""
        if self.credit + dropped >= 0:
            if self.state is not SessionState.CLOSED:
                self.shared.owner.flooded(self, again=False)
        elif self.credit < -self.shared.limits.burst:
            self.shared.owner.flooded(self, again=True)

    def send(self, message: dict[str, Any]) -> None:
        """Send one message; nobody hears it whose socket is gone."""
        if not self.gone:
            self.write(json_lines.encode(message))

    def write(self, payload: bytes) -> None:
        """Send the bytes of one message."""
        raise NotImplementedError  # pragma: no cover - each transport says how

    def write_close(self, code: int, reason: str) -> None:
        """Say at the level of the transport that nothing more will be sent."""
        raise NotImplementedError  # pragma: no cover - each transport says how

    # -- the end ---------------------------------------------------------------------------------------------------

    def lose(self, cause: str) -> None:
        """Note that the connection is over for `cause`, and tell the owner; its socket may still be open."""
        self.cause = cause
        self.state = SessionState.CLOSED
        self.shared.connections.retire(self)
        self.shared.owner.ended(self, cause)
        if self.gone:
            self._forget(cause)

    def finish(self, cause: str) -> None:
        """End a connection whose peer has hung up for `cause`: all that it said before has been acted upon, which may
        have ended it.
        """
        if self.cause is None:
            self.lose(cause)
        if not self.gone:
            self.transport.close()
            if self.transport.get_write_buffer_size():
                self.linger()

    def close(self, cause: str, message: dict[str, Any] | None = None, code: int | None = None) -> None:
        """End it from here: `message` is the last one, `code` overrides that of the cause."""
        if self.cause is not None:
            return
        ending = ENDINGS[cause]
        self.lose(cause)
        if self.gone:
            return
        if ending.abort:
            self.transport.abort()
            return
        if message is not None:
            self.send(message)
        self.write_close(ending.code if code is None else code, cause)
        self.linger()

    def linger(self) -> None:
        """Give what is still to be sent, and the peer's own end, `LINGER_TICKS` from now."""
        self.last_heard_tick = self.shared.tick
        self.shared.wheel.put(self, self.last_heard_tick + LINGER_TICKS)

    def check_silence(self) -> None:
        """Called in the tick in which it may have been silent for too long: wait on, or have it ended."""
        shared = self.shared
        due = self.last_heard_tick + shared.limits.silence[self.state]
        if due > shared.wheel.tick:
            shared.wheel.put(self, due)
        elif self.state is SessionState.CLOSED:
            self.transport.abort()
        elif self.state is SessionState.PENDING:
            shared.owner.expired(self, "hello_timeout")
        else:
            shared.owner.expired(self, "heartbeat_timeout")


class Connection(BaseConnection):
    """A connection of a client: it has a session once it was welcomed, and its heartbeats are acknowledged here.

    `ready` says whether the next read may be taken for a lone heartbeat; `last_asked_tick` is when the client last said
    anything but that it lives, `said` what it says of whether somebody uses it, None before it said anything.
    """

    __slots__ = ("last_asked_tick", "ready", "said", "session")

    shared: Shared[Connection]

    def __init__(self, shared: Shared[Connection], address: str) -> None:
        super().__init__(shared, address)
        self.session: Session | None = None
        self.said: SaidActivity | None = None
        self.ready = False
        self.last_asked_tick = shared.tick

    def receive(self, payload: bytes) -> None:
        """Acknowledge a heartbeat, or have the owner act upon another message."""
        shared = self.shared
        if self.state is not SessionState.PENDING:
            self.last_heard_tick = shared.tick
            if payload == json_lines.HEARTBEAT:
                shared.heartbeats += 1
                self.write_ack()
                return
        shared.owner.received(self, payload)

    def lose(self, cause: str) -> None:
        """Note that it is over for `cause`; what still comes is no heartbeat."""
        self.ready = False
        super().lose(cause)

    def write_ack(self) -> None:
        """Send the constant acknowledgment."""
        raise NotImplementedError  # pragma: no cover - each transport says how


class SaidActivity:
    """What the client of a connection said last of whether somebody uses it, and in which tick; `watched` is whether
    somebody looks for its silence.
    """

    __slots__ = ("active", "connection", "due", "tick", "watched")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.active = self.watched = False
        self.due = self.tick = 0


def shut_sending(transport: asyncio.Transport) -> None:
    """Shut the sending half; over TLS, which has no halves, all of it."""
    if not transport.can_write_eof():
        transport.close()
        return
    try:
        transport.write_eof()
    except OSError:  # reset by the peer, and not yet known to the loop
        transport.abort()
